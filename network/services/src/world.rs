//! The objects as the watches know them.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod, PodSpec, PodStatus, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{Lookup, Store, reflector, store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The waits of watches that fail.
const WATCH_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The objects of every kind that matters.
pub(crate) struct World {
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    namespaces: Store<Namespace>,
    /// The pods of this machine, as far as their ports go.
    pods: Store<Pod>,
    changed: Arc<Notify>,
}

impl World {
    /// Begins to watch.
    pub(crate) fn watch(client: &Client, node: &str, tasks: &mut JoinSet<()>) -> Self {
        let changed = Arc::new(Notify::new());
        let all = watcher::Config::default();
        let here = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let mut watch = Watch { client, changed: &changed, tasks };
        let services = watch.start(all.clone(), |_: &mut Service| {});
        let slices = watch.start(all.clone(), |_: &mut EndpointSlice| {});
        let namespaces = watch.start(all, |_: &mut Namespace| {});
        let pods = watch.start(here, keep_ports);
        Self { services, slices, namespaces, pods, changed }
    }

    /// Waits until all are listed.
    pub(crate) async fn listed(&self) -> Result<(), WriterDropped> {
        self.services.wait_until_ready().await?;
        self.slices.wait_until_ready().await?;
        self.namespaces.wait_until_ready().await?;
        self.pods.wait_until_ready().await
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn services(&self) -> Vec<Arc<Service>> {
        self.services.state()
    }

    pub(crate) fn slices(&self) -> Vec<Arc<EndpointSlice>> {
        self.slices.state()
    }

    pub(crate) fn namespaces(&self) -> Vec<Arc<Namespace>> {
        self.namespaces.state()
    }

    pub(crate) fn pods(&self) -> Vec<Arc<Pod>> {
        self.pods.state()
    }
}

/// Forgets what of a pod nobody here asks for.
fn keep_ports(pod: &mut Pod) {
    let strip = |container: &mut k8s_openapi::api::core::v1::Container| {
        let ports = container.ports.take().filter(|ports| ports.iter().any(|port| port.host_port.is_some()));
        *container = k8s_openapi::api::core::v1::Container { ports, ..Default::default() };
    };
    if let Some(spec) = &mut pod.spec {
        let mut containers = std::mem::take(&mut spec.containers);
        containers.extend(spec.init_containers.take().unwrap_or_default());
        containers.iter_mut().for_each(strip);
        containers.retain(|container| container.ports.is_some());
        *spec = PodSpec { containers, host_network: spec.host_network, ..PodSpec::default() };
    }
    if let Some(status) = &mut pod.status {
        let (pod_ip, phase) = (status.pod_ip.take(), status.phase.take());
        *status = PodStatus { pod_ip, phase, ..PodStatus::default() };
    }
    pod.metadata.annotations = None;
    pod.metadata.labels = None;
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
    fn start<K>(&mut self, which: watcher::Config, strip: impl Fn(&mut K) + Send + 'static) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned,
        K: Send + Sync + 'static,
        <K as Lookup>::DynamicType: Eq + Hash + Clone,
    {
        let (store, writer) = store::<K>();
        let objects = Api::<K>::all(self.client.clone());
        let events = watcher(objects, which).backoff(waits()).modify(move |object| {
            object.managed_fields_mut().clear();
            strip(object);
        });
        let changed = Arc::clone(self.changed);
        self.tasks.spawn(reflector(writer, events).for_each(move |event| {
            match event {
                // The store shows a listing when it is whole.
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(_) => changed.notify_one(),
                Err(error) => {
                    tracing::debug!(kind = %<K as Resource>::kind(&()), %error, "a watch failed and is tried again");
                }
            }
            std::future::ready(())
        }));
        store
    }
}
