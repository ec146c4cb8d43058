//! What a ReplicaSet's status says of its pods.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::owner::is_ending;
use crate::pod::{has_ended, is_active, is_available, is_ready};
use crate::time::time;

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Why pods could not be made or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    reason: &'static str,
    message: String,
}

impl Failure {
    /// Pods could not be made.
    pub fn create(message: String) -> Self {
        Self { reason: "FailedCreate", message }
    }

    /// Pods could not be deleted.
    pub fn delete(message: String) -> Self {
        Self { reason: "FailedDelete", message }
    }
}

/// The status of a set with these pods. A failure is told by a condition until a pass ends well.
pub fn status(set: &ReplicaSet, owned: &[Pod], failure: Option<Failure>, now: Timestamp) -> ReplicaSetStatus {
    let least = set.spec.min_ready_seconds.unwrap_or(0);
    let template = set.spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let wanted = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let labelled = |pod: &&&Pod| wanted.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
    let active: Vec<&Pod> = owned.iter().filter(|pod| is_active(pod)).collect();
    let terminating = owned.iter().filter(|pod| is_ending(*pod) && !has_ended(pod)).count();
    let count = |pods: usize| Some(i32::try_from(pods).unwrap_or(i32::MAX)).filter(|own| *own > 0);
    ReplicaSetStatus {
        replicas: count(active.len()).unwrap_or(0),
        fully_labeled_replicas: count(active.iter().filter(labelled).count()),
        ready_replicas: count(active.iter().filter(|pod| is_ready(pod)).count()),
        available_replicas: count(active.iter().filter(|pod| is_available(pod, least, now)).count()),
        terminating_replicas: Some(count(terminating).unwrap_or(0)),
        observed_generation: set.metadata.generation,
        conditions: conditions(set, failure, now),
    }
}

fn conditions(
    set: &ReplicaSet,
    failure: Option<Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let before = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let told = before.clone().find(|condition| condition.type_.as_deref() == Some(REPLICA_FAILURE));
    let mut conditions: Vec<_> =
        before.filter(|other| other.type_.as_deref() != Some(REPLICA_FAILURE)).cloned().collect();
    // What is told already stays: each attempt fails over a pod of another name, and a status that names it would be news, and
    // bring about the next attempt.
    conditions.extend(failure.map(|failure| {
        told.cloned().unwrap_or_else(|| ReplicaSetCondition {
            type_: Some(REPLICA_FAILURE.to_owned()),
            status: Some("True".to_owned()),
            reason: Some(failure.reason.to_owned()),
            message: Some(failure.message),
            last_transition_time: Some(time(now)),
        })
    }));
    (!conditions.is_empty()).then_some(conditions)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(status: Value) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 3},
            "spec": {"selector": {}, "minReadySeconds": 10, "template": {"metadata": {"labels": {"app": "web"}}}},
            "status": status,
        }))
        .unwrap()
    }

    fn pod(ready_at: Option<&str>, labels: Value) -> Pod {
        let conditions =
            ready_at.map(|at| json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]));
        serde_json::from_value(json!({
            "metadata": {"labels": labels},
            "status": {"phase": "Running", "conditions": conditions.unwrap_or_else(|| json!([]))},
        }))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn pods_are_counted_by_labels_readiness_and_availability() {
        let ending = serde_json::from_value(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})).unwrap();
        let pods = [
            pod(None, json!({"app": "web"})),
            pod(Some("2026-01-01T00:00:00Z"), json!({"app": "web"})),
            pod(Some("2026-01-01T00:00:08Z"), json!({})),
            Pod { metadata: ending, ..pod(None, json!({})) },
        ];
        let found = status(&set(json!(null)), &pods, None, at("2026-01-01T00:00:10Z"));
        let seen = serde_json::to_value(found).unwrap();
        let wanted = json!({
            "replicas": 3, "fullyLabeledReplicas": 2, "readyReplicas": 2, "availableReplicas": 1, "observedGeneration": 3,
            "terminatingReplicas": 1,
        });
        assert_eq!(seen, wanted);
    }

    #[test]
    fn a_failure_is_told_from_when_it_began_until_it_is_over() {
        let first = at("2026-01-01T00:00:00.5Z");
        let failed = status(&set(json!(null)), &[], Some(Failure::create("no room".into())), first);
        let told = failed.conditions.clone().unwrap().remove(0);
        assert_eq!(
            (told.reason.as_deref(), told.message.as_deref()),
            (Some("FailedCreate"), Some("no room"))
        );
        let again = set(serde_json::to_value(&failed).unwrap());
        let other = Failure::create("no room for another".into());
        let later = status(&again, &[], Some(other), at("2026-01-01T00:01:00Z"));
        assert_eq!(later, failed, "each attempt fails in words of its own");
        assert_eq!(status(&again, &[], None, at("2026-01-01T00:01:00Z")).conditions, None);
    }
}
