//! The rules of the level `baseline`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::check::{Check, Pod, Rule, Setters, Verdict, containers, plural, quoted};
use crate::object;

/// Rules that hold at the level `restricted` too, in the order in which they are told.
pub(super) const ALWAYS: &[Rule] = &[
    &[Check { since: 0, judge: app_armor }],
    &[Check { since: 0, judge: host_namespaces }],
    &[Check { since: 0, judge: host_ports }],
    &[Check { since: 34, judge: probe_hosts }],
    &[Check { since: 0, judge: privileged }],
    &[Check { since: 0, judge: proc_mount }, Check { since: 35, judge: proc_mount_of_own_users }],
    &[Check { since: 0, judge: se_linux }, Check { since: 31, judge: se_linux_with_engine }],
    &[
        Check { since: 0, judge: |pod| sysctls(pod, 0) },
        Check { since: 27, judge: |pod| sysctls(pod, 27) },
        Check { since: 29, judge: |pod| sysctls(pod, 29) },
        Check { since: 32, judge: |pod| sysctls(pod, 32) },
    ],
    &[Check { since: 0, judge: windows_host_process }],
];

/// Rules for which `restricted` has stricter ones of its own.
pub(super) const ALONE: &[Rule] = &[
    &[Check { since: 0, judge: capabilities }],
    &[Check { since: 0, judge: host_path }],
    &[Check { since: 0, judge: seccomp_annotations }, Check { since: 19, judge: seccomp }],
];

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Kernel parameters that a pod may set, and since when.
const SYSCTLS: [(u32, &str); 12] = [
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];

fn is_true(value: Option<&Value>) -> bool {
    value == Some(&Value::Bool(true))
}

fn app_armor(pod: &Pod<'_>) -> Option<Verdict> {
    let is_bad = |kind: &Value| !matches!(kind.as_str(), Some("RuntimeDefault" | "Localhost"));
    let setters = Setters::find(pod, &["appArmorProfile", "type"], is_bad);
    let is_allowed = |profile: &str| {
        profile.is_empty() || profile == "runtime/default" || profile.starts_with("localhost/")
    };
    let mut annotations: Vec<String> = pod
        .annotations(APP_ARMOR)
        .filter(|(_, profile)| !is_allowed(profile))
        .map(|(key, profile)| format!("{key}={profile:?}"))
        .collect();
    annotations.sort();
    let mut parts = setters.parts();
    if !annotations.is_empty() {
        parts.push(plural("annotation", "annotations", annotations.len()).to_owned());
    }
    if parts.is_empty() {
        return None;
    }
    let values: Vec<String> = setters.values.into_iter().chain(annotations).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    let detail = format!("{} must not set AppArmor profile type to {}", parts.join(" and "), quoted(&values));
    Verdict::new(reason, detail)
}

