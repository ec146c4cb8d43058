//! Which step comes next for a StatefulSet's pods.
//!
//! An ordered set takes one step at a time and waits until the pod before is available; a parallel one takes all at once.
//! Either replaces pods of an old revision from the highest ordinal down, so many at a time as may be missing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;

use super::identity::{first, ordinal};
use crate::owner::is_ending;
use crate::pod::{has_ended, is_available, is_ready, next_available, phase};
use crate::revision::HASH_LABEL;

/// What is known of a set.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The set.
    pub set: &'a StatefulSet,
    /// Its pods.
    pub pods: &'a [Pod],
    /// The label of the revision that its pods followed when the last update was complete.
    pub current: &'a str,
    /// The label of the revision of its template.
    pub update: &'a str,
    /// How many pods are made or deleted in one pass at most.
    pub burst: usize,
    /// The time.
    pub now: Timestamp,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The pod of an ordinal is made.
    Create {
        /// The ordinal.
        ordinal: i32,
        /// Whether it follows the new template.
        updated: bool,
    },
    /// A pod goes.
    Delete {
        /// Its name.
        name: String,
        /// Whether it goes since it has ended.
        ended: bool,
    },
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// The steps.
    pub steps: Vec<Step>,
    /// The status, as the pods are now. Its revisions are labels.
    pub status: StatefulSetStatus,
    /// When to look again though nothing happens.
    pub again: Option<Duration>,
}

/// Decides the next steps.
pub fn decide(snapshot: Snapshot<'_>) -> Decision {
    let Snapshot { set, pods, now, .. } = snapshot;
    let least = set.spec.min_ready_seconds.unwrap_or(0);
    let view = View::of(snapshot, least);
    let again = next_available(pods, least, now);
    let steps = if is_ending(set) { Vec::new() } else { view.steps() };
    Decision { steps, status: view.status(), again }
}

/// A set's pods by their places.
struct View<'a> {
    snapshot: Snapshot<'a>,
    least: i32,
    /// The ordinals that have a place. Users choose how many, so they are walked and never collected.
    places: Range<i32>,
    /// The pods that are there.
    placed: BTreeMap<i32, &'a Pod>,
    /// Pods without a place, the highest ordinal first.
    condemned: Vec<&'a Pod>,
}

impl<'a> View<'a> {
    fn of(snapshot: Snapshot<'a>, least: i32) -> Self {
        let begin = first(snapshot.set);
        let replicas = snapshot.set.spec.replicas.unwrap_or(1).max(0);
        let places = begin..begin.saturating_add(replicas);
        let (mut placed, mut condemned) = (BTreeMap::new(), BTreeMap::new());
        for pod in snapshot.pods {
            let Some(ordinal) = ordinal(snapshot.set, pod) else { continue };
            let side = if places.contains(&ordinal) { &mut placed } else { &mut condemned };
            side.insert(ordinal, pod);
        }
        Self { snapshot, least, places, placed, condemned: condemned.into_values().rev().collect() }
    }

    fn in_order(&self) -> bool {
        let policy = self.snapshot.set.spec.pod_management_policy.as_deref();
        policy != Some("Parallel")
    }

    fn is_healthy(&self, pod: &Pod) -> bool {
        phase(pod) == "Running" && !is_ending(pod) && is_available(pod, self.least, self.snapshot.now)
    }

    fn is_updated(&self, pod: &Pod) -> bool {
        pod.labels().get(HASH_LABEL).is_some_and(|hash| hash == self.snapshot.update)
    }

    fn steps(&self) -> Vec<Step> {
        let in_order = self.in_order();
        let mut steps = Vec::new();
        for ordinal in self.places.clone() {
            if steps.len() == self.snapshot.burst {
                return steps;
            }
            match self.placed.get(&ordinal).copied() {
                None => steps.push(Step::Create { ordinal, updated: self.follows_update(ordinal) }),
                Some(pod) if is_ending(pod) => {}
                Some(pod) if has_ended(pod) => steps.push(Step::Delete { name: pod.name_any(), ended: true }),
                Some(pod) if self.is_healthy(pod) => continue,
                Some(_) => {}
            }
            if in_order {
                return steps;
            }
        }
        let delete = |pod: &Pod| Step::Delete { name: pod.name_any(), ended: false };
        for (at, pod) in self.condemned.iter().enumerate() {
            if steps.len() == self.snapshot.burst {
                return steps;
            }
            if is_ending(*pod) {
                if in_order {
                    return steps;
                }
                continue;
            }
            // One that is not ready waits for the others below it, unless it is the first that is not.
            let first_unhealthy = self.condemned.iter().rposition(|pod| !self.is_healthy(pod));
            if in_order && !is_ready(pod) && first_unhealthy != Some(at) {
                return steps;
            }
            steps.push(delete(pod));
            if in_order {
                return steps;
            }
        }
        if steps.is_empty() {
            steps.extend(self.outdated().into_iter().map(delete));
        }
        steps
    }

