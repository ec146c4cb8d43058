//! The loop of Deployments.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::rollout::{Bounds, Size, Strategy, Wish, plan};
use super::template::{HASH_LABEL, age_order, current, hash};
use crate::Error;
use crate::owner::{
    AGAIN, adopt, controlled_by, controller_reference, delete, drain, is_orphan, query, retry,
};
use crate::run::World;

const MANAGER: &str = "deployment-controller";
/// Which change of the template a set stands for; `kubectl rollout history` reads it.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// For how many replicas a set was last sized.
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let client = world.client.clone();
    let ended = world.shutdown.clone();
    let controller = Controller::new(Api::<Deployment>::all(client.clone()), watcher::Config::default())
        .owns(Api::<ReplicaSet>::all(client), watcher::Config::default())
        .graceful_shutdown_on(async move { ended.cancelled().await });
    drain(controller.run(reconcile, retry, world)).await;
}

async fn reconcile(deployment: Arc<Deployment>, world: Arc<World>) -> Result<Action, Error> {
    let namespace =
        deployment.namespace().ok_or(Error::Incomplete { kind: "Deployment", field: "namespace" })?;
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &namespace);
    let sets: Api<ReplicaSet> = Api::namespaced(world.client.clone(), &namespace);
    let Some(deployment) = deployments.get_opt(&deployment.name_any()).await? else {
        return Ok(Action::await_change());
    };
    if deployment.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let mut owned = owned_sets(&sets, &deployment).await?;
    owned.sort_by_key(age_order);
    let wish = wish_of(&deployment);
    let newest = owned.iter().filter_map(revision).max().unwrap_or(0);
    let at = current(&deployment.spec.template, &owned).map(|set| set.name_any());
    let position = at.and_then(|name| owned.iter().position(|set| set.name_any() == name));
    let fresh = position.map(|position| owned.remove(position));

    let old: Vec<Size> = owned.iter().map(size).collect();
    let steps = plan(wish, fresh.as_ref().map(size), &old);
    let fresh = match fresh {
        None if wish.paused => None,
        None => Some(create(&sets, &deployment, steps.current, newest + 1).await?),
        Some(set) => {
            let wanted = if revision(&set).unwrap_or(0) < newest { newest + 1 } else { newest.max(1) };
            Some(resize(&sets, set, steps.current, wish.replicas, Some(wanted)).await?)
        }
    };
    let mut rest = Vec::new();
    for (set, replicas) in owned.into_iter().zip(steps.old) {
        rest.push(resize(&sets, set, replicas, wish.replicas, None).await?);
    }
    clean(&sets, &deployment, &rest).await?;
    write_status(&deployments, &deployment, fresh.as_ref(), &rest).await?;
    Ok(Action::requeue(AGAIN))
}

async fn owned_sets(sets: &Api<ReplicaSet>, deployment: &Deployment) -> Result<Vec<ReplicaSet>, Error> {
    let uid = deployment.uid().unwrap_or_default();
    let selected = sets.list(&ListParams::default().labels(&query(&deployment.spec.selector))).await?;
    let mut owned = Vec::new();
    for set in selected.items {
        if set.metadata.deletion_timestamp.is_some() {
            continue;
        }
        if controlled_by(&set, &uid) {
            owned.push(set);
        } else if is_orphan(&set) {
            owned.push(adopt(sets, &set, controller_reference(deployment)).await?);
        }
    }
    Ok(owned)
}

fn wish_of(deployment: &Deployment) -> Wish {
    let spec = &deployment.spec;
    let replicas = spec.replicas.unwrap_or(1);
    let strategy = spec.strategy.as_ref();
    let strategy = match strategy.and_then(|strategy| strategy.type_.as_deref()) {
        Some("Recreate") => Strategy::Recreate,
        _ => {
            let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
            Strategy::RollingUpdate(Bounds::resolve(
                replicas,
                rolling.and_then(|rolling| rolling.max_surge.as_ref()),
                rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
            ))
        }
    };
    Wish { replicas, strategy, paused: spec.paused.unwrap_or(false) }
}

fn size(set: &ReplicaSet) -> Size {
    let status = set.status.as_ref();
    Size {
        wanted: set.spec.replicas.unwrap_or(1),
        available: status.and_then(|status| status.available_replicas).unwrap_or(0),
        existing: status.map_or(0, |status| status.replicas),
        sized_for: set.annotations().get(DESIRED).and_then(|text| text.parse().ok()),
    }
}

fn revision(set: &ReplicaSet) -> Option<i64> {
    set.annotations().get(REVISION)?.parse().ok()
}

async fn create(
    sets: &Api<ReplicaSet>,
    deployment: &Deployment,
    replicas: i32,
    revision: i64,
) -> Result<ReplicaSet, Error> {
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let hash = hash(&deployment.spec.template, collisions);
    let mut template = deployment.spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = deployment.spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    let annotations = BTreeMap::from([
        (REVISION.to_owned(), revision.to_string()),
        (DESIRED.to_owned(), deployment.spec.replicas.unwrap_or(1).to_string()),
    ]);
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: deployment.spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        ..ReplicaSet::default()
    };
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    Ok(sets.create(&parameters, &set).await?)
}

