//! The objects as the watches know them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Namespace, Pod, PodSpec, PodStatus};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Client;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::watcher;
use xebec_follow::{Follower, Known};

/// The policies, and what they are about.
pub(crate) struct World {
    policies: Known<NetworkPolicy>,
    /// While there is a policy.
    members: Option<Members>,
    follower: Follower,
}

/// What policies are about.
struct Members {
    pods: Known<Pod>,
    namespaces: Known<Namespace>,
    /// Kept for its watches.
    _follower: Follower,
}

impl World {
    /// Begins to watch policies.
    pub(crate) fn watch(client: Client) -> Self {
        let mut follower = Follower::new(client);
        let policies = follower.follow(watcher::Config::default(), |_| {});
        Self { policies, members: None, follower }
    }

    /// Waits until all policies are listed.
    pub(crate) async fn listed(&self) -> Result<(), WriterDropped> {
        self.policies.listed().await
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&self) {
        self.follower.changed().await;
    }

    pub(crate) fn policies(&self) -> Vec<Arc<NetworkPolicy>> {
        self.policies.all()
    }

    /// All pods and namespaces, which are watched from now on.
    pub(crate) async fn members(&mut self) -> Result<(Vec<Arc<Pod>>, Vec<Arc<Namespace>>), WriterDropped> {
        let members = self.members.get_or_insert_with(|| {
            let mut follower = self.follower.beside();
            let pods = follower.follow(watcher::Config::default(), keep_what_matters);
            let namespaces = follower.follow(watcher::Config::default(), |own: &mut Namespace| {
                own.metadata.annotations = None;
            });
            Members { pods, namespaces, _follower: follower }
        });
        members.pods.listed().await?;
        members.namespaces.listed().await?;
        Ok((members.pods.all(), members.namespaces.all()))
    }

    /// Watches pods and namespaces no longer.
    pub(crate) fn forget_members(&mut self) {
        self.members = None;
    }
}

/// Forgets what of a pod nobody here asks for.
pub(crate) fn keep_what_matters(pod: &mut Pod) {
    let strip = |container: &mut Container| {
        let ports = container.ports.take().filter(|ports| ports.iter().any(|port| port.name.is_some()));
        let restart_policy = container.restart_policy.take();
        *container = Container { ports, restart_policy, ..Default::default() };
    };
    if let Some(spec) = &mut pod.spec {
        let mut containers = std::mem::take(&mut spec.containers);
        // Of those that begin before, the ones that stay have ports.
        let before = spec.init_containers.take().unwrap_or_default();
        containers.extend(before.into_iter().filter(|own| own.restart_policy.as_deref() == Some("Always")));
        containers.iter_mut().for_each(strip);
        containers.retain(|container| container.ports.is_some());
        let (host_network, node_name) = (spec.host_network, spec.node_name.take());
        *spec = PodSpec { containers, host_network, node_name, ..PodSpec::default() };
    }
    if let Some(status) = &mut pod.status {
        let (pod_ip, phase) = (status.pod_ip.take(), status.phase.take());
        *status = PodStatus { pod_ip, phase, ..PodStatus::default() };
    }
    pod.metadata.annotations = None;
    pod.metadata.managed_fields = None;
    pod.metadata.owner_references = None;
}
