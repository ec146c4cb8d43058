//! The conditions of a Job.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};

use crate::time::time;

/// A Job that has done its work.
pub const COMPLETE: &str = "Complete";
/// A Job that will not do it.
pub const FAILED: &str = "Failed";
/// A Job that will have failed once its pods have ended.
pub const FAILURE_TARGET: &str = "FailureTarget";
/// A Job that will be complete once its pods have ended.
pub const SUCCESS_MET: &str = "SuccessCriteriaMet";
/// A Job that is not to run now.
pub const SUSPENDED: &str = "Suspended";

/// A condition that is true.
pub fn find<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let conditions = status.conditions.iter().flatten();
    conditions.into_iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// How a Job has ended, if it has.
pub fn end(status: &JobStatus) -> Option<&JobCondition> {
    find(status, COMPLETE).or_else(|| find(status, FAILED))
}

/// Sets a condition; its times stay while its status does.
pub fn set(status: &mut JobStatus, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let at = conditions.iter().position(|condition| condition.type_ == kind);
    if at.is_some_and(|at| conditions[at].status == value) {
        return;
    }
    let new = JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(time(now)),
        last_transition_time: Some(time(now)),
    };
    match at {
        Some(at) => conditions[at] = new,
        None => conditions.push(new),
    }
}
