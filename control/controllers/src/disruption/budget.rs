//! The status of a budget, by its pods and the sizes of what controls them.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;

use crate::owner::is_ending;
use crate::pod::{has_ended, is_ready};
use crate::time::time;

/// How long a pod may stay after it was said to be disrupted; then it counts again.
const DISRUPTION: Duration = Duration::from_secs(120);

/// What is known of a budget.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The budget.
    pub budget: &'a PodDisruptionBudget,
    /// The pods that it selects.
    pub pods: &'a [Pod],
    /// How many pods their controllers want together.
    pub scale: i32,
    /// The time.
    pub now: Timestamp,
}

/// A status, and when it changes though nothing happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The status.
    pub status: PodDisruptionBudgetStatus,
    /// When to look again.
    pub again: Option<Duration>,
    /// The pods that were said to be disrupted and are still there.
    pub undisrupted: Vec<String>,
}

/// Whether the status depends on how many pods controllers want.
pub fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let Some(spec) = &budget.spec else { return false };
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

/// Works out the status.
pub fn judge(snapshot: Snapshot<'_>) -> Judgement {
    let Snapshot { budget, now, .. } = snapshot;
    let pods: Vec<&Pod> = snapshot.pods.iter().filter(|pod| !has_ended(pod)).collect();
    let before = budget.status.clone().unwrap_or_default();
    let (mut disrupted, mut undisrupted, mut again) =
        (before.disrupted_pods.clone().unwrap_or_default(), Vec::new(), None);
    disrupted.retain(|name, since| {
        let there = pods.iter().any(|pod| pod.name_any() == *name && !is_ending(*pod));
        let passed = Duration::try_from(now.duration_since(since.0)).unwrap_or_default();
        let left = DISRUPTION.saturating_sub(passed);
        if there && left.is_zero() {
            undisrupted.push(name.clone());
        } else if there {
            again = Some(again.map_or(left, |before: Duration| before.min(left)));
        }
        there && !left.is_zero()
    });
    let healthy = pods
        .iter()
        .filter(|pod| is_ready(pod) && !is_ending(**pod) && !disrupted.contains_key(&pod.name_any()));
    let healthy = count(healthy.count());
    let (expected, desired) = expectation(snapshot, count(pods.len()));
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: budget.metadata.generation,
        conditions: Some(vec![condition(budget, allowed > 0, now)]),
    };
    Judgement { status, again, undisrupted }
}

/// How many pods there should be, and how many of them must be healthy.
fn expectation(snapshot: Snapshot<'_>, pods: i32) -> (i32, i32) {
    let spec = snapshot.budget.spec.clone().unwrap_or_default();
    if let Some(most) = &spec.max_unavailable {
        let expected = snapshot.scale;
        return (expected, (expected - resolve(most, expected)).max(0));
    }
    match &spec.min_available {
        Some(IntOrString::Int(least)) => (pods, *least),
        Some(percent) => (snapshot.scale, resolve(percent, snapshot.scale)),
        None => (pods, 0),
    }
}

/// A count, or the part of all that a percentage names, rounded up.
fn resolve(value: &IntOrString, all: i32) -> i32 {
    match value {
        IntOrString::Int(count) => *count,
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|number| number.parse::<i64>().ok()).unwrap_or(0);
            let hundredths = percent.max(0).saturating_mul(i64::from(all.max(0)));
            i32::try_from(hundredths.saturating_add(99) / 100).unwrap_or(i32::MAX)
        }
    }
}

fn condition(budget: &PodDisruptionBudget, allowed: bool, now: Timestamp) -> Condition {
    let (status, reason) = if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let told = budget.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let told = told.into_iter().find(|told| told.type_ == "DisruptionAllowed" && told.status == status);
    Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        observed_generation: budget.metadata.generation,
        last_transition_time: told.map_or_else(|| time(now), |told| told.last_transition_time.clone()),
    }
}

fn count(pods: usize) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, ready: bool) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": if ready { "True" } else { "False" }},
            ]},
        }))
        .unwrap()
    }

    fn judged(spec: Value, status: Value, pods: &[Pod], scale: i32) -> Judgement {
        let budget = json!({"metadata": {"name": "web", "generation": 2}, "spec": spec, "status": status});
        let budget = serde_json::from_value(budget).unwrap();
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        judge(Snapshot { budget: &budget, pods, scale, now })
    }

    /// Healthy, desired, expected, allowed.
    fn numbers(judgement: &Judgement) -> [i32; 4] {
        let status = &judgement.status;
        [status.current_healthy, status.desired_healthy, status.expected_pods, status.disruptions_allowed]
            .map(Option::unwrap)
    }

    #[test]
    fn counts_and_percentages_say_how_many_may_be_missing() {
        let pods = [pod("a", true), pod("b", true), pod("c", false)];
        for (spec, expected) in [
            (json!({"minAvailable": 1}), [2, 1, 3, 1]),
            (json!({"minAvailable": 5}), [2, 5, 3, 0]),
            (json!({"minAvailable": "50%"}), [2, 2, 4, 0]),
            (json!({"maxUnavailable": 3}), [2, 1, 4, 1]),
            (json!({"maxUnavailable": "50%"}), [2, 2, 4, 0]),
            (json!({"maxUnavailable": "75%"}), [2, 1, 4, 1]),
        ] {
            assert_eq!(numbers(&judged(spec.clone(), json!(null), &pods, 4)), expected, "{spec}");
        }
        assert_eq!(numbers(&judged(json!({"minAvailable": 0}), json!(null), &[], 0)), [0, 0, 0, 0]);
    }

    #[test]
    fn a_pod_that_is_being_disrupted_is_no_longer_healthy_until_its_time_is_over() {
        let pods = [pod("a", true), pod("b", true)];
        let since = |second: &str| json!({"disruptedPods": {"a": format!("2026-01-01T00:{second}Z"), "gone": "2026-01-01T00:00:59Z"}});
        let fresh = judged(json!({"minAvailable": 1}), since("00:30"), &pods, 0);
        assert_eq!(numbers(&fresh), [1, 1, 2, 0]);
        assert_eq!(
            (fresh.again, fresh.status.disrupted_pods.unwrap().len()),
            (Some(Duration::from_secs(90)), 1)
        );
        let budget = json!({"disruptedPods": {"a": "2025-12-31T23:59:00Z"}});
        let old = judged(json!({"minAvailable": 1}), budget, &pods, 0);
        assert_eq!((numbers(&old), old.undisrupted), ([2, 1, 2, 1], vec!["a".to_owned()]));
    }
}
