//! What to do about a Job and its pods.
//!
//! A decision holds the steps that its status, once written, makes safe: pods are released only after a status that
//! remembers them, and made only after a status that says since when the Job runs.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::conditions::{self, COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_MET, SUSPENDED};
use super::indexes::Indexes;
use super::pods::{self, back_off, is_indexed, is_tracked};
use super::policy;
use crate::owner::is_ending;
use crate::pod::{has_ended, is_active, is_ready, phase};
use crate::time::time;

mod tally;

use tally::Tally;

/// What is known of a Job.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The Job.
    pub job: &'a Job,
    /// All its pods.
    pub pods: &'a [Pod],
    /// How long to wait after a first failure.
    pub first_wait: Duration,
    /// How many pods are made in one pass at most.
    pub burst: usize,
    /// The time.
    pub now: Timestamp,
}

/// Something to tell the user about a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Whether it may need a look.
    pub warning: bool,
    /// The reason.
    pub reason: String,
    /// The text.
    pub note: String,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// The status to write.
    pub status: JobStatus,
    /// The names of the pods that the status remembers, to be let go.
    pub release: Vec<String>,
    /// The names of the pods to delete.
    pub delete: Vec<String>,
    /// The pods to make.
    pub create: Vec<Pod>,
    /// The Job has ended and its time is over.
    pub expired: bool,
    /// When to look again though nothing happens.
    pub again: Option<Duration>,
    /// What to tell.
    pub remarks: Vec<Remark>,
}

impl Decision {
    fn look_again(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |before| before.min(wait)));
    }

    fn remark(&mut self, warning: bool, reason: &str, note: &str) {
        self.remarks.push(Remark { warning, reason: reason.to_owned(), note: note.to_owned() });
    }
}

/// Decides the next steps.
pub fn decide(snapshot: Snapshot<'_>) -> Decision {
    let Snapshot { job, pods, now, .. } = snapshot;
    let spec = job.spec.clone().unwrap_or_default();
    let mut status = job.status.clone().unwrap_or_default();
    let mut decision = Decision::default();
    if let Some(end) = conditions::end(&status) {
        let ended = end.last_transition_time.as_ref().map_or(now, |time| time.0);
        if let Some(seconds) = spec.ttl_seconds_after_finished.and_then(|seconds| u64::try_from(seconds).ok())
        {
            let passed = Duration::try_from(now.duration_since(ended)).unwrap_or_default();
            let left = Duration::from_secs(seconds).saturating_sub(passed);
            decision.expired = left.is_zero() && !is_ending(job);
            decision.again = Some(left).filter(|left| !left.is_zero());
        }
        decision.release = names(pods.iter().filter(|pod| is_tracked(pod)));
        decision.status = status;
        return decision;
    }
    let suspended = spec.suspend.unwrap_or(false);
    if status.start_time.is_none() && !suspended {
        status.start_time = Some(time(now));
    }
    let tally = Tally::of(snapshot, &mut status);
    decision.release = names(tally.release.iter().copied());

    let active: Vec<&Pod> = pods.iter().filter(|pod| is_active(pod)).collect();
    let terminating = pods.iter().filter(|pod| is_ending(*pod) && !has_ended(pod)).count();
    status.active = count(active.len());
    status.ready = Some(count(active.iter().filter(|pod| is_ready(pod)).count()).unwrap_or(0));
    status.terminating = Some(count(terminating).unwrap_or(0));

    if conditions::find(&status, FAILURE_TARGET).is_none() && conditions::find(&status, SUCCESS_MET).is_none()
    {
        aim(job, &spec, &mut status, &tally, active.len(), now);
    }
    let failing = conditions::find(&status, FAILURE_TARGET).cloned();
    let succeeding = conditions::find(&status, SUCCESS_MET).cloned();
    if let Some(target) = failing.as_ref().or(succeeding.as_ref()) {
        decision.delete = names(active.iter().copied());
        let settled = active.is_empty() && terminating == 0 && tally.is_settled(&status);
        if settled {
            let kind = if failing.is_some() { FAILED } else { COMPLETE };
            let reason = target.reason.clone().unwrap_or_default();
            let message = target.message.clone().unwrap_or_default();
            conditions::set(&mut status, kind, "True", &reason, &message, now);
            status.uncounted_terminated_pods = None;
            if failing.is_some() {
                decision.remark(true, &reason, &message);
            } else {
                status.completion_time = Some(time(now));
                decision.remark(false, "Completed", "Job completed");
            }
        }
    } else if suspended && !is_ending(job) {
        if conditions::find(&status, SUSPENDED).is_none() {
            decision.remark(false, "Suspended", "Job suspended");
        }
        conditions::set(&mut status, SUSPENDED, "True", "JobSuspended", "Job suspended", now);
        status.start_time = None;
        decision.delete = names(active.iter().copied());
    } else if !is_ending(job) {
        if conditions::find(&status, SUSPENDED).is_some() {
            conditions::set(&mut status, SUSPENDED, "False", "JobResumed", "Job resumed", now);
            status.start_time = Some(time(now));
            decision.remark(false, "Resumed", "Job resumed");
        }
        if let Some(left) = until_deadline(&spec, &status, now) {
            decision.look_again(left);
        }
        manage(snapshot, &spec, &tally, &active, terminating, &mut decision);
    }
    decision.status = status;
    decision
}

