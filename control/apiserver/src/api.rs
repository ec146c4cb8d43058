//! The verbs on objects, without HTTP: what every way in comes to in the end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use xebec_admission::Chain;

use crate::aggregation::Aggregation;
use crate::catalog::Catalog;
use crate::cluster_ip::ClusterIps;
use crate::components::Components;
use crate::fairness::{Fairness, Limits};
use crate::labour::Labour;
use crate::node_port::NodePorts;
use crate::policy::Policy;
use crate::slices::Slices;
use crate::storage::Storage;
use crate::world::Mirrors;

/// The API over one store. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    parts: Arc<Parts>,
}

struct Parts {
    storage: Storage,
    catalog: Catalog,
    cluster_ips: ClusterIps,
    node_ports: NodePorts,
    policy: Policy,
    chain: Chain,
    mirrors: Mirrors,
    slices: Slices,
    fairness: Arc<Fairness>,
    labour: Labour,
    aggregation: Aggregation,
    components: Components,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Api {
    /// The API over this storage. What is written passes the stages of `chain`. Watches end when `shutdown` is cancelled.
    pub fn new(
        storage: Storage,
        catalog: Catalog,
        cluster_ips: ClusterIps,
        chain: Chain,
        shutdown: CancellationToken,
    ) -> Self {
        let (policy, mirrors) = (Policy::new(storage.clone()), Mirrors::default());
        let aggregation = Aggregation::new(storage.clone());
        let tasks = TaskTracker::new();
        Self {
            parts: Arc::new(Parts {
                storage,
                catalog,
                cluster_ips,
                node_ports: NodePorts::default(),
                policy,
                chain,
                mirrors,
                slices: Slices::default(),
                fairness: Fairness::new(Limits::default()),
                labour: Labour::default(),
                aggregation,
                components: Components::default(),
                shutdown,
                tasks,
            }),
        }
    }

    /// Where objects rest.
    pub fn storage(&self) -> &Storage {
        &self.parts.storage
    }

    /// What is served.
    pub fn catalog(&self) -> &Catalog {
        &self.parts.catalog
    }

    /// Who may do what.
    pub fn policy(&self) -> &Policy {
        &self.parts.policy
    }

    /// The stages that what is written passes.
    pub(crate) fn chain(&self) -> &Chain {
        &self.parts.chain
    }

    /// What is known of the slices of services.
    pub(crate) fn slices(&self) -> &Slices {
        &self.parts.slices
    }

    /// What those stages look up again and again.
    pub(crate) fn mirrors(&self) -> &Mirrors {
        &self.parts.mirrors
    }

    /// What other servers have.
    pub(crate) fn aggregation(&self) -> &Aggregation {
        &self.parts.aggregation
    }

    /// What runs beside it.
    pub(crate) fn known_components(&self) -> &Components {
        &self.parts.components
    }

    /// Who is served when more is asked for than can be done at once.
    pub(crate) fn fairness(&self) -> &Arc<Fairness> {
        &self.parts.fairness
    }

    /// How work is done that takes a processor for long.
    pub(crate) fn labour(&self) -> &Labour {
        &self.parts.labour
    }

    /// The ports of services on every node.
    pub(crate) fn node_ports(&self) -> &NodePorts {
        &self.parts.node_ports
    }

    /// The addresses of services.
    pub(crate) fn cluster_ips(&self) -> &ClusterIps {
        &self.parts.cluster_ips
    }

    /// What is done on behalf of requests and outlasts them.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.parts.tasks
    }

    /// Serves a stream in a task of its own, until it ends or the API stops.
    pub(crate) fn serve_stream(&self, stream: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.parts.shutdown.clone();
        self.parts.tasks.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = stream => {}
            }
        });
    }

    /// Waits until what requests began is done. Called once no request comes in any more.
    pub async fn finished(&self) {
        self.parts.tasks.close();
        self.parts.tasks.wait().await;
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.parts.shutdown
    }
}
