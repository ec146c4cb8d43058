//! Which pods make room for one of higher priority.

use std::cmp::Reverse;

use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};

use super::{Load, judge};

/// How important a pod is.
pub(crate) fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

/// Whether a pod may push out others at all.
pub(crate) fn may_preempt(pod: &Pod) -> bool {
    let policy = pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref());
    policy != Some("Never")
}

/// Whether a pod is on its way out to make room.
pub(crate) fn is_making_room(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut targets = conditions.filter(|own| own.type_ == "DisruptionTarget");
    pod.metadata.deletion_timestamp.is_some() && targets.any(|own| own.reason.as_deref() == Some(PREEMPTION))
}

/// Why a pod is ended that makes room.
pub(crate) const PREEMPTION: &str = "PreemptionByScheduler";

/// Which of the node's pods are to go so that another fits: as few and as unimportant as can be, all of lower priority.
/// `others` is what must stay beside them. Nothing where that does not help.
pub(crate) fn victims<'a>(
    pod: &Pod,
    node: &NodeObject,
    running: &[&'a Pod],
    others: &Load,
) -> Option<Vec<&'a Pod>> {
    let (mut below, above): (Vec<&Pod>, Vec<&Pod>) =
        running.iter().partition(|other| priority(other) < priority(pod));
    let mut load = others.clone();
    above.iter().for_each(|other| load.add(&Load::of(other)));
    judge(pod, node, &load).ok()?;
    // The most important stay if they can, of equals those that have run the longest.
    let since = |pod: &Pod| pod.status.as_ref().and_then(|status| status.start_time.clone());
    below.sort_by_key(|other| (Reverse(priority(other)), since(other)));
    let mut going = Vec::new();
    for other in below {
        let mut with = load.clone();
        with.add(&Load::of(other));
        if judge(pod, node, &with).is_ok() {
            load = with;
        } else {
            going.push(other);
        }
    }
    (!going.is_empty()).then_some(going)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, priority: i32, cpu: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"priority": priority, "containers": [
                {"name": "a", "resources": {"requests": {"cpu": cpu}}},
            ]},
        }))
        .unwrap_or_default()
    }

    fn going(incoming: &Pod, running: &[Pod]) -> Vec<String> {
        let node = json!({"metadata": {"name": "edge"}, "status": {"allocatable": {"cpu": "4"}}});
        let node: NodeObject = serde_json::from_value(node).unwrap_or_default();
        let running: Vec<&Pod> = running.iter().collect();
        let found = victims(incoming, &node, &running, &Load::default()).unwrap_or_default();
        found.into_iter().filter_map(|pod| pod.metadata.name.clone()).collect()
    }

    #[test]
    fn the_least_important_go_and_no_more_than_must() {
        let running = [pod("low", 1, "1"), pod("middle", 5, "2"), pod("high", 9, "1")];
        assert_eq!(going(&pod("new", 7, "1"), &running), ["low"]);
        assert_eq!(going(&pod("new", 7, "2"), &running), ["middle"]);
        assert_eq!(going(&pod("new", 7, "3"), &running), ["middle", "low"]);
    }

    #[test]
    fn nobody_goes_where_that_does_not_help_or_nobody_is_less_important() {
        let running = [pod("low", 1, "1"), pod("high", 9, "3")];
        assert_eq!(going(&pod("new", 7, "2"), &running), [""; 0]);
        assert_eq!(going(&pod("new", 1, "1"), &running), [""; 0]);
    }

    #[test]
    fn who_is_told_never_to_pushes_nobody_out() {
        let mut gentle = pod("new", 7, "1");
        assert!(may_preempt(&gentle));
        gentle.spec.get_or_insert_default().preemption_policy = Some("Never".to_owned());
        assert!(!may_preempt(&gentle));
    }
}
