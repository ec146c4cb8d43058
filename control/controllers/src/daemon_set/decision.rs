//! Which pods of a DaemonSet are made and which go.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;

use super::placement::{Fit, bind, fit, node_for};
use crate::job::pods::ended_at;
use crate::owner::is_ending;
use crate::pod::{from_template, has_ended, is_available, is_ready, next_available};
use crate::revision::HASH_LABEL;

/// The label in which pods keep the count of their template's changes.
const GENERATION_LABEL: &str = "pod-template-generation";
const GENERATION: &str = "deprecated.daemonset.template.generation";

/// What is known of a set.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The set.
    pub set: &'a DaemonSet,
    /// All nodes.
    pub nodes: &'a [Node],
    /// The set's pods.
    pub pods: &'a [Pod],
    /// The label of the revision of its template.
    pub update: &'a str,
    /// How long a pod that has ended stays before another takes its place.
    pub failure_wait: Duration,
    /// The time.
    pub now: Timestamp,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// The pods to make.
    pub create: Vec<Pod>,
    /// The names of the pods to delete.
    pub delete: Vec<String>,
    /// Those of them that have failed, and their nodes.
    pub failed: Vec<(String, String)>,
    /// The status, as the pods are now.
    pub status: DaemonSetStatus,
    /// When to look again though nothing happens.
    pub again: Option<Duration>,
}

/// A node and the pods there, the oldest first.
struct Place<'a> {
    node: String,
    fit: Fit,
    pods: Vec<&'a Pod>,
}

/// Decides what to do.
pub fn decide(snapshot: Snapshot<'_>) -> Decision {
    let Snapshot { set, pods, now, .. } = snapshot;
    let least = set.spec.min_ready_seconds.unwrap_or(0);
    let places = places(snapshot);
    let mut decision = Decision {
        status: status(snapshot, &places, least),
        again: next_available(pods, least, now),
        ..Decision::default()
    };
    if is_ending(set) {
        return decision;
    }
    for place in &places {
        fill(snapshot, place, &mut decision);
    }
    let by_hand =
        set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete");
    if !by_hand {
        roll(snapshot, &places, least, &mut decision);
    }
    decision.delete.sort();
    decision.delete.dedup();
    decision
}

fn places(snapshot: Snapshot<'_>) -> Vec<Place<'_>> {
    let template = snapshot.set.spec.template.spec.clone().unwrap_or_default();
    let mut by_node: BTreeMap<String, Vec<&Pod>> = BTreeMap::new();
    for pod in snapshot.pods {
        by_node.entry(node_for(pod).unwrap_or_default()).or_default().push(pod);
    }
    let mut places = Vec::new();
    for node in snapshot.nodes {
        let pods = by_node.remove(&node.name_any()).unwrap_or_default();
        places.push(Place { node: node.name_any(), fit: fit(&template, node), pods });
    }
    // Nodes that are gone, and pods for nobody.
    let gone = Fit { run: false, stay: false };
    places.extend(by_node.into_iter().map(|(node, pods)| Place { node, fit: gone, pods }));
    for place in &mut places {
        place
            .pods
            .sort_by_key(|pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.name_any()));
    }
    places
}

/// Makes the pod that a node lacks, and takes away those that it has too many.
fn fill(snapshot: Snapshot<'_>, place: &Place<'_>, decision: &mut Decision) {
    if !place.fit.stay {
        decision.delete.extend(place.pods.iter().filter(|pod| !is_ending(**pod)).map(|pod| pod.name_any()));
        return;
    }
    let mut alive = Vec::new();
    let mut waiting = false;
    for pod in &place.pods {
        if is_ending(*pod) {
            // Its name is free once it is gone; two daemons on a node would stand in each other's way.
            waiting = true;
        } else if has_ended(pod) {
            waiting = true;
            let since = ended_at(pod).unwrap_or(snapshot.now);
            let passed = Duration::try_from(snapshot.now.duration_since(since)).unwrap_or_default();
            let left = snapshot.failure_wait.saturating_sub(passed);
            if left.is_zero() {
                decision.delete.push(pod.name_any());
                decision.failed.push((pod.name_any(), place.node.clone()));
            } else {
                decision.again = Some(decision.again.map_or(left, |before| before.min(left)));
            }
        } else {
            alive.push(*pod);
        }
    }
    if alive.is_empty() && !waiting && place.fit.run {
        decision.create.push(pod_for(snapshot, &place.node));
    }
    let updated = |pod: &Pod| is_updated(snapshot, pod);
    for kind in [true, false] {
        let mut same = alive.iter().filter(|pod| updated(pod) == kind);
        // The oldest of each revision stays; the update decides between revisions.
        same.next();
        decision.delete.extend(same.map(|pod| pod.name_any()));
    }
}

