//! What is told of each request, for whoever keeps a log of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use tokio::sync::mpsc;

pub use crate::trace::TraceId;

/// A request that was answered, or whose client left before it was.
#[derive(Clone, Debug)]
pub struct Access {
    /// When its head had come.
    pub begun: SystemTime,
    /// How long it took to the head of the answer, or until the client left.
    pub took: Duration,
    /// The client's address.
    pub client: HeaderValue,
    /// `http`, or `https` under TLS.
    pub scheme: &'static str,
    /// The method.
    pub method: Method,
    /// The host that it named.
    pub host: Option<HeaderValue>,
    /// The target as it came.
    pub target: Uri,
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// What the client says that it is.
    pub user_agent: Option<HeaderValue>,
    /// The trace that it belongs to.
    pub trace: Option<TraceId>,
    /// The status of the answer; 499 where the client left before it.
    pub status: StatusCode,
    /// The name of its route, if one matched.
    pub route: Option<Arc<str>>,
    /// The name of the backend that was chosen.
    pub backend: Option<Arc<str>>,
    /// The endpoint that was tried last.
    pub endpoint: Option<SocketAddr>,
}

/// Where accesses are told: a queue whose reader writes them down. What it has no room for is counted, and no request waits
/// for it.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: mpsc::Sender<Access>,
    missed: Arc<AtomicU64>,
}

impl AccessLog {
    /// A log of which at most so many accesses wait to be read.
    pub fn new(most: usize) -> (Self, mpsc::Receiver<Access>) {
        let (queue, reader) = mpsc::channel(most.max(1));
        (Self { queue, missed: Arc::default() }, reader)
    }

    /// How many accesses the queue had no room for.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(crate) fn tell(&self, access: Access) {
        if self.queue.try_send(access).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Access {
    /// What is known when a request comes.
    pub(crate) fn begin(client: &HeaderValue, scheme: &'static str, parts: &Parts) -> Self {
        Self {
            begun: SystemTime::now(),
            took: Duration::ZERO,
            client: client.clone(),
            scheme,
            method: parts.method.clone(),
            host: parts.headers.get(HOST).cloned(),
            target: parts.uri.clone(),
            version: parts.version,
            user_agent: parts.headers.get(USER_AGENT).cloned(),
            trace: None,
            status: StatusCode::OK,
            route: None,
            backend: None,
            endpoint: None,
        }
    }
}