/// Notes whether the Job is to end now, and how.
fn aim(job: &Job, spec: &JobSpec, status: &mut JobStatus, tally: &Tally<'_>, active: usize, now: Timestamp) {
    let failed = |status: &mut JobStatus, reason: &str, message: &str| {
        conditions::set(status, FAILURE_TARGET, "True", reason, message, now);
    };
    if let Some(message) = &tally.failed_by_policy {
        return failed(status, "PodFailurePolicy", message);
    }
    let limit = usize::try_from(spec.backoff_limit.unwrap_or(6)).unwrap_or(0);
    if tally.failed > limit || tally.restarted_too_often {
        return failed(status, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    let suspended = spec.suspend.unwrap_or(false);
    if !suspended && until_deadline(spec, status, now) == Some(Duration::ZERO) {
        return failed(status, "DeadlineExceeded", "Job was active longer than specified deadline");
    }
    let completions = spec.completions.and_then(|completions| usize::try_from(completions).ok());
    if is_indexed(job) {
        let failed_indexes = tally.failed_indexes.as_ref().map_or(0, Indexes::count);
        let most = spec.max_failed_indexes.and_then(|most| usize::try_from(most).ok());
        if most.is_some_and(|most| failed_indexes > most) {
            let text = "Job has exceeded the specified maximal number of failed indexes";
            return failed(status, "MaxFailedIndexesExceeded", text);
        }
        let done = tally.completed.count() + failed_indexes;
        if failed_indexes > 0 && completions.is_some_and(|completions| done >= completions) {
            return failed(status, "FailedIndexes", "Job has failed indexes");
        }
        if let Some(message) = policy::success(job, &tally.completed) {
            return conditions::set(status, SUCCESS_MET, "True", "SuccessPolicy", &message, now);
        }
    }
    let complete = match completions {
        // With any number of completions, the first success says that the work is done; those at it may end it.
        None => tally.succeeded > 0 && active == 0,
        Some(completions) => tally.succeeded >= completions && active == 0,
    };
    if complete {
        let text = "Reached expected number of succeeded pods";
        conditions::set(status, SUCCESS_MET, "True", "CompletionsReached", text, now);
    }
}

/// How long the Job may still run.
fn until_deadline(spec: &JobSpec, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    let most = Duration::from_secs(u64::try_from(spec.active_deadline_seconds?).ok()?);
    let since = status.start_time.as_ref()?.0;
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(most.saturating_sub(passed))
}

/// Makes or deletes pods so that as many work as should.
fn manage(
    snapshot: Snapshot<'_>,
    spec: &JobSpec,
    tally: &Tally<'_>,
    active: &[&Pod],
    terminating: usize,
    decision: &mut Decision,
) {
    let parallelism = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(0);
    let completions = spec.completions.and_then(|completions| usize::try_from(completions).ok());
    let failed_indexes = tally.failed_indexes.as_ref().map_or(0, Indexes::count);
    let wanted = match completions {
        None if tally.succeeded > 0 => active.len().min(parallelism),
        None => parallelism,
        Some(completions) => completions.saturating_sub(tally.succeeded + failed_indexes).min(parallelism),
    };
    let surplus = surplus(snapshot.job, completions, tally, active, wanted);
    let staying = active.len() - surplus.len();
    decision.delete = names(surplus.iter().copied());
    if !decision.delete.is_empty() {
        return;
    }
    let waiting = if tally::replaces_only_ended(spec) { terminating } else { 0 };
    // Users choose the number, so it says nothing about what there is room for.
    let missing = wanted.saturating_sub(staying + waiting).min(snapshot.burst);
    if missing == 0 {
        return;
    }
    if !is_indexed(snapshot.job) || spec.backoff_limit_per_index.is_none() {
        let ended = snapshot.pods.iter();
        let wait = back_off(ended, snapshot.first_wait, snapshot.now);
        if !wait.is_zero() {
            return decision.look_again(wait);
        }
    }
    if !is_indexed(snapshot.job) {
        decision.create = vec![pods::new(snapshot.job, None); missing];
        return;
    }
    let all = u32::try_from(completions.unwrap_or(0)).unwrap_or(u32::MAX);
    let held = tally.held(active, waiting > 0, snapshot.pods);
    for index in held.missing(all) {
        if decision.create.len() == missing {
            break;
        }
        let (failures, last) = tally::failures_of(index, snapshot.pods);
        let per_index = spec.backoff_limit_per_index.is_some();
        let wait = match last {
            Some(last) if per_index => pods::wait(last, failures, snapshot.first_wait, snapshot.now),
            _ => Duration::ZERO,
        };
        if wait.is_zero() {
            decision.create.push(pods::new(snapshot.job, Some((index, failures))));
        } else {
            decision.look_again(wait);
        }
    }
}

/// The pods that are too many: those whose index is done or done by another, then those whose loss costs least.
fn surplus<'a>(
    job: &Job,
    completions: Option<usize>,
    tally: &Tally<'_>,
    active: &[&'a Pod],
    wanted: usize,
) -> Vec<&'a Pod> {
    let mut order = active.to_vec();
    order.sort_by_cached_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
        (phase(pod) == "Running", is_ready(pod), std::cmp::Reverse(created), pod.name_any())
    });
    let mut surplus = Vec::new();
    if is_indexed(job) {
        let mut taken = std::collections::BTreeSet::new();
        // The one that got furthest keeps its index.
        for pod in order.iter().rev() {
            let valid =
                pods::index(pod).filter(|index| completions.is_some_and(|all| (*index as usize) < all));
            let useful = valid.is_some_and(|index| !tally.is_over(index) && taken.insert(index));
            if !useful {
                surplus.push(*pod);
            }
        }
    }
    let staying = order.iter().filter(|pod| !surplus.iter().any(|gone| gone.uid() == pod.uid()));
    let staying: Vec<&'a Pod> = staying.copied().collect();
    let over = staying.len().saturating_sub(wanted);
    surplus.extend(staying.into_iter().take(over));
    surplus
}

fn names<'a>(pods: impl Iterator<Item = &'a Pod>) -> Vec<String> {
    pods.map(|pod| pod.name_any()).collect()
}

fn count(pods: usize) -> Option<i32> {
    Some(i32::try_from(pods).unwrap_or(i32::MAX)).filter(|count| *count > 0)
}

#[cfg(test)]
mod tests;