    /// Whether a new pod of an ordinal follows the new template.
    fn follows_update(&self, ordinal: i32) -> bool {
        match self.rolling() {
            None => true,
            Some((partition, _)) => ordinal >= first(self.snapshot.set).saturating_add(partition),
        }
    }

    /// The partition of a rolling update and how many pods may be missing in it; absent where users delete pods themselves.
    fn rolling(&self) -> Option<(i32, i32)> {
        let spec = &self.snapshot.set.spec;
        let strategy = spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return None;
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
        let replicas = spec.replicas.unwrap_or(1);
        let missing = match rolling.and_then(|rolling| rolling.max_unavailable.as_ref()) {
            None => 1,
            Some(IntOrString::Int(count)) => *count,
            Some(IntOrString::String(text)) => {
                let percent =
                    text.strip_suffix('%').and_then(|number| number.parse::<i64>().ok()).unwrap_or(0);
                i32::try_from(percent.max(0).saturating_mul(i64::from(replicas)) / 100).unwrap_or(i32::MAX)
            }
        };
        Some((partition, missing.max(1)))
    }

    /// The pods of an old revision that go now.
    fn outdated(&self) -> Vec<&'a Pod> {
        let Some((partition, missing)) = self.rolling() else { return Vec::new() };
        let begin = first(self.snapshot.set).saturating_add(partition);
        let mut room = usize::try_from(missing).unwrap_or(0);
        let mut going = Vec::new();
        for (ordinal, pod) in self.placed.iter().rev() {
            if *ordinal < begin || room == 0 || going.len() == self.snapshot.burst {
                break;
            }
            if !self.is_updated(pod) && !is_ending(*pod) {
                going.push(*pod);
                room -= 1;
            } else if !self.is_healthy(pod) {
                room -= 1;
            }
        }
        going
    }

    fn status(&self) -> StatefulSetStatus {
        let Snapshot { set, current, update, now, .. } = self.snapshot;
        let pods: Vec<&Pod> = self.placed.values().copied().chain(self.condemned.iter().copied()).collect();
        let count = |wanted: &dyn Fn(&&&Pod) -> bool| {
            i32::try_from(pods.iter().filter(wanted).count()).unwrap_or(i32::MAX)
        };
        let some = |count: i32| Some(count).filter(|count| *count > 0);
        let runs = |pod: &&&Pod| phase(pod) == "Running" && is_ready(pod);
        let follows = |pod: &&&Pod, hash: &str| {
            !is_ending(**pod) && pod.labels().get(HASH_LABEL).is_some_and(|own| own == hash)
        };
        let replicas = count(&|_| true);
        let ready = count(&runs);
        let available = count(&|pod| runs(pod) && is_available(pod, self.least, now));
        let mut of_current = count(&|pod| follows(pod, current));
        let updated = count(&|pod| follows(pod, update));
        let wanted = set.spec.replicas.unwrap_or(1);
        let complete = self.rolling().is_some() && updated == wanted && replicas == wanted && ready == wanted;
        let current = if complete { update } else { current };
        if complete {
            of_current = updated;
        }
        StatefulSetStatus {
            observed_generation: set.metadata.generation,
            replicas,
            ready_replicas: some(ready),
            available_replicas: Some(available),
            current_replicas: some(of_current),
            updated_replicas: some(updated),
            current_revision: Some(current.to_owned()),
            update_revision: Some(update.to_owned()),
            ..set.status.clone().unwrap_or_default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(spec: Value) -> StatefulSet {
        let mut set = json!({
            "metadata": {"name": "db", "namespace": "a"},
            "spec": {"replicas": 3, "serviceName": "db", "selector": {}, "template": {}},
        });
        for (key, value) in spec.as_object().unwrap() {
            set["spec"][key] = value.clone();
        }
        serde_json::from_value(set).unwrap()
    }

    /// A pod in words: its ordinal, its revision, and whether it is `ready`, `starting`, `ending` or `failed`.
    fn pod(ordinal: i32, revision: &str, state: &str) -> Pod {
        let phase = if state == "failed" { "Failed" } else { "Running" };
        let ready = if state == "ready" { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("db-{ordinal}"), "labels": {HASH_LABEL: revision},
                "deletionTimestamp": (state == "ending").then_some("2026-01-01T00:00:00Z"),
            },
            "status": {"phase": phase, "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]},
        }))
        .unwrap()
    }

    fn decided(set: &StatefulSet, pods: &[Pod]) -> Decision {
        let now = "2026-01-01T00:00:05Z".parse().unwrap();
        decide(Snapshot { set, pods, current: "old", update: "new", burst: 4, now })
    }

    /// The steps in words: `+2` makes an ordinal (`+2 old` by the old template), `-2` deletes one.
    fn steps(spec: Value, pods: &[Pod]) -> Vec<String> {
        let words = |step: Step| match step {
            Step::Create { ordinal, updated: true } => format!("+{ordinal}"),
            Step::Create { ordinal, updated: false } => format!("+{ordinal} old"),
            Step::Delete { name, .. } => format!("-{}", name.trim_start_matches("db-")),
        };
        decided(&set(spec), pods).steps.into_iter().map(words).collect()
    }

    #[test]
    fn an_ordered_set_makes_one_pod_at_a_time_once_the_one_before_is_available() {
        let ordered = || json!({});
        assert_eq!(steps(ordered(), &[]), ["+0"]);
        assert!(steps(ordered(), &[pod(0, "new", "starting")]).is_empty());
        assert_eq!(steps(ordered(), &[pod(0, "new", "ready")]), ["+1"]);
        assert!(steps(json!({"minReadySeconds": 10}), &[pod(0, "new", "ready")]).is_empty());
        assert_eq!(steps(ordered(), &[pod(0, "new", "failed")]), ["-0"]);
        assert!(steps(ordered(), &[pod(0, "new", "ending"), pod(1, "new", "ready")]).is_empty());
        assert_eq!(steps(json!({"ordinals": {"start": 5}}), &[]), ["+5"]);
    }

    #[test]
    fn a_parallel_set_makes_and_deletes_all_at_once() {
        let parallel = |replicas: i32| json!({"replicas": replicas, "podManagementPolicy": "Parallel"});
        assert_eq!(steps(parallel(3), &[pod(1, "new", "starting")]), ["+0", "+2"]);
        let four = [0, 1, 2, 3].map(|ordinal| pod(ordinal, "new", "ready"));
        assert_eq!(steps(parallel(1), &four), ["-3", "-2", "-1"]);
    }

    #[test]
    fn an_ordered_set_shrinks_from_the_top_one_at_a_time() {
        let ready = |ordinal| pod(ordinal, "new", "ready");
        let one = json!({"replicas": 1});
        assert_eq!(steps(one.clone(), &[ready(0), ready(1), ready(2)]), ["-2"]);
        assert!(steps(one.clone(), &[ready(0), ready(1), pod(2, "new", "ending")]).is_empty());
        assert!(steps(one.clone(), &[pod(0, "new", "starting"), ready(1)]).is_empty());
        assert_eq!(steps(one, &[ready(0), ready(1), pod(2, "new", "starting")]), ["-2"]);
    }

    #[test]
    fn a_rolling_update_goes_from_the_top_down_to_the_partition() {
        let (old, new) = (|ordinal| pod(ordinal, "old", "ready"), |ordinal| pod(ordinal, "new", "ready"));
        assert_eq!(steps(json!({}), &[old(0), old(1), old(2)]), ["-2"]);
        assert!(steps(json!({}), &[old(0), old(1), pod(2, "new", "starting")]).is_empty());
        assert_eq!(steps(json!({}), &[old(0), old(1), new(2)]), ["-1"]);
        let partition = json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}});
        assert!(steps(partition.clone(), &[old(0), old(1), new(2)]).is_empty());
        assert_eq!(steps(partition, &[old(0)]), ["+1 old"]);
        let several = json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}});
        assert_eq!(steps(several, &[old(0), old(1), old(2)]), ["-2", "-1"]);
        let by_hand = json!({"updateStrategy": {"type": "OnDelete"}});
        assert!(steps(by_hand.clone(), &[old(0), old(1), old(2)]).is_empty());
        assert_eq!(steps(by_hand, &[old(0), old(1)]), ["+2"]);
    }

    #[test]
    fn the_status_counts_revisions_and_takes_up_the_new_one_when_all_follow_it() {
        let half = decided(
            &set(json!({})),
            &[pod(0, "old", "ready"), pod(1, "old", "ready"), pod(2, "new", "starting")],
        );
        let counts = |status: &StatefulSetStatus| {
            (status.replicas, status.ready_replicas, status.current_replicas, status.updated_replicas)
        };
        assert_eq!(counts(&half.status), (3, Some(2), Some(2), Some(1)));
        assert_eq!(half.status.current_revision.as_deref(), Some("old"));
        let all = [0, 1, 2].map(|ordinal| pod(ordinal, "new", "ready"));
        let done = decided(&set(json!({})), &all).status;
        assert_eq!(
            (counts(&done), done.current_revision.as_deref()),
            ((3, Some(3), Some(3), Some(3)), Some("new"))
        );
    }

    #[test]
    fn a_set_that_asks_for_more_pods_than_memory_holds_gets_one_burst_at_a_time() {
        let huge = |policy: &str| json!({"replicas": 2_000_000_000, "podManagementPolicy": policy});
        assert_eq!(steps(huge("OrderedReady"), &[pod(0, "new", "ready")]), ["+1"]);
        assert_eq!(steps(huge("Parallel"), &[pod(1, "new", "ready")]), ["+0", "+2", "+3", "+4"]);
        let six = [0, 1, 2, 3, 4, 5].map(|ordinal| pod(ordinal, "new", "ready"));
        let none = json!({"replicas": 0, "podManagementPolicy": "Parallel"});
        assert_eq!(steps(none, &six), ["-5", "-4", "-3", "-2"]);
    }
}
