//! What is known of the objects of a kind, kept up by one watch for all controllers that mind them.
//!
//! Only metadata is kept: a controller that acts reads the objects themselves, so that it acts on the newest state. A watch
//! that broke and begins anew may have missed departures; the informer compares and tells of those as well, which a
//! watch alone would not.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};

use futures::{Stream, StreamExt as _, stream};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::drive::Patience;
use crate::outline::Outline;

/// How many changes a listener may be behind. One that is further behind is told what is different from what it knows.
const BACKLOG: usize = 1024;

/// What is known of one object.
pub(crate) type Meta<K> = Arc<Outline<K>>;
/// Namespace and name, shared by all who keep them.
type Key = Arc<(String, String)>;
/// The objects of a kind, as somebody knows them.
type Known<K> = HashMap<Key, Meta<K>>;

/// A change as listeners hear of it.
pub(crate) struct Change<K> {
    key: Key,
    before: Option<Meta<K>>,
    now: Option<Meta<K>>,
}

// Not derived, which would ask the same of `K`.
impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), before: self.before.clone(), now: self.now.clone() }
    }
}

impl<K> Change<K> {
    /// The object as it was and as it is.
    pub(crate) fn states(&self) -> impl Iterator<Item = &Meta<K>> {
        self.before.iter().chain(&self.now)
    }

    /// The object, if it is gone now.
    pub(crate) fn departed(&self) -> Option<&Meta<K>> {
        self.before.as_ref().filter(|_| self.now.is_none())
    }
}

/// The known objects of a kind. Cheap to clone.
pub(crate) struct Informer<K> {
    known: Arc<RwLock<Known<K>>>,
    changes: broadcast::Sender<Change<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { known: self.known.clone(), changes: self.changes.clone() }
    }
}

impl<K> Informer<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// An informer that knows nothing yet.
    pub(crate) fn new() -> Self {
        Self { known: Arc::default(), changes: broadcast::Sender::new(BACKLOG) }
    }

    /// Keeps up with the objects of all namespaces. Never ends.
    pub(crate) async fn follow(self, client: Client) {
        self.follow_those(client, watcher::Config::default()).await;
    }

    /// The same with those of one name alone.
    pub(crate) async fn follow_named(self, client: Client, name: &str) {
        self.follow_those(client, watcher::Config::default().fields(&format!("metadata.name={name}"))).await;
    }

    async fn follow_those(self, client: Client, which: watcher::Config) {
        let objects = Api::<Outline<K>>::all(client);
        let mut events = watcher::watcher(objects, which).backoff(Patience::default()).boxed();
        let mut listed: Option<Known<K>> = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed = Some(HashMap::new()),
                Ok(Event::InitApply(object)) => {
                    if let Some(listed) = &mut listed {
                        listed.insert(key(&object), Arc::new(object));
                    }
                }
                Ok(Event::InitDone) => self.replace(listed.take().unwrap_or_default()),
                Ok(Event::Apply(object)) => self.put(object),
                Ok(Event::Delete(object)) => self.remove(key(&object)),
                Err(error) => {
                    tracing::debug!(kind = %K::kind(&()), %error, "a watch broke; it begins anew");
                }
            }
        }
    }

    fn put(&self, object: Outline<K>) {
        let (key, object) = (key(&object), Arc::new(object));
        let before = self.write(|known| known.insert(key.clone(), object.clone()));
        self.tell(Change { key, before, now: Some(object) });
    }

    fn remove(&self, key: Key) {
        let before = self.write(|known| known.remove(&key));
        self.tell(Change { key, before, now: None });
    }

    /// Takes up what a new listing shows, and tells of everything that it shows differently.
    fn replace(&self, listed: Known<K>) {
        let before = self.write(|known| std::mem::replace(known, listed.clone()));
        for change in differences(&before, &listed) {
            self.tell(change);
        }
    }

    fn write<T>(&self, change: impl FnOnce(&mut Known<K>) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, change: Change<K>) {
        // Nobody listening is no failure: what is known is there for whoever comes.
        drop(self.changes.send(change));
    }

    /// What is known of one object.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Meta<K>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// What is different now from what somebody knows.
    fn since(&self, told: &Known<K>) -> Vec<Change<K>> {
        differences(told, &self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The names of the objects in a namespace that an owner controls.
    pub(crate) fn controlled_by(&self, namespace: &str, uid: &str) -> Vec<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let here = known.values().filter(|object| object.metadata.namespace.as_deref() == Some(namespace));
        here.filter(|object| crate::owner::controlled_by(&***object, uid))
            .map(|object| object.name_any())
            .collect()
    }

    /// Every object known now, then every change. A listener keeps what it was told, so that one that fell behind still
    /// hears of every departure.
    pub(crate) fn changes(&self) -> impl Stream<Item = Change<K>> + Send + use<K> {
        let listener = Listener {
            listening: self.changes.subscribe(),
            informer: self.clone(),
            told: Known::new(),
            waiting: None,
        };
        stream::unfold(listener, |mut listener| async move {
            let change = listener.next().await?;
            Some((change, listener))
        })
    }

    /// The objects of another kind that changes concern, as `concerns` finds them by the object before and after.
    pub(crate) fn triggers<T, I, F>(
        &self,
        concerns: F,
    ) -> impl Stream<Item = ObjectRef<T>> + Send + use<K, T, I, F>
    where
        T: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
        I: IntoIterator<Item = ObjectRef<T>>,
        F: Fn(&Outline<K>) -> I + Send + Sync + 'static,
    {
        self.changes().flat_map(move |change| {
            let concerned: Vec<ObjectRef<T>> = change.states().flat_map(|state| concerns(state)).collect();
            stream::iter(concerned)
        })
    }

    /// The controllers of this kind of the objects that change.
    pub(crate) fn controllers<T>(&self) -> impl Stream<Item = ObjectRef<T>> + Send + use<K, T>
    where
        T: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        self.triggers(|object| crate::owner::controller(object))
    }
}

