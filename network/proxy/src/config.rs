//! The configuration value: plain data that a caller builds and the engine compiles. Values compare equal when they
//! ask for the same, so that a caller can skip an [`apply`](crate::proxy::Proxy::apply) that would change nothing.

mod filter;
mod matcher;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

pub use filter::{Filter, HeaderModifier, PathRewrite, Redirect, RedirectScheme, RedirectStatus, UrlRewrite};
pub use matcher::{HostMatch, PathMatch, Pattern, PatternError, RouteMatch, ValueMatch};
pub use tls::{Alpn, Certificate, CertificateError, Tls};

/// All that the engine serves at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// One entry per address to listen on.
    pub listeners: Vec<Listener>,
}

/// A listening address and the routes behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Where to listen; port 0 takes a free port.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The virtual hosts served here.
    pub hosts: Vec<VirtualHost>,
}

/// What a listener speaks with its clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/2 from clients that begin with its preface ("prior knowledge").
    #[default]
    Http,
    /// The same under TLS, which ends here.
    Https(Tls),
}

/// Routes for one host pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualHost {
    /// Which hosts the routes serve.
    pub host: HostMatch,
    /// The routes, in the caller's order: of two equal matches the earlier wins.
    pub routes: Vec<Route>,
}

/// One rule: what it matches and what is done with the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The caller's name for the route.
    pub id: Arc<str>,
    /// What a request must look like.
    pub matcher: RouteMatch,
    /// Changes to requests and responses, in order.
    pub filters: Vec<Filter>,
    /// Where it goes.
    pub action: Action,
    /// How long it may take.
    pub timeouts: Timeouts,
}

impl Route {
    /// A route without filters and time limits.
    pub fn new(id: impl Into<Arc<str>>, matcher: RouteMatch, action: Action) -> Self {
        Self { id: id.into(), matcher, filters: Vec::new(), action, timeouts: Timeouts::default() }
    }
}

/// The time limits of a route; none means that only the engine's own limits hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's head to the end of the response, with all attempts. Before the response's head it is
    /// answered with 504, later the response is cut.
    pub request: Option<Duration>,
    /// From the choice of an endpoint to the head of its response, for each attempt; answered with 504.
    pub backend_request: Option<Duration>,
}

/// What is done with a matched request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Carried to one of these backends, chosen by weight. If there is none, or all weights are 0, the answer is 500.
    Forward(Vec<Backend>),
    /// Answered with a redirect.
    Redirect(Redirect),
    /// Answered by the engine itself.
    Respond(Respond),
}

/// An answer that the engine gives by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Respond {
    /// The status.
    pub status: StatusCode,
    /// The body, plain text.
    pub body: Bytes,
}

/// A set of equal endpoints and its share of the traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// The caller's name for the backend.
    pub id: Arc<str>,
    /// Its share; 0 gets nothing.
    pub weight: u32,
    /// What its endpoints speak.
    pub protocol: BackendProtocol,
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
        Self { id: id.into(), weight, protocol: BackendProtocol::default(), filters: Vec::new(), target }
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
    /// HTTP/2 without TLS, known in advance.
    H2c,
}
