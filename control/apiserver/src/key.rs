//! Where an object rests in the store: `/registry/{group}/{resource}/{namespace}/{name}`.
//!
//! The core group is written `core`, which no API group may be called (groups of custom resources hold a dot). Objects
//! without a namespace leave that segment out. Every prefix ends with `/`, so that `pods/` never matches `podsets/`.

use xebec_machinery::resource::Resource;

/// The key of one object.
pub fn object(group: &str, resource: &str, namespace: Option<&str>, name: &str) -> String {
    format!("{}{name}", prefix(group, resource, namespace))
}

/// The prefix of all objects of a resource, in one namespace or in all.
pub fn prefix(group: &str, resource: &str, namespace: Option<&str>) -> String {
    let group = if group.is_empty() { "core" } else { group };
    match namespace {
        Some(namespace) => format!("/registry/{group}/{resource}/{namespace}/"),
        None => format!("/registry/{group}/{resource}/"),
    }
}

/// The namespace and the name of the object that rests under a key.
pub fn place(key: &str, is_namespaced: bool) -> (Option<String>, String) {
    let mut parts = key.rsplit('/').map(str::to_owned);
    let name = parts.next().unwrap_or_default();
    (parts.next().filter(|_| is_namespaced), name)
}

/// Where upstream keeps an object, which some of its errors tell.
pub fn upstream(resource: &Resource, namespace: Option<&str>, name: &str) -> String {
    let (group, plural) = (&*resource.group, &*resource.plural);
    let folder = match (group, plural) {
        ("", "replicationcontrollers") => "controllers".to_owned(),
        ("", "endpoints") => "services/endpoints".to_owned(),
        ("", "services") => "services/specs".to_owned(),
        ("", "nodes") => "minions".to_owned(),
        ("networking.k8s.io", "ingresses") => "ingress".to_owned(),
        ("apiextensions.k8s.io" | "apiregistration.k8s.io", _) => format!("{group}/{plural}"),
        _ if resource.custom => format!("{group}/{plural}"),
        _ => plural.to_owned(),
    };
    match namespace {
        Some(namespace) => format!("/registry/{folder}/{namespace}/{name}"),
        None => format!("/registry/{folder}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hold_group_resource_namespace_and_name() {
        assert_eq!(object("", "pods", Some("default"), "web"), "/registry/core/pods/default/web");
        assert_eq!(object("apps", "deployments", Some("a"), "b"), "/registry/apps/deployments/a/b");
        assert_eq!(object("", "nodes", None, "n"), "/registry/core/nodes/n");
        assert_eq!(place("/registry/core/pods/default/web", true), (Some("default".into()), "web".into()));
        assert_eq!(place("/registry/core/nodes/n", false), (None, "n".into()));
    }

    #[test]
    fn upstreams_keys_have_names_of_their_own() {
        let key = |group, plural, namespace, name| {
            upstream(xebec_machinery::builtin::find(group, plural).unwrap(), namespace, name)
        };
        assert_eq!(key("apps", "deployments", Some("a"), "b"), "/registry/deployments/a/b");
        assert_eq!(key("", "services", Some("a"), "b"), "/registry/services/specs/a/b");
        assert_eq!(key("", "nodes", None, "n"), "/registry/minions/n");
    }

    #[test]
    fn a_prefix_never_matches_its_longer_neighbour() {
        assert!(!object("", "podsets", Some("a"), "b").starts_with(&prefix("", "pods", None)));
        assert!(!object("", "pods", Some("ab"), "b").starts_with(&prefix("", "pods", Some("a"))));
    }
}
