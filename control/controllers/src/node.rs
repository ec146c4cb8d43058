//! Nodes: what keeps new pods away from one stands in its taints too, where whoever places pods looks for it.

use std::sync::Arc;

use futures::stream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::Patch;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::Error;
use crate::drive::drive;
use crate::owner::{changing, is_ending, unless_gone};
use crate::rights::{READ, Right};
use crate::run::World;
use crate::time::time;

const NO_SCHEDULE: &str = "NoSchedule";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// The type and status of a condition, and the taint that stands for it. Of what a node is short, its own agent judges.
const TAINTS: [(&str, &str, &str); 2] = [
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
];

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[Right::to(READ, "", &["nodes"]), Right::to(&["patch"], "", &["nodes"])];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    drive(world, |_| stream::pending(), reconcile).await;
}

async fn reconcile(node: Arc<Node>, world: Arc<World>) -> Result<Action, Error> {
    let Some(taints) = taints(&node, Timestamp::now()).filter(|_| !is_ending(&*node)) else {
        return Ok(Action::await_change());
    };
    let nodes: Api<Node> = Api::all(world.client.clone());
    let meta = json!({"uid": node.uid(), "resourceVersion": node.resource_version()});
    let taints = (!taints.is_empty()).then_some(taints);
    let patch = Patch::Merge(json!({"metadata": meta, "spec": {"taints": taints}}));
    unless_gone(nodes.patch(&node.name_any(), &changing(), &patch).await)?;
    Ok(Action::await_change())
}

/// The taints that a node should have, where it has others. Those of others stay.
pub fn taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let spec = node.spec.clone().unwrap_or_default();
    let conditions = || node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let holds = |kind: &str, status: &str| conditions().any(|own| own.type_ == kind && own.status == status);
    let mut wanted: Vec<&str> =
        TAINTS.iter().filter(|(kind, status, _)| holds(kind, status)).map(|(_, _, key)| *key).collect();
    if spec.unschedulable == Some(true) {
        wanted.push(UNSCHEDULABLE);
    }
    let before = spec.taints.unwrap_or_default();
    let is_own = |taint: &Taint| {
        let known = |(_, _, key): &(&str, &str, &str)| *key == taint.key;
        taint.effect == NO_SCHEDULE && (taint.key == UNSCHEDULABLE || TAINTS.iter().any(known))
    };
    let mut after: Vec<Taint> = before
        .iter()
        .filter(|taint| !is_own(taint) || wanted.contains(&taint.key.as_str()))
        .cloned()
        .collect();
    for key in wanted {
        if !before.iter().any(|taint| is_own(taint) && taint.key == key) {
            let effect = NO_SCHEDULE.to_owned();
            after.push(Taint { key: key.to_owned(), effect, time_added: Some(time(now)), value: None });
        }
    }
    (after != before).then_some(after)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::Value;

    fn node(spec: Value, conditions: Value) -> Node {
        serde_json::from_value(json!({"spec": spec, "status": {"conditions": conditions}})).unwrap()
    }

    fn keys(node: &Node) -> Option<Vec<String>> {
        let taints = taints(node, Timestamp::UNIX_EPOCH)?;
        Some(taints.into_iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect())
    }

    #[test]
    fn a_node_that_takes_no_pods_is_tainted_and_one_that_does_again_is_not() {
        let other = json!({"key": "mine", "effect": "NoSchedule"});
        let closed = node(json!({"unschedulable": true, "taints": [other]}), json!([]));
        let key = "node.kubernetes.io/unschedulable:NoSchedule";
        assert_eq!(keys(&closed), Some(vec!["mine:NoSchedule".to_owned(), key.to_owned()]));
        let told = json!({"key": UNSCHEDULABLE, "effect": "NoSchedule"});
        assert_eq!(keys(&node(json!({"unschedulable": true, "taints": [told]}), json!([]))), None);
        let open = node(json!({"taints": [told, other]}), json!([]));
        assert_eq!(keys(&open), Some(vec!["mine:NoSchedule".to_owned()]));
        let drained = json!({"key": UNSCHEDULABLE, "effect": "NoExecute"});
        assert_eq!(keys(&node(json!({"taints": [drained]}), json!([]))), None, "that is somebody else's");
    }

    #[test]
    fn a_node_that_is_not_ready_is_tainted_and_one_that_is_short_of_something_is_not() {
        let conditions = json!([
            {"type": "Ready", "status": "Unknown"}, {"type": "DiskPressure", "status": "True"},
            {"type": "MemoryPressure", "status": "False"},
        ]);
        let wanted = ["node.kubernetes.io/unreachable:NoSchedule".to_owned()];
        assert_eq!(keys(&node(json!({}), conditions)), Some(wanted.to_vec()));
        assert_eq!(keys(&node(json!({}), json!([{"type": "Ready", "status": "True"}]))), None);
    }
}
