//! How many pods would bring what they use to what is wanted.
//!
//! Pods that tell nothing are counted so that a guess never makes the change larger: as using all that they may where pods
//! would go, as using nothing where pods would come.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use xebec_machinery::quantity::Quantity;

use crate::owner::is_ending;
use crate::pod::{condition, phase};

/// For how long after its start a pod's processor time may be that of starting.
const STARTING: SignedDuration = SignedDuration::from_secs(300);
/// How soon after its start a pod that was never ready would have become so.
const FIRST_READINESS: SignedDuration = SignedDuration::from_secs(30);

/// What a pod used.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// How much, in billionths.
    pub nanos: i128,
    /// Until when it was measured.
    pub until: Timestamp,
    /// For how long it was measured.
    pub window: SignedDuration,
}

/// What is wanted of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A part of what each pod requests, in percent.
    Utilization(i32),
    /// An amount for each pod, in billionths.
    Average(i128),
}

/// By how much a metric may be off before anything is done, as a part of what is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// When it is above.
    pub up: f64,
    /// When it is below.
    pub down: f64,
}

/// What one metric says.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// How many pods there should be.
    pub replicas: i32,
    /// What a pod uses on average, in billionths.
    pub average: i128,
    /// What the pods use of what they request, in percent.
    pub utilization: Option<i32>,
}

/// Why a metric says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// No pod that works told what it uses.
    #[error("did not receive metrics for targeted pods (pods might be unready)")]
    NoMetrics,
    /// Of what a pod does not request no part can be said.
    #[error("missing request for {resource} in container {container} of Pod {pod}")]
    NoRequest {
        /// The resource.
        resource: String,
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
}

/// A metric: a resource, of one container or of all.
#[derive(Debug, Clone, Copy)]
pub struct Metric<'a> {
    /// The resource.
    pub resource: &'a str,
    /// The container, where only one counts.
    pub container: Option<&'a str>,
    /// What is wanted.
    pub target: Target,
    /// By how much it may be off.
    pub tolerance: Tolerance,
}

/// The number of pods that a metric proposes.
pub fn propose(
    metric: Metric<'_>,
    pods: &[Pod],
    samples: &BTreeMap<String, Sample>,
    current: i32,
    now: Timestamp,
) -> Result<Proposal, Silence> {
    let (mut working, mut unready, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for pod in
        pods.iter().filter(|pod| !is_ending(*pod) && phase(pod) != "Failed" && phase(pod) != "Succeeded")
    {
        let wanted = wanted(metric, pod)?;
        match samples.get(&pod.name_any()) {
            _ if phase(pod) == "Pending" => unready.push(wanted),
            None => missing.push(wanted),
            Some(sample) if metric.resource == "cpu" && is_starting(pod, sample, now) => unready.push(wanted),
            Some(sample) => working.push((sample.nanos, wanted)),
        }
    }
    if working.is_empty() {
        return Err(Silence::NoMetrics);
    }
    let used = working.iter().fold(0_i128, |sum, (used, _)| sum.saturating_add(*used));
    let at_work = i128::try_from(working.len()).unwrap_or(i128::MAX);
    let average = used / at_work;
    let utilization = match metric.target {
        Target::Average(_) => None,
        Target::Utilization(percent) => {
            let wanted = working.iter().fold(0_i128, |sum, (_, wanted)| sum.saturating_add(wanted.own));
            let part = (used.saturating_mul(i128::from(percent))).checked_div(wanted.max(1)).unwrap_or(0);
            i32::try_from(part).ok()
        }
    };
    let made = |replicas: i32| Ok(Proposal { replicas, average, utilization });
    let first = ratio(working.iter().copied());
    let within = |ratio: f64| 1.0 - metric.tolerance.down <= ratio && ratio <= 1.0 + metric.tolerance.up;
    let grows_with_unready = !unready.is_empty() && first > 1.0;
    if !grows_with_unready && missing.is_empty() {
        return made(if within(first) { current } else { rounded(first, working.len()) });
    }
    let mut all = working;
    if first < 1.0 {
        // As if it used all that it may: pods go only if even then fewer would do.
        all.extend(missing.into_iter().map(|wanted| (wanted.full, wanted)));
    } else {
        all.extend(missing.into_iter().map(|wanted| (0, wanted)));
    }
    if grows_with_unready {
        all.extend(unready.into_iter().map(|wanted| (0, wanted)));
    }
    let second = ratio(all.iter().copied());
    if within(second) || (first < 1.0) != (second < 1.0) {
        return made(current);
    }
    let replicas = rounded(second, all.len());
    let backwards = second < 1.0 && replicas > current || second > 1.0 && replicas < current;
    made(if backwards { current } else { replicas })
}

/// What is wanted of one pod, in billionths.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    own: i128,
    /// What it is taken to use where it tells nothing and pods would go.
    full: i128,
}

