//! The loop: watch, plan, have the filter follow.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use xebec_datapath::Filter;
use xebec_policy::{Plan, plan};

use crate::arrival::{Arrival, Expected, FORGET, Waiting};
use crate::translation;
use crate::world::World;

/// Changes that come this close together are planned at once.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// The waits after a pass that did not end well.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// How long a pass may stand where nothing changes.
const IDLE: Duration = Duration::from_secs(3600);

/// For what policies are enforced.
pub struct Options {
    /// The machine as objects name it.
    pub node: String,
    /// What filters.
    pub filter: Filter,
    /// The pods that are about to start.
    pub expected: Expected,
}

/// Keeps the filter in step with the objects until `shutdown` is cancelled, and removes it then.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) {
    // Taken out when it is to be closed, which waits for whoever works with it.
    let filter = Arc::new(Mutex::new(Some(options.filter)));
    let passes = Passes {
        world: World::watch(client),
        node: options.node,
        filter: filter.clone(),
        expected: options.expected.0,
        waiting: Waiting::default(),
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = passes.run() => {}
    }
    let closed = tokio::task::spawn_blocking(move || {
        let own = filter.lock().unwrap_or_else(PoisonError::into_inner).take();
        own.map_or(Ok(()), Filter::close)
    });
    match closed.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the filter of pods stays"),
        Err(error) => tracing::warn!(%error, "the filter of pods stays"),
    }
}

struct Passes {
    world: World,
    node: String,
    /// The filter, until it is closed.
    filter: Arc<Mutex<Option<Filter>>>,
    expected: Receiver<Arrival>,
    waiting: Waiting,
}

impl Passes {
    async fn run(mut self) {
        // Half the objects would let through what all forbid.
        if self.world.listed().await.is_err() {
            return;
        }
        let mut wait = AGAIN.0;
        loop {
            while let Ok(arrival) = self.expected.try_recv() {
                self.waiting.add(arrival);
            }
            let Some(plan) = self.plan().await else { return };
            if apply(&self.filter, plan).await {
                self.waiting.answer();
                wait = AGAIN.0;
                self.wait(if self.waiting.is_empty() { IDLE } else { FORGET }).await;
            } else {
                self.wait(wait).await;
                wait = (wait * 2).min(AGAIN.1);
            }
        }
    }

    async fn plan(&mut self) -> Option<Plan> {
        let policies = translation::policies(&self.world.policies());
        if policies.is_empty() {
            self.world.forget_members();
            self.waiting.forget(&[]);
            return Some(Plan::default());
        }
        let (pods, namespaces) = self.world.members().await.ok()?;
        self.waiting.forget(&pods);
        let pods = translation::pods(&pods, &self.waiting, &self.node);
        Some(plan(&policies, &pods, &translation::namespaces(&namespaces)))
    }

    /// Waits for a change, or for a pod that is about to start, which waits for nothing further.
    async fn wait(&mut self, longest: Duration) {
        let is_change = tokio::select! {
            () = self.world.changed() => true,
            arrival = self.expected.recv() => self.arrived(arrival).await,
            () = tokio::time::sleep(longest) => false,
        };
        if is_change {
            tokio::select! {
                () = tokio::time::sleep(DEBOUNCE) => {}
                arrival = self.expected.recv() => {
                    self.arrived(arrival).await;
                }
            }
        }
    }

    async fn arrived(&mut self, arrival: Option<Arrival>) -> bool {
        match arrival {
            Some(arrival) => self.waiting.add(arrival),
            // Nobody starts pods any more.
            None => self.world.changed().await,
        }
        false
    }
}

/// Whether the kernel does what the plan says.
async fn apply(filter: &Arc<Mutex<Option<Filter>>>, plan: Plan) -> bool {
    let filter = filter.clone();
    let applied = tokio::task::spawn_blocking(move || {
        let mut filter = filter.lock().unwrap_or_else(PoisonError::into_inner);
        filter.as_mut().map_or(Ok(()), |filter| filter.apply(&plan))
    });
    match applied.await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "NetworkPolicies are not enforced as they stand; trying again")
        }
        Err(error) => tracing::error!(%error, "NetworkPolicies are not enforced as they stand; trying again"),
    }
    false
}
