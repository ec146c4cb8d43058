//! What devices there are: the newest slices of each pool, of which those count that the node can use, and what is taken.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::NodeSelector;
use k8s_openapi::api::resource::v1::{Device, DeviceClass, ResourceClaim, ResourceSlice};
use kube::ResourceExt as _;

use super::capacity::{self, Amounts, nanos};

/// All that is known of devices.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The classes.
    pub classes: &'a [Arc<DeviceClass>],
    /// What drivers offer.
    pub slices: &'a [Arc<ResourceSlice>],
    /// All claims, also those that have devices already.
    pub claims: &'a [Arc<ResourceClaim>],
}

/// The node that is to use the devices.
pub struct Place<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether a selector takes it.
    pub admits: &'a dyn Fn(&NodeSelector) -> bool,
}

/// A device among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id<'a> {
    pub(super) driver: &'a str,
    pub(super) pool: &'a str,
    pub(super) device: &'a str,
}

/// A device that the node can use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) id: Id<'a>,
    pub(super) slice: &'a ResourceSlice,
    pub(super) device: &'a Device,
}

impl<'a> Candidate<'a> {
    fn of(slice: &'a ResourceSlice, device: &'a Device) -> Self {
        let spec = &slice.spec;
        Self { id: Id { driver: &spec.driver, pool: &spec.pool.name, device: &device.name }, slice, device }
    }

    /// Whether several may have it.
    pub(super) fn is_shared(&self) -> bool {
        self.device.allow_multiple_allocations == Some(true)
    }

    /// Where it is: on one node, or on those that a selector takes.
    pub(super) fn place(&self) -> (Option<&'a str>, Option<&'a NodeSelector>) {
        if self.slice.spec.per_device_node_selection == Some(true) {
            (self.device.node_name.as_deref(), self.device.node_selector.as_ref())
        } else {
            (self.slice.spec.node_name.as_deref(), self.slice.spec.node_selector.as_ref())
        }
    }

    /// Whether the device itself is there, where its slice says it of each.
    pub(super) fn is_at(&self, place: &Place<'_>) -> bool {
        let device = self.device;
        self.slice.spec.per_device_node_selection != Some(true)
            || reaches(place, device.node_name.as_deref(), device.all_nodes, device.node_selector.as_ref())
    }
}

fn reaches(
    place: &Place<'_>,
    name: Option<&str>,
    all: Option<bool>,
    selector: Option<&NodeSelector>,
) -> bool {
    match (name, selector) {
        (Some(name), _) => name == place.name,
        (None, _) if all == Some(true) => true,
        (None, Some(selector)) => (place.admits)(selector),
        (None, None) => false,
    }
}

/// A pool of which the node can use something.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    pub(super) driver: &'a str,
    pub(super) name: &'a str,
    /// Whether some of its slices are still to come.
    pub(super) is_incomplete: bool,
    /// Whether its slices contradict each other.
    pub(super) is_invalid: bool,
    newest: Vec<&'a ResourceSlice>,
    near: Vec<&'a ResourceSlice>,
}

impl<'a> Pool<'a> {
    /// Its devices, if all that is known of it makes sense.
    pub(super) fn usable(&self) -> impl Iterator<Item = Candidate<'a>> {
        let is_usable = !self.is_incomplete && !self.is_invalid;
        let slices = self.near.iter().copied().filter(move |_| is_usable);
        slices.flat_map(|slice| devices(slice).iter().map(move |device| Candidate::of(slice, device)))
    }

    fn waits(&self) -> bool {
        let waits = |device: &Device| device.binding_conditions.as_ref().is_some_and(|all| !all.is_empty());
        self.near.iter().any(|slice| devices(slice).iter().any(waits))
    }
}

fn devices(slice: &ResourceSlice) -> &[Device] {
    slice.spec.devices.as_deref().unwrap_or_default()
}

