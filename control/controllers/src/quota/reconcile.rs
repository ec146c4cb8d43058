//! The loop of ResourceQuotas.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream, select_all};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service};
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::discovery::verbs;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::usage::{Objects, counted, used};
use crate::Error;
use crate::drive::{Patience, drive};
use crate::informer::Informer;
use crate::outline::Outline;
use crate::owner::{is_ending, write_status};
use crate::rights::{MIND, READ, Right};
use crate::run::World;
use crate::served::{Kind, Served};

/// How often it is counted anew, for what is not watched.
const RECOUNT: Duration = Duration::from_secs(10);
/// How many departures may wait to be heard.
const BACKLOG: usize = 256;

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "", &["resourcequotas"]),
    Right::to(&["patch"], "", &["resourcequotas/status"]),
    // Any resource may be counted.
    Right::to(MIND, "*", &["*"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let (pods, services, claims) = (world.pods.clone(), world.services.clone(), world.claims.clone());
    let (census, mut departures) = Census::new();
    drive(
        world,
        move |quotas: Store<ResourceQuota>| {
            let others = quotas.clone();
            let departed = stream::poll_fn(move |context| departures.poll_recv(context))
                .flat_map(move |namespace| stream::iter(quotas_of(&others, Some(&namespace))));
            select_all([
                limiting(&pods, &quotas),
                limiting(&services, &quotas),
                limiting(&claims, &quotas),
                departed.boxed(),
            ])
        },
        move |quota, world| reconcile(quota, world, census.clone()),
    )
    .await;
}

/// Watches of the other resources of which quotas count the objects, each from when a quota first names it. What is made is
/// counted when it is admitted; what goes is told here, but for what goes while a watch begins anew, which [`RECOUNT`] finds.
#[derive(Clone)]
struct Census {
    /// By resource.
    watched: Arc<Mutex<BTreeMap<String, Watched>>>,
    /// The namespaces of objects that went.
    departures: mpsc::Sender<String>,
}

/// A watch that ends with whoever holds this.
struct Watched {
    version: String,
    _watch: AbortOnDropHandle<()>,
}

impl Census {
    fn new() -> (Self, mpsc::Receiver<String>) {
        let (departures, heard) = mpsc::channel(BACKLOG);
        (Self { watched: Arc::default(), departures }, heard)
    }

    fn watch(&self, world: &Arc<World>, kind: &Kind) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let version = &kind.resource.api_version;
        if watched.get(&kind.qualified()).is_some_and(|own| own.version == *version) {
            return;
        }
        let objects: Api<Outline<DynamicObject>> = Api::all_with(world.client.clone(), &kind.resource);
        let events = watcher::watcher(objects, watcher::Config::default()).backoff(Patience::default());
        let departures = self.departures.clone();
        let telling = events.for_each(move |event| {
            let gone = match event {
                Ok(watcher::Event::Delete(object)) => object.namespace(),
                _ => None,
            };
            let departures = departures.clone();
            async move {
                if let Some(namespace) = gone {
                    // Nobody counts any more where nobody listens.
                    drop(departures.send(namespace).await);
                }
            }
        });
        let watch = AbortOnDropHandle::new(tokio::spawn(world.clone().until_end(telling)));
        watched.insert(kind.qualified(), Watched { version: version.clone(), _watch: watch });
    }
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
    objects.triggers(move |object| quotas_of(&quotas, object.namespace().as_deref())).boxed()
}

fn quotas_of(quotas: &Store<ResourceQuota>, namespace: Option<&str>) -> Vec<ObjectRef<ResourceQuota>> {
    let quotas = quotas.state();
    let here = quotas.iter().filter(|quota| quota.metadata.namespace.as_deref() == namespace);
    here.map(|quota| ObjectRef::from_obj(&**quota)).collect()
}

async fn reconcile(quota: Arc<ResourceQuota>, world: Arc<World>, census: Census) -> Result<Action, Error> {
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
    let counts = count(&world, &namespace, counted(&spec), &census).await?;
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
    world: &Arc<World>,
    namespace: &str,
    resources: Vec<String>,
    census: &Census,
) -> Result<BTreeMap<String, usize>, Error> {
    let mut counts = BTreeMap::new();
    if resources.is_empty() {
        return Ok(counts);
    }
    let client = &world.client;
    for kind in Served::look(client).await?.kinds {
        let name = kind.qualified();
        if kind.is_namespaced && kind.can(verbs::LIST) && resources.contains(&name) {
            if kind.can(verbs::WATCH) {
                census.watch(world, &kind);
            }
            let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource);
            counts.insert(name, objects.list_metadata(&ListParams::default()).await?.items.len());
        }
    }
    Ok(counts)
}