/// Somebody who hears of changes.
struct Listener<K> {
    informer: Informer<K>,
    listening: broadcast::Receiver<Change<K>>,
    /// What it was told so far.
    told: Known<K>,
    /// What it is to be told before anything that is heard; absent until it began.
    waiting: Option<std::vec::IntoIter<Change<K>>>,
}

impl<K> Listener<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    async fn next(&mut self) -> Option<Change<K>> {
        loop {
            let waiting = self.waiting.get_or_insert_with(|| self.informer.since(&self.told).into_iter());
            if let Some(change) = waiting.next() {
                return Some(self.take(change));
            }
            match self.listening.recv().await {
                Ok(change) => return Some(self.take(change)),
                Err(RecvError::Lagged(_)) => {
                    // What is heard from here on is newer than what is known here, or the same.
                    self.listening = self.listening.resubscribe();
                    self.waiting = None;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn take(&mut self, change: Change<K>) -> Change<K> {
        match &change.now {
            Some(now) => drop(self.told.insert(change.key.clone(), now.clone())),
            None => drop(self.told.remove(&change.key)),
        }
        change
    }
}

/// What differs between two states.
fn differences<K>(before: &Known<K>, now: &Known<K>) -> Vec<Change<K>>
where
    K: Resource<DynamicType = ()> + Clone,
{
    let departed = before.iter().filter(|(key, _)| !now.contains_key(*key));
    let departed =
        departed.map(|(key, gone)| Change { key: key.clone(), before: Some(gone.clone()), now: None });
    let changed = now.iter().filter_map(|(key, now)| {
        let before = before.get(key).cloned();
        let same = before.as_ref().is_some_and(|before| before.resource_version() == now.resource_version());
        (!same).then(|| Change { key: key.clone(), before, now: Some(now.clone()) })
    });
    departed.chain(changed).collect()
}

fn key(object: &impl Resource) -> Key {
    let meta = object.meta();
    Arc::new((meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn pod(name: &str, version: &str) -> Outline<Pod> {
        let meta = json!({"metadata": {"namespace": "a", "name": name, "resourceVersion": version}});
        serde_json::from_value(meta).unwrap()
    }

    fn listing(pods: &[(&str, &str)]) -> Known<Pod> {
        let all = pods.iter().map(|(name, version)| Arc::new(pod(name, version)));
        all.map(|pod| (key(&*pod), pod)).collect()
    }

    fn heard(change: &Change<Pod>) -> (Option<String>, Option<String>) {
        let version = |meta: &Option<Meta<Pod>>| meta.as_ref().and_then(|meta| meta.resource_version());
        (version(&change.before), version(&change.now))
    }

    #[tokio::test]
    async fn a_new_listing_tells_of_what_changed_and_of_what_went_unseen() {
        let informer = Informer::<Pod>::new();
        informer.replace(listing(&[("same", "1"), ("changed", "2"), ("gone", "3")]));
        let mut changes = informer.changes().boxed();
        for _ in 0..3 {
            changes.next().await.unwrap();
        }
        informer.replace(listing(&[("same", "1"), ("changed", "5")]));
        let mut seen = [heard(&changes.next().await.unwrap()), heard(&changes.next().await.unwrap())];
        seen.sort();
        let text = |version: &str| Some(version.to_owned());
        assert_eq!(seen, [(text("2"), text("5")), (text("3"), None)]);
    }

    #[tokio::test]
    async fn a_listener_that_is_too_far_behind_hears_of_everything() {
        let informer = Informer::<Pod>::new();
        let mut changes = informer.changes().boxed();
        for at in 0..=BACKLOG + 10 {
            informer.put(pod("busy", &at.to_string()));
        }
        let (before, now) = heard(&changes.next().await.unwrap());
        assert_eq!((before, now), (None, Some((BACKLOG + 10).to_string())));
    }

    #[tokio::test]
    async fn a_listener_that_is_too_far_behind_hears_of_every_departure() {
        let informer = Informer::<Pod>::new();
        let names: Vec<String> = (0..BACKLOG + 500).map(|at| format!("pod-{at}")).collect();
        let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        informer.replace(listing(&all));
        let mut changes = informer.changes().boxed();
        for _ in 0..all.len() {
            changes.next().await.unwrap();
        }
        informer.replace(listing(&all[..1]));
        let mut gone = std::collections::HashSet::new();
        while gone.len() + 1 < all.len() {
            let next = tokio::time::timeout(std::time::Duration::from_secs(10), changes.next()).await;
            let change = next.expect("every departure is told").unwrap();
            gone.extend(change.departed().map(|gone| gone.name_any()));
        }
        assert!(!gone.contains("pod-0"));
    }
}
