//! The verbs on objects, without HTTP: what every way in comes to in the end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::Catalog;
use crate::cluster_ip::ClusterIps;
use crate::policy::Policy;
use crate::storage::Storage;

/// The API over one store. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    parts: Arc<Parts>,
}

struct Parts {
    storage: Storage,
    catalog: Catalog,
    cluster_ips: ClusterIps,
    policy: Policy,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Api {
    /// The API over this storage. Watches end when `shutdown` is cancelled.
    pub fn new(
        storage: Storage,
        catalog: Catalog,
        cluster_ips: ClusterIps,
        shutdown: CancellationToken,
    ) -> Self {
        let policy = Policy::new(storage.clone());
        let tasks = TaskTracker::new();
        Self { parts: Arc::new(Parts { storage, catalog, cluster_ips, policy, shutdown, tasks }) }
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

    /// The addresses of services.
    pub(crate) fn cluster_ips(&self) -> &ClusterIps {
        &self.parts.cluster_ips
    }

    /// What is done on behalf of requests and outlasts them.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.parts.tasks
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
