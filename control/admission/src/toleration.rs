//! `DefaultTolerationSeconds`: a pod stays for a while on a node that is not ready or cannot be reached.

use serde_json::{Value, json};

use crate::object;
use crate::passes::Passes;
use crate::request::{Operation, Request};
use crate::stage::{Case, Mutation, Outcome, now};

/// What a node is tainted with, and for how many seconds pods that say nothing stay.
const TAINTS: [(&str, u32); 2] =
    [("node.kubernetes.io/not-ready", 300), ("node.kubernetes.io/unreachable", 300)];

pub(crate) struct DefaultTolerationSeconds;

impl Mutation for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, request: &Request) -> bool {
        request.is_whole()
            && request.is_for("", "pods")
            && matches!(request.operation, Operation::Create | Operation::Update)
    }

    fn mutate<'a>(&'a self, _case: Case<'a>, object: &'a mut Value, _passes: &'a Passes) -> Outcome<'a> {
        tolerate(object);
        now(Ok(()))
    }
}

fn tolerate(pod: &mut Value) {
    for (taint, seconds) in TAINTS {
        let is_meant = |toleration: &Value| {
            let (key, effect) = (object::text(toleration, &["key"]), object::text(toleration, &["effect"]));
            (key.is_empty() || key == taint) && matches!(effect, "" | "NoExecute")
        };
        if !object::list(pod, &["spec", "tolerations"]).iter().any(is_meant) {
            object::list_mut(pod, &["spec", "tolerations"]).push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_says_something_of_a_taint_keeps_it() {
        let mut pod =
            json!({"spec": {"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]}});
        tolerate(&mut pod);
        let keys: Vec<_> = object::list(&pod, &["spec", "tolerations"])
            .iter()
            .map(|one| object::text(one, &["key"]))
            .collect();
        assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
        let before = pod.clone();
        tolerate(&mut pod);
        assert_eq!(pod, before);
        let mut all = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        tolerate(&mut all);
        assert_eq!(object::list(&all, &["spec", "tolerations"]).len(), 1);
    }
}
