//! A container as the OCI runtime specification writes it (runtime-spec 1.0, config.md and config-linux.md).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{
    spec::{ContainerSpec, Network, Resources},
    user::User,
};

/// What a container may do as root, as containers commonly may. To make devices is not among them: control groups of the
/// second version keep nobody from using what was made.
pub const DEFAULT_CAPABILITIES: [&str; 13] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// What it takes to make devices.
pub(crate) const MAKE_DEVICES: &str = "CAP_MKNOD";
/// Files that tell of the machine or control it.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 6] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", GROUPS];
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where a container finds its control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// The whole configuration. `cgroup` is absolute below the root of each hierarchy; `groups` are its directories on the
/// machine with the places at which the container sees them.
pub(crate) fn runtime_config(
    spec: &ContainerSpec,
    user: &User,
    cgroup: &str,
    groups: &[(PathBuf, PathBuf)],
) -> Value {
    let working_dir = if spec.working_dir.is_empty() { "/" } else { &spec.working_dir };
    // Root gets the capabilities; another user may only come to them through files that carry them.
    let usual = || DEFAULT_CAPABILITIES.map(str::to_owned).to_vec();
    let bounding = spec.capabilities.clone().unwrap_or_else(usual);
    let held: &[String] = if user.uid == 0 { &bounding } else { &[] };
    let further: Vec<u32> = user.groups.iter().chain(&spec.groups).copied().collect();
    let mut config = json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": spec.read_only_root},
        "mounts": mounts(spec, groups),
        "process": {
            "terminal": spec.terminal,
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": further},
            "args": spec.args,
            "env": environment(spec, user),
            "cwd": working_dir,
            "capabilities": {"bounding": bounding, "effective": held, "permitted": held},
            "noNewPrivileges": spec.no_new_privileges,
        },
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": namespaces(spec),
            "resources": resources(&spec.resources),
            "sysctl": spec.sysctls,
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    });
    if let (Some(hostname), Some(object)) = (&spec.hostname, config.as_object_mut()) {
        object.insert("hostname".to_owned(), json!(hostname));
    }
    config
}

/// All that this process can give, as `CAP_NAME`: of what the kernel knows, a machine that is a guest may lack some.
#[must_use]
pub fn all_capabilities() -> Vec<String> {
    let own = rustix::thread::capabilities(None).ok().map(|sets| sets.permitted);
    // One that has none runs no containers.
    let own = own.filter(|own| !own.is_empty()).unwrap_or_else(rustix::thread::CapabilitySet::all);
    own.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}

fn environment(spec: &ContainerSpec, user: &User) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOME={}", user.home)];
    env.extend(spec.hostname.iter().map(|name| format!("HOSTNAME={name}")));
    env.extend(spec.terminal.then(|| "TERM=xterm".to_owned()));
    for variable in &spec.env {
        let name = variable.split('=').next().unwrap_or_default();
        env.retain(|other| other.split('=').next() != Some(name));
        env.push(variable.clone());
    }
    env
}

