//! What a Deployment's status says of its ReplicaSets.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use super::decision::wish;
use super::progress::{self, Step};
use super::rollout::Strategy;

/// The status of a Deployment with the set of its current template and its other sets, after this step.
pub fn status(
    deployment: &Deployment,
    current: Option<&ReplicaSet>,
    old: &[&ReplicaSet],
    step: &Step,
    now: Timestamp,
) -> DeploymentStatus {
    let all = || current.into_iter().chain(old.iter().copied());
    // Several sets together may be more than a count holds.
    let count = |of: fn(&ReplicaSet) -> Option<i32>| -> i32 {
        all().fold(0, |sum: i32, set| sum.saturating_add(of(set).unwrap_or(0)))
    };
    let replicas = count(|set| Some(set.status.as_ref()?.replicas));
    let available = count(|set| set.status.as_ref()?.available_replicas);
    let asked = count(|set| set.spec.replicas);
    let some = |number: i32| Some(number).filter(|number| *number > 0);
    let before = deployment.status.clone().unwrap_or_default();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(replicas),
        updated_replicas: some(current.and_then(|set| Some(set.status.as_ref()?.replicas)).unwrap_or(0)),
        ready_replicas: some(count(|set| set.status.as_ref()?.ready_replicas)),
        available_replicas: some(available),
        unavailable_replicas: some(asked.saturating_sub(available)),
        terminating_replicas: terminating(all()),
        ..before
    };
    let conditions = status.conditions.get_or_insert_default();
    progress::set(conditions, availability(deployment, available), now);
    if let Some(problem) = failure(current, old) {
        progress::set(conditions, problem, now);
    } else {
        conditions.retain(|condition| condition.type_.as_deref() != Some("ReplicaFailure"));
    }
    progress::judge(deployment, &mut status, step, now);
    if let Step::Collided = step {
        status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
    }
    status
}

/// The pods that are on their way out; nothing where a set that was looked at does not tell of its own.
fn terminating<'a>(sets: impl Iterator<Item = &'a ReplicaSet>) -> Option<i32> {
    let statuses = sets.filter_map(|set| set.status.as_ref());
    let told = statuses.filter(|status| {
        status.observed_generation.unwrap_or(0) != 0 || status.terminating_replicas.is_some()
    });
    told.map(|status| status.terminating_replicas)
        .try_fold(0_i32, |sum, count| Some(sum.saturating_add(count?)))
}

fn availability(deployment: &Deployment, available: i32) -> DeploymentCondition {
    let wish = wish(deployment);
    let least = match wish.strategy {
        Strategy::Recreate => wish.replicas,
        Strategy::RollingUpdate(bounds) => wish.replicas.saturating_sub(bounds.unavailable),
    };
    if available >= least {
        let text = "Deployment has minimum availability.";
        progress::condition("Available", "True", "MinimumReplicasAvailable", text.to_owned())
    } else {
        let text = "Deployment does not have minimum availability.";
        progress::condition("Available", "False", "MinimumReplicasUnavailable", text.to_owned())
    }
}

/// Why pods cannot be made or deleted: that of the current set, else of any.
fn failure(current: Option<&ReplicaSet>, old: &[&ReplicaSet]) -> Option<DeploymentCondition> {
    let sets = current.into_iter().chain(old.iter().copied());
    let conditions =
        sets.flat_map(|set| set.status.iter().flat_map(|status| status.conditions.iter().flatten()));
    let found =
        conditions.into_iter().find(|condition| condition.type_.as_deref() == Some("ReplicaFailure"))?;
    let reason = found.reason.as_deref().unwrap_or_default();
    let message = found.message.clone().unwrap_or_default();
    Some(progress::condition("ReplicaFailure", found.status.as_deref().unwrap_or("True"), reason, message))
}
