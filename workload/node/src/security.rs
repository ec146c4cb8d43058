//! Whom a container runs as and what that one may do: the pod's `securityContext`, with the container's own before it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt as _;
use xebec_container::{ContainerSpec, DEFAULT_CAPABILITIES, IDENTITIES};

use crate::Error;

/// Applies the contexts to what the image says.
pub(crate) fn apply(pod: &Pod, container: &Container, spec: &mut ContainerSpec) -> Result<(), Error> {
    let whole = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let number =
        |value: i64| u32::try_from(value).map_err(|_| Error::Config(format!("{value} is no identity")));
    let user = own.and_then(|own| own.run_as_user).or_else(|| whole?.run_as_user);
    let group = own.and_then(|own| own.run_as_group).or_else(|| whole?.run_as_group);
    let of_image = spec.user.split(':').next().unwrap_or_default().to_owned();
    match (user, group) {
        (Some(user), None) => spec.user = number(user)?.to_string(),
        (Some(user), Some(group)) => spec.user = format!("{}:{}", number(user)?, number(group)?),
        (None, Some(group)) => {
            let user = if of_image.is_empty() { "0" } else { &of_image };
            spec.user = format!("{user}:{}", number(group)?);
        }
        (None, None) => {}
    }
    let not_root = own.and_then(|own| own.run_as_non_root).or_else(|| whole?.run_as_non_root);
    if not_root == Some(true) {
        check_not_root(pod, container, user, &of_image)?;
    }
    let groups = whole.iter().flat_map(|whole| whole.supplemental_groups.iter().flatten().copied());
    for group in groups.chain(whole.and_then(|whole| whole.fs_group)) {
        spec.groups.push(number(group)?);
    }
    spec.read_only_root = own.and_then(|own| own.read_only_root_filesystem) == Some(true);
    spec.no_new_privileges = own.and_then(|own| own.allow_privilege_escalation) == Some(false);
    if own.and_then(|own| own.privileged) == Some(true) {
        spec.capabilities = Some(xebec_container::all_capabilities());
    } else if let Some(change) = own.and_then(|own| own.capabilities.as_ref()) {
        let (add, drop) = (change.add.as_deref(), change.drop.as_deref());
        spec.capabilities = Some(capabilities(add.unwrap_or_default(), drop.unwrap_or_default()));
    }
    Ok(())
}

/// The refusals are the kubelet's.
fn check_not_root(pod: &Pod, container: &Container, user: Option<i64>, of_image: &str) -> Result<(), Error> {
    let place = format!(
        "(pod: \"{}_{}({})\", container: {})",
        pod.name_any(),
        pod.namespace().unwrap_or_default(),
        pod.uid().unwrap_or_default(),
        container.name
    );
    let why = match (user, of_image) {
        (Some(0), _) => format!("container's runAsUser breaks non-root policy {place}"),
        (Some(_), _) => return Ok(()),
        // Zero is written in many ways.
        (None, name) => match if name.is_empty() { Ok(0) } else { name.parse::<u32>() } {
            Ok(0) => format!("container has runAsNonRoot and image will run as root {place}"),
            Ok(_) => return Ok(()),
            Err(_) => format!(
                "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {place}"
            ),
        },
    };
    Err(Error::Config(why))
}

/// The usual capabilities with those taken away and added; `ALL` takes or gives all.
fn capabilities(add: &[String], drop: &[String]) -> Vec<String> {
    let full = |name: &String| {
        let name = name.to_uppercase();
        if name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
    };
    let (add, drop): (Vec<_>, Vec<_>) = (add.iter().map(full).collect(), drop.iter().map(full).collect());
    let all = |list: &[String]| list.iter().any(|name| name == "CAP_ALL");
    let base: Vec<String> = if all(&add) {
        xebec_container::all_capabilities()
    } else {
        DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_owned()).collect()
    };
    let mut held: Vec<String> = base.into_iter().filter(|name| !all(&drop) && !drop.contains(name)).collect();
    held.extend(add.into_iter().filter(|name| name != "CAP_ALL"));
    held.sort();
    held.dedup();
    held
}

/// The parameters of the kernel that any pod may set: they hold in its own namespaces, and harm nobody beside it.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// The parameters of the kernel that a pod sets for itself. A name whose first separator is `/` has `.` and `/` in each
/// other's place (sysctl.d(5)).
pub(crate) fn sysctls(pod: &Pod) -> BTreeMap<String, String> {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let all = context.into_iter().flat_map(|own| own.sysctls.iter().flatten());
    let usual = |name: &str| match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('/') => {
            let swapped = name.chars().map(|letter| match letter {
                '/' => '.',
                '.' => '/',
                other => other,
            });
            swapped.collect()
        }
        _ => name.to_owned(),
    };
    all.map(|own| (usual(&own.name), own.value.clone())).collect()
}

/// The first parameter that the pod sets though not any pod may.
pub(crate) fn forbidden_sysctl(pod: &Pod) -> Option<String> {
    sysctls(pod).into_keys().find(|name| !SAFE.contains(&name.as_str()))
}

