//! ReplicaSets: how many pods are missing, or which ones go.
//!
//! Pods that end (`deletionTimestamp`) or have ended (`Succeeded`, `Failed`) no longer count. When there are too many,
//! those whose loss costs least go first; [`plan`] gives the order that users of Kubernetes know.

mod reconcile;
pub mod status;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

pub(crate) use reconcile::{RIGHTS, run};

use crate::pod::{condition, is_active, is_ready, node_of, phase};

/// An annotation by which users say which pods they would rather keep: the lower the number, the sooner a pod goes.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What to do about a ReplicaSet's pods.
#[derive(Debug, PartialEq)]
pub enum Plan<'a> {
    /// There are as many as wanted.
    Keep,
    /// So many are missing.
    Create(usize),
    /// These go, in this order.
    Delete(Vec<&'a Pod>),
}

/// Compares the pods that a ReplicaSet owns with the number that it wants.
pub fn plan(wanted: usize, owned: &[Pod]) -> Plan<'_> {
    let mut active: Vec<&Pod> = owned.iter().filter(|pod| is_active(pod)).collect();
    if active.len() < wanted {
        return Plan::Create(wanted - active.len());
    }
    if active.len() == wanted {
        return Plan::Keep;
    }
    let mut neighbours: BTreeMap<&str, usize> = BTreeMap::new();
    for node in active.iter().filter_map(|pod| node_of(pod)) {
        *neighbours.entry(node).or_default() += 1;
    }
    active.sort_by_cached_key(|pod| worth(pod, &neighbours));
    active.truncate(active.len() - wanted);
    Plan::Delete(active)
}

/// The sort key of pods: what goes first is least.
type Worth = (bool, u8, bool, i32, Reverse<usize>, Reverse<String>, Reverse<i32>, Reverse<String>, String);

fn worth(pod: &Pod, neighbours: &BTreeMap<&str, usize>) -> Worth {
    let node = node_of(pod);
    let running = match phase(pod) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let restarts = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let restarts = restarts.map(|container| container.restart_count).max().unwrap_or_default();
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
    (
        node.is_some(),
        running,
        is_ready(pod),
        deletion_cost(pod),
        // Where several stand on one node, that node can spare one.
        Reverse(node.and_then(|node| neighbours.get(node)).copied().unwrap_or_default()),
        Reverse(ready_since(pod).unwrap_or_default()),
        Reverse(restarts),
        Reverse(created.unwrap_or_default()),
        pod.metadata.name.clone().unwrap_or_default(),
    )
}

/// When the pod became ready, in a form that sorts by time; absent while it is not ready.
fn ready_since(pod: &Pod) -> Option<String> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    Some(ready.last_transition_time.as_ref().map(|time| time.0.to_string()).unwrap_or_default())
}

/// What the user says the pod is worth. Text that is no 32-bit number counts as nothing said.
fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(DELETION_COST)).and_then(|cost| cost.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, change: Value) -> Pod {
        let mut value = json!({
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [], "nodeName": "one"},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}],
            },
        });
        merge(&mut value, change);
        serde_json::from_value(value).unwrap()
    }

    fn merge(value: &mut Value, change: Value) {
        match (value, change) {
            (Value::Object(fields), Value::Object(changes)) => {
                for (key, change) in changes {
                    merge(fields.entry(key).or_insert(Value::Null), change);
                }
            }
            (value, change) => *value = change,
        }
    }

    fn first_to_go(pods: &[Pod]) -> String {
        match plan(pods.len() - 1, pods) {
            Plan::Delete(going) if going.len() == 1 => going[0].metadata.name.clone().unwrap(),
            other => panic!("one pod should go, not {other:?}"),
        }
    }

    #[test]
    fn pods_that_end_or_have_ended_are_replaced() {
        let pods = [
            pod("fine", json!({})),
            pod("ending", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:01:00Z"}})),
            pod("failed", json!({"status": {"phase": "Failed"}})),
            pod("done", json!({"status": {"phase": "Succeeded"}})),
        ];
        assert_eq!(plan(3, &pods), Plan::Create(2));
        assert_eq!(plan(1, &pods), Plan::Keep);
        assert_eq!(plan(0, &pods), Plan::Delete(vec![&pods[0]]));
    }

    #[test]
    fn each_rule_decides_when_those_before_it_are_equal() {
        let cases = [
            ("no node", json!({"spec": {"nodeName": null}})),
            ("pending", json!({"status": {"phase": "Pending"}})),
            ("not ready", json!({"status": {"conditions": []}})),
            ("cheap", json!({"metadata": {"annotations": {DELETION_COST: "-1"}}})),
            (
                "ready later",
                json!({"status": {"conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:06Z"},
                ]}}),
            ),
            (
                "restarted",
                json!({"status": {"containerStatuses": [
                    {"name": "web", "image": "", "imageID": "", "ready": true, "restartCount": 3},
                ]}}),
            ),
            ("younger", json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:01Z"}})),
        ];
        for (name, change) in cases {
            let pods = [pod("a", json!({})), pod(name, change.clone()), pod("z", json!({}))];
            assert_eq!(first_to_go(&pods), name);
            let pods = [pod(name, change), pod("a", json!({}))];
            assert_eq!(first_to_go(&pods), name, "in the other order");
        }
    }

    #[test]
    fn a_node_with_several_pods_spares_one_first() {
        let on = |name, node: &str| pod(name, json!({"spec": {"nodeName": node}}));
        assert_eq!(first_to_go(&[on("a", "one"), on("b", "two"), on("c", "two")]), "b");
    }

    #[test]
    fn a_cost_that_is_no_number_is_as_none() {
        let pods =
            [pod("a", json!({})), pod("b", json!({"metadata": {"annotations": {DELETION_COST: "cheap"}}}))];
        assert_eq!(first_to_go(&pods), "a");
    }
}
