//! The EndpointSlices of each service, as requests that are passed on look them up, and whose turn it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::follower::{Follower, Gather};
use crate::storage::Storage;
use crate::{key, object};

const GROUP: &str = "discovery.k8s.io";
const PLURAL: &str = "endpointslices";
/// The label by which a slice says whose it is.
const SERVICE: &str = "kubernetes.io/service-name";

/// A namespace, and a name in it.
type Place = (Box<str>, Box<str>);

/// What is known of slices, from the first lookup on.
#[derive(Default)]
pub(crate) struct Slices {
    known: OnceLock<Follower<ByService>>,
    turn: AtomicUsize,
}

impl Slices {
    fn follow(&self, storage: &Storage, resource: &Arc<Resource>) -> &Follower<ByService> {
        self.known.get_or_init(|| {
            Follower::new(storage.clone(), resource.clone(), key::prefix(GROUP, PLURAL, None))
        })
    }

    /// Where among so many to begin, another place each time.
    pub(crate) fn turn(&self, count: usize) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(count).unwrap_or_default()
    }
}

#[derive(Default)]
struct ByService {
    slices: HashMap<Place, BTreeMap<Box<str>, Arc<Value>>>,
    services: HashMap<Place, Box<str>>,
}

impl Gather for ByService {
    fn put(&mut self, object: Value) {
        self.remove(&object);
        let Some(service) = object::labels(&object).and_then(|labels| labels.get(SERVICE)?.as_str()) else {
            return;
        };
        let (namespace, name) = place(&object);
        let service: Box<str> = service.into();
        self.services.insert((namespace.clone(), name.clone()), service.clone());
        self.slices.entry((namespace, service)).or_default().insert(name, Arc::new(object));
    }

    fn remove(&mut self, object: &Value) {
        let (namespace, name) = place(object);
        let Some(service) = self.services.remove(&(namespace.clone(), name.clone())) else { return };
        let service = (namespace, service);
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(&name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
    }
}

fn place(object: &Value) -> Place {
    (object::namespace(object).unwrap_or_default().into(), object::name(object).into())
}

impl Api {
    /// The slices of a service, in the order of their names.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub(crate) fn slices_of(&self, namespace: &str, service: &str) -> Result<Vec<Arc<Value>>, Status> {
        let served = self.catalog().served();
        let resource = served.find(GROUP, PLURAL).ok_or_else(Status::no_such_resource)?;
        let place = (namespace.into(), service.into());
        self.slices()
            .follow(self.storage(), resource)
            .view(|known| known.slices.get(&place).into_iter().flat_map(BTreeMap::values).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slice_belongs_to_the_service_that_it_names_last() {
        let slice = |name: &str, service: &str| json!({"metadata": {"name": name, "namespace": "default", "labels": {SERVICE: service}}});
        let mut known = ByService::default();
        known.put(slice("one", "web"));
        known.put(slice("two", "web"));
        known.put(slice("one", "other"));
        let names = |known: &ByService, service: &str| -> Vec<String> {
            let slices = known.slices.get(&("default".into(), service.into()));
            slices.into_iter().flat_map(BTreeMap::keys).map(ToString::to_string).collect()
        };
        assert_eq!(
            (names(&known, "web"), names(&known, "other")),
            (vec!["two".to_owned()], vec!["one".to_owned()])
        );
        known.remove(&slice("two", "web"));
        known.remove(&slice("one", "web"));
        assert!(known.slices.is_empty() && known.services.is_empty());
    }

    #[test]
    fn turns_go_round() {
        let slices = Slices::default();
        assert_eq!([3, 3, 3, 3].map(|count| slices.turn(count)), [0, 1, 2, 0]);
        assert_eq!(slices.turn(0), 0);
    }
}
