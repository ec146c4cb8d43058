//! The flow schemas and priority levels that every cluster has (`flowcontrol.apiserver.k8s.io`), as upstream's servers make
//! them: those without which requests would have no place to go, and those that are a good beginning.

use serde_json::{Value, json};

/// The API group.
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// Says on an object whether the API keeps its spec.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// The schema and the level of requests that never wait.
pub const EXEMPT: &str = "exempt";
/// The schema and the level of requests that no other schema is for.
pub const CATCH_ALL: &str = "catch-all";

/// Whether an object may be changed by those who run the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is as it is.
    Mandatory,
    /// It is kept as long as its annotation says so.
    Suggested,
}

/// Every priority level of a new cluster.
pub fn levels() -> Vec<(Standing, Value)> {
    let suggested = |name, shares, lendable, queues, hand| {
        let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": 50});
        let limited = json!({
            "nominalConcurrencyShares": shares,
            "lendablePercent": lendable,
            "limitResponse": {"type": "Queue", "queuing": queuing},
        });
        (Standing::Suggested, object("PriorityLevelConfiguration", name, limited_spec(limited)))
    };
    let rejecting = json!({
        "nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"},
    });
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    vec![
        (Standing::Mandatory, object("PriorityLevelConfiguration", CATCH_ALL, limited_spec(rejecting))),
        (Standing::Mandatory, object("PriorityLevelConfiguration", EXEMPT, exempt)),
        suggested("system", 30, 33, 64, 6),
        suggested("node-high", 40, 25, 64, 6),
        suggested("leader-election", 10, 0, 16, 4),
        suggested("workload-high", 40, 50, 128, 6),
        suggested("workload-low", 100, 90, 128, 6),
        suggested("global-default", 20, 50, 128, 6),
    ]
}

fn limited_spec(limited: Value) -> Value {
    json!({"type": "Limited", "limited": limited})
}

/// Every flow schema of a new cluster.
pub fn schemas() -> Vec<(Standing, Value)> {
    let everyone = || groups(&["system:unauthenticated", "system:authenticated"]);
    let controllers = "system:kube-controller-manager";
    let scheduler = "system:kube-scheduler";
    let suggested = |schema| (Standing::Suggested, schema);
    let mut leaders = vec![user(controllers), user(scheduler)];
    leaders.push(system_accounts());
    vec![
        (Standing::Mandatory, schema(EXEMPT, EXEMPT, 1, "", everything(groups(&["system:masters"])))),
        (Standing::Mandatory, schema(CATCH_ALL, CATCH_ALL, 10_000, "ByUser", everything(everyone()))),
        suggested(schema("system-nodes", "system", 500, "ByUser", everything(groups(&["system:nodes"])))),
        suggested(schema(
            "system-node-high",
            "node-high",
            400,
            "ByUser",
            json!({
                "subjects": groups(&["system:nodes"]),
                "resourceRules": [
                    rule(&["*"], "", &["nodes", "nodes/status"], true),
                    rule(&["*"], "coordination.k8s.io", &["leases"], false),
                ],
            }),
        )),
        suggested(schema(
            "probes",
            EXEMPT,
            2,
            "",
            json!({
                "subjects": everyone(),
                "nonResourceRules": [
                    {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]},
                ],
            }),
        )),
        suggested(schema(
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            json!({
                "subjects": leaders,
                "resourceRules": [
                    rule(&["get", "create", "update"], "coordination.k8s.io", &["leases"], false),
                ],
            }),
        )),
        suggested(schema(
            "kube-controller-manager",
            "workload-high",
            800,
            "ByNamespace",
            everything(json!([user(controllers)])),
        )),
        suggested(schema(
            "kube-scheduler",
            "workload-high",
            800,
            "ByNamespace",
            everything(json!([user(scheduler)])),
        )),
        suggested(schema(
            "kube-system-service-accounts",
            "workload-high",
            900,
            "ByNamespace",
            everything(json!([system_accounts()])),
        )),
        suggested(schema(
            "service-accounts",
            "workload-low",
            9_000,
            "ByUser",
            everything(groups(&["system:serviceaccounts"])),
        )),
        suggested(schema("global-default", "global-default", 9_900, "ByUser", everything(everyone()))),
    ]
}

/// The object of this name that may not be otherwise, if it is one of those.
pub fn mandatory(kind: &str, name: &str) -> Option<Value> {
    let all = if kind == "FlowSchema" { schemas() } else { levels() };
    let named = |object: &Value| object["metadata"]["name"] == name;
    all.into_iter()
        .find(|(standing, object)| *standing == Standing::Mandatory && named(object))
        .map(|(_, object)| object)
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}},
        "spec": spec,
    })
}

fn schema(name: &str, level: &str, precedence: u32, distinguisher: &str, rule: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    });
    if !distinguisher.is_empty() {
        spec["distinguisherMethod"] = json!({"type": distinguisher});
    }
    object("FlowSchema", name, spec)
}

/// Whatever these subjects ask for.
fn everything(subjects: Value) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [rule(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}

fn rule(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]});
    if cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}

fn groups(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect()
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

/// The service accounts of the system's own namespace.
fn system_accounts() -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "kube-system"}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{defaults, validation};

    #[test]
    fn what_every_cluster_has_is_sound_and_in_its_final_form() {
        for (kind, objects) in [("FlowSchema", schemas()), ("PriorityLevelConfiguration", levels())] {
            for (_, object) in objects {
                let mut completed = object.clone();
                defaults::apply(GROUP, "v1", kind, &mut completed);
                assert_eq!(completed["spec"], object["spec"]);
                assert_eq!(validation::validate_create(GROUP, "v1", kind, &object), []);
            }
        }
    }

    #[test]
    fn every_schema_is_for_a_level_that_is_there() {
        let levels = levels();
        for (_, schema) in schemas() {
            let level = &schema["spec"]["priorityLevelConfiguration"]["name"];
            assert!(levels.iter().any(|(_, own)| own["metadata"]["name"] == *level), "{level}");
        }
        assert!(mandatory("FlowSchema", CATCH_ALL).is_some());
        assert!(mandatory("FlowSchema", "probes").is_none());
    }
}
