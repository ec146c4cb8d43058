//! The loop of Deployments.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{iter, select_all};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::decision::{Change, REVISION, decide, revision, wish};
use super::progress::{self, Step};
use super::rollout::Strategy;
use super::status::status;
use super::template::current;
use crate::Error;
use crate::drive::{AGAIN, drive};
use crate::events::Voice;
use crate::informer::Informer;
use crate::outline::Outline;
use crate::owner::{
    changing, claim_all, controlled_by, controller, delete, is_ending, query, suitors, unless_gone,
    write_status, writing,
};
use crate::pod::has_ended;
use crate::rights::{KEEP, OWN, Right};
use crate::run::World;

const MANAGER: &str = "deployment-controller";

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(&["get", "list", "watch", "patch"], "apps", &["deployments"]),
    Right::to(&["patch"], "apps", &["deployments/status"]),
    Right::to(OWN, "apps", &["deployments/finalizers"]),
    Right::to(KEEP, "apps", &["replicasets"]),
    Right::to(&["list"], "", &["pods"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let sets = Informer::<ReplicaSet>::new();
    let following = world.clone().until_end(sets.clone().follow(world.client.clone()));
    let pods = world.pods.clone();
    let known = sets.clone();
    let deployments = drive(
        world,
        move |deployments: Store<Deployment>| {
            let orphans = sets.triggers(move |set| {
                suitors(set, &deployments, |deployment: &Deployment| Some(deployment.spec.selector.clone()))
            });
            let owned = sets.controllers();
            // A Deployment that recreates its pods waits for the last old one to go.
            let gone = pods.changes().flat_map(move |change| {
                iter(
                    change
                        .departed()
                        .and_then(|pod| deployment_of(pod, &sets))
                        .into_iter()
                        .collect::<Vec<_>>(),
                )
            });
            select_all([orphans.boxed(), owned.boxed(), gone.boxed()])
        },
        move |deployment, world| reconcile(deployment, world, known.clone()),
    );
    futures::future::join(deployments, following).await;
}

fn deployment_of(pod: &Outline<Pod>, sets: &Informer<ReplicaSet>) -> Option<ObjectRef<Deployment>> {
    let set = controller::<ReplicaSet>(pod)?;
    controller(&*sets.get(&set.namespace?, &set.name)?)
}

async fn reconcile(
    deployment: Arc<Deployment>,
    world: Arc<World>,
    known: Informer<ReplicaSet>,
) -> Result<Action, Error> {
    let namespace =
        deployment.namespace().ok_or(Error::Incomplete { kind: "Deployment", field: "namespace" })?;
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &namespace);
    let sets: Api<ReplicaSet> = Api::namespaced(world.client.clone(), &namespace);
    let Some(deployment) = deployments.get_opt(&deployment.name_any()).await? else {
        return Ok(Action::await_change());
    };
    if is_ending(&deployment) {
        return Ok(Action::await_change());
    }
    let known = known.controlled_by(&namespace, &deployment.uid().unwrap_or_default());
    let selector = &deployment.spec.selector;
    let mut owned = claim_all(&sets, &deployment, selector, known, |set| !is_ending(set)).await?;
    owned.retain(|set| !is_ending(set));
    let old_pods_run = wish(&deployment).strategy == Strategy::Recreate
        && old_pods_run(&Api::namespaced(world.client.clone(), &namespace), &deployment, &owned).await?;

    let decision = decide(&deployment, &owned, old_pods_run);
    let voice = world.events.about(MANAGER, &deployment);
    let (step, made) = match (decision.create, decision.current) {
        (Some(new), _) => create(&sets, &deployment, &new, &voice).await?,
        (None, Some(name)) => (Step::Found(name), None),
        (None, None) => (Step::Without, None),
    };
    owned.extend(made);
    let mut outcome = Ok(());
    for change in &decision.changes {
        match apply(&sets, &owned, change, &voice).await {
            Ok(changed) => {
                let name = changed.as_ref().map(ReplicaSet::name_any);
                owned.retain(|set| name.as_ref() != Some(&set.name_any()));
                owned.extend(changed);
            }
            Err(error) => outcome = Err(error),
        }
    }
    for set in owned.iter().filter(|set| decision.surplus.contains(&set.name_any())) {
        delete(&sets, set).await?;
    }
    owned.retain(|set| !decision.surplus.contains(&set.name_any()));
    outcome?;
    let deployment = note_revision(&deployments, deployment, &owned).await?;
    let now = Timestamp::now();
    let all: Vec<&ReplicaSet> = owned.iter().collect();
    let fresh = current(&deployment.spec.template, &all);
    let old: Vec<&ReplicaSet> =
        all.iter().copied().filter(|set| fresh.is_none_or(|fresh| fresh.uid() != set.uid())).collect();
    let new = status(&deployment, fresh, &old, &step, now);
    write_status(&deployments, &deployment, deployment.status.as_ref(), &new).await?;
    match step {
        Step::Failed { name, why } => Err(Error::Refused { what: "ReplicaSet", name, why }),
        _ => Ok(Action::requeue(progress::next_look(&deployment, &new, now).unwrap_or(AGAIN).min(AGAIN))),
    }
}

