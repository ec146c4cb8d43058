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

use crate::access::AccessLog;
use crate::config::{Config, Listener, Protocol};
use crate::connection::{Shared, other};
use crate::explain::Explainer;
use crate::forward::Forwarder;
use crate::listener::Running;
use crate::pool::Pool;
use crate::state::State;
use crate::stream::Stream;
use crate::tasks::Tasks;
use crate::traffic::Traffic;
use crate::udp;

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

/// A listener at work, and what was asked of it last: what has not changed is left alone.
struct Served {
    running: Running,
    protocol: Protocol,
}

/// The engine. Dropping it cuts every connection; [`shutdown`](Self::shutdown) lets them end.
pub struct Proxy {
    limits: Arc<Limits>,
    forwarder: Arc<Forwarder>,
    pool: Arc<Pool>,
    tasks: Tasks,
    running: HashMap<SocketAddr, Served>,
    datagrams: HashMap<SocketAddr, udp::Running>,
    /// Removed listeners, until they are drained.
    leaving: JoinSet<bool>,
    sweeps: bool,
    explainer: Explainer,
}

impl Proxy {
    /// An engine that serves nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self::begin(limits, None)
    }

    /// The same, which tells each request here.
    pub fn with_access_log(limits: Limits, log: AccessLog) -> Self {
        Self::begin(limits, Some(log))
    }

    /// What went through until now.
    pub fn traffic(&self) -> &Traffic {
        self.forwarder.traffic()
    }

    /// Who says what would become of a request.
    pub fn explainer(&self) -> &Explainer {
        &self.explainer
    }

    fn begin(limits: Limits, log: Option<AccessLog>) -> Self {
        let tasks = Tasks::default();
        let pool = Arc::new(Pool::new(&limits, tasks.child()));
        let forwarder = Arc::new(Forwarder::new(&limits, Arc::clone(&pool), tasks.child(), log));
        Self {
            limits: Arc::new(limits),
            forwarder,
            pool,
            tasks,
            running: HashMap::new(),
            datagrams: HashMap::new(),
            leaving: JoinSet::new(),
            sweeps: false,
            explainer: Explainer::default(),
        }
    }

    /// Serves this configuration in place of the last: binds new listeners, swaps the routes and certificates of
    /// kept ones that changed, and drains removed ones within [`Limits::drain`]. A listener is the same if the address asked for
    /// is the same, and both or neither are for datagrams. A listener that cannot be bound leaves the others untouched.
    pub async fn apply(&mut self, config: Config) -> Applied {
        self.begin_sweeping();
        while self.leaving.try_join_next().is_some() {}
        let (mut last, mut last_datagrams) =
            (std::mem::take(&mut self.running), std::mem::take(&mut self.datagrams));
        let deadline = Instant::now() + self.limits.drain;
        let (mut wanted, mut wanted_datagrams) = (HashSet::new(), HashSet::new());
        for listener in &config.listeners {
            let wanted = if is_udp(listener) { &mut wanted_datagrams } else { &mut wanted };
            wanted.insert(listener.address);
        }
        for (_, Served { running: removed, .. }) in last.extract_if(|address, _| !wanted.contains(address)) {
            removed.stop();
            // A listener of this configuration may want an address that overlaps.
            removed.closed().await;
            self.leaving.spawn(removed.drained(deadline));
        }
        for (_, removed) in last_datagrams.extract_if(|address, _| !wanted_datagrams.contains(address)) {
            removed.end().await;
        }
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for Listener { address, protocol } in config.listeners {
            let bind = |source| ListenError::Bind { address, source };
            let applied = match protocol {
                Protocol::Udp(_) if self.datagrams.contains_key(&address) => {
                    Err(ListenError::Duplicate { address })
                }
                Protocol::Udp(backends) => {
                    let running = match last_datagrams.remove(&address) {
                        Some(kept) => {
                            kept.swap(backends);
                            Ok(kept)
                        }
                        None => udp::Running::start(address, backends, &self.limits).await.map_err(bind),
                    };
                    running.map(|running| {
                        let bound = running.bound;
                        self.datagrams.insert(address, running);
                        bound
                    })
                }
                _ if self.running.contains_key(&address) => Err(ListenError::Duplicate { address }),
                protocol => {
                    let running = match last.remove(&address) {
                        Some(kept) if kept.protocol == protocol => Ok(kept.running),
                        Some(Served { running, .. }) => {
                            running.swap(State::new(
                                protocol.clone(),
                                Some(&running.state()),
                                self.traffic(),
                            ));
                            Ok(running)
                        }
                        None => {
                            let shared = self.shared(State::new(protocol.clone(), None, self.traffic()));
                            Running::start(address, shared).await.map_err(bind)
                        }
                    };
                    running.map(|running| {
                        let bound = running.bound;
                        self.running.insert(address, Served { running, protocol });
                        bound
                    })
                }
            };
            listeners.push(applied);
        }
        let site = |served: &Served| (served.running.bound, Arc::clone(&served.running.shared.state));
        self.explainer.site(self.running.values().map(site).collect());
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
        let Served { running, .. } = self.running.get(&listener)?;
        Some(running.shared.clone().serve(other(stream), peer))
    }

    /// Stops accepting, lets requests in flight end, and cuts what is left at the deadline. Returns whether all
    /// connections ended by themselves.
    pub async fn shutdown(mut self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        for (_, Served { running, .. }) in self.running.drain() {
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

fn is_udp(listener: &Listener) -> bool {
    matches!(listener.protocol, Protocol::Udp(_))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.cut();
    }
}
