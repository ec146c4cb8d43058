//! The objects as the watches know them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{Lookup, Store, reflector, store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use xebec_api::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute,
    TLSRoute, UDPRoute,
};
use xebec_proxy::config::TrustRoots;

use crate::account::GATEWAY_NAME;
use crate::snapshot::{Place, Unbound};
use crate::{Options, Snapshot};

/// The waits of watches that fail, as they do while the kinds are not yet defined.
const WATCH_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// The objects of every kind that matters.
pub(crate) struct World {
    classes: Known<GatewayClass>,
    gateways: Known<Gateway>,
    listener_sets: Known<ListenerSet>,
    http_routes: Known<HTTPRoute>,
    grpc_routes: Known<GRPCRoute>,
    tls_routes: Known<TLSRoute>,
    tcp_routes: Known<TCPRoute>,
    udp_routes: Known<UDPRoute>,
    policies: Known<BackendTLSPolicy>,
    grants: Known<ReferenceGrant>,
    namespaces: Known<Namespace>,
    services: Known<Service>,
    slices: Known<EndpointSlice>,
    secrets: Known<Secret>,
    config_maps: Known<ConfigMap>,
    accounts: Known<ServiceAccount>,
    ingress_classes: Known<IngressClass>,
    ingresses: Known<Ingress>,
    changed: Arc<Notify>,
}

impl World {
    /// Begins to watch.
    pub(crate) fn watch(client: &Client, tasks: &mut JoinSet<()>) -> Self {
        let changed = Arc::new(Notify::new());
        let mut watch = Watch { client, changed: &changed, tasks };
        Self {
            classes: watch.start(),
            gateways: watch.start(),
            listener_sets: watch.start(),
            http_routes: watch.start(),
            grpc_routes: watch.start(),
            tls_routes: watch.start(),
            tcp_routes: watch.start(),
            udp_routes: watch.start(),
            policies: watch.start(),
            grants: watch.start(),
            namespaces: watch.start(),
            services: watch.start(),
            slices: watch.start(),
            secrets: watch.start(),
            config_maps: watch.start(),
            accounts: watch.start_with(watcher::Config::default().labels(GATEWAY_NAME)),
            ingress_classes: watch.start(),
            ingresses: watch.start(),
            changed,
        }
    }

    /// Waits until every kind that a gateway cannot do without is listed, and every other is too, or is not defined.
    pub(crate) async fn listed(&self) -> Result<(), WriterDropped> {
        self.classes.listed().await?;
        self.gateways.listed().await?;
        self.http_routes.listed().await?;
        self.grants.listed().await?;
        self.namespaces.listed().await?;
        self.services.listed().await?;
        self.slices.listed().await?;
        self.secrets.listed().await?;
        self.config_maps.listed().await?;
        self.accounts.listed().await?;
        self.ingress_classes.listed().await?;
        self.ingresses.listed().await?;
        self.listener_sets.listed_if_defined().await?;
        self.grpc_routes.listed_if_defined().await?;
        self.tls_routes.listed_if_defined().await?;
        self.tcp_routes.listed_if_defined().await?;
        self.udp_routes.listed_if_defined().await?;
        self.policies.listed_if_defined().await
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn snapshot(
        &self,
        options: Options,
        system_roots: Option<TrustRoots>,
        unbound: BTreeMap<Place, Unbound>,
    ) -> Snapshot {
        // Conditions have whole seconds.
        let now = jiff::Timestamp::now().as_second();
        Snapshot {
            options,
            now: Time(jiff::Timestamp::from_second(now).unwrap_or_default()),
            unbound,
            system_roots,
            classes: self.classes.state(),
            gateways: self.gateways.state(),
            listener_sets: self.listener_sets.state(),
            http_routes: self.http_routes.state(),
            grpc_routes: self.grpc_routes.state(),
            tls_routes: self.tls_routes.state(),
            tcp_routes: self.tcp_routes.state(),
            udp_routes: self.udp_routes.state(),
            policies: self.policies.state(),
            grants: self.grants.state(),
            namespaces: self.namespaces.state(),
            services: self.services.state(),
            endpoint_slices: self.slices.state(),
            secrets: self.secrets.state(),
            config_maps: self.config_maps.state(),
            accounts: self.accounts.state(),
            ingress_classes: self.ingress_classes.state(),
            ingresses: self.ingresses.state(),
        }
    }
}

/// The objects of one kind.
struct Known<K: Lookup + Clone + 'static>
where
    K::DynamicType: Eq + Hash + Clone,
{
    store: Store<K>,
    /// Whether the kind turned out not to be defined.
    undefined: Arc<AtomicBool>,
}

impl<K> Known<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    fn state(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    async fn listed(&self) -> Result<(), WriterDropped> {
        self.store.wait_until_ready().await
    }

    async fn listed_if_defined(&self) -> Result<(), WriterDropped> {
        loop {
            tokio::select! {
                biased;
                listed = self.listed() => return listed,
                () = tokio::time::sleep(WATCH_AGAIN.0) => {
                    if self.undefined.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// The waits of one watch, each twice the last.
fn waits() -> watcher::ExponentialBackoff {
    let (first, longest) = WATCH_AGAIN;
    ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).without_max_times().into()
}

struct Watch<'a> {
    client: &'a Client,
    changed: &'a Arc<Notify>,
    tasks: &'a mut JoinSet<()>,
}

impl Watch<'_> {
    fn start<K>(&mut self) -> Known<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned,
        K: Send + Sync + 'static,
    {
        self.start_with(watcher::Config::default())
    }

    fn start_with<K>(&mut self, which: watcher::Config) -> Known<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned,
        K: Send + Sync + 'static,
    {
        let (store, writer) = store::<K>();
        let objects = Api::<K>::all(self.client.clone());
        // Who owns which field takes more memory than most objects.
        let events = watcher(objects, which).backoff(waits()).modify(|object| {
            object.meta_mut().managed_fields = None;
        });
        let changed = Arc::clone(self.changed);
        let undefined = Arc::new(AtomicBool::new(false));
        let found_undefined = Arc::clone(&undefined);
        self.tasks.spawn(reflector(writer, events).for_each(move |event| {
            match event {
                // The store shows a listing when it is whole.
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(_) => changed.notify_one(),
                Err(error) => {
                    if is_undefined(&error) {
                        found_undefined.store(true, Ordering::Relaxed);
                    }
                    tracing::debug!(kind = %<K as Resource>::kind(&()), %error, "a watch failed and is tried again");
                }
            }
            std::future::ready(())
        }));
        Known { store, undefined }
    }
}

fn is_undefined(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(answer)) if answer.code == 404)
}
