//! Bounds on what peers may ask of the engine.

use std::time::Duration;

/// Bounds that hold for every listener and endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request head; above it 431.
    pub header_bytes: usize,
    /// The most headers of a request, at most 256; above it 431.
    pub header_count: usize,
    /// The longest request target; above it 414.
    pub target_bytes: usize,
    /// The largest request body, if there is a bound; above it 413.
    pub body_bytes: Option<u64>,
    /// The longest time for a client's TLS handshake, and from the first byte of a request's head to its last;
    /// above it 408.
    pub header_read_timeout: Duration,
    /// How long a client's connection may wait for its next request, and a client may take nothing of an answer, or send
    /// nothing of a body that must be whole before it goes on.
    pub client_idle: Duration,
    /// How long nothing may move between client and endpoint amid an exchange: above it 504 if no head has come,
    /// else the exchange is cut.
    pub exchange_idle: Duration,
    /// How long nothing may move through an upgraded connection.
    pub tunnel_idle: Duration,
    /// The longest time to connect to an endpoint.
    pub connect_timeout: Duration,
    /// How many endpoints of a backend are tried until one accepts the connection.
    pub connect_attempts: usize,
    /// The largest request body that is kept for a retry.
    pub replayed_bytes: usize,
    /// The most copies of requests for mirrors at a time; above it requests are not copied.
    pub mirrors: usize,
    /// The most clients of a datagram listener at a time; those of others are dropped.
    pub datagram_clients: usize,
    /// How long a datagram client may be quiet until its endpoint is chosen anew.
    pub datagram_idle: Duration,
    /// The most idle connections kept per endpoint.
    pub idle_per_endpoint: usize,
    /// How long an idle connection to an endpoint is kept.
    pub endpoint_idle: Duration,
    /// The age at which a connection to an endpoint takes no further request.
    pub endpoint_age: Duration,
    /// The most downstream connections of a listener; more wait in the accept queue.
    pub connections: usize,
    /// The most requests at a time of one HTTP/2 connection.
    pub streams: u32,
    /// How long a removed listener's connections may finish what they do, then they are cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            header_count: 100,
            target_bytes: 16 * 1024,
            body_bytes: None,
            header_read_timeout: Duration::from_secs(10),
            client_idle: Duration::from_secs(75),
            exchange_idle: Duration::from_secs(300),
            tunnel_idle: Duration::from_secs(3600),
            connect_timeout: Duration::from_secs(5),
            connect_attempts: 3,
            replayed_bytes: 64 * 1024,
            mirrors: 1_000,
            datagram_clients: 10_000,
            datagram_idle: Duration::from_secs(60),
            idle_per_endpoint: 64,
            endpoint_idle: Duration::from_secs(60),
            endpoint_age: Duration::from_secs(3600),
            connections: 10_000,
            streams: 200,
            drain: Duration::from_secs(30),
        }
    }
}
