//! The loop round the translation: watch, translate, apply, write statuses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::{Store, reflector, store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xebec_api::gateway::{Gateway, GatewayClass, HTTPRoute, ReferenceGrant};
use xebec_proxy::config::Config;
use xebec_proxy::proxy::Proxy;

use crate::{Options, Snapshot, Status, translate};

/// How long changes that come together may gather.
const GATHER: Duration = Duration::from_millis(2);
/// After how long everything is looked at again though nothing was heard, so that a status that could not be written, or
/// an address that was taken, is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long requests may go on when the gateway ends.
const DRAIN: Duration = Duration::from_secs(5);

/// Watches what Gateways are made of, and serves it, until `shutdown` is cancelled.
pub async fn run(client: Client, mut proxy: Proxy, options: Options, shutdown: CancellationToken) {
    let mut watches = JoinSet::new();
    let changed = Arc::new(Notify::new());
    let mut watching = Watching { client: &client, changed: &changed, watches: &mut watches };
    let world = World {
        classes: watching.all(),
        gateways: watching.all(),
        routes: watching.all(),
        grants: watching.all(),
        namespaces: watching.all(),
        services: watching.all(),
        endpoint_slices: watching.all(),
    };
    let known = async {
        world.wait().await;
        changed.notify_one();
    };
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = known => {}
    }
    let mut unbound = BTreeMap::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = changed.notified() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(AGAIN) => {}
        }
        let mut translation = translate(&world.snapshot(options, &unbound));
        let now_unbound = serve(&mut proxy, translation.config).await;
        if now_unbound != unbound {
            // What could not be opened shows in the statuses.
            unbound = now_unbound;
            translation = translate(&world.snapshot(options, &unbound));
        }
        for status in translation.statuses {
            if let Err(error) = write(&client, &status).await {
                tracing::warn!(%error, "cannot write a status of the Gateway API; it is tried again");
            }
        }
    }
    if !proxy.shutdown(DRAIN).await {
        tracing::info!("some requests did not end in time and were cut off");
    }
}

/// Hands the configuration over; tells which addresses could not be opened.
async fn serve(proxy: &mut Proxy, config: Config) -> BTreeMap<SocketAddr, String> {
    let asked: Vec<SocketAddr> = config.listeners.iter().map(|listener| listener.address).collect();
    let applied = proxy.apply(config).await;
    let failed = |(address, outcome): (SocketAddr, Result<_, _>)| Some((address, outcome.err()?));
    let failures = asked.into_iter().zip(applied.listeners).filter_map(failed);
    failures.map(|(address, error): (_, xebec_proxy::proxy::ListenError)| (address, error.to_string())).collect()
}

struct World {
    classes: Store<GatewayClass>,
    gateways: Store<Gateway>,
    routes: Store<HTTPRoute>,
    grants: Store<ReferenceGrant>,
    namespaces: Store<Namespace>,
    services: Store<Service>,
    endpoint_slices: Store<EndpointSlice>,
}

impl World {
    /// Waits until all kinds were read once. A kind that goes away ends no wait: the platform is stopping then.
    async fn wait(&self) {
        let _stopping = tokio::join!(
            self.classes.wait_until_ready(),
            self.gateways.wait_until_ready(),
            self.routes.wait_until_ready(),
            self.grants.wait_until_ready(),
            self.namespaces.wait_until_ready(),
            self.services.wait_until_ready(),
            self.endpoint_slices.wait_until_ready(),
        );
    }

    fn snapshot(&self, options: Options, unbound: &BTreeMap<SocketAddr, String>) -> Snapshot {
        let now = Timestamp::now();
        Snapshot {
            options,
            now: Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
            unbound: unbound.clone(),
            classes: self.classes.state(),
            gateways: self.gateways.state(),
            routes: self.routes.state(),
            grants: self.grants.state(),
            namespaces: self.namespaces.state(),
            services: self.services.state(),
            endpoint_slices: self.endpoint_slices.state(),
        }
    }
}

struct Watching<'a> {
    client: &'a Client,
    changed: &'a Arc<Notify>,
    watches: &'a mut JoinSet<()>,
}

impl Watching<'_> {
    /// All objects of a kind, kept up to date.
    fn all<K>(&mut self) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let (reader, writer) = store();
        let api = Api::<K>::all(self.client.clone());
        let changed = self.changed.clone();
        let events = reflector(writer, watcher::watcher(api, watcher::Config::default())).default_backoff();
        self.watches.spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(_) => changed.notify_one(),
                    Err(error) => {
                        tracing::warn!(kind = %K::kind(&()), %error, "lost sight of a kind; looking again");
                    }
                }
            }
        });
        reader
    }
}

async fn write(client: &Client, status: &Status) -> Result<(), kube::Error> {
    match status {
        Status::GatewayClass { name, status } => {
            patch(&Api::<GatewayClass>::all(client.clone()), name, status).await
        }
        Status::Gateway { namespace, name, status } => {
            patch(&Api::<Gateway>::namespaced(client.clone(), namespace), name, status).await
        }
        Status::HTTPRoute { namespace, name, status } => {
            patch(&Api::<HTTPRoute>::namespaced(client.clone(), namespace), name, status).await
        }
    }
}

async fn patch<K>(api: &Api<K>, name: &str, status: &impl Serialize) -> Result<(), kube::Error>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let parameters = PatchParams { field_manager: Some("xebec-gateway".into()), ..PatchParams::default() };
    match api.patch_status(name, &parameters, &Patch::Merge(json!({"status": status}))).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        outcome => outcome.map(drop),
    }
}