/// Whether all identities that a pod names are to be had in a user namespace.
pub(crate) fn fits_namespace(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let whole = spec.security_context.as_ref();
    let of_pod = whole.into_iter().flat_map(|own| {
        let groups = own.supplemental_groups.iter().flatten().copied();
        [own.run_as_user, own.run_as_group, own.fs_group].into_iter().flatten().chain(groups)
    });
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let of_containers = containers.filter_map(|container| container.security_context.as_ref());
    let of_containers =
        of_containers.flat_map(|own| [own.run_as_user, own.run_as_group].into_iter().flatten());
    of_pod.chain(of_containers).all(|identity| (0..i64::from(IDENTITIES)).contains(&identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn applied(
        pod: serde_json::Value,
        container: serde_json::Value,
        image: &str,
    ) -> Result<ContainerSpec, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "1"},
            "spec": {"containers": [], "securityContext": pod},
        }))
        .unwrap_or_default();
        let container: Container =
            serde_json::from_value(json!({"name": "main", "securityContext": container})).unwrap_or_default();
        let mut spec = ContainerSpec::new(Vec::new(), "log".into());
        image.clone_into(&mut spec.user);
        apply(&pod, &container, &mut spec).map(|()| spec).map_err(|error| error.to_string())
    }

    #[test]
    fn the_containers_own_context_comes_first() {
        let pod = json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]});
        let spec = applied(pod.clone(), json!({"runAsUser": 5}), "app");
        assert_eq!(spec.as_ref().map(|spec| spec.user.as_str()), Ok("5:2"));
        assert_eq!(spec.map(|spec| spec.groups), Ok(vec![4, 3]));
        let user = |pod, own, image| applied(pod, own, image).map(|spec| spec.user);
        assert_eq!(user(json!({}), json!({}), "app"), Ok("app".to_owned()));
        assert_eq!(user(json!({"runAsGroup": 7}), json!({}), "app"), Ok("app:7".to_owned()));
        assert!(user(json!({"runAsUser": -1}), json!({}), "").is_err());
    }

    #[test]
    fn who_must_not_be_root_is_refused_as_the_kubelet_does() {
        let refused =
            |own, image| applied(json!({"runAsNonRoot": true}), own, image).err().unwrap_or_default();
        let place = "(pod: \"web_default(1)\", container: main)";
        for root in ["", "0", "00", "+0", "0:0", "00:1000"] {
            let expected = format!("container has runAsNonRoot and image will run as root {place}");
            assert_eq!(refused(json!({}), root), expected, "{root:?}");
        }
        assert!(refused(json!({}), "app").contains("non-numeric user (app)"));
        assert!(
            refused(json!({"runAsUser": 0}), "").starts_with("container's runAsUser breaks non-root policy")
        );
        assert_eq!(refused(json!({}), "1000"), "");
        assert_eq!(refused(json!({"runAsNonRoot": false}), ""), "");
    }

    #[test]
    fn capabilities_are_taken_and_given() {
        let held = |add: &[&str], drop: &[&str]| {
            let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            capabilities(&list(add), &list(drop))
        };
        assert_eq!(held(&["NET_ADMIN"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(held(&[], &["chown"]).len(), DEFAULT_CAPABILITIES.len() - 1);
        assert!(held(&["ALL"], &["CAP_SYS_ADMIN"]).len() > 30);
        assert!(!held(&["ALL"], &["CAP_SYS_ADMIN"]).contains(&"CAP_SYS_ADMIN".to_owned()));
    }

    #[test]
    fn a_privileged_container_has_all_capabilities_whatever_it_drops() {
        let own = json!({"privileged": true, "capabilities": {"drop": ["ALL"]}});
        let given = applied(json!({}), own, "").map(|spec| spec.capabilities.unwrap_or_default());
        assert_eq!(given, Ok(xebec_container::all_capabilities()));
        assert_eq!(
            applied(json!({}), json!({"privileged": false}), "").map(|spec| spec.capabilities),
            Ok(None)
        );
    }

    #[test]
    fn a_pod_sets_parameters_of_the_kernel_that_are_its_own() {
        let pod = |name: &str| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "securityContext": {
                "sysctls": [{"name": name, "value": "1"}],
            }}}))
            .unwrap_or_default()
        };
        for name in ["kernel.shm_rmid_forced", "kernel/shm_rmid_forced"] {
            assert_eq!(sysctls(&pod(name)).into_keys().collect::<Vec<_>>(), ["kernel.shm_rmid_forced"]);
            assert_eq!(forbidden_sysctl(&pod(name)), None);
        }
        assert_eq!(forbidden_sysctl(&pod("kernel.msgmax")).as_deref(), Some("kernel.msgmax"));
    }

    #[test]
    fn large_identities_need_the_machines_own() {
        let pod = |user: i64| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [
                {"name": "a", "securityContext": {"runAsUser": user}},
            ]}}))
            .unwrap_or_default()
        };
        assert!(fits_namespace(&pod(65_535)) && !fits_namespace(&pod(1_000_660_000)));
    }
}
