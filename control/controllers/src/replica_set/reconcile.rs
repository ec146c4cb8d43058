//! The loop of ReplicaSets.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::select;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};

use super::status::{Failure, status};
use super::{Plan, plan};
use crate::Error;
use crate::drive::{AGAIN, drive};
use crate::owner::{claim_all, is_ending, suitors, write_status};
use crate::pod::{create_all, delete_all, from_template, is_active, next_available};
use crate::run::World;

/// How many pods are made or deleted in one pass.
const BURST: usize = 500;
const MANAGER: &str = "replicaset-controller";

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let pods = world.pods.clone();
    drive(
        world,
        move |sets| {
            let orphans =
                pods.triggers(move |pod| suitors(pod, &sets, |set: &ReplicaSet| Some(&set.spec.selector)));
            select(pods.controllers(), orphans)
        },
        reconcile,
    )
    .await;
}

async fn reconcile(set: Arc<ReplicaSet>, world: Arc<World>) -> Result<Action, Error> {
    let namespace = set.namespace().ok_or(Error::Incomplete { kind: "ReplicaSet", field: "namespace" })?;
    let sets: Api<ReplicaSet> = Api::namespaced(world.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    // The newest state, since acting on an older one could make pods twice.
    let Some(set) = sets.get_opt(&set.name_any()).await? else { return Ok(Action::await_change()) };
    let known = world.pods.controlled_by(&namespace, &set.uid().unwrap_or_default());
    let mut owned = claim_all(&pods, &set, &set.spec.selector, known, is_active).await?;

    let mut busy = false;
    let mut outcome = Ok(());
    let mut failure = None;
    if !is_ending(&set) {
        let voice = world.events.about(MANAGER, &set);
        let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        let planned = match plan(wanted, &owned) {
            Plan::Keep => Planned::Nothing,
            Plan::Create(missing) => Planned::Create(missing),
            Plan::Delete(surplus) => Planned::Delete(surplus.into_iter().cloned().collect()),
        };
        match planned {
            Planned::Nothing => {}
            Planned::Create(missing) => {
                busy = missing > BURST;
                let template = set.spec.template.clone().unwrap_or_default();
                let new = vec![from_template(&set, &template); missing.min(BURST)];
                let made;
                (made, outcome) = create_all(&pods, new, MANAGER, &voice).await;
                owned.extend(made);
                failure = outcome.as_ref().err().map(|error| Failure::create(error.text()));
            }
            Planned::Delete(surplus) => {
                busy = surplus.len() > BURST;
                let going: Vec<&Pod> = surplus.iter().take(BURST).collect();
                outcome = delete_all(&pods, &going, &voice).await;
                failure = outcome.as_ref().err().map(|error| Failure::delete(error.text()));
                if outcome.is_ok() {
                    owned.retain(|pod| !going.iter().any(|gone| gone.uid() == pod.uid()));
                }
            }
        }
    }
    let now = Timestamp::now();
    let new = status(&set, &owned, failure, now);
    write_status(&sets, &set, MANAGER, set.status.as_ref(), &new).await?;
    outcome?;
    let least = set.spec.min_ready_seconds.unwrap_or(0);
    let soon = next_available(owned.iter().filter(|pod| is_active(pod)), least, now);
    Ok(Action::requeue(if busy { Duration::ZERO } else { soon.unwrap_or(AGAIN) }))
}

/// A plan that no longer borrows the pods that it was made from.
enum Planned {
    Nothing,
    Create(usize),
    Delete(Vec<Pod>),
}
