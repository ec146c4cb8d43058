//! The loop of ResourceQuotas.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, select_all};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Secret, Service,
};
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::discovery::verbs;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::usage::{Objects, counted, used};
use crate::Error;
use crate::drive::drive;
use crate::informer::Informer;
use crate::owner::{is_ending, write_status};
use crate::rights::{MIND, READ, Right};
use crate::run::World;
use crate::served::Served;

/// How often it is counted anew, for what is not watched.
const RECOUNT: Duration = Duration::from_secs(10);

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "", &["resourcequotas"]),
    Right::to(&["patch"], "", &["resourcequotas/status"]),
    Right::to(MIND, "", &["secrets"]),
    // Any resource may be counted.
    Right::to(&["list"], "*", &["*"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let secrets = Informer::<Secret>::new();
    let following = world.clone().until_end(secrets.clone().follow(world.client.clone()));
    let (pods, maps, services) = (world.pods.clone(), world.maps.clone(), world.services.clone());
    let claims = world.claims.clone();
    let quotas = drive(
        world,
        move |quotas: Store<ResourceQuota>| {
            select_all([
                limiting(&pods, &quotas),
                limiting(&services, &quotas),
                limiting(&claims, &quotas),
                limiting(&maps, &quotas),
                limiting(&secrets, &quotas),
            ])
        },
        reconcile,
    );
    futures::future::join(quotas, following).await;
}

/// The quotas of the namespaces in which objects of a kind change.
fn limiting<K>(
    objects: &Informer<K>,
    quotas: &Store<ResourceQuota>,
) -> BoxStream<'static, ObjectRef<ResourceQuota>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let quotas = quotas.clone();
    let found = objects.triggers(move |object| {
        let quotas = quotas.state();
        let here = quotas.iter().filter(|quota| quota.namespace() == object.namespace());
        here.map(|quota| ObjectRef::from_obj(&**quota)).collect::<Vec<_>>()
    });
    found.boxed()
}

async fn reconcile(quota: Arc<ResourceQuota>, world: Arc<World>) -> Result<Action, Error> {
    let namespace =
        quota.namespace().ok_or(Error::Incomplete { kind: "ResourceQuota", field: "namespace" })?;
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client.clone(), &namespace);
    let Some(quota) = quotas.get_opt(&quota.name_any()).await? else { return Ok(Action::await_change()) };
    if is_ending(&quota) {
        return Ok(Action::await_change());
    }
    let spec = quota.spec.clone().unwrap_or_default();
    let client = &world.client;
    let pods = all::<Pod>(client, &namespace).await?;
    let services = all::<Service>(client, &namespace).await?;
    let claims = all::<PersistentVolumeClaim>(client, &namespace).await?;
    let counts = count(client, &namespace, counted(&spec)).await?;
    let objects =
        Objects { pods: &pods, services: &services, claims: &claims, counts: &counts, now: Timestamp::now() };
    let status = ResourceQuotaStatus { hard: spec.hard.clone(), used: Some(used(&spec, objects)) };
    write_status(&quotas, &quota, quota.status.as_ref(), &status).await?;
    Ok(Action::requeue(RECOUNT))
}

async fn all<K>(client: &Client, namespace: &str) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned,
{
    Ok(Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?.items)
}

/// How many objects of these resources there are. What is not served has none.
async fn count(
    client: &Client,
    namespace: &str,
    resources: Vec<String>,
) -> Result<BTreeMap<String, usize>, Error> {
    let mut counts = BTreeMap::new();
    if resources.is_empty() {
        return Ok(counts);
    }
    for kind in Served::look(client).await?.kinds {
        let name = kind.qualified();
        if kind.is_namespaced && kind.can(verbs::LIST) && resources.contains(&name) {
            let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource);
            counts.insert(name, objects.list_metadata(&ListParams::default()).await?.items.len());
        }
    }
    Ok(counts)
}
