//! The loop of PodDisruptionBudgets.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DynamicObject, ListParams};
use kube::core::{GroupVersionKind, SelectorExt as _};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt as _};

use super::budget::{Snapshot, judge, needs_scale};
use crate::Error;
use crate::drive::drive;
use crate::outline::Outline;
use crate::owner::{controller, is_ending, query, selector_of, write_status};
use crate::pod::has_ended;
use crate::rights::{READ, Right};
use crate::run::World;

const MANAGER: &str = "disruption-controller";
/// How often the sizes of controllers are looked at again, which nobody tells of.
const SIZES: std::time::Duration = std::time::Duration::from_secs(30);

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "policy", &["poddisruptionbudgets"]),
    Right::to(&["patch"], "policy", &["poddisruptionbudgets/status"]),
    Right::to(&["list"], "", &["pods"]),
    Right::to(&["get"], "", &["replicationcontrollers"]),
    Right::to(&["get"], "apps", &["deployments", "replicasets", "statefulsets"]),
    Right::to(&["get"], "*", &["*/scale"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let pods = world.pods.clone();
    drive(
        world,
        move |budgets: Store<PodDisruptionBudget>| pods.triggers(move |pod| guarding(pod, &budgets)),
        reconcile,
    )
    .await;
}

/// The budgets that select a pod.
fn guarding(pod: &Outline<Pod>, budgets: &Store<PodDisruptionBudget>) -> Vec<ObjectRef<PodDisruptionBudget>> {
    let selects = |budget: &&Arc<PodDisruptionBudget>| {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()).and_then(selector_of);
        budget.namespace() == pod.namespace()
            && selector.is_some_and(|selector| selector.matches(pod.labels()))
    };
    budgets.state().iter().filter(selects).map(|budget| ObjectRef::from_obj(&**budget)).collect()
}

async fn reconcile(budget: Arc<PodDisruptionBudget>, world: Arc<World>) -> Result<Action, Error> {
    let namespace =
        budget.namespace().ok_or(Error::Incomplete { kind: "PodDisruptionBudget", field: "namespace" })?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(world.client.clone(), &namespace);
    let Some(budget) = budgets.get_opt(&budget.name_any()).await? else { return Ok(Action::await_change()) };
    if is_ending(&budget) {
        return Ok(Action::await_change());
    }
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    let pods = match budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()) {
        None => Vec::new(),
        Some(selector) => pods.list(&ListParams::default().labels(&query(selector))).await?.items,
    };
    let voice = world.events.about(MANAGER, &budget);
    let mut scale = 0;
    if needs_scale(&budget) {
        let found = scale_of(&world.client, &namespace, &pods).await?;
        if found.unmanaged {
            let note = "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the status of \
                the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these \
                pods please set \".spec.minAvailable\" field of the PDB to an integer value.";
            voice.warning("UnmanagedPods", note.to_owned());
        }
        scale = found.wanted;
    }
    let judgement = judge(Snapshot { budget: &budget, pods: &pods, scale, now: Timestamp::now() });
    for pod in &judgement.undisrupted {
        let name = budget.name_any();
        let note = format!("Pod {pod} was expected by PDB {namespace}/{name} to be deleted but it wasn't");
        voice.warning("NotDeleted", note);
    }
    write_status(&budgets, &budget, budget.status.as_ref(), &judgement.status).await?;
    Ok(Action::requeue(judgement.again.unwrap_or(SIZES).min(SIZES)))
}

#[derive(Default)]
struct Scale {
    wanted: i32,
    unmanaged: bool,
}

/// How many pods the controllers of these pods want together, each asked once.
async fn scale_of(client: &Client, namespace: &str, pods: &[Pod]) -> Result<Scale, Error> {
    let mut owners: BTreeMap<String, OwnerReference> = BTreeMap::new();
    let mut scale = Scale::default();
    for pod in pods.iter().filter(|pod| !has_ended(pod)) {
        match pod.owner_references().iter().find(|owner| owner.controller == Some(true)) {
            Some(owner) => drop(owners.insert(owner.uid.clone(), owner.clone())),
            None => scale.unmanaged = true,
        }
    }
    let mut wanted: BTreeMap<String, i32> = BTreeMap::new();
    for owner in owners.values() {
        if let Some((uid, replicas)) = size_of(client, namespace, owner).await? {
            wanted.insert(uid, replicas);
        }
    }
    scale.wanted = wanted.values().fold(0, |all, replicas| all.saturating_add(*replicas));
    Ok(scale)
}

/// How many pods a controller wants, and its uid: that of the Deployment behind a ReplicaSet.
async fn size_of(
    client: &Client,
    namespace: &str,
    owner: &OwnerReference,
) -> Result<Option<(String, i32)>, Error> {
    macro_rules! size {
        ($kind:ty, $replicas:expr) => {{
            let found = Api::<$kind>::namespaced(client.clone(), namespace).get_opt(&owner.name).await?;
            let found = found.filter(|found| found.uid().as_ref() == Some(&owner.uid));
            return Ok(found.map(|found| (owner.uid.clone(), $replicas(&found).unwrap_or(1))));
        }};
    }
    match (owner.api_version.as_str(), owner.kind.as_str()) {
        ("apps/v1", "ReplicaSet") => {
            let sets = Api::<ReplicaSet>::namespaced(client.clone(), namespace);
            let Some(set) = sets.get_opt(&owner.name).await? else { return Ok(None) };
            if let Some(deployment) = controller::<Deployment>(&set) {
                let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
                let found = deployments.get_opt(&deployment.name).await?;
                let size =
                    |found: Deployment| (found.uid().unwrap_or_default(), found.spec.replicas.unwrap_or(1));
                return Ok(found.map(size));
            }
            Ok(Some((owner.uid.clone(), set.spec.replicas.unwrap_or(1))))
        }
        ("apps/v1", "StatefulSet") => size!(StatefulSet, |set: &StatefulSet| set.spec.replicas),
        ("v1", "ReplicationController") => {
            size!(ReplicationController, |set: &ReplicationController| set.spec.as_ref()?.replicas)
        }
        _ => other_size(client, namespace, owner).await,
    }
}

/// The size of a controller of any kind that can be scaled.
async fn other_size(
    client: &Client,
    namespace: &str,
    owner: &OwnerReference,
) -> Result<Option<(String, i32)>, Error> {
    let (group, version) = owner.api_version.rsplit_once('/').unwrap_or(("", &owner.api_version));
    let kind = GroupVersionKind::gvk(group, version, &owner.kind);
    let Ok((resource, _)) = kube::discovery::pinned_kind(client, &kind).await else { return Ok(None) };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    match api.get_scale(&owner.name).await {
        Ok(scale) => Ok(Some((owner.uid.clone(), scale.spec.and_then(|spec| spec.replicas).unwrap_or(0)))),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
