//! The verbs on objects, without HTTP: what every way in comes to in the end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xebec_admission::Chain;

use crate::catalog::Catalog;
use crate::cluster_ip::ClusterIps;
use crate::policy::Policy;
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
    policy: Policy,
    chain: Chain,
    mirrors: Mirrors,
    shutdown: CancellationToken,
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
        Self { parts: Arc::new(Parts { storage, catalog, cluster_ips, policy, chain, mirrors, shutdown }) }
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

    /// What those stages look up again and again.
    pub(crate) fn mirrors(&self) -> &Mirrors {
        &self.parts.mirrors
    }

    /// The addresses of services.
    pub(crate) fn cluster_ips(&self) -> &ClusterIps {
        &self.parts.cluster_ips
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.parts.shutdown
    }
}
