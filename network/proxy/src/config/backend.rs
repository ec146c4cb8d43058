//! Where requests, connections and datagrams go.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{BackendTls, Filter};

/// A set of equal endpoints and its share of the traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// The caller's name for the backend.
    pub id: Arc<str>,
    /// Its share; 0 gets nothing.
    pub weight: u32,
    /// What its endpoints speak.
    pub protocol: BackendProtocol,
    /// How they are spoken to under TLS, if they are.
    pub tls: Option<Arc<BackendTls>>,
    /// Changes to requests for and responses of this backend alone: after the route's for a request, before the
    /// route's for a response.
    pub filters: Vec<Filter>,
    /// Where it is.
    pub target: Target,
}

impl Backend {
    /// A backend of HTTP/1.1 endpoints without filters.
    pub fn new(id: impl Into<Arc<str>>, weight: u32, endpoints: impl Into<Arc<[SocketAddr]>>) -> Self {
        let target = Target::Endpoints(endpoints.into());
        let protocol = BackendProtocol::default();
        Self { id: id.into(), weight, protocol, tls: None, filters: Vec::new(), target }
    }

    /// The endpoints that are ready.
    pub fn endpoints(&self) -> &[SocketAddr] {
        match &self.target {
            Target::Endpoints(endpoints) => endpoints,
            Target::Invalid => &[],
        }
    }

    /// A share of the traffic that is answered with 500, as for a reference to nothing.
    pub fn invalid(id: impl Into<Arc<str>>, weight: u32) -> Self {
        Self { target: Target::Invalid, ..Self::new(id, weight, Vec::new()) }
    }
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The endpoints that are ready; if there is none, its share of the requests is answered with 503.
    Endpoints(Arc<[SocketAddr]>),
    /// The reference is wrong: its share of the requests is answered with 500.
    Invalid,
}

/// What the endpoints of a backend speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, known in advance where there is no TLS.
    H2c,
}

/// The backend whose share of the weights this turn falls into. The multiplier spreads neighbouring turns.
pub(crate) fn choose(backends: &[Backend], turn: usize) -> Option<&Backend> {
    if let [only] = backends {
        return (only.weight > 0).then_some(only);
    }
    let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let mut place = spread(turn, total);
    backends.iter().find(|backend| {
        let inside = place < u64::from(backend.weight);
        place = place.saturating_sub(u64::from(backend.weight));
        inside
    })
}

/// A number below `total` that neighbouring turns spread evenly over.
pub(crate) fn spread(turn: usize, total: u64) -> u64 {
    let spread = (turn as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((u128::from(spread) * u128::from(total)) >> 64) as u64
}