/// Replaces pods of old revisions, as many at a time as may be missing or doubled.
fn roll(snapshot: Snapshot<'_>, places: &[Place<'_>], least: i32, decision: &mut Decision) {
    let wanted = places.iter().filter(|place| place.fit.run).count();
    let (missing, surge) = bounds(snapshot.set, wanted);
    let is_well = |pod: &Pod| is_available(pod, least, snapshot.now);
    let mut broken = Vec::new();
    let mut sound = Vec::new();
    let (mut unavailable, mut doubled) = (0_usize, 0_usize);
    for place in places.iter().filter(|place| place.fit.run) {
        let alive = || place.pods.iter().copied().filter(|pod| !is_ending(*pod) && !has_ended(pod));
        let new = alive().find(|pod| is_updated(snapshot, pod));
        let old = alive().find(|pod| !is_updated(snapshot, pod));
        match (new, old) {
            (None, None) => unavailable += 1,
            (Some(new), None) => unavailable += usize::from(!is_well(new)),
            (Some(new), Some(old)) if is_well(new) || !is_well(old) => decision.delete.push(old.name_any()),
            (Some(_), Some(_)) => doubled += 1,
            (None, Some(old)) if is_well(old) => sound.push((place, old)),
            (None, Some(old)) => {
                unavailable += 1;
                broken.push((place, old));
            }
        }
    }
    if surge > 0 {
        let all = broken.iter().chain(sound.iter().take(surge.saturating_sub(doubled)));
        let new: Vec<Pod> = all.map(|(place, _)| pod_for(snapshot, &place.node)).collect();
        decision.create.extend(new);
        return;
    }
    let room = missing.saturating_sub(unavailable);
    let going = broken.iter().chain(sound.iter().take(room));
    decision.delete.extend(going.map(|(_, pod)| pod.name_any()));
}

/// How many pods may be missing, and how many may be doubled.
fn bounds(set: &DaemonSet, wanted: usize) -> (usize, usize) {
    let rolling = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let count = |value: &IntOrString| match value {
        IntOrString::Int(count) => usize::try_from(*count).unwrap_or(0),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
            percent.saturating_mul(wanted).div_ceil(100)
        }
    };
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).map_or(0, count);
    let missing = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).map_or(1, count);
    if surge == 0 && missing == 0 { (1, 0) } else { (missing, surge) }
}

fn is_updated(snapshot: Snapshot<'_>, pod: &Pod) -> bool {
    pod.labels().get(HASH_LABEL).is_some_and(|hash| hash == snapshot.update)
}

fn pod_for(snapshot: Snapshot<'_>, node: &str) -> Pod {
    let mut pod = from_template(snapshot.set, &snapshot.set.spec.template);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), snapshot.update.to_owned());
    if let Some(generation) = snapshot.set.annotations().get(GENERATION) {
        labels.insert(GENERATION_LABEL.to_owned(), generation.clone());
    }
    bind(pod.spec.get_or_insert_with(PodSpec::default), node);
    pod
}