/// Gives a set its size, and its revision if it stands for the current template.
async fn resize(
    sets: &Api<ReplicaSet>,
    set: ReplicaSet,
    replicas: i32,
    desired: i32,
    revision: Option<i64>,
) -> Result<ReplicaSet, Error> {
    let mut annotations = BTreeMap::from([(DESIRED.to_owned(), desired.to_string())]);
    if let Some(revision) = revision {
        annotations.insert(REVISION.to_owned(), revision.to_string());
    }
    let told = annotations.iter().all(|(key, value)| set.annotations().get(key) == Some(value));
    if told && set.spec.replicas == Some(replicas) {
        return Ok(set);
    }
    let patch = json!({
        "metadata": {"resourceVersion": set.resource_version(), "annotations": annotations},
        "spec": {"replicas": replicas},
    });
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    Ok(sets.patch(&set.name_any(), &parameters, &Patch::Merge(patch)).await?)
}

/// Deletes the oldest empty sets above the number that history keeps.
async fn clean(sets: &Api<ReplicaSet>, deployment: &Deployment, old: &[ReplicaSet]) -> Result<(), Error> {
    let keep = usize::try_from(deployment.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
    let empty = |set: &&ReplicaSet| {
        set.spec.replicas == Some(0) && set.status.as_ref().is_none_or(|status| status.replicas == 0)
    };
    let mut finished: Vec<&ReplicaSet> = old.iter().filter(empty).collect();
    finished.sort_by_key(|set| revision(set));
    let surplus = finished.len().saturating_sub(keep);
    for set in finished.into_iter().take(surplus) {
        delete(sets, set).await?;
    }
    Ok(())
}

async fn write_status(
    deployments: &Api<Deployment>,
    deployment: &Deployment,
    fresh: Option<&ReplicaSet>,
    old: &[ReplicaSet],
) -> Result<(), Error> {
    let name = deployment.name_any();
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    if let Some(revision) = fresh.and_then(revision) {
        let text = revision.to_string();
        if deployment.annotations().get(REVISION) != Some(&text) {
            let patch = json!({"metadata": {"annotations": {REVISION: text}}});
            deployments.patch(&name, &parameters, &Patch::Merge(patch)).await?;
        }
    }
    let status = status_of(deployment, fresh, old, Timestamp::now());
    if deployment.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let patch = json!({"status": {
        "observedGeneration": status.observed_generation,
        "replicas": status.replicas,
        "updatedReplicas": status.updated_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "unavailableReplicas": status.unavailable_replicas,
        "conditions": status.conditions,
    }});
    match deployments.patch_status(&name, &parameters, &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}

fn status_of(
    deployment: &Deployment,
    fresh: Option<&ReplicaSet>,
    old: &[ReplicaSet],
    now: Timestamp,
) -> DeploymentStatus {
    let count = |of: fn(&ReplicaSet) -> Option<i32>| -> i32 {
        fresh.into_iter().chain(old).map(|set| of(set).unwrap_or(0)).sum()
    };
    let replicas = count(|set| Some(set.status.as_ref()?.replicas));
    let available = count(|set| set.status.as_ref()?.available_replicas);
    let updated = fresh.and_then(|set| Some(set.status.as_ref()?.replicas)).unwrap_or(0);
    let asked: i32 = fresh.into_iter().chain(old).map(|set| set.spec.replicas.unwrap_or(0)).sum();
    let wish = wish_of(deployment);
    let unavailable = (asked - available).max(0);
    let least = match wish.strategy {
        Strategy::Recreate => wish.replicas,
        Strategy::RollingUpdate(bounds) => wish.replicas - bounds.unavailable,
    };
    let set_name = fresh.map(ReplicaSet::name_any).unwrap_or_default();
    let done = updated == wish.replicas && replicas == wish.replicas && available == wish.replicas;
    let enough = if available >= least {
        ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.".to_owned())
    } else {
        let text = "Deployment does not have minimum availability.".to_owned();
        ("Available", "False", "MinimumReplicasUnavailable", text)
    };
    let progress = if done {
        let text = format!("ReplicaSet \"{set_name}\" has successfully progressed.");
        ("Progressing", "True", "NewReplicaSetAvailable", text)
    } else {
        ("Progressing", "True", "ReplicaSetUpdated", format!("ReplicaSet \"{set_name}\" is progressing."))
    };
    let some = |number: i32| Some(number).filter(|number| *number > 0);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(replicas),
        updated_replicas: some(updated),
        ready_replicas: some(count(|set| set.status.as_ref()?.ready_replicas)),
        available_replicas: some(available),
        unavailable_replicas: some(unavailable),
        conditions: Some([enough, progress].map(|parts| condition(deployment, parts, now)).into()),
        ..deployment.status.clone().unwrap_or_default()
    }
}

/// A condition that keeps its times while it says the same.
fn condition(
    deployment: &Deployment,
    (kind, status, reason, message): (&str, &str, &str, String),
    now: Timestamp,
) -> DeploymentCondition {
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let before = conditions.into_iter().find(|condition| condition.type_.as_deref() == Some(kind));
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let same_status = before.filter(|before| before.status.as_deref() == Some(status));
    let same = same_status.filter(|before| {
        before.reason.as_deref() == Some(reason) && before.message.as_deref() == Some(&message)
    });
    DeploymentCondition {
        type_: Some(kind.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: same_status
            .and_then(|before| before.last_transition_time.clone())
            .or_else(|| Some(now.clone())),
        last_update_time: same.and_then(|before| before.last_update_time.clone()).or(Some(now)),
    }
}