fn wanted(metric: Metric<'_>, pod: &Pod) -> Result<Wanted, Silence> {
    let percent = match metric.target {
        Target::Average(amount) => return Ok(Wanted { own: amount, full: amount }),
        Target::Utilization(percent) => i128::from(percent),
    };
    let mut requested: i128 = 0;
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    for container in containers.filter(|own| metric.container.is_none_or(|name| name == own.name)) {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let amount = requests.and_then(|requests| requests.get(metric.resource));
        let amount = amount.and_then(|text| Quantity::parse(&text.0).ok());
        let amount = amount.ok_or_else(|| Silence::NoRequest {
            resource: metric.resource.to_owned(),
            container: container.name.clone(),
            pod: pod.name_any(),
        })?;
        requested = requested.saturating_add(amount.nanos());
    }
    let part = |percent: i128| requested.saturating_mul(percent) / 100;
    Ok(Wanted { own: part(percent), full: part(percent.max(100)) })
}

/// Whether what a pod used may be what its start took.
fn is_starting(pod: &Pod, sample: &Sample, now: Timestamp) -> bool {
    let ready = condition(pod, "Ready");
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(ready), Some(started)) = (ready, started) else { return true };
    let changed = ready.last_transition_time.as_ref().map_or(started.0, |time| time.0);
    if now.duration_since(started.0) < STARTING {
        return ready.status == "False" || sample.until.duration_since(changed) < sample.window;
    }
    ready.status == "False" && changed.duration_since(started.0) < FIRST_READINESS
}

#[allow(clippy::cast_precision_loss, reason = "a ratio of amounts needs no more than a double has")]
fn ratio(all: impl Iterator<Item = (i128, Wanted)>) -> f64 {
    let (used, wanted) = all.fold((0_i128, 0_i128), |(used, wanted), (own, target)| {
        (used.saturating_add(own), wanted.saturating_add(target.own))
    });
    used as f64 / wanted.max(1) as f64
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "numbers of pods are small, and the conversion saturates"
)]
fn rounded(ratio: f64, pods: usize) -> i32 {
    (ratio * pods as f64).ceil() as i32
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    const MILLI: i128 = 1_000_000;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    /// A pod that requests a processor; `state` is `ready`, `fresh` (ready, just started), `pending` or `failed`.
    fn pod(name: &str, state: &str) -> Pod {
        let started = if state == "fresh" { "2026-01-01T00:59:50Z" } else { "2026-01-01T00:00:00Z" };
        let phase = match state {
            "pending" => "Pending",
            "failed" => "Failed",
            _ => "Running",
        };
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": phase, "startTime": started, "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": started},
            ]},
        }))
        .unwrap()
    }

    fn proposed(target: Target, pods: &[(&str, Option<i128>)]) -> Result<i32, Silence> {
        let all: Vec<Pod> =
            pods.iter().enumerate().map(|(at, (state, _))| pod(&format!("p{at}"), state)).collect();
        let samples = pods.iter().enumerate().filter_map(|(at, (_, millis))| {
            let sample =
                Sample { nanos: (*millis)? * MILLI, until: now(), window: SignedDuration::from_secs(30) };
            Some((format!("p{at}"), sample))
        });
        let tolerance = Tolerance { up: 0.1, down: 0.1 };
        let metric = Metric { resource: "cpu", container: None, target, tolerance };
        let current = i32::try_from(pods.len()).unwrap();
        propose(metric, &all, &samples.collect(), current, now()).map(|proposal| proposal.replicas)
    }

    #[test]
    fn the_number_brings_use_to_the_target() {
        let half = Target::Utilization(50);
        let ready = |millis: i128| ("ready", Some(millis));
        for (pods, expected) in [
            (vec![ready(500), ready(500)], 2),
            (vec![ready(540), ready(540)], 2),
            (vec![ready(1000), ready(800)], 4),
            (vec![ready(100), ready(100), ready(100)], 1),
            (vec![ready(0), ready(0)], 0),
        ] {
            assert_eq!(proposed(half, &pods), Ok(expected), "{pods:?}");
        }
        assert_eq!(proposed(Target::Average(200 * MILLI), &[ready(300), ready(300)]), Ok(3));
    }

    #[test]
    fn pods_that_tell_nothing_never_make_the_change_larger() {
        let half = Target::Utilization(50);
        let (busy, idle) = (("ready", Some(1000)), ("ready", Some(100)));
        assert_eq!(proposed(half, &[busy, busy, ("ready", None)]), Ok(4));
        assert_eq!(proposed(half, &[idle, idle, ("ready", None)]), Ok(3));
        assert_eq!(proposed(half, &[busy, ("pending", None)]), Ok(2));
        assert_eq!(proposed(half, &[busy, ("fresh", Some(3000))]), Ok(2), "its start says nothing");
        assert_eq!(proposed(half, &[busy, ("failed", Some(3000))]), Ok(2));
        assert_eq!(proposed(half, &[("pending", None)]), Err(Silence::NoMetrics));
    }

    #[test]
    fn of_what_is_not_requested_no_part_can_be_said() {
        let mut plain = pod("a", "ready");
        plain.spec.as_mut().unwrap().containers[0].resources = None;
        let tolerance = Tolerance { up: 0.1, down: 0.1 };
        let metric = Metric { resource: "cpu", container: None, target: Target::Utilization(50), tolerance };
        let silence = propose(metric, &[plain], &BTreeMap::new(), 1, now()).unwrap_err();
        assert_eq!(silence.to_string(), "missing request for cpu in container c of Pod a");
    }
}
