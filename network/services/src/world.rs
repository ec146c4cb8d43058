//! The objects as the watches know them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod, PodSpec, PodStatus, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::watcher;
use xebec_follow::{Follower, Known};

/// The objects of every kind that matters.
pub(crate) struct World {
    services: Known<Service>,
    slices: Known<EndpointSlice>,
    namespaces: Known<Namespace>,
    /// The pods of this machine, as far as their ports go.
    pods: Known<Pod>,
    follower: Follower,
}

impl World {
    /// Begins to watch.
    pub(crate) fn watch(client: Client, node: &str) -> Self {
        let all = watcher::Config::default;
        let here = all().fields(&format!("spec.nodeName={node}"));
        let mut follower = Follower::new(client);
        Self {
            services: follower.follow(all(), |_| {}),
            slices: follower.follow(all(), |_| {}),
            namespaces: follower.follow(all(), |_| {}),
            pods: follower.follow(here, keep_ports),
            follower,
        }
    }

    /// Waits until all are listed.
    pub(crate) async fn listed(&self) -> Result<(), WriterDropped> {
        self.services.listed().await?;
        self.slices.listed().await?;
        self.namespaces.listed().await?;
        self.pods.listed().await
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&self) {
        self.follower.changed().await;
    }

    pub(crate) fn services(&self) -> Vec<Arc<Service>> {
        self.services.all()
    }

    pub(crate) fn slices(&self) -> Vec<Arc<EndpointSlice>> {
        self.slices.all()
    }

    pub(crate) fn namespaces(&self) -> Vec<Arc<Namespace>> {
        self.namespaces.all()
    }

    pub(crate) fn pods(&self) -> Vec<Arc<Pod>> {
        self.pods.all()
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
