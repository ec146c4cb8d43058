//! Whether a Deployment gets on: its `Progressing` condition and its deadline.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use kube::ResourceExt as _;

use crate::time::time;

const PROGRESSING: &str = "Progressing";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// What a pass did about the set of the current template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It was made.
    Created(String),
    /// There was one.
    Found(String),
    /// There is none: the Deployment is paused.
    Without,
    /// It could not be made.
    Failed {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// Another template's set has the name that it was to have.
    Collided,
}

impl Step {
    fn set(&self) -> Option<&str> {
        match self {
            Self::Created(name) | Self::Found(name) => Some(name),
            Self::Failed { .. } | Self::Without | Self::Collided => None,
        }
    }
}

/// A condition without times.
pub(super) fn condition(kind: &str, status: &str, reason: &str, message: String) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(kind.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..DeploymentCondition::default()
    }
}

/// Takes up a condition, unless the one there says the same.
pub(super) fn set(conditions: &mut Vec<DeploymentCondition>, mut new: DeploymentCondition, now: Timestamp) {
    let before = conditions.iter().position(|condition| condition.type_ == new.type_);
    let before = before.map(|at| (at, conditions[at].clone()));
    if let Some((_, before)) = &before
        && before.status == new.status
        && before.reason == new.reason
    {
        return;
    }
    let same_status = before.as_ref().filter(|(_, before)| before.status == new.status);
    new.last_transition_time =
        same_status.and_then(|(_, before)| before.last_transition_time.clone()).or_else(|| Some(time(now)));
    new.last_update_time = Some(time(now));
    match before {
        Some((at, _)) => conditions[at] = new,
        None => conditions.push(new),
    }
}

/// Brings the `Progressing` condition of a new status up to date. The status before is the Deployment's.
pub(super) fn judge(deployment: &Deployment, status: &mut DeploymentStatus, step: &Step, now: Timestamp) {
    let counts = status.clone();
    let conditions = status.conditions.get_or_insert_default();
    if deadline(deployment).is_none() {
        conditions.retain(|condition| condition.type_.as_deref() != Some(PROGRESSING));
        return;
    }
    if pause(deployment, conditions, now) {
        return;
    }
    let told = |conditions: &[DeploymentCondition]| find(conditions).and_then(|told| told.reason.clone());
    match step {
        Step::Created(name) => {
            let text = format!("Created new replica set \"{name}\"");
            set(conditions, condition(PROGRESSING, "True", "NewReplicaSetCreated", text), now);
        }
        Step::Found(name) if told(conditions).is_none() => {
            let text = format!("Found new replica set \"{name}\"");
            set(conditions, condition(PROGRESSING, "True", "FoundNewReplicaSet", text), now);
        }
        Step::Failed { name, why } => {
            let text = format!("Failed to create new replica set \"{name}\": {why}");
            set(conditions, condition(PROGRESSING, "False", "FailedCreate", text), now);
            return;
        }
        Step::Found(_) | Step::Without | Step::Collided => {}
    }
    let all_updated = counts.replicas.unwrap_or(0) == counts.updated_replicas.unwrap_or(0);
    if all_updated && told(conditions).as_deref() == Some(COMPLETE) {
        return;
    }
    let subject = match step.set() {
        Some(set) => format!("ReplicaSet \"{set}\""),
        None => format!("Deployment \"{}\"", deployment.name_any()),
    };
    if is_complete(deployment, &counts) {
        let text = format!("{subject} has successfully progressed.");
        set(conditions, condition(PROGRESSING, "True", COMPLETE, text), now);
    } else if advanced(deployment, &counts) {
        let mut new =
            condition(PROGRESSING, "True", "ReplicaSetUpdated", format!("{subject} is progressing."));
        let before = conditions.iter().position(|told| told.type_.as_deref() == Some(PROGRESSING));
        let before = before.map(|at| conditions.remove(at));
        // Each advance counts the deadline anew.
        new.last_update_time = Some(time(now));
        let same = before.filter(|before| before.status == new.status);
        new.last_transition_time =
            same.and_then(|before| before.last_transition_time).or_else(|| Some(time(now)));
        conditions.push(new);
    } else if timed_out(deployment, conditions, now) {
        let text = format!("{subject} has timed out progressing.");
        set(conditions, condition(PROGRESSING, "False", TIMED_OUT, text), now);
    }
}

/// Notes a pause or its end; tells whether nothing more is to be judged, since a paused Deployment need not get on.
fn pause(deployment: &Deployment, conditions: &mut Vec<DeploymentCondition>, now: Timestamp) -> bool {
    let reason = find(conditions).and_then(|told| told.reason.clone());
    let paused = deployment.spec.paused.unwrap_or(false);
    if reason.as_deref() == Some(TIMED_OUT) {
        return paused;
    }
    let told = reason.as_deref() == Some(PAUSED);
    if paused && !told {
        set(conditions, condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".to_owned()), now);
    } else if !paused && told {
        let text = "Deployment is resumed".to_owned();
        set(conditions, condition(PROGRESSING, "Unknown", "DeploymentResumed", text), now);
    }
    paused
}

/// After how long the Deployment is to be looked at again, since its deadline may have passed by then.
pub(super) fn next_look(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let conditions = status.conditions.as_deref()?;
    let told = find(conditions)?;
    if matches!(told.reason.as_deref(), Some(COMPLETE | TIMED_OUT | PAUSED)) {
        return None;
    }
    let end = end(deployment, conditions)?;
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    Some(left + Duration::from_secs(1))
}

fn find(conditions: &[DeploymentCondition]) -> Option<&DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_.as_deref() == Some(PROGRESSING))
}

/// How long the Deployment may stand still. The largest number stands for ever.
fn deadline(deployment: &Deployment) -> Option<i64> {
    deployment.spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX).map(i64::from)
}

/// The moment at which the deadline passes unless something happens before.
fn end(deployment: &Deployment, conditions: &[DeploymentCondition]) -> Option<Timestamp> {
    let since = find(conditions)?.last_update_time.as_ref()?.0;
    since.checked_add(SignedDuration::from_secs(deadline(deployment)?)).ok()
}

fn timed_out(deployment: &Deployment, conditions: &[DeploymentCondition], now: Timestamp) -> bool {
    match find(conditions).and_then(|told| told.reason.as_deref()) {
        None | Some(COMPLETE) => false,
        Some(TIMED_OUT) => true,
        Some(_) => end(deployment, conditions).is_some_and(|end| end < now),
    }
}

fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let replicas = deployment.spec.replicas.unwrap_or(1);
    let all = [status.updated_replicas, status.replicas, status.available_replicas];
    all.iter().all(|count| count.unwrap_or(0) == replicas)
}

/// Whether more is done than the last status said.
fn advanced(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let before = deployment.status.clone().unwrap_or_default();
    let more = |of: fn(&DeploymentStatus) -> Option<i32>| of(status).unwrap_or(0) > of(&before).unwrap_or(0);
    let old = |status: &DeploymentStatus| {
        status.replicas.unwrap_or(0).saturating_sub(status.updated_replicas.unwrap_or(0))
    };
    more(|status| status.updated_replicas)
        || more(|status| status.ready_replicas)
        || more(|status| status.available_replicas)
        || old(status) < old(&before)
}

#[cfg(test)]
mod tests;
