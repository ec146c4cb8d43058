//! Counting a Job's pods, each exactly once.

use std::collections::HashSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;

use super::super::conditions::{self, FAILURE_TARGET, SUCCESS_MET};
use super::super::indexes::Indexes;
use super::super::pods::{ended_at, failures_before, index, is_indexed, is_tracked};
use super::super::policy::{self, Failure};
use super::Snapshot;
use crate::owner::is_ending;
use crate::pod::{is_active, phase};

/// How many pods' uids a status holds at a time.
const UNCOUNTED: usize = 500;

/// What became of a Job's pods.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    /// How many have succeeded, or how many indexes are done.
    pub(super) succeeded: usize,
    /// How many have failed and count.
    pub(super) failed: usize,
    /// The indexes that are done.
    pub(super) completed: Indexes,
    /// The indexes that have failed for good, where each has a limit of its own.
    pub(super) failed_indexes: Option<Indexes>,
    /// Why a pod's failure is the Job's, in words.
    pub(super) failed_by_policy: Option<String>,
    /// Whether containers were restarted in place more often than pods may fail.
    pub(super) restarted_too_often: bool,
    /// The pods that the status remembers, or that need not be remembered.
    pub(super) release: Vec<&'a Pod>,
    left: usize,
}

impl<'a> Tally<'a> {
    /// Counts, and brings the counts of the status up to date.
    pub(super) fn of(snapshot: Snapshot<'a>, status: &mut JobStatus) -> Self {
        let Snapshot { job, pods, .. } = snapshot;
        let spec = job.spec.clone().unwrap_or_default();
        let indexed = is_indexed(job);
        let completions = spec.completions.and_then(|all| u32::try_from(all).ok()).unwrap_or(0);
        settle(status, pods);
        let read = |text: &Option<String>| Indexes::parse(text.as_deref().unwrap_or_default(), completions);
        let per_index = spec.backoff_limit_per_index.filter(|_| indexed);
        let mut tally = Self {
            succeeded: 0,
            failed: 0,
            completed: read(&status.completed_indexes),
            failed_indexes: per_index.map(|_| read(&status.failed_indexes)),
            failed_by_policy: None,
            restarted_too_often: restarted_too_often(&spec, pods),
            release: Vec::new(),
            left: 0,
        };
        let mut uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let (mut good, mut bad) =
            (uncounted.succeeded.take().unwrap_or_default(), uncounted.failed.take().unwrap_or_default());
        for pod in pods.iter().filter(|pod| is_tracked(pod)) {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            if good.contains(&uid) || bad.contains(&uid) {
                tally.release.push(pod);
                continue;
            }
            if good.len() + bad.len() >= UNCOUNTED {
                tally.left += usize::from(!is_active(pod));
                continue;
            }
            match fate(job, &spec, status, pod) {
                Fate::Undecided => {}
                Fate::Succeeded if indexed => {
                    if let Some(index) = index(pod).filter(|index| *index < completions) {
                        tally.completed.insert(index);
                    }
                    tally.release.push(pod);
                }
                Fate::Succeeded => {
                    good.push(uid);
                    tally.release.push(pod);
                }
                Fate::Failed => {
                    if tally.fail(job, pod, per_index) {
                        bad.push(uid);
                    }
                    tally.release.push(pod);
                }
                Fate::Gone => tally.release.push(pod),
            }
        }
        let number = |count: Option<i32>| usize::try_from(count.unwrap_or(0)).unwrap_or(0);
        tally.failed = number(status.failed) + bad.len();
        tally.succeeded =
            if indexed { tally.completed.count() } else { number(status.succeeded) + good.len() };
        if indexed {
            status.succeeded = super::count(tally.completed.count());
            status.completed_indexes = Some(tally.completed.to_string()).filter(|text| !text.is_empty());
        }
        if let Some(failed) = &tally.failed_indexes {
            status.failed_indexes = Some(failed.to_string());
        }
        let some = |uids: Vec<String>| (!uids.is_empty()).then_some(uids);
        status.uncounted_terminated_pods =
            Some(UncountedTerminatedPods { succeeded: some(good), failed: some(bad) });
        tally
    }

    /// Takes up a failure; tells whether it counts.
    fn fail(&mut self, job: &Job, pod: &Pod, per_index: Option<i32>) -> bool {
        let failure = policy::failure(job, pod);
        if let Failure::FailJob { message } = &failure {
            self.failed_by_policy.get_or_insert_with(|| message.clone());
        }
        if let (Some(limit), Some(failed), Some(index)) = (per_index, &mut self.failed_indexes, index(pod)) {
            let limit = u32::try_from(limit).unwrap_or(0);
            if failure == Failure::FailIndex || failure == Failure::Count && failures_before(pod) >= limit {
                failed.insert(index);
            }
        }
        failure != Failure::Ignore
    }

