//! Where an object rests in the store: `/registry/{group}/{resource}/{namespace}/{name}`.
//!
//! The core group is written `core`, which no API group may be called (groups of custom resources hold a dot). Objects
//! without a namespace leave that segment out. Every prefix ends with `/`, so that `pods/` never matches `podsets/`.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hold_group_resource_namespace_and_name() {
        assert_eq!(object("", "pods", Some("default"), "web"), "/registry/core/pods/default/web");
        assert_eq!(object("apps", "deployments", Some("a"), "b"), "/registry/apps/deployments/a/b");
        assert_eq!(object("", "nodes", None, "n"), "/registry/core/nodes/n");
    }

    #[test]
    fn a_prefix_never_matches_its_longer_neighbour() {
        assert!(!object("", "podsets", Some("a"), "b").starts_with(&prefix("", "pods", None)));
        assert!(!object("", "pods", Some("ab"), "b").starts_with(&prefix("", "pods", Some("a"))));
    }
}
