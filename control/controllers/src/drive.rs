//! The loop that all controllers have in common: an object that changed, or that something it minds changed, is looked at;
//! what fails is tried again, later each time.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::{Future, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use xebec_follow::caught;

use crate::Error;
use crate::run::World;

/// After how long an object is looked at again though nothing was heard of it.
pub(crate) const AGAIN: Duration = Duration::from_secs(300);
/// How long the first wait after a failure is, and the longest.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(30);
/// How many passes a controller makes at a time: each may hold a list of many objects.
const PASSES: u16 = 32;
/// How long passes that are under way may take when the world ends.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait for the newer object after someone else wrote in between.
const CONFLICT: Duration = Duration::from_millis(20);

/// The waits between attempts at something that fails: each twice as long as the one before.
///
/// A single success makes the next wait short again, since one watch that breaks holds up all the others of its
/// controller.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = wait(self.failures);
        self.failures = self.failures.saturating_add(1);
        Some(wait)
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The wait after so many failures before this one.
pub(crate) fn wait(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST)
}

/// How often the last passes over each object failed in a row.
struct Failures<K: Resource<DynamicType = ()>>(Mutex<HashMap<ObjectRef<K>, u32>>);

impl<K: Resource<DynamicType = ()>> Default for Failures<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Resource<DynamicType = ()>> Failures<K> {
    /// Counts one more, and says how long to wait after it.
    fn add(&self, object: ObjectRef<K>) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object).or_default();
        let wait = wait(*count);
        *count = count.saturating_add(1);
        wait
    }

    /// The last pass over it was good, or it is gone.
    fn forget(&self, object: &ObjectRef<K>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

struct Context<K: Resource<DynamicType = ()>> {
    world: Arc<World>,
    failures: Failures<K>,
}

impl<K: Resource<DynamicType = ()> + Clone> Context<K> {
    fn failed(&self, object: &K, error: &Error) -> Action {
        let object = ObjectRef::from_obj(object);
        if error.is_conflict() {
            return Action::requeue(CONFLICT);
        }
        let wait = self.failures.add(object.clone());
        tracing::warn!(%object, %error, ?wait, "a controller's pass failed; it is tried again");
        Action::requeue(wait)
    }

    /// What fails is asked for again, and one that is gone by then is asked for in vain.
    fn ended(&self, outcome: Result<(ObjectRef<K>, Action), controller::Error<Error, watcher::Error>>) {
        if let Err(controller::Error::ObjectNotFound(gone)) = outcome {
            let mut object = ObjectRef::new(&gone.name);
            object.namespace = gone.namespace;
            self.failures.forget(&object);
        }
    }
}

/// Runs a controller until the world ends: a pass over each object of its kind whenever it changed or the triggers name it,
/// which may look for it among the known objects of the kind.
pub(crate) async fn drive<K, W, T, P, F>(world: Arc<World>, triggers: W, pass: P)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    W: FnOnce(Store<K>) -> T,
    T: Stream<Item = ObjectRef<K>> + Send + 'static,
    P: Fn(Arc<K>, Arc<World>) -> F + Send + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    drive_lean(world, forget_books, triggers, pass).await;
}

/// Who owns which field is the API's own business, and takes more memory than most objects.
pub(crate) fn forget_books<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// The same with no more of each object in memory than `prune` leaves, for a pass that minds few objects of a kind with many.
pub(crate) async fn drive_lean<K, W, T, P, F>(world: Arc<World>, prune: fn(&mut K), triggers: W, pass: P)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    W: FnOnce(Store<K>) -> T,
    T: Stream<Item = ObjectRef<K>> + Send + 'static,
    P: Fn(Arc<K>, Arc<World>) -> F + Send + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let objects = Api::<K>::all(world.client.clone());
    let (known, writer) = reflector::store();
    let seen = watcher::watcher(objects, watcher::Config::default())
        .backoff(Patience::default())
        .modify(prune)
        .reflect(writer)
        .applied_objects();
    steer(world, Controller::for_stream(seen, known), triggers, pass).await;
}

async fn steer<K, W, T, P, F>(world: Arc<World>, controller: Controller<K>, triggers: W, pass: P)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    W: FnOnce(Store<K>) -> T,
    T: Stream<Item = ObjectRef<K>> + Send + 'static,
    P: Fn(Arc<K>, Arc<World>) -> F + Send + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let ended = world.shutdown.clone();
    let known = controller.store();
    let triggers = triggers(known.clone());
    let shutdown = world.shutdown.clone();
    let controller = controller
        .with_config(controller::Config::default().concurrency(PASSES))
        .trigger_backoff(Patience::default())
        .reconcile_on(triggers)
        .graceful_shutdown_on(async move { ended.cancelled().await });
    let context = Arc::new(Context { world, failures: Failures::default() });
    let step = move |object: Arc<K>, context: Arc<Context<K>>| {
        let passing = pass(object.clone(), context.world.clone());
        async move {
            let outcome = caught(passing).await.map_err(Error::from).flatten();
            if outcome.is_ok() {
                context.failures.forget(&ObjectRef::from_obj(&*object));
            }
            outcome
        }
    };
    let failed = |object: Arc<K>, error: &Error, context: Arc<Context<K>>| context.failed(&object, error);
    let passes = controller.run(step, failed, context.clone());
    let mut running = pin!(passes.for_each(|outcome| {
        context.ended(outcome);
        ready(())
    }));
    tokio::select! {
        () = &mut running => return,
        () = shutdown.cancelled() => {}
    }
    // One that has not seen the first listing has begun nothing, and would wait for that listing for ever.
    if known.wait_until_ready().now_or_never().is_some() && timeout(GRACE, running).await.is_err() {
        tracing::warn!(kind = %K::kind(&()), "a controller's passes were still under way and were cut off");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew_after_a_success() {
        let mut patience = Patience::default();
        let waits: Vec<Duration> = patience.by_ref().take(4).collect();
        assert_eq!(waits, [50, 100, 200, 400].map(Duration::from_millis));
        assert_eq!(patience.by_ref().nth(100), Some(LONGEST));
        patience.reset();
        assert_eq!(patience.next(), Some(FIRST));
    }

    #[test]
    fn what_is_gone_leaves_no_failures_behind() {
        use k8s_openapi::api::core::v1::ConfigMap;

        let failures = Failures::<ConfigMap>::default();
        let object = || ObjectRef::new("one").within("a");
        assert_eq!([failures.add(object()), failures.add(object())], [FIRST, FIRST * 2]);
        failures.forget(&ObjectRef::new("one"));
        assert_eq!(failures.add(object()), FIRST * 4, "another namespace");
        failures.forget(&object());
        assert!(failures.0.lock().unwrap().is_empty());
    }
}
