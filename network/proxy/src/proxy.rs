//! The running engine: listeners that keep their sockets while the routes behind them are swapped whole.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::forward::Forwarder;
use crate::table::RouteTable;

/// Bounds on what clients may ask of the engine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest request head, at least 8 KiB; above it 431.
    pub header_bytes: usize,
    /// The most headers of a request; above it 431.
    pub header_count: usize,
    /// The longest time a client may take to send a head; then the connection closes.
    pub header_read_timeout: Duration,
    /// The longest time to connect to an endpoint.
    pub connect_timeout: Duration,
    /// How many endpoints of a backend are tried until one accepts the connection.
    pub connect_attempts: usize,
    /// The most idle connections kept per endpoint.
    pub idle_per_endpoint: usize,
    /// The most downstream connections of a listener; more wait in the accept queue.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            header_count: 100,
            header_read_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            connect_attempts: 3,
            idle_per_endpoint: 64,
            connections: 10_000,
        }
    }
}

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

/// What connections of a listener share: the table, swapped whole.
type SharedTable = Arc<RwLock<Arc<RouteTable>>>;

struct Running {
    bound: SocketAddr,
    table: SharedTable,
    stop: watch::Sender<bool>,
    accept: JoinHandle<()>,
}

/// The engine.
pub struct Proxy {
    limits: Limits,
    forwarder: Arc<Forwarder>,
    running: HashMap<SocketAddr, Running>,
}

impl Proxy {
    /// An engine that serves nothing yet.
    pub fn new(limits: Limits) -> Self {
        let forwarder = Arc::new(Forwarder::new(&limits));
        Self { limits, forwarder, running: HashMap::new() }
    }

    /// Serves this configuration in place of the last: binds new listeners, swaps the routes of kept ones, and
    /// drains removed ones. A listener is the same if the address asked for is the same.
    pub async fn apply(&mut self, config: Config) -> Applied {
        let mut last = std::mem::take(&mut self.running);
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for listener in config.listeners {
            let address = listener.address;
            let table = Arc::new(RouteTable::new(listener.hosts));
            if self.running.contains_key(&address) {
                listeners.push(Err(ListenError::Duplicate { address }));
            } else if let Some(kept) = last.remove(&address) {
                *kept.table.write().unwrap_or_else(PoisonError::into_inner) = table;
                listeners.push(Ok(kept.bound));
                self.running.insert(address, kept);
            } else {
                match self.listen(address, table).await {
                    Ok(new) => {
                        listeners.push(Ok(new.bound));
                        self.running.insert(address, new);
                    }
                    Err(source) => listeners.push(Err(ListenError::Bind { address, source })),
                }
            }
        }
        for removed in last.into_values() {
            removed.stop.send_replace(true);
        }
        Applied { listeners }
    }

    async fn listen(&self, address: SocketAddr, table: Arc<RouteTable>) -> io::Result<Running> {
        let socket = TcpListener::bind(address).await?;
        let bound = socket.local_addr()?;
        let table = Arc::new(RwLock::new(table));
        let (stop, stopped) = watch::channel(false);
        let acceptor = Acceptor {
            limits: self.limits.clone(),
            forwarder: Arc::clone(&self.forwarder),
            table: Arc::clone(&table),
            stopped,
        };
        let accept = tokio::spawn(acceptor.run(socket));
        Ok(Running { bound, table, stop, accept })
    }

    /// Stops accepting, lets requests in flight end, and cuts what is left at the deadline. Returns whether all
    /// connections ended by themselves.
    pub async fn shutdown(self, deadline: Duration) -> bool {
        for running in self.running.values() {
            running.stop.send_replace(true);
        }
        let end = tokio::time::Instant::now() + deadline;
        let mut clean = true;
        for mut running in self.running.into_values() {
            if tokio::time::timeout_at(end, &mut running.accept).await.is_err() {
                running.accept.abort();
                clean = false;
            }
        }
        clean
    }
}

/// Waits for the word to stop; an engine that was dropped has given it.
async fn stop_asked(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

struct Acceptor {
    limits: Limits,
    forwarder: Arc<Forwarder>,
    table: SharedTable,
    stopped: watch::Receiver<bool>,
}

impl Acceptor {
    /// Accepts until stopped, then waits for the connections. They are owned here: aborting this task cuts them.
    async fn run(self, socket: TcpListener) {
        let mut connections = tokio::task::JoinSet::new();
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let mut stopped = self.stopped.clone();
        loop {
            let accept = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, socket.accept().await)
            };
            tokio::select! {
                () = stop_asked(&mut stopped) => break,
                Some(_) = connections.join_next() => {}
                (place, accepted) = accept => match accepted {
                    Ok((stream, peer)) => {
                        let serving = self.serve(stream, peer);
                        connections.spawn(async move {
                            serving.await;
                            drop(place);
                        });
                    }
                    // Out of descriptors, or a peer that left: a pause keeps the loop from spinning.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
            }
        }
        drop(socket);
        while connections.join_next().await.is_some() {}
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send + 'static {
        let forwarder = Arc::clone(&self.forwarder);
        let table = Arc::clone(&self.table);
        let mut stopped = self.stopped.clone();
        let mut server = http1::Builder::new();
        server
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_read_timeout)
            .max_headers(self.limits.header_count)
            .max_buf_size(self.limits.header_bytes.max(8 * 1024));
        async move {
            // Failing to set the option costs latency only.
            let _ = stream.set_nodelay(true);
            let service = service_fn(move |request| {
                let current = Arc::clone(&table.read().unwrap_or_else(PoisonError::into_inner));
                let forwarder = Arc::clone(&forwarder);
                async move { Ok::<_, std::convert::Infallible>(forwarder.answer(&current, request, peer).await) }
            });
            let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
            // The client's faults end its own connection; hyper has answered 400 or 431 where it could.
            tokio::select! {
                _ = connection.as_mut() => return,
                () = stop_asked(&mut stopped) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        }
    }
}