impl<'a> Offer<'a> {
    /// The pools of which the node can use something, in their order; those whose devices are waited for come last.
    pub(super) fn pools(&self, place: &Place<'_>) -> Vec<Pool<'a>> {
        let mut newest: BTreeMap<(&str, &str), Vec<&ResourceSlice>> = BTreeMap::new();
        for slice in self.slices {
            let spec = &slice.spec;
            let pool = newest.entry((&spec.driver, &spec.pool.name)).or_default();
            let generation = pool.first().map_or(i64::MIN, |first| first.spec.pool.generation);
            if spec.pool.generation > generation {
                pool.clear();
            }
            if spec.pool.generation >= generation {
                pool.push(slice);
            }
        }
        let mut pools: Vec<Pool<'a>> = newest
            .into_iter()
            .filter_map(|((driver, name), mut newest)| {
                newest.sort_by_key(|slice| slice.name_any());
                let near: Vec<_> = newest.iter().copied().filter(|slice| is_near(slice, place)).collect();
                let first = near.first()?;
                let is_incomplete =
                    i64::try_from(newest.len()).ok() != Some(first.spec.pool.resource_slice_count);
                let mut names = HashSet::new();
                let all = || newest.iter().flat_map(|slice| devices(slice));
                let sets: HashSet<&str> = newest
                    .iter()
                    .flat_map(|slice| slice.spec.shared_counters.iter().flatten())
                    .map(|set| &*set.name)
                    .collect();
                let is_invalid = !all().all(|device| names.insert(&*device.name))
                    || !all()
                        .flat_map(|device| device.consumes_counters.iter().flatten())
                        .all(|taken| sets.contains(&*taken.counter_set));
                Some(Pool { driver, name, is_incomplete, is_invalid, newest, near })
            })
            .collect();
        pools.sort_by_key(Pool::waits);
        pools
    }

    /// What is taken already: devices, parts of devices, and counters.
    pub(super) fn taken(
        &self,
        pools: &[Pool<'a>],
    ) -> (HashSet<Id<'a>>, HashMap<Id<'a>, Amounts>, Counters<'a>) {
        let (mut taken, mut shared) = (HashSet::new(), HashMap::<Id<'a>, Amounts>::new());
        let allocations = self.claims.iter().filter_map(|claim| claim.status.as_ref()?.allocation.as_ref());
        let results = allocations.filter_map(|allocation| allocation.devices.as_ref()?.results.as_ref());
        for result in results.flatten().filter(|result| result.admin_access != Some(true)) {
            let id = Id { driver: &result.driver, pool: &result.pool, device: &result.device };
            if result.share_id.is_none() {
                taken.insert(id);
                continue;
            }
            let amounts = result.consumed_capacity.iter().flatten();
            let amounts: Amounts = amounts.map(|(name, amount)| (name.clone(), nanos(amount))).collect();
            capacity::add(shared.entry(id).or_default(), &amounts, 1);
        }
        let mut counters = Counters::of(pools);
        for pool in pools {
            for slice in &pool.newest {
                for device in devices(slice).iter().map(|device| Candidate::of(slice, device)) {
                    if taken.contains(&device.id) || shared.contains_key(&device.id) {
                        counters.charge(&device, 1);
                    }
                }
            }
        }
        (taken, shared, counters)
    }
}

/// Whether the node can use something of a slice, or counts by it.
fn is_near(slice: &ResourceSlice, place: &Place<'_>) -> bool {
    let spec = &slice.spec;
    if spec.shared_counters.as_ref().is_some_and(|sets| !sets.is_empty()) {
        return true;
    }
    if spec.per_device_node_selection == Some(true) {
        return devices(slice).iter().any(|device| Candidate::of(slice, device).is_at(place));
    }
    reaches(place, spec.node_name.as_deref(), spec.all_nodes, spec.node_selector.as_ref())
}

/// What is left of the counters that devices share, by pool, set and name.
#[derive(Debug, Default)]
pub(super) struct Counters<'a>(HashMap<(&'a str, &'a str, &'a str, &'a str), i128>);

impl<'a> Counters<'a> {
    fn of(pools: &[Pool<'a>]) -> Self {
        let mut all = HashMap::new();
        for pool in pools {
            for set in pool.newest.iter().flat_map(|slice| slice.spec.shared_counters.iter().flatten()) {
                for (name, counter) in &set.counters {
                    all.insert((pool.driver, pool.name, &*set.name, &**name), nanos(&counter.value));
                }
            }
        }
        Self(all)
    }

    fn charge(&mut self, device: &Candidate<'a>, times: i128) {
        for taken in device.device.consumes_counters.iter().flatten() {
            for (name, counter) in &taken.counters {
                let key = (device.id.driver, device.id.pool, &*taken.counter_set, &**name);
                *self.0.entry(key).or_default() -= nanos(&counter.value) * times;
            }
        }
    }

    /// Takes what a device takes, if there is so much.
    pub(super) fn take(&mut self, device: &Candidate<'a>) -> bool {
        self.charge(device, 1);
        let is_left = device.device.consumes_counters.iter().flatten().all(|taken| {
            taken.counters.keys().all(|name| {
                let key = (device.id.driver, device.id.pool, &*taken.counter_set, &**name);
                self.0.get(&key).is_some_and(|left| *left >= 0)
            })
        });
        if !is_left {
            self.charge(device, -1);
        }
        is_left
    }

    pub(super) fn give_back(&mut self, device: &Candidate<'a>) {
        self.charge(device, -1);
    }
}
