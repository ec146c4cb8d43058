//! What is served, as the collector needs to know it.

use std::collections::HashMap;

use kube::Client;
use kube::core::ApiResource;
use kube::discovery::{Discovery, Scope, verbs};

use crate::Error;

/// A kind, whatever its version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KindKey {
    /// Its group.
    pub group: String,
    /// Its name.
    pub kind: String,
}

/// A served kind in one version.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) resource: ApiResource,
    pub(super) namespaced: bool,
}

/// All kinds that are served.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    collectable: HashMap<KindKey, Served>,
    /// By API version and kind, as references name them.
    all: HashMap<(String, String), Served>,
}

impl Kinds {
    /// Asks the API what it serves.
    pub(super) async fn discover(client: &Client) -> Result<Self, Error> {
        let discovery = Discovery::new(client.clone()).run_aggregated().await?;
        let mut kinds = Self::default();
        for group in discovery.groups() {
            for version in group.versions() {
                for (resource, capabilities) in group.versioned_resources(version) {
                    let namespaced = capabilities.scope == Scope::Namespaced;
                    let name = (resource.api_version.clone(), resource.kind.clone());
                    kinds.all.insert(name, Served { resource, namespaced });
                }
            }
            for (resource, capabilities) in group.resources_by_stability() {
                let needed = [verbs::LIST, verbs::WATCH, verbs::DELETE, verbs::PATCH];
                let able = needed.iter().all(|verb| capabilities.supports_operation(verb));
                if able && resource.kind != "Event" {
                    let key = KindKey { group: resource.group.clone(), kind: resource.kind.clone() };
                    let namespaced = capabilities.scope == Scope::Namespaced;
                    kinds.collectable.insert(key, Served { resource, namespaced });
                }
            }
        }
        Ok(kinds)
    }

    /// The kinds whose objects are collected.
    pub(super) fn collectable(&self) -> impl Iterator<Item = (&KindKey, &Served)> {
        self.collectable.iter()
    }

    /// Whether objects of this kind are collected.
    pub(super) fn collects(&self, key: &KindKey) -> bool {
        self.collectable.contains_key(key)
    }

    /// How a collected kind is served.
    pub(super) fn collected(&self, key: &KindKey) -> Option<&Served> {
        self.collectable.get(key)
    }

    /// What a reference names.
    pub(super) fn named(&self, api_version: &str, kind: &str) -> Option<&Served> {
        self.all.get(&(api_version.to_owned(), kind.to_owned()))
    }
}
