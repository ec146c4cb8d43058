//! What the controllers read off a pod, and how they make and end pods.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use kube::api::ObjectMeta;
use kube::{Api, Resource, ResourceExt as _};

use crate::Error;
use crate::events::Voice;
use crate::owner::{controller_reference, delete, writing};

/// Whether a pod still counts: it is neither ending nor ended.
pub(crate) fn is_active(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !has_ended(pod)
}

/// Whether a pod's containers have ended for good.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// A pod's phase; a pod that nobody looked at yet is pending.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// The node that a pod is bound to.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// A condition of a pod.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether a pod's `Ready` condition is true.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// How long until a ready pod counts as available: nothing once it does, `None` while it is not ready.
pub(crate) fn until_available(pod: &Pod, least: i32, now: Timestamp) -> Option<Duration> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    let Ok(least @ 1..) = u64::try_from(least) else { return Some(Duration::ZERO) };
    let least = Duration::from_secs(least);
    // Nobody wrote down since when it is ready, so it begins now.
    let Some(since) = &ready.last_transition_time else { return Some(least) };
    let passed = Duration::try_from(now.duration_since(since.0)).unwrap_or_default();
    Some(least.saturating_sub(passed))
}

/// Whether a pod has been ready for long enough.
pub(crate) fn is_available(pod: &Pod, least: i32, now: Timestamp) -> bool {
    until_available(pod, least, now) == Some(Duration::ZERO)
}

/// When the first of the pods that are ready becomes available.
pub(crate) fn next_available<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    least: i32,
    now: Timestamp,
) -> Option<Duration> {
    let waits = pods.into_iter().filter_map(|pod| until_available(pod, least, now));
    waits.filter(|wait| !wait.is_zero()).min()
}

/// A pod as its owner's template describes it, without a name.
pub(crate) fn from_template<K: Resource<DynamicType = ()>>(owner: &K, template: &PodTemplateSpec) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix(&owner.name_any())),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        ..Pod::default()
    }
}

/// The beginning of the names of an owner's pods. A name that leaves no room for more is used as it is.
fn prefix(owner: &str) -> String {
    if owner.len() < 253 { format!("{owner}-") } else { owner.to_owned() }
}

/// Makes pods in batches that double, so that a refusal stops the rest before it was asked for. Every request is awaited:
/// one that was given up could still make a pod later.
pub(crate) async fn create_all(
    api: &Api<Pod>,
    pods: Vec<Pod>,
    voice: &Voice<'_>,
) -> (Vec<Pod>, Result<(), Error>) {
    let mut made = Vec::with_capacity(pods.len());
    let mut waiting = pods.into_iter();
    let mut batch = 1;
    loop {
        let now: Vec<Pod> = waiting.by_ref().take(batch).collect();
        if now.is_empty() {
            return (made, Ok(()));
        }
        let mut failure = None;
        let parameters = writing();
        for outcome in join_all(now.iter().map(|pod| api.create(&parameters, pod))).await {
            match outcome.map_err(Error::from) {
                Ok(pod) => {
                    voice.normal("SuccessfulCreate", format!("Created pod: {}", pod.name_any()));
                    made.push(pod);
                }
                Err(error) => {
                    if !error.namespace_ends() {
                        voice.warning("FailedCreate", format!("Error creating: {}", error.text()));
                    }
                    failure = Some(error);
                }
            }
        }
        if let Some(failure) = failure {
            return (made, Err(failure));
        }
        batch *= 2;
    }
}

/// Deletes pods, all at once.
pub(crate) async fn delete_all(api: &Api<Pod>, pods: &[&Pod], voice: &Voice<'_>) -> Result<(), Error> {
    let mut outcome = Ok(());
    for (pod, deleted) in pods.iter().zip(join_all(pods.iter().map(|pod| delete(api, *pod))).await) {
        match deleted {
            Ok(()) => voice.normal("SuccessfulDelete", format!("Deleted pod: {}", pod.name_any())),
            Err(error) => {
                voice.warning("FailedDelete", format!("Error deleting: {}", error.text()));
                outcome = Err(error);
            }
        }
    }
    outcome
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    fn ready(status: &str) -> Pod {
        serde_json::from_value(json!({"status": {"conditions": [
            {"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]}}))
        .unwrap()
    }

    #[test]
    fn a_pod_is_available_once_it_was_ready_for_long_enough() {
        let at = |second: i64| {
            "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(second)
        };
        assert!(is_available(&ready("True"), 0, at(0)));
        assert_eq!(until_available(&ready("True"), 10, at(4)), Some(Duration::from_secs(6)));
        assert!(is_available(&ready("True"), 10, at(10)));
        assert!(!is_available(&ready("False"), 0, at(99)));
        // A clock that was set back makes nothing available early.
        assert_eq!(until_available(&ready("True"), 10, at(-100)), Some(Duration::from_secs(10)));
    }
}
