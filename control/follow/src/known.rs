//! Kinds known by watches that begin anew when they break.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{Lookup, ObjectRef, Store, reflector, store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// The waits of watches that fail, each twice the last. A kind that is not defined yet is soon seen when it is.
const WATCH_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Follows kinds, and tells that something of them changed. Its watches end with it.
pub struct Follower {
    client: Client,
    changed: Arc<Notify>,
    watches: JoinSet<()>,
}

impl Follower {
    /// One that follows nothing yet.
    pub fn new(client: Client) -> Self {
        Self { client, changed: Arc::default(), watches: JoinSet::new() }
    }

    /// Another, whose changes this one tells of too.
    pub fn beside(&self) -> Self {
        Self { client: self.client.clone(), changed: self.changed.clone(), watches: JoinSet::new() }
    }

    /// Waits until something changed since the last such wait. Changes that come together are told of once.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Follows the objects of a kind in all namespaces, or those that `which` selects.
    ///
    /// `strip` takes from each what nobody asks for, before it is kept. Who owns which field is never kept: it takes more
    /// memory than most objects.
    pub fn follow<K>(&mut self, which: watcher::Config, strip: impl Fn(&mut K) + Send + 'static) -> Known<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned,
        K: Send + Sync + 'static,
    {
        let (store, writer) = store::<K>();
        let events =
            watcher(Api::<K>::all(self.client.clone()), which).backoff(waits()).modify(move |object| {
                object.meta_mut().managed_fields = None;
                strip(object);
            });
        let changed = self.changed.clone();
        let (undefined, found) = watch::channel(false);
        self.watches.spawn(reflector(writer, events).for_each(move |event| {
            match event {
                // The store shows a listing when it is whole.
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(_) => changed.notify_one(),
                Err(error) => {
                    undefined.send_if_modified(|known| is_undefined(&error) && !std::mem::replace(known, true));
                    tracing::debug!(kind = %<K as Resource>::kind(&()), %error, "a watch failed and is tried again");
                }
            }
            std::future::ready(())
        }));
        Known { store, undefined: found }
    }
}

/// What is known of the objects of one kind.
pub struct Known<K: Lookup<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    /// Whether the kind turned out not to be defined.
    undefined: watch::Receiver<bool>,
}

impl<K: Lookup<DynamicType = ()> + Clone + 'static> Known<K> {
    /// All objects, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// One object.
    pub fn get(&self, object: &ObjectRef<K>) -> Option<Arc<K>> {
        self.store.get(object)
    }

    /// Waits until the kind was listed once, so that what is not known is not there.
    ///
    /// # Errors
    /// Where its follower is gone.
    pub async fn listed(&self) -> Result<(), WriterDropped> {
        self.store.wait_until_ready().await
    }

    /// The same of a kind that need not be defined: if it is not, there is nothing to wait for.
    ///
    /// # Errors
    /// Where its follower is gone.
    pub async fn listed_if_defined(&self) -> Result<(), WriterDropped> {
        let mut undefined = self.undefined.clone();
        tokio::select! {
            biased;
            listed = self.listed() => listed,
            // An error means that the follower is gone, of which the other branch tells.
            Ok(_) = undefined.wait_for(|undefined| *undefined) => Ok(()),
        }
    }
}

/// What is known where nothing changes any more.
impl<K: Lookup<DynamicType = ()> + Clone + 'static> FromIterator<K> for Known<K> {
    fn from_iter<T: IntoIterator<Item = K>>(objects: T) -> Self {
        let (store, mut writer) = store::<K>();
        writer.apply_watcher_event(&watcher::Event::Init);
        for object in objects {
            writer.apply_watcher_event(&watcher::Event::InitApply(object));
        }
        writer.apply_watcher_event(&watcher::Event::InitDone);
        Self { store, undefined: watch::channel(false).1 }
    }
}

fn waits() -> watcher::ExponentialBackoff {
    let (first, longest) = WATCH_AGAIN;
    ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).without_max_times().into()
}

fn is_undefined(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(answer)) if answer.code == 404)
}
