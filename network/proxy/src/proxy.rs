//! The running engine: listeners that keep their sockets while the routes behind them are swapped whole.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::connection::{Shared, State, other};
use crate::forward::Forwarder;
use crate::listener::Running;
use crate::pool::Pool;
use crate::stream::Stream;
use crate::tasks::Tasks;

pub use crate::limits::Limits;

/// Why a listener of a configuration is not served.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The socket could not be bound.
    #[error("cannot listen on {address}: {source}; free the port or choose another address")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration names the address twice.
    #[error("listener {address} stands twice in the configuration; merge the two")]
    Duplicate {
        /// The address asked for.
        address: SocketAddr,
    },
}

/// What came of a configuration: one result per listener, in its order.
#[derive(Debug)]
pub struct Applied {
    /// The bound address of each listener, or why there is none.
    pub listeners: Vec<Result<SocketAddr, ListenError>>,
}

/// The engine. Dropping it cuts every connection; [`shutdown`](Self::shutdown) lets them end.
pub struct Proxy {
    limits: Arc<Limits>,
    forwarder: Arc<Forwarder>,
    pool: Arc<Pool>,
    tasks: Tasks,
    running: HashMap<SocketAddr, Running>,
    /// Removed listeners, until they are drained.
    leaving: JoinSet<bool>,
    sweeps: bool,
}

impl Proxy {
    /// An engine that serves nothing yet.
    pub fn new(limits: Limits) -> Self {
        let tasks = Tasks::default();
        let pool = Arc::new(Pool::new(&limits, tasks.child()));
        let forwarder = Arc::new(Forwarder::new(&limits, Arc::clone(&pool)));
        let limits = Arc::new(limits);
        let leaving = JoinSet::new();
        Self { limits, forwarder, pool, tasks, running: HashMap::new(), leaving, sweeps: false }
    }

    /// Serves this configuration in place of the last: binds new listeners, swaps the routes and certificates of
    /// kept ones, and drains removed ones within [`Limits::drain`]. A listener is the same if the address asked for
    /// is the same. A listener that cannot be bound leaves the others untouched.
    pub async fn apply(&mut self, config: Config) -> Applied {
        self.begin_sweeping();
        while self.leaving.try_join_next().is_some() {}
        let mut last = std::mem::take(&mut self.running);
        let deadline = Instant::now() + self.limits.drain;
        let wanted = config.listeners.iter().map(|listener| listener.address).collect::<HashSet<_>>();
        for (_, removed) in last.extract_if(|address, _| !wanted.contains(address)) {
            removed.stop();
            // A listener of this configuration may want an address that overlaps.
            removed.closed().await;
            self.leaving.spawn(removed.drained(deadline));
        }
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for listener in config.listeners {
            let address = listener.address;
            let applied = if self.running.contains_key(&address) {
                Err(ListenError::Duplicate { address })
            } else if let Some(kept) = last.remove(&address) {
                kept.swap(State::new(listener));
                Ok(kept)
            } else {
                let shared = self.shared(State::new(listener));
                Running::start(address, shared).await.map_err(|source| ListenError::Bind { address, source })
            };
            listeners.push(applied.map(|running| {
                let bound = running.bound;
                self.running.insert(address, running);
                bound
            }));
        }
        Applied { listeners }
    }

    fn begin_sweeping(&mut self) {
        if !self.sweeps {
            self.sweeps = true;
            let pool = Arc::clone(&self.pool);
            self.tasks.spawn(async move { pool.keep_swept().await });
        }
    }

    fn shared(&self, state: State) -> Shared {
        Shared {
            limits: Arc::clone(&self.limits),
            forwarder: Arc::clone(&self.forwarder),
            state: Arc::new(RwLock::new(Arc::new(state))),
            stop: CancellationToken::new(),
            tasks: self.tasks.child(),
        }
    }

    /// Serves a stream as if it had come from `peer` by the listener that was asked for at `listener`; none if
    /// there is no such listener. The caller owns the connection: dropping the future cuts it.
    pub fn serve<S: Stream>(
        &self,
        listener: SocketAddr,
        stream: S,
        peer: SocketAddr,
    ) -> Option<impl Future<Output = ()> + Send + use<S>> {
        let running = self.running.get(&listener)?;
        Some(running.shared.clone().serve(other(stream), peer))
    }

    /// Stops accepting, lets requests in flight end, and cuts what is left at the deadline. Returns whether all
    /// connections ended by themselves.
    pub async fn shutdown(mut self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        for (_, running) in self.running.drain() {
            running.stop();
            self.leaving.spawn(running.drained(end));
        }
        let mut clean = true;
        loop {
            match tokio::time::timeout_at(end, self.leaving.join_next()).await {
                Ok(Some(ended)) => clean &= ended.unwrap_or(false),
                Ok(None) => return clean,
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.cut();
    }
}