fn status(snapshot: Snapshot<'_>, places: &[Place<'_>], least: i32) -> DaemonSetStatus {
    let (mut wanted, mut current, mut stray, mut ready, mut available, mut updated) = (0, 0, 0, 0, 0, 0);
    for place in places {
        let first = place.pods.iter().find(|pod| !is_ending(**pod)).or(place.pods.first());
        if !place.fit.run {
            stray += i32::from(first.is_some());
            continue;
        }
        wanted += 1;
        let Some(first) = first else { continue };
        current += 1;
        ready += i32::from(is_ready(first));
        available += i32::from(is_available(first, least, snapshot.now));
        updated += i32::from(place.pods.iter().any(|pod| !is_ending(*pod) && is_updated(snapshot, pod)));
    }
    let some = |count: i32| Some(count).filter(|count| *count > 0);
    DaemonSetStatus {
        observed_generation: snapshot.set.metadata.generation,
        desired_number_scheduled: wanted,
        current_number_scheduled: current,
        number_misscheduled: stray,
        number_ready: ready,
        number_available: some(available),
        number_unavailable: some(wanted - available),
        updated_number_scheduled: some(updated),
        ..snapshot.set.status.clone().unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn nodes(names: &[&str]) -> Vec<Node> {
        let node = |name: &&str| serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        names.iter().map(node).collect()
    }

    fn set(strategy: Value) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"name": "log"}, "spec": {"selector": {}, "template": {}, "updateStrategy": strategy},
        }))
        .unwrap()
    }

    /// A pod in words: its node, its revision, and whether it is `ready`, `starting`, `ending` or `failed`.
    fn pod(node: &str, revision: &str, state: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("log-{node}-{revision}"), "labels": {HASH_LABEL: revision},
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "deletionTimestamp": (state == "ending").then_some("2026-01-01T00:00:00Z"),
            },
            "spec": {"nodeName": node, "containers": []},
            "status": {
                "phase": if state == "failed" { "Failed" } else { "Running" },
                "conditions": [{"type": "Ready", "status": if state == "ready" { "True" } else { "False" }}],
            },
        }))
        .unwrap()
    }

    fn decided(set: &DaemonSet, nodes: &[Node], pods: &[Pod]) -> Decision {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        decide(Snapshot { set, nodes, pods, update: "new", failure_wait: Duration::from_secs(10), now })
    }

    fn made(decision: &Decision) -> Vec<String> {
        decision.create.iter().filter_map(node_for).collect()
    }

    #[test]
    fn each_node_gets_one_pod_and_none_stays_without_a_node() {
        let set = set(json!({}));
        let pods = [pod("a", "new", "ready"), pod("gone", "new", "ready"), pod("c", "new", "ending")];
        let decision = decided(&set, &nodes(&["a", "b", "c"]), &pods);
        assert_eq!(made(&decision), ["b"]);
        assert_eq!(decision.delete, ["log-gone-new"]);
        let status = &decision.status;
        assert_eq!(
            (status.desired_number_scheduled, status.number_ready, status.number_misscheduled),
            (3, 1, 1)
        );
        assert_eq!(status.number_unavailable, Some(2));
    }

    #[test]
    fn a_pod_that_has_ended_makes_room_after_a_while() {
        let mut failed = pod("a", "new", "failed");
        let decision = decided(&set(json!({})), &nodes(&["a"]), std::slice::from_ref(&failed));
        assert_eq!((decision.delete.len(), decision.failed.len(), decision.create.len()), (1, 1, 0));
        failed.metadata.creation_timestamp = Some(crate::time::time("2026-01-01T00:09:57Z".parse().unwrap()));
        let decision = decided(&set(json!({})), &nodes(&["a"]), &[failed]);
        assert_eq!((decision.delete.len(), decision.again), (0, Some(Duration::from_secs(7))));
    }

    #[test]
    fn an_update_takes_as_many_pods_at_a_time_as_may_be_missing() {
        let names = ["a", "b", "c", "d"];
        let old: Vec<Pod> = names.iter().map(|node| pod(node, "old", "ready")).collect();
        let gone = |strategy: Value, pods: &[Pod]| decided(&set(strategy), &nodes(&names), pods).delete;
        assert_eq!(gone(json!({}), &old), ["log-a-old"]);
        assert_eq!(
            gone(json!({"rollingUpdate": {"maxUnavailable": "50%"}}), &old),
            ["log-a-old", "log-b-old"]
        );
        assert!(gone(json!({"type": "OnDelete"}), &old).is_empty());
        let mut half = old.clone();
        half[0] = pod("a", "new", "starting");
        assert!(gone(json!({}), &half).is_empty());
        half[0] = pod("a", "new", "ready");
        half[2] = pod("c", "old", "starting");
        assert_eq!(gone(json!({}), &half), ["log-c-old"], "one that serves nobody goes first");
    }

    #[test]
    fn an_update_with_surge_makes_the_new_pod_before_the_old_one_goes() {
        let strategy = || set(json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}));
        let old = [pod("a", "old", "ready"), pod("b", "old", "ready")];
        let first = decided(&strategy(), &nodes(&["a", "b"]), &old);
        assert_eq!((made(&first), first.delete.len()), (vec!["a".to_owned()], 0));
        let both = [old[0].clone(), old[1].clone(), pod("a", "new", "starting")];
        let waiting = decided(&strategy(), &nodes(&["a", "b"]), &both);
        assert_eq!((waiting.create.len(), waiting.delete.len()), (0, 0));
        let done = [old[0].clone(), old[1].clone(), pod("a", "new", "ready")];
        let next = decided(&strategy(), &nodes(&["a", "b"]), &done);
        assert_eq!((made(&next), next.delete), (vec!["b".to_owned()], vec!["log-a-old".to_owned()]));
    }
}
