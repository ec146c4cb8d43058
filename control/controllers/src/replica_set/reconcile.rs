//! The loop of ReplicaSets, and of the ReplicationControllers that they came from.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use futures::stream::select;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, ReplicationController, ReplicationControllerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::status::{Failure, status};
use super::{Plan, plan};
use crate::Error;
use crate::drive::{AGAIN, drive};
use crate::owner::{claim_all, is_ending, suitors, write_status};
use crate::pod::{create_all, delete_all, from_template, is_active, next_available};
use crate::rights::{KEEP, OWN, READ, Right};
use crate::run::World;

/// How many pods are made or deleted in one pass.
const BURST: usize = 500;

/// A kind whose objects each keep a number of equal pods.
pub(crate) trait Replicated:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Its status.
    type Status: Serialize + DeserializeOwned + PartialEq + Send + Sync;
    /// As whom its controller writes.
    const MANAGER: &'static str;
    /// The object as a ReplicaSet.
    fn as_set(&self) -> Cow<'_, ReplicaSet>;
    /// Its status as it was read.
    fn status(&self) -> Option<&Self::Status>;
}

impl Replicated for ReplicaSet {
    type Status = ReplicaSetStatus;
    const MANAGER: &'static str = "replicaset-controller";

    fn as_set(&self) -> Cow<'_, ReplicaSet> {
        Cow::Borrowed(self)
    }

    fn status(&self) -> Option<&ReplicaSetStatus> {
        self.status.as_ref()
    }
}

/// Older than ReplicaSets, and the same but for a selector without expressions.
impl Replicated for ReplicationController {
    type Status = ReplicationControllerStatus;
    const MANAGER: &'static str = "replication-controller";

    fn as_set(&self) -> Cow<'_, ReplicaSet> {
        let spec = self.spec.clone().unwrap_or_default();
        let labels = spec.template.as_ref().and_then(|template| template.metadata.as_ref()?.labels.clone());
        // Without a selector it means the pods of its template, not all pods.
        let match_labels = spec.selector.filter(|selector| !selector.is_empty()).or(labels);
        let selector = LabelSelector { match_labels, ..LabelSelector::default() };
        // The fields of both statuses have the same names.
        let status = self.status.as_ref().and_then(|status| serde_json::to_value(status).ok());
        Cow::Owned(ReplicaSet {
            metadata: self.metadata.clone(),
            spec: ReplicaSetSpec {
                replicas: spec.replicas,
                min_ready_seconds: spec.min_ready_seconds,
                selector,
                template: spec.template,
            },
            status: status.and_then(|status| serde_json::from_value(status).ok()),
        })
    }

    fn status(&self) -> Option<&ReplicationControllerStatus> {
        self.status.as_ref()
    }
}

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "apps", &["replicasets"]),
    Right::to(&["patch"], "apps", &["replicasets/status"]),
    Right::to(OWN, "apps", &["replicasets/finalizers"]),
    Right::to(READ, "", &["replicationcontrollers"]),
    Right::to(&["patch"], "", &["replicationcontrollers/status"]),
    Right::to(OWN, "", &["replicationcontrollers/finalizers"]),
    Right::to(KEEP, "", &["pods"]),
];

/// Runs the controllers of ReplicaSets and ReplicationControllers until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    join(run_for::<ReplicaSet>(world.clone()), run_for::<ReplicationController>(world)).await;
}

async fn run_for<K: Replicated>(world: Arc<World>) {
    let pods = world.pods.clone();
    drive(
        world,
        move |sets: Store<K>| {
            let orphans = pods
                .triggers(move |pod| suitors(pod, &sets, |set: &K| Some(set.as_set().spec.selector.clone())));
            select(pods.controllers::<K>(), orphans)
        },
        reconcile::<K>,
    )
    .await;
}

async fn reconcile<K: Replicated>(object: Arc<K>, world: Arc<World>) -> Result<Action, Error> {
    let namespace = object.namespace().ok_or(Error::Incomplete { kind: "ReplicaSet", field: "namespace" })?;
    let objects: Api<K> = Api::namespaced(world.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    // The newest state, since acting on an older one could make pods twice.
    let Some(object) = objects.get_opt(&object.name_any()).await? else { return Ok(Action::await_change()) };
    let set = object.as_set();
    let known = world.pods.controlled_by(&namespace, &object.uid().unwrap_or_default());
    let mut owned = claim_all(&pods, &object, &set.spec.selector, known, is_active).await?;

    let mut busy = false;
    let mut outcome = Ok(());
    let mut failure = None;
    if !is_ending(&object) {
        let voice = world.events.about(K::MANAGER, &object);
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
                let new = vec![from_template(&object, &template); missing.min(BURST)];
                let made;
                (made, outcome) = create_all(&pods, new, &voice).await;
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
    let new: K::Status = serde_json::from_value(serde_json::to_value(status(&set, &owned, failure, now))?)?;
    write_status(&objects, &object, object.status(), &new).await?;
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