    /// Whether nothing more is to be counted.
    pub(super) fn is_settled(&self, status: &JobStatus) -> bool {
        let uncounted = status.uncounted_terminated_pods.as_ref();
        let waits =
            uncounted.is_some_and(|uncounted| uncounted.succeeded.is_some() || uncounted.failed.is_some());
        self.left == 0 && !waits
    }

    /// Whether an index is done or has failed for good.
    pub(super) fn is_over(&self, index: u32) -> bool {
        self.completed.contains(index)
            || self.failed_indexes.as_ref().is_some_and(|failed| failed.contains(index))
    }

    /// The indexes that need no pod: they are over, or a pod is at them.
    pub(super) fn held(&self, active: &[&Pod], after_end: bool, pods: &[Pod]) -> Indexes {
        let mut held = self.completed.clone();
        held.extend(self.failed_indexes.iter().flat_map(Indexes::ranges));
        let ending = pods
            .iter()
            .filter(|pod| after_end && is_ending(*pod) && !matches!(phase(pod), "Succeeded" | "Failed"));
        for at in active.iter().copied().chain(ending).filter_map(index) {
            held.insert(at);
        }
        held
    }
}

/// What became of a pod that was not counted yet.
enum Fate {
    Undecided,
    Succeeded,
    Failed,
    /// It ended, and that says nothing about the work.
    Gone,
}

fn fate(job: &Job, spec: &JobSpec, status: &JobStatus, pod: &Pod) -> Fate {
    match phase(pod) {
        "Succeeded" => return Fate::Succeeded,
        "Failed" => return Fate::Failed,
        _ => {}
    }
    let over = is_ending(job) || conditions::find(status, FAILURE_TARGET).is_some();
    if conditions::find(status, SUCCESS_MET).is_some() && is_ending(pod) {
        return Fate::Gone;
    }
    if is_ending(pod) && spec.suspend == Some(true) && !over {
        return Fate::Gone;
    }
    if is_ending(pod) && (over || !replaces_only_ended(spec)) { Fate::Failed } else { Fate::Undecided }
}

/// Whether a pod that is on its way out still counts as one that works.
pub(super) fn replaces_only_ended(spec: &JobSpec) -> bool {
    match spec.pod_replacement_policy.as_deref() {
        Some(policy) => policy == "Failed",
        None => spec.pod_failure_policy.is_some(),
    }
}

/// How often an index has failed, and when last.
pub(super) fn failures_of(at: u32, pods: &[Pod]) -> (u32, Option<Timestamp>) {
    let failed = pods.iter().filter(|pod| index(pod) == Some(at) && phase(pod) == "Failed");
    let count = failed.clone().map(|pod| failures_before(pod).saturating_add(1)).max().unwrap_or(0);
    (count, failed.filter_map(ended_at).max())
}

/// Moves the uids of pods that were let go from the remembered ones to the counts.
fn settle(status: &mut JobStatus, pods: &[Pod]) {
    let Some(uncounted) = &mut status.uncounted_terminated_pods else { return };
    let held: HashSet<&str> =
        pods.iter().filter(|pod| is_tracked(pod)).filter_map(|pod| pod.metadata.uid.as_deref()).collect();
    for (uids, total) in
        [(&mut uncounted.succeeded, &mut status.succeeded), (&mut uncounted.failed, &mut status.failed)]
    {
        let Some(all) = uids else { continue };
        let before = all.len();
        all.retain(|uid| held.contains(uid.as_str()));
        let counted = i32::try_from(before - all.len()).unwrap_or(i32::MAX);
        if counted > 0 {
            *total = Some(total.unwrap_or(0).saturating_add(counted));
        }
    }
}

fn restarted_too_often(spec: &JobSpec, pods: &[Pod]) -> bool {
    let restarts_in_place =
        spec.template.spec.as_ref().is_some_and(|spec| spec.restart_policy.as_deref() == Some("OnFailure"));
    if !restarts_in_place {
        return false;
    }
    let alive = pods.iter().filter(|pod| is_active(pod));
    let containers = alive.flat_map(|pod| {
        let status = pod.status.iter();
        status.flat_map(|status| {
            let init = status.init_container_statuses.iter().flatten();
            status.container_statuses.iter().flatten().chain(init)
        })
    });
    let restarts: i64 = containers.map(|container| i64::from(container.restart_count)).sum();
    let limit = i64::from(spec.backoff_limit.unwrap_or(6));
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}
