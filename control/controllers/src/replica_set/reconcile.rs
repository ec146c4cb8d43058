//! The loop of ReplicaSets.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{Plan, is_active, is_ready, plan};
use crate::Error;
use crate::owner::{
    AGAIN, adopt, controlled_by, controller_reference, delete, drain, is_orphan, query, retry,
};
use crate::run::World;

/// How many pods are made or deleted in one pass.
const BURST: usize = 100;
const MANAGER: &str = "replicaset-controller";

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let client = world.client.clone();
    let ended = world.shutdown.clone();
    let controller = Controller::new(Api::<ReplicaSet>::all(client.clone()), watcher::Config::default())
        .owns(Api::<Pod>::all(client), watcher::Config::default())
        .graceful_shutdown_on(async move { ended.cancelled().await });
    drain(controller.run(reconcile, retry, world)).await;
}

async fn reconcile(set: Arc<ReplicaSet>, world: Arc<World>) -> Result<Action, Error> {
    let namespace = set.namespace().ok_or(Error::Incomplete { kind: "ReplicaSet", field: "namespace" })?;
    let sets: Api<ReplicaSet> = Api::namespaced(world.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    // The newest state, since acting on an older one could make pods twice.
    let Some(set) = sets.get_opt(&set.name_any()).await? else { return Ok(Action::await_change()) };
    let uid = set.uid().unwrap_or_default();
    let ending = set.metadata.deletion_timestamp.is_some();
    let selected = pods.list(&ListParams::default().labels(&query(&set.spec.selector))).await?;
    let mut owned = Vec::new();
    for pod in selected.items {
        if controlled_by(&pod, &uid) {
            owned.push(pod);
        } else if !ending && is_orphan(&pod) && is_active(&pod) {
            owned.push(adopt(&pods, &pod, controller_reference(&set)).await?);
        }
    }
    let mut busy = false;
    if !ending {
        let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        match plan(wanted, &owned) {
            Plan::Keep => {}
            Plan::Create(missing) => {
                busy = missing > BURST;
                let pod = pod_of(&set);
                let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
                let made = (0..missing.min(BURST)).map(|_| pods.create(&parameters, &pod));
                let made = try_join_all(made).await?;
                owned.extend(made);
            }
            Plan::Delete(surplus) => {
                busy = surplus.len() > BURST;
                try_join_all(surplus.into_iter().take(BURST).map(|pod| delete(&pods, pod))).await?;
            }
        }
    }
    write_status(&sets, &set, &owned).await?;
    Ok(Action::requeue(if busy { Duration::ZERO } else { next_look(&set, &owned) }))
}

/// A pod as the set's template describes it.
fn pod_of(set: &ReplicaSet) -> Pod {
    let template = set.spec.template.clone().unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.name_any())),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        ..Pod::default()
    }
}

/// Since when a pod is ready, in seconds.
fn ready_for(pod: &Pod, now: Timestamp) -> Option<i64> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready =
        conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(0, |since| now.as_second() - since.0.as_second()))
}

/// When a ready pod may have become available; otherwise in a while.
fn next_look(set: &ReplicaSet, owned: &[Pod]) -> Duration {
    let least = i64::from(set.spec.min_ready_seconds.unwrap_or(0));
    let now = Timestamp::now();
    let waits = owned
        .iter()
        .filter_map(|pod| ready_for(pod, now))
        .map(|ready| least - ready)
        .filter(|wait| *wait > 0);
    waits.min().and_then(|wait| u64::try_from(wait).ok()).map_or(AGAIN, Duration::from_secs)
}

fn status_of(set: &ReplicaSet, owned: &[Pod], now: Timestamp) -> ReplicaSetStatus {
    let least = i64::from(set.spec.min_ready_seconds.unwrap_or(0));
    let template = set.spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let wanted = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let labelled = |pod: &&&Pod| wanted.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
    let active: Vec<&Pod> = owned.iter().filter(|pod| is_active(pod)).collect();
    let count = |pods: usize| Some(i32::try_from(pods).unwrap_or(i32::MAX)).filter(|own| *own > 0);
    let available = |pod: &&&Pod| is_ready(pod) && ready_for(pod, now).is_some_and(|ready| ready >= least);
    ReplicaSetStatus {
        replicas: count(active.len()).unwrap_or(0),
        fully_labeled_replicas: count(active.iter().filter(labelled).count()),
        ready_replicas: count(active.iter().filter(|pod| is_ready(pod)).count()),
        available_replicas: count(active.iter().filter(available).count()),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
        ..ReplicaSetStatus::default()
    }
}

async fn write_status(sets: &Api<ReplicaSet>, set: &ReplicaSet, owned: &[Pod]) -> Result<(), Error> {
    let status = status_of(set, owned, Timestamp::now());
    if set.status.as_ref() == Some(&status) {
        return Ok(());
    }
    // A merge patch leaves nothing behind: counts that fell to zero are cleared by name.
    let patch = json!({"status": {
        "replicas": status.replicas,
        "fullyLabeledReplicas": status.fully_labeled_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "observedGeneration": status.observed_generation,
    }});
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    match sets.patch_status(&set.name_any(), &parameters, &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}