fn mounts(spec: &ContainerSpec, groups: &[(PathBuf, PathBuf)]) -> Vec<Value> {
    let mount = |target: &str, kind: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": kind, "options": options});
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    mounts.push(if spec.network == Network::Host {
        // The kernel mounts a fresh one only for who owns the network namespace that it shows.
        json!({"destination": "/sys", "type": "none", "source": "/sys",
               "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]})
    } else {
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
    });
    // Limits are to be read from there. What is bound shows nothing but the container's own group, and takes no changes.
    if groups.iter().all(|(_, target)| target != Path::new(GROUPS)) {
        mounts.push(mount(GROUPS, "tmpfs", &["nosuid", "noexec", "nodev", "mode=755", "size=64k"]));
    }
    mounts.extend(groups.iter().map(|(group, target)| {
        json!({"destination": target, "type": "bind", "source": group,
               "options": ["bind", "rprivate", "nosuid", "noexec", "nodev", "ro"]})
    }));
    mounts.extend(spec.mounts.iter().map(|mount| {
        let access = if mount.read_only { "ro" } else { "rw" };
        json!({"destination": mount.target, "type": "bind", "source": mount.source,
               "options": ["rbind", "rprivate", "rnodev", access]})
    }));
    mounts
}

fn namespaces(spec: &ContainerSpec) -> Vec<Value> {
    let mut namespaces = vec![json!({"type": "pid"}), json!({"type": "mount"}), json!({"type": "ipc"})];
    namespaces.push(json!({"type": "cgroup"}));
    if let Some(user) = &spec.user_namespace {
        namespaces.push(json!({"type": "user", "path": user.path}));
    }
    if spec.hostname.is_some() {
        namespaces.push(json!({"type": "uts"}));
    }
    match &spec.network {
        Network::Isolated => namespaces.push(json!({"type": "network"})),
        Network::Namespace(path) => namespaces.push(json!({"type": "network", "path": path})),
        Network::Host => {}
    }
    namespaces
}

fn resources(resources: &Resources) -> Value {
    let mut limits = json!({"devices": [{"allow": false, "access": "rwm"}]});
    let mut cpu = serde_json::Map::new();
    if let Some(quota) = resources.quota() {
        cpu.insert("quota".to_owned(), json!(quota));
        cpu.insert("period".to_owned(), json!(crate::spec::PERIOD));
    }
    if let Some(shares) = resources.shares() {
        cpu.insert("shares".to_owned(), json!(shares));
    }
    if !cpu.is_empty() {
        limits["cpu"] = cpu.into();
    }
    if let Some(bytes) = resources.memory_bytes {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        limits["memory"] = json!({"limit": bytes});
    }
    if let Some(processes) = resources.processes {
        limits["pids"] = json!({"limit": i64::try_from(processes).unwrap_or(i64::MAX)});
    }
    limits
}

#[cfg(test)]
mod tests {
    use libcontainer::oci_spec::runtime::{LinuxNamespaceType, Spec};

    use super::*;
    use crate::spec::Mount;

    fn user() -> User {
        User { uid: 1000, gid: 1000, groups: vec![44], home: "/home/app".to_owned() }
    }

    fn spec() -> ContainerSpec {
        ContainerSpec::new(vec!["/hello".to_owned()], "/var/log/0.log".into())
    }

    #[test]
    fn the_runtime_understands_everything_that_is_asked_for() {
        let spec = ContainerSpec {
            hostname: Some("pod".to_owned()),
            network: Network::Namespace("/run/ns".into()),
            mounts: vec![Mount {
                source: "/a".into(),
                part: "".into(),
                target: "/b".into(),
                read_only: true,
            }],
            resources: Resources {
                memory_bytes: Some(64 << 20),
                cpu_millis: Some(250),
                cpu_request_millis: Some(500),
                processes: Some(100),
            },
            ..spec()
        };
        let config: Spec = serde_json::from_value(runtime_config(&spec, &user(), "/x/y", &[])).unwrap();
        let linux = config.linux().as_ref().unwrap();
        let network = linux.namespaces().as_ref().unwrap();
        let network = network.iter().find(|space| space.typ() == LinuxNamespaceType::Network).unwrap();
        assert_eq!(network.path().as_deref(), Some(std::path::Path::new("/run/ns")));
        let limits = linux.resources().as_ref().unwrap();
        assert_eq!(limits.memory().as_ref().unwrap().limit(), Some(64 << 20));
        assert_eq!(limits.cpu().as_ref().unwrap().quota(), Some(25_000));
        assert_eq!(limits.cpu().as_ref().unwrap().shares(), Some(512));
        assert_eq!(limits.pids().as_ref().unwrap().limit(), 100);
        let bind = config.mounts().as_ref().unwrap().last().unwrap().clone();
        for option in ["ro", "rnodev"] {
            assert!(bind.options().as_ref().unwrap().contains(&option.to_owned()), "{option}");
        }
        assert_eq!(config.hostname().as_deref(), Some("pod"));
    }

    #[test]
    fn what_tells_of_other_work_on_the_machine_is_hidden() {
        let config = runtime_config(&spec(), &user(), "/x", &[]);
        let masked: Vec<_> = config["linux"]["maskedPaths"].as_array().unwrap().iter().collect();
        for path in ["/sys/devices/virtual/powercap", "/proc/asound", "/proc/interrupts", "/proc/timer_stats"]
        {
            assert!(masked.contains(&&json!(path)), "{path}");
        }
    }

    #[test]
    fn only_root_holds_capabilities() {
        let config = runtime_config(&spec(), &user(), "/x", &[]);
        assert_eq!(config["process"]["capabilities"]["effective"], json!([]));
        let root = User { uid: 0, ..user() };
        let config = runtime_config(&spec(), &root, "/x", &[]);
        assert_eq!(config["process"]["capabilities"]["effective"], json!(DEFAULT_CAPABILITIES));
        assert!(!DEFAULT_CAPABILITIES.contains(&MAKE_DEVICES));
    }

    #[test]
    fn the_last_variable_of_a_name_counts() {
        let spec =
            ContainerSpec { env: vec!["A=1".to_owned(), "PATH=/x".to_owned(), "A=2".to_owned()], ..spec() };
        assert_eq!(environment(&spec, &user()), ["HOME=/home/app", "PATH=/x", "A=2"]);
        let on_terminal = ContainerSpec { terminal: true, ..spec.clone() };
        assert!(environment(&on_terminal, &user()).contains(&"TERM=xterm".to_owned()));
        let dumb = ContainerSpec { env: vec!["TERM=dumb".to_owned()], ..on_terminal };
        assert_eq!(environment(&dumb, &user())[2..], ["TERM=dumb"]);
    }
}