/// Whether pods of sets other than the current one have not ended yet.
async fn old_pods_run(pods: &Api<Pod>, deployment: &Deployment, sets: &[ReplicaSet]) -> Result<bool, Error> {
    let all: Vec<&ReplicaSet> = sets.iter().collect();
    let fresh = current(&deployment.spec.template, &all).and_then(|set| set.uid());
    let old: Vec<String> =
        sets.iter().filter_map(|set| set.uid()).filter(|uid| Some(uid) != fresh.as_ref()).collect();
    if old.is_empty() {
        return Ok(false);
    }
    let pods = pods.list(&ListParams::default().labels(&query(&deployment.spec.selector))).await?;
    let of_old = |pod: &Pod| old.iter().any(|uid| controlled_by(pod, uid));
    Ok(pods.items.iter().any(|pod| !has_ended(pod) && of_old(pod)))
}

/// Makes the set of the current template. A name that is taken already is looked into.
async fn create(
    sets: &Api<ReplicaSet>,
    deployment: &Deployment,
    new: &ReplicaSet,
    voice: &Voice<'_>,
) -> Result<(Step, Option<ReplicaSet>), Error> {
    let name = new.name_any();
    let to = new.spec.replicas.unwrap_or(1);
    match sets.create(&writing(), new).await.map_err(Error::from) {
        Ok(made) => {
            if to > 0 {
                voice.normal("ScalingReplicaSet", format!("Scaled up replica set {name} from 0 to {to}"));
            }
            Ok((Step::Created(name), Some(made)))
        }
        Err(error) if error.already_exists() => {
            let there = sets.get_opt(&name).await?;
            let mine = there.filter(|there| {
                controlled_by(there, &deployment.uid().unwrap_or_default())
                    && current(&deployment.spec.template, &[there]).is_some()
            });
            // An earlier request made it, its answer lost; or another template's hash is the same.
            Ok(mine.map_or((Step::Collided, None), |mine| (Step::Found(name), Some(mine))))
        }
        Err(error) if error.namespace_ends() => Ok((Step::Without, None)),
        Err(error @ Error::Api(kube::Error::Api(_))) if !error.is_conflict() => {
            let why = error.text();
            voice.warning(
                "ReplicaSetCreateError",
                format!("Failed to create new replica set \"{name}\": {why}"),
            );
            Ok((Step::Failed { name, why }, None))
        }
        Err(error) => Err(error),
    }
}

/// Changes a set, if it is still as it was seen.
async fn apply(
    sets: &Api<ReplicaSet>,
    owned: &[ReplicaSet],
    change: &Change,
    voice: &Voice<'_>,
) -> Result<Option<ReplicaSet>, Error> {
    let Some(set) = owned.iter().find(|set| set.name_any() == change.name) else { return Ok(None) };
    let mut spec = json!({"replicas": change.to});
    if let Some(seconds) = change.min_ready_seconds {
        spec["minReadySeconds"] = seconds.into();
    }
    let patch = json!({
        "metadata": {
            "uid": set.uid(),
            "resourceVersion": set.resource_version(),
            "annotations": change.annotations,
        },
        "spec": spec,
    });
    let changed = sets.patch(&change.name, &changing(), &Patch::Merge(patch)).await?;
    let Change { name, from, to, .. } = change;
    if from != to {
        let way = if to > from { "up" } else { "down" };
        voice.normal("ScalingReplicaSet", format!("Scaled {way} replica set {name} from {from} to {to}"));
    }
    Ok(Some(changed))
}

/// Notes at the Deployment which revision its current set is.
async fn note_revision(
    deployments: &Api<Deployment>,
    deployment: Deployment,
    owned: &[ReplicaSet],
) -> Result<Deployment, Error> {
    let all: Vec<&ReplicaSet> = owned.iter().collect();
    let revision =
        current(&deployment.spec.template, &all).and_then(revision).map(|revision| revision.to_string());
    if revision.is_none() || deployment.annotations().get(REVISION) == revision.as_ref() {
        return Ok(deployment);
    }
    let patch = json!({"metadata": {
        "uid": deployment.uid(),
        "resourceVersion": deployment.resource_version(),
        "annotations": {REVISION: revision},
    }});
    let name = deployment.name_any();
    let noted = deployments.patch(&name, &changing(), &Patch::Merge(patch)).await;
    Ok(unless_gone(noted)?.unwrap_or(deployment))
}
