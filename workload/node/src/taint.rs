//! Taints of the node and what pods say to them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

use crate::duration::seconds;

/// The taint that a node which takes no new pods has, whether or not it is written down.
pub(crate) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
pub(crate) const NO_SCHEDULE: &str = "NoSchedule";
pub(crate) const NO_EXECUTE: &str = "NoExecute";

/// Whether a toleration covers a taint.
fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    let same = |text: &Option<String>, other: &str| text.as_deref().unwrap_or_default() == other;
    let value = taint.value.as_deref().unwrap_or_default();
    if !empty(&toleration.effect) && !same(&toleration.effect, &taint.effect) {
        return false;
    }
    if !empty(&toleration.key) && !same(&toleration.key, &taint.key) {
        return false;
    }
    let number = |text: &str| text.parse::<i64>().ok();
    let own = toleration.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => !empty(&toleration.key) && own == value,
        "Lt" => number(value).zip(number(own)).is_some_and(|(value, own)| value < own),
        "Gt" => number(value).zip(number(own)).is_some_and(|(value, own)| value > own),
        _ => false,
    }
}

fn tolerations(pod: &Pod) -> impl Iterator<Item = &Toleration> {
    pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten())
}

/// Whether a pod tolerates a taint.
pub(crate) fn is_tolerated(pod: &Pod, taint: &Taint) -> bool {
    tolerations(pod).any(|toleration| covers(toleration, taint))
}

/// How long a pod may stay on a node with these taints; nothing when for ever.
pub(crate) fn stay(pod: &Pod, taints: &[Taint]) -> Option<Duration> {
    let mut shortest = None;
    for taint in taints.iter().filter(|taint| taint.effect == NO_EXECUTE) {
        let mut covering = tolerations(pod).filter(|toleration| covers(toleration, taint)).peekable();
        if covering.peek().is_none() {
            return Some(Duration::ZERO);
        }
        for stay in covering.filter_map(|toleration| toleration.toleration_seconds).map(seconds) {
            shortest = Some(shortest.map_or(stay, |other: Duration| other.min(stay)));
        }
    }
    shortest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(tolerations: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}}))
            .unwrap_or_default()
    }

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint {
            key: key.to_owned(),
            value: Some(value.to_owned()),
            effect: effect.to_owned(),
            time_added: None,
        }
    }

    #[test]
    fn tolerations_cover_by_key_value_and_effect() {
        let spot = taint("spot", "yes", NO_SCHEDULE);
        for (toleration, expected) in [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "spot", "operator": "Exists"}), true),
            (json!({"key": "spot", "value": "yes"}), true),
            (json!({"key": "spot", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}), true),
            (json!({"key": "spot", "value": "no"}), false),
            (json!({"key": "spot", "operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
        ] {
            assert_eq!(is_tolerated(&pod(json!([toleration])), &spot), expected, "{toleration}");
        }
        let level = taint("level", "5", NO_SCHEDULE);
        let pod = |operator: &str| pod(json!([{"key": "level", "operator": operator, "value": "7"}]));
        assert!(is_tolerated(&pod("Lt"), &level) && !is_tolerated(&pod("Gt"), &level));
    }

    #[test]
    fn the_shortest_toleration_says_how_long_a_pod_stays() {
        let taints = [taint("down", "", NO_EXECUTE), taint("calm", "", NO_SCHEDULE)];
        let stays = |tolerations| stay(&pod(tolerations), &taints).map(|stay| stay.as_secs());
        assert_eq!(stays(json!([])), Some(0));
        assert_eq!(stays(json!([{"key": "down", "operator": "Exists"}])), None);
        let two = json!([
            {"key": "down", "operator": "Exists", "tolerationSeconds": 300},
            {"operator": "Exists", "tolerationSeconds": 5},
        ]);
        assert_eq!(stays(two), Some(5));
    }
}
