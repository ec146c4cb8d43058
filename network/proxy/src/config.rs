//! The configuration value: plain data that a caller builds and the engine compiles. Values compare equal when they
//! ask for the same, so that a caller can skip an [`apply`](crate::proxy::Proxy::apply) that would change nothing.

mod authorization;
mod backend;
mod backend_tls;
mod cors;
mod filter;
mod matcher;
mod session;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

pub use authorization::Authorization;
pub use backend::{Backend, BackendProtocol, Target};
pub(crate) use backend::{choose, spread};
pub use backend_tls::{BackendTls, BackendTlsError, SubjectName};
pub use cors::{Cors, CorsList, Origin};
pub use filter::{
    Filter, HeaderModifier, Mirror, PathRewrite, Redirect, RedirectScheme, RedirectStatus, UrlRewrite,
};
pub use matcher::{HostMatch, PathMatch, Pattern, PatternError, RouteMatch, ValueMatch};
pub use session::{Bearer, NoRandomness, Session, SessionKey};
pub use tls::{Alpn, Certificate, CertificateError, ClientValidation, Tls, TrustError, TrustRoots};

/// All that the engine serves at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// One entry per address to listen on.
    pub listeners: Vec<Listener>,
}

/// A listening address and what is behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Where to listen; port 0 takes a free port.
    pub address: SocketAddr,
    /// What is served there.
    pub protocol: Protocol,
}

/// What a listener speaks with its clients, and for whom. Of domains with the same pattern the first counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/2 from clients that begin with its preface ("prior knowledge").
    Http(Vec<Domain>),
    /// TLS; the client's server name chooses the domain.
    Tls(Vec<TlsDomain>),
    /// Bytes, carried as they are to one of these backends, chosen by weight.
    Tcp(Vec<Backend>),
    /// Datagrams: those of one client go to one endpoint until it has been quiet for a while.
    Udp(Vec<Backend>),
}

/// Hosts that are served apart: a request for one of them is answered by the routes of the most specific domain alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// The caller's name for the domain.
    pub id: Arc<str>,
    /// Which hosts these are.
    pub host: HostMatch,
    /// The virtual hosts among them.
    pub hosts: Vec<VirtualHost>,
}

impl Domain {
    /// The only domain of a listener.
    pub fn any(hosts: Vec<VirtualHost>) -> Self {
        Self { id: "".into(), host: HostMatch::Any, hosts }
    }
}

/// Server names that are served apart.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsDomain {
    /// The caller's name for the domain.
    pub id: Arc<str>,
    /// Which server names these are; a client that names none is served where any is.
    pub host: HostMatch,
    /// What becomes of their connections.
    pub ending: Ending,
}

/// Where TLS ends, and what is inside.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Here; inside is HTTP/1.1 or HTTP/2. A request for a host of another domain is answered with 421.
    Http(Tls, Vec<VirtualHost>),
    /// Here; inside are bytes for the backends of the server name.
    Tcp(Tls, Vec<ServerNameRoute>),
    /// At the backends of the server name.
    Passthrough(Vec<ServerNameRoute>),
}

/// Backends for server names.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerNameRoute {
    /// Which server names.
    pub host: HostMatch,
    /// Where their connections go, by weight.
    pub backends: Vec<Backend>,
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
    /// When it is tried again.
    pub retry: Option<Retry>,
    /// What scripts of other origins may do.
    pub cors: Option<Arc<Cors>>,
    /// Whether requests of one session go to one endpoint, whatever the weights.
    pub session: Option<Arc<Session>>,
    /// Who is asked whether a request may pass.
    pub authorization: Option<Arc<Authorization>>,
}

impl Route {
    /// A route without filters, time limits and retries.
    pub fn new(id: impl Into<Arc<str>>, matcher: RouteMatch, action: Action) -> Self {
        let timeouts = Timeouts::default();
        Self {
            id: id.into(),
            matcher,
            filters: Vec::new(),
            action,
            timeouts,
            retry: None,
            cors: None,
            session: None,
            authorization: None,
        }
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

/// When a request is sent again: after an answer with one of the statuses, or none for want of a connection, of an
/// answer, or of time ([`Timeouts::backend_request`]). A request whose body is larger than
/// [`Limits::replayed_bytes`](crate::proxy::Limits::replayed_bytes) is sent once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often at most, after the first attempt.
    pub attempts: u32,
    /// The statuses that are tried again.
    pub statuses: Vec<StatusCode>,
    /// The wait before the first retry; it doubles with each.
    pub backoff: Duration,
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

impl Action {
    /// The backends that requests may go to.
    pub(crate) fn backends(&self) -> &[Backend] {
        match self {
            Self::Forward(backends) => backends,
            Self::Redirect(_) | Self::Respond(_) => &[],
        }
    }
}

/// An answer that the engine gives by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Respond {
    /// The status.
    pub status: StatusCode,
    /// The body, plain text.
    pub body: Bytes,
}
