//! The loop: watch, translate, apply, write statuses.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{Lookup, Store, reflector, store};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xebec_api::gateway::{Gateway, GatewayClass, HTTPRoute};
use xebec_proxy::config::Config;
use xebec_proxy::proxy::Proxy;

use crate::{Options, Snapshot, Status, Translation, translate};

/// Changes that come this close together are translated at once.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// The waits of watches that fail, as they do while the kinds are not yet defined.
const WATCH_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// The waits after a pass that did not end well.
const PASS_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long one status may take to write.
const WRITE: Duration = Duration::from_secs(10);
/// How long requests may go on after the shutdown.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("the API refused: {0}")]
    Api(#[from] kube::Error),
    #[error("the status cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the API did not answer within {} s", WRITE.as_secs())]
    Late,
}

/// Serves Gateways with `proxy` until `shutdown` is cancelled, then lets the proxy's requests end.
pub async fn run(client: Client, mut proxy: Proxy, options: Options, shutdown: CancellationToken) {
    let mut watches = JoinSet::new();
    let changed = Arc::new(Notify::new());
    let mut watch = Watch { client: &client, changed: &changed, tasks: &mut watches };
    let world = World {
        classes: watch.start(),
        gateways: watch.start(),
        routes: watch.start(),
        grants: watch.start(),
        namespaces: watch.start(),
        services: watch.start(),
        slices: watch.start(),
    };
    let passes = async {
        // A translation of half the objects would take statuses away that are right.
        if world.listed().await.is_err() {
            return;
        }
        let mut applied = Config::default();
        let mut unbound = BTreeMap::new();
        let mut wait = PASS_AGAIN.0;
        loop {
            let snapshot = world.snapshot(options, &unbound);
            let mut translation = translate(&snapshot);
            if translation.config != applied || !unbound.is_empty() {
                applied = translation.config.clone();
                let failed = apply(&mut proxy, &translation).await;
                if failed != unbound {
                    unbound = failed;
                    translation = translate(&Snapshot { unbound: unbound.clone(), ..snapshot });
                }
            }
            if write(&client, translation.statuses).await && unbound.is_empty() {
                wait = PASS_AGAIN.0;
                changed.notified().await;
            } else {
                _ = tokio::time::timeout(wait, changed.notified()).await;
                wait = (wait * 2).min(PASS_AGAIN.1);
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = passes => {}
    }
    watches.shutdown().await;
    proxy.shutdown(DRAIN).await;
}

/// The objects as the watches know them.
struct World {
    classes: Store<GatewayClass>,
    gateways: Store<Gateway>,
    routes: Store<HTTPRoute>,
    grants: Store<xebec_api::gateway::ReferenceGrant>,
    namespaces: Store<k8s_openapi::api::core::v1::Namespace>,
    services: Store<k8s_openapi::api::core::v1::Service>,
    slices: Store<k8s_openapi::api::discovery::v1::EndpointSlice>,
}

impl World {
    /// Waits until every kind is defined and listed.
    async fn listed(&self) -> Result<(), WriterDropped> {
        self.classes.wait_until_ready().await?;
        self.gateways.wait_until_ready().await?;
        self.routes.wait_until_ready().await?;
        self.grants.wait_until_ready().await?;
        self.namespaces.wait_until_ready().await?;
        self.services.wait_until_ready().await?;
        self.slices.wait_until_ready().await
    }

    fn snapshot(&self, options: Options, unbound: &BTreeMap<std::net::SocketAddr, String>) -> Snapshot {
        // Conditions have whole seconds.
        let now = jiff::Timestamp::now().as_second();
        Snapshot {
            options,
            now: Time(jiff::Timestamp::from_second(now).unwrap_or_default()),
            unbound: unbound.clone(),
            classes: self.classes.state(),
            gateways: self.gateways.state(),
            routes: self.routes.state(),
            grants: self.grants.state(),
            namespaces: self.namespaces.state(),
            services: self.services.state(),
            endpoint_slices: self.slices.state(),
        }
    }
}

/// The waits of one watch, each twice the last.
struct Waits(Duration);

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.0;
        self.0 = (wait * 2).min(WATCH_AGAIN.1);
        Some(wait)
    }
}

impl Backoff for Waits {
    fn reset(&mut self) {
        self.0 = WATCH_AGAIN.0;
    }
}

struct Watch<'a> {
    client: &'a Client,
    changed: &'a Arc<Notify>,
    tasks: &'a mut JoinSet<()>,
}

impl Watch<'_> {
    fn start<K>(&mut self) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned,
        K: Send + Sync + 'static,
        <K as Resource>::DynamicType: Eq + Hash,
    {
        let (reader, writer) = store::<K>();
        let objects = Api::<K>::all(self.client.clone());
        let events = watcher(objects, watcher::Config::default()).backoff(Waits(WATCH_AGAIN.0));
        let changed = Arc::clone(self.changed);
        self.tasks.spawn(reflector(writer, events).for_each(move |event| {
            match event {
                // The store shows a listing when it is whole.
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(_) => changed.notify_one(),
                Err(error) => {
                    tracing::debug!(kind = %<K as Resource>::kind(&()), %error, "a watch failed and is tried again")
                }
            }
            std::future::ready(())
        }));
        reader
    }
}

/// Applies a configuration and returns the addresses that could not be opened.
async fn apply(proxy: &mut Proxy, translation: &Translation) -> BTreeMap<std::net::SocketAddr, String> {
    let asked = translation.config.listeners.iter().map(|listener| listener.address);
    let applied = proxy.apply(translation.config.clone()).await;
    asked
        .zip(applied.listeners)
        .filter_map(|(address, bound)| Some((address, bound.err()?.to_string())))
        .collect()
}

/// Whether all statuses were written, or their objects are gone.
async fn write(client: &Client, statuses: Vec<Status>) -> bool {
    let mut all = true;
    for status in statuses {
        let written = tokio::time::timeout(WRITE, write_one(client, &status)).await;
        match written.unwrap_or(Err(WriteError::Late)) {
            Ok(()) => {}
            Err(WriteError::Api(kube::Error::Api(answer))) if answer.code == 404 => {}
            Err(error) => {
                tracing::warn!(%error, "a status was not written and is tried again");
                all = false;
            }
        }
    }
    all
}

async fn write_one(client: &Client, status: &Status) -> Result<(), WriteError> {
    match status {
        Status::GatewayClass { name, status } => {
            patch(Api::<GatewayClass>::all(client.clone()), name, json!({ "status": status })).await
        }
        Status::Gateway { namespace, name, status } => {
            let mut value = serde_json::to_value(status)?;
            // A merge patch takes away only what it names.
            value["addresses"] = serde_json::to_value(&status.addresses)?;
            value["listeners"] = serde_json::to_value(&status.listeners)?;
            patch(Api::<Gateway>::namespaced(client.clone(), namespace), name, json!({ "status": value }))
                .await
        }
        Status::HTTPRoute { namespace, name, status } => {
            let routes = Api::<HTTPRoute>::namespaced(client.clone(), namespace);
            patch(routes, name, json!({ "status": status })).await
        }
    }
}

async fn patch<K: Clone + DeserializeOwned + Debug>(
    objects: Api<K>,
    name: &str,
    change: Value,
) -> Result<(), WriteError> {
    objects.patch_status(name, &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}
