//! What controllers may do, as the rules of a role: each says beside its loop what it reads and writes, and no rule gives
//! more than those together.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::run::Controller;

/// What a loop does with the kind that it is for.
pub(crate) const READ: &[&str] = &["get", "list", "watch"];
/// What it does with objects that it only minds.
pub(crate) const MIND: &[&str] = &["list", "watch"];
/// What it does with objects that it makes.
pub(crate) const KEEP: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// What a cluster asks of those who make objects that block the deletion of their owners.
pub(crate) const OWN: &[&str] = &["update"];

/// Some verbs for some resources of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Right {
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
}

impl Right {
    /// A right.
    pub(crate) const fn to(
        verbs: &'static [&'static str],
        group: &'static str,
        resources: &'static [&'static str],
    ) -> Self {
        Self { group, resources, verbs }
    }
}

/// What all controllers do: they watch what several of them mind, and tell what they did.
const SHARED: &[Right] = &[
    Right::to(MIND, "", &["persistentvolumeclaims", "pods", "services"]),
    Right::to(MIND, "apps", &["controllerrevisions"]),
    Right::to(MIND, "batch", &["jobs"]),
    Right::to(&["create", "patch"], "events.k8s.io", &["events"]),
];

/// The rules of a role under which these controllers can work.
pub fn rules(of: &[Controller]) -> Vec<PolicyRule> {
    let mut verbs: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for right in of.iter().flat_map(|controller| controller.rights).chain(SHARED) {
        for resource in right.resources {
            verbs.entry((right.group, *resource)).or_default().extend(right.verbs);
        }
    }
    // What may be done with everything need not be said of anything.
    let everywhere = verbs.get(&("*", "*")).cloned().unwrap_or_default();
    for (_, own) in verbs.iter_mut().filter(|(of, _)| **of != ("*", "*")) {
        own.retain(|verb| !everywhere.contains(verb));
    }
    let mut alike: BTreeMap<(&str, BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
    for ((group, resource), verbs) in verbs.into_iter().filter(|(_, verbs)| !verbs.is_empty()) {
        alike.entry((group, verbs)).or_default().push(resource);
    }
    let texts = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<String>>();
    let rules = alike.into_iter().map(|((group, verbs), resources)| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(texts(resources)),
        verbs: texts(verbs.into_iter().collect()),
        ..PolicyRule::default()
    });
    rules.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<Controller> {
        names.iter().map(|name| Controller::named(name).unwrap()).collect()
    }

    fn allows(rules: &[PolicyRule], verb: &str, group: &str, resource: &str) -> bool {
        rules.iter().any(|rule| {
            let has = |list: &Option<Vec<String>>, wanted: &str| {
                list.iter().flatten().any(|own| own == "*" || own == wanted)
            };
            has(&rule.api_groups, group)
                && has(&rule.resources, resource)
                && rule.verbs.iter().any(|own| own == verb)
        })
    }

    #[test]
    fn a_role_has_what_its_controllers_need_and_nothing_of_others() {
        let rules = rules(&named(&["cronjob", "job"]));
        for (verb, group, resource) in [
            ("create", "", "pods"),
            ("create", "batch", "jobs"),
            ("watch", "batch", "cronjobs"),
            ("patch", "batch", "cronjobs/status"),
            ("create", "events.k8s.io", "events"),
        ] {
            assert!(allows(&rules, verb, group, resource), "{verb} {group}/{resource} is needed: {rules:?}");
        }
        for (verb, group, resource) in [
            ("create", "apps", "replicasets"),
            ("patch", "batch", "cronjobs"),
            ("delete", "batch", "cronjobs"),
            ("list", "", "secrets"),
            ("update", "", "pods"),
            ("create", "rbac.authorization.k8s.io", "clusterroles"),
        ] {
            assert!(!allows(&rules, verb, group, resource), "{verb} {group}/{resource} is not: {rules:?}");
        }
    }

    #[test]
    fn nothing_is_said_twice_where_a_controller_minds_every_kind() {
        let rules = rules(Controller::ALL);
        let all = rules.iter().find(|rule| rule.resources.as_deref() == Some(&["*".to_owned()])).unwrap();
        assert!(!all.verbs.iter().any(|verb| verb == "create" || verb == "update" || verb == "*"));
        for rule in rules.iter().filter(|rule| rule.resources != all.resources) {
            assert!(rule.verbs.iter().all(|verb| !all.verbs.contains(verb)), "{rule:?}");
        }
        assert!(allows(&rules, "create", "", "pods") && allows(&rules, "update", "", "namespaces/finalize"));
    }
}
