//! The objects as the watches know them.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Container, Namespace, Pod, PodSpec, PodStatus};
use k8s_openapi::api::networking::v1::NetworkPolicy;
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

/// The policies, and what they are about.
pub(crate) struct World {
    client: Client,
    policies: Store<NetworkPolicy>,
    /// While there is a policy.
    members: Option<Members>,
    changed: Arc<Notify>,
    _tasks: JoinSet<()>,
}

/// What policies are about.
struct Members {
    pods: Store<Pod>,
    namespaces: Store<Namespace>,
    _tasks: JoinSet<()>,
}

impl World {
    /// Begins to watch policies.
    pub(crate) fn watch(client: Client) -> Self {
        let changed = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        let policies = start(&client, &changed, &mut tasks, |_: &mut NetworkPolicy| {});
        Self { client, policies, members: None, changed, _tasks: tasks }
    }

    /// Waits until all policies are listed.
    pub(crate) async fn listed(&self) -> Result<(), WriterDropped> {
        self.policies.wait_until_ready().await
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn policies(&self) -> Vec<Arc<NetworkPolicy>> {
        self.policies.state()
    }

    /// All pods and namespaces, which are watched from now on.
    pub(crate) async fn members(&mut self) -> Result<(Vec<Arc<Pod>>, Vec<Arc<Namespace>>), WriterDropped> {
        let members = self.members.get_or_insert_with(|| {
            let mut tasks = JoinSet::new();
            let pods = start(&self.client, &self.changed, &mut tasks, keep_what_matters);
            let namespaces = start(&self.client, &self.changed, &mut tasks, |own: &mut Namespace| {
                own.metadata.annotations = None;
            });
            Members { pods, namespaces, _tasks: tasks }
        });
        members.pods.wait_until_ready().await?;
        members.namespaces.wait_until_ready().await?;
        Ok((members.pods.state(), members.namespaces.state()))
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

/// The waits of one watch, each twice the last.
fn waits() -> watcher::ExponentialBackoff {
    let (first, longest) = WATCH_AGAIN;
    ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).without_max_times().into()
}

fn start<K>(
    client: &Client,
    changed: &Arc<Notify>,
    tasks: &mut JoinSet<()>,
    strip: impl Fn(&mut K) + Send + 'static,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    K: Send + Sync + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone,
{
    let (store, writer) = store::<K>();
    let objects = Api::<K>::all(client.clone());
    let events = watcher(objects, watcher::Config::default()).backoff(waits()).modify(move |object| {
        object.managed_fields_mut().clear();
        strip(object);
    });
    let changed = Arc::clone(changed);
    tasks.spawn(reflector(writer, events).for_each(move |event| {
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