fn capabilities(pod: &Pod<'_>) -> Option<Verdict> {
    let (mut bad, mut added) = (Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        let more: Vec<&str> =
            container.capabilities("add").filter(|capability| !CAPABILITIES.contains(capability)).collect();
        if !more.is_empty() {
            bad.push(container.name);
            added.extend(more);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        containers(&bad),
        quoted(added)
    );
    Verdict::new("non-default capabilities", detail)
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Verdict> {
    let all = ["hostIPC", "hostNetwork", "hostPID"];
    let shared: Vec<&str> = all.into_iter().filter(|field| is_true(pod.spec.get(*field))).collect();
    if shared.is_empty() { None } else { Verdict::new("host namespaces", shared.join(", ")) }
}

fn host_path(pod: &Pod<'_>) -> Option<Verdict> {
    let volumes = object::list(pod.spec, &["volumes"]).iter();
    let bad: Vec<&str> =
        volumes.filter(|volume| object::at(volume, &["hostPath"]).is_some()).map(object::name_of).collect();
    if bad.is_empty() {
        return None;
    }
    Verdict::new("hostPath volumes", format!("{} {}", plural("volume", "volumes", bad.len()), quoted(&bad)))
}

fn host_ports(pod: &Pod<'_>) -> Option<Verdict> {
    let (mut bad, mut ports) = (Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        let own = object::list(container.whole, &["ports"]).iter();
        let own: Vec<String> = own
            .filter_map(|port| port.get("hostPort")?.as_u64())
            .filter(|port| *port != 0)
            .map(|port| port.to_string())
            .collect();
        if !own.is_empty() {
            bad.push(container.name);
            ports.extend(own);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} {}",
        containers(&bad),
        plural("uses", "use", bad.len()),
        plural("hostPort", "hostPorts", ports.len()),
        ports.into_iter().collect::<Vec<_>>().join(", ")
    );
    Verdict::new("hostPort", detail)
}

fn probe_hosts(pod: &Pod<'_>) -> Option<Verdict> {
    const HANDLERS: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let (mut bad, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for container in pod.containers() {
        for handler in HANDLERS.iter().filter_map(|path| object::at(container.whole, path)) {
            let named = ["httpGet", "tcpSocket"].map(|kind| object::text(handler, &[kind, "host"]));
            for host in named.into_iter().filter(|host| !host.is_empty()) {
                bad.insert(container.name);
                hosts.insert(host);
            }
        }
    }
    if bad.is_empty() {
        return None;
    }
    let bad: Vec<&str> = bad.into_iter().collect();
    let detail = format!(
        "{} {} {} {}",
        containers(&bad),
        plural("uses", "use", bad.len()),
        plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len()),
        quoted(hosts)
    );
    Verdict::new("probe or lifecycle host", detail)
}

fn privileged(pod: &Pod<'_>) -> Option<Verdict> {
    let all = pod.containers().filter(|container| is_true(container.security(&["privileged"])));
    let bad: Vec<&str> = all.map(|container| container.name).collect();
    if bad.is_empty() {
        return None;
    }
    Verdict::new("privileged", format!("{} must not set securityContext.privileged=true", containers(&bad)))
}

fn proc_mount_of_own_users(pod: &Pod<'_>) -> Option<Verdict> {
    if pod.has_own_users() { None } else { proc_mount(pod) }
}

fn proc_mount(pod: &Pod<'_>) -> Option<Verdict> {
    let (mut bad, mut kinds) = (Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        let kind = container.security(&["procMount"]).and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| *kind != "Default") {
            bad.push(container.name);
            kinds.insert(kind);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.procMount to {}", containers(&bad), quoted(kinds));
    Verdict::new("procMount", detail)
}

fn se_linux(pod: &Pod<'_>) -> Option<Verdict> {
    se_linux_of(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

fn se_linux_with_engine(pod: &Pod<'_>) -> Option<Verdict> {
    se_linux_of(pod, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn se_linux_of(pod: &Pod<'_>, types: &[&str]) -> Option<Verdict> {
    let (mut bad_types, mut user, mut role) = (BTreeSet::new(), false, false);
    let setters = Setters::find(pod, &["seLinuxOptions"], |options| {
        let text = |field| object::text(options, &[field]);
        let (kind, has_user, has_role) = (text("type"), !text("user").is_empty(), !text("role").is_empty());
        let is_bad = !types.contains(&kind);
        if is_bad {
            bad_types.insert(kind);
        }
        user |= has_user;
        role |= has_role;
        is_bad || has_user || has_role
    });
    if setters.is_empty() {
        return None;
    }
    let mut data = Vec::new();
    if !bad_types.is_empty() {
        data.push(format!("{} {}", plural("type", "types", bad_types.len()), quoted(bad_types)));
    }
    data.extend(user.then(|| "user may not be set".to_owned()));
    data.extend(role.then(|| "role may not be set".to_owned()));
    let detail = format!("{setters} set forbidden securityContext.seLinuxOptions: {}", data.join("; "));
    Verdict::new("seLinuxOptions", detail)
}

/// Whether a seccomp profile confines.
pub(super) fn confines(kind: &Value) -> bool {
    matches!(kind.as_str(), Some("RuntimeDefault" | "Localhost"))
}

fn seccomp(pod: &Pod<'_>) -> Option<Verdict> {
    let setters = Setters::find(pod, &["seccompProfile", "type"], |kind| !confines(kind));
    if setters.is_empty() {
        return None;
    }
    let values = quoted(&setters.values);
    Verdict::new(
        "seccompProfile",
        format!("{setters} must not set securityContext.seccompProfile.type to {values}"),
    )
}

/// From before there was a field for it.
fn seccomp_annotations(pod: &Pod<'_>) -> Option<Verdict> {
    const OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let names: Vec<&str> = pod.containers().map(|container| container.name).collect();
    let own = pod.annotations(OF_POD).filter(|(key, _)| *key == OF_POD);
    let of_containers = pod
        .annotations(OF_CONTAINER)
        .filter(|(key, _)| names.contains(&key.strip_prefix(OF_CONTAINER).unwrap_or_default()));
    let is_bad = |profile: &str| {
        !matches!(profile, "runtime/default" | "docker/default") && !profile.starts_with("localhost/")
    };
    let all = own.chain(of_containers).filter(|(_, profile)| is_bad(profile));
    let bad: BTreeSet<String> = all.map(|(key, profile)| format!("{key}={profile:?}")).collect();
    if bad.is_empty() {
        return None;
    }
    let title = plural("annotation", "annotations", bad.len());
    let detail = format!("forbidden {title} {}", bad.into_iter().collect::<Vec<_>>().join(", "));
    Verdict::new("seccompProfile", detail)
}

fn sysctls(pod: &Pod<'_>, version: u32) -> Option<Verdict> {
    let is_allowed = |name: &str| SYSCTLS.iter().any(|(since, own)| *since <= version && *own == name);
    let all = object::list(pod.spec, &["securityContext", "sysctls"]).iter().map(object::name_of);
    let bad: Vec<&str> = all.filter(|name| !is_allowed(name)).collect();
    if bad.is_empty() { None } else { Verdict::new("forbidden sysctls", bad.join(", ")) }
}

fn windows_host_process(pod: &Pod<'_>) -> Option<Verdict> {
    let setters = Setters::find(pod, &["windowsOptions", "hostProcess"], |value| is_true(Some(value)));
    if setters.is_empty() {
        return None;
    }
    Verdict::new(
        "hostProcess",
        format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}
