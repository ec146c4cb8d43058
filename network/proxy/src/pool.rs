//! Connections to endpoints between their requests.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::HashMap;
use crate::body::Body;
use crate::config::BackendTls;
use crate::http1::client::Connection;
use crate::limits::Limits;
use crate::stream::Upstream;
use crate::tasks::Tasks;

/// Requests on one HTTP/2 connection before another is opened; endpoints commonly allow 100.
const STREAMS: usize = 100;

/// Which of a backend's TLS configurations a connection takes.
pub(crate) type Speaking = fn(&BackendTls) -> &Arc<ClientConfig>;

/// A connection goes from hand to hand many times; its box alone is moved.
type Idle = HashMap<Destination, Vec<Box<Connection>>>;

/// The idle HTTP/1.1 connections and the shared HTTP/2 connections of all endpoints.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
    shared: Mutex<HashMap<Destination, Vec<Shared>>>,
    per_endpoint: usize,
    endpoint_idle: Duration,
    endpoint_age: Duration,
    exchange_idle: Duration,
    connect_timeout: Duration,
    tasks: Tasks,
}

/// An endpoint and how it is spoken to: connections to one serve no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<BackendTls>>,
}

/// An HTTP/2 connection to an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) sender: SendRequest<Body>,
    active: Arc<AtomicUsize>,
    created: Instant,
    idle_since: Instant,
}

/// A request's place on a shared connection.
#[derive(Debug)]
pub(crate) struct StreamGuard(Arc<AtomicUsize>);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    pub(crate) fn place(&self) -> StreamGuard {
        self.active.fetch_add(1, Ordering::Relaxed);
        StreamGuard(Arc::clone(&self.active))
    }

    fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }
}

impl Pool {
    pub(crate) fn new(limits: &Limits, tasks: Tasks) -> Self {
        Self {
            idle: Mutex::default(),
            shared: Mutex::default(),
            per_endpoint: limits.idle_per_endpoint,
            endpoint_idle: limits.endpoint_idle,
            endpoint_age: limits.endpoint_age,
            exchange_idle: limits.exchange_idle,
            connect_timeout: limits.connect_timeout,
            tasks,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> MutexGuard<'_, HashMap<Destination, Vec<Shared>>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection that is still good, the last used first: it is the likeliest to live.
    pub(crate) fn take(&self, endpoint: &Destination) -> Option<Box<Connection>> {
        loop {
            let connection = self.idle().get_mut(endpoint)?.pop()?;
            if connection.idle_since.elapsed() < self.endpoint_idle && connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, mut connection: Box<Connection>) {
        let now = Instant::now();
        if now - connection.created >= self.endpoint_age {
            return;
        }
        connection.idle_since = now;
        let mut idle = self.idle();
        let kept = idle.entry(connection.endpoint.clone()).or_default();
        if kept.len() < self.per_endpoint {
            kept.push(connection);
        }
    }

    /// A new connection to the endpoint.
    pub(crate) async fn connect(&self, endpoint: &Destination) -> io::Result<Box<Connection>> {
        let stream = self.reach(endpoint, BackendTls::http1).await?;
        Ok(Box::new(Connection::new(endpoint.clone(), stream, self.exchange_idle)))
    }

    /// A connection of its own to the endpoint.
    pub(crate) async fn reach(&self, endpoint: &Destination, speaking: Speaking) -> io::Result<Upstream> {
        let reaching = async {
            let stream = TcpStream::connect(endpoint.address).await?;
            // Failing to set the option costs latency only.
            let _ = stream.set_nodelay(true);
            let Some(tls) = &endpoint.tls else { return Ok(Upstream::Tcp(stream)) };
            let connector = TlsConnector::from(Arc::clone(speaking(tls)));
            let handshake = Box::pin(connector.connect(tls.server_name().clone(), stream));
            Ok(Upstream::Tls(Box::new(handshake.await?)))
        };
        tokio::time::timeout(self.connect_timeout, reaching).await?
    }

    /// An HTTP/2 connection with a free place, if one is open.
    pub(crate) fn take_shared(&self, endpoint: &Destination) -> Option<Shared> {
        let mut shared = self.shared();
        let connections = shared.get_mut(endpoint)?;
        connections.retain(|connection| !connection.sender.is_closed());
        let free = connections.iter_mut().find(|connection| {
            connection.sender.is_ready()
                && connection.active() < STREAMS
                && connection.created.elapsed() < self.endpoint_age
        })?;
        free.idle_since = Instant::now();
        Some(free.clone())
    }

    /// A new HTTP/2 connection, shared from now on unless the endpoint has enough of them.
    pub(crate) async fn connect_shared(&self, endpoint: &Destination) -> io::Result<Shared> {
        let stream = self.reach(endpoint, BackendTls::http2).await?;
        let handshake = http2::Builder::new(self.tasks.clone())
            .timer(TokioTimer::new())
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .handshake(TokioIo::new(stream));
        let (sender, driver) =
            tokio::time::timeout(self.connect_timeout, handshake).await?.map_err(io::Error::other)?;
        self.tasks.spawn(async move {
            // Its failure reaches every request on it.
            let _ = driver.await;
        });
        let now = Instant::now();
        let opened = Shared { sender, active: Arc::default(), created: now, idle_since: now };
        let mut shared = self.shared();
        let connections = shared.entry(endpoint.clone()).or_default();
        if connections.len() < self.per_endpoint {
            connections.push(opened.clone());
        }
        Ok(opened)
    }

    /// Drops what is too old, too long unused, or closed by its endpoint.
    pub(crate) fn sweep(&self) {
        let mut gone = Vec::new();
        self.idle().retain(|_, kept| {
            let stale = |connection: &mut Box<Connection>| {
                connection.idle_since.elapsed() >= self.endpoint_idle || !connection.is_quiet()
            };
            gone.extend(kept.extract_if(.., stale));
            !kept.is_empty()
        });
        self.shared().retain(|_, connections| {
            connections.retain(|connection| {
                let unused =
                    connection.active() == 0 && connection.idle_since.elapsed() >= self.endpoint_idle;
                // A connection that is too old finishes the requests on it: they hold it.
                let old = connection.created.elapsed() >= self.endpoint_age;
                !connection.sender.is_closed() && !unused && !old
            });
            !connections.is_empty()
        });
    }

    /// Sweeps for ever.
    pub(crate) async fn keep_swept(&self) {
        let mut turn = tokio::time::interval((self.endpoint_idle / 2).max(Duration::from_millis(100)));
        loop {
            turn.tick().await;
            self.sweep();
        }
    }
}
