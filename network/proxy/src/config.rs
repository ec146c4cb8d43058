//! The configuration value: plain data that a caller builds and the engine compiles.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use regex::Regex;

/// All that the engine serves at one time.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// One entry per address to listen on.
    pub listeners: Vec<Listener>,
}

/// A listening address and the routes behind it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where to listen; port 0 takes a free port.
    pub address: SocketAddr,
    /// The virtual hosts served here.
    pub hosts: Vec<VirtualHost>,
}

/// Routes for one host pattern.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// Which hosts the routes serve.
    pub host: HostMatch,
    /// The routes, in the caller's order: of two equal matches the earlier wins.
    pub routes: Vec<Route>,
}

/// A host pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    /// This host only, whatever its case.
    Exact(String),
    /// Any host with one or more labels before this suffix: `example.com` stands for `*.example.com`.
    Suffix(String),
    /// Every host.
    Any,
}

/// One rule: what it matches and what is done with the request.
#[derive(Clone, Debug)]
pub struct Route {
    /// The caller's name for the route.
    pub id: Arc<str>,
    /// What a request must look like.
    pub matcher: RouteMatch,
    /// Where it goes.
    pub action: Action,
    /// The longest time to the response's head; none means no limit.
    pub request_timeout: Option<Duration>,
}

/// The conditions of a route; all must hold.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// The path condition.
    pub path: PathMatch,
    /// The method, if only one is served.
    pub method: Option<Method>,
    /// Header conditions.
    pub headers: Vec<(HeaderName, ValueMatch)>,
    /// Query parameter conditions; the first parameter of a name counts.
    pub query: Vec<(String, ValueMatch)>,
}

impl Default for RouteMatch {
    fn default() -> Self {
        Self { path: PathMatch::Prefix("/".into()), method: None, headers: Vec::new(), query: Vec::new() }
    }
}

/// A path condition.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole leading segments: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// An expression searched in the path; anchor it for a full match.
    Regex(Regex),
}

/// A condition on a header's or parameter's value.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// Exactly this value.
    Exact(String),
    /// An expression searched in the value.
    Regex(Regex),
}

impl ValueMatch {
    pub(crate) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == value,
            Self::Regex(expression) => expression.is_match(value),
        }
    }
}

/// What is done with a matched request.
#[derive(Clone, Debug)]
pub enum Action {
    /// Carried to one of these backends, chosen by weight.
    Forward(Vec<Backend>),
    /// Answered with a redirect.
    Redirect {
        /// A redirect status.
        status: StatusCode,
        /// The `Location` header.
        location: HeaderValue,
    },
}

/// A set of equal endpoints and its share of the traffic.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The caller's name for the backend.
    pub id: Arc<str>,
    /// Its share; 0 gets nothing.
    pub weight: u32,
    /// False answers 500, as for a reference to nothing.
    pub valid: bool,
    /// Where it listens; none answers 503.
    pub endpoints: Vec<SocketAddr>,
}
