//! Why a request goes where it goes: the very tables that serve requests are asked what they would do with one, and what
//! the routes lack that it does not take.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use crate::config::{Backend, Route};
use crate::filter::{self, split_port};
use crate::state::{Inside, State, TlsServed};
pub use crate::table::{Miss, conditions};
use crate::{path, session};

/// The most misses that are told.
const MOST_MISSES: usize = 5;

/// A listener's state, which is swapped as its configuration changes.
pub(crate) type Sited = Arc<RwLock<Arc<State>>>;

/// Answers questions of what would become of requests; clones answer for the same engine, also as it changes.
#[derive(Clone, Default)]
pub struct Explainer {
    sites: Arc<RwLock<HashMap<SocketAddr, Sited>>>,
}

/// What becomes of a request at one listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Where the listener listens.
    pub address: SocketAddr,
    /// The name of the domain that takes the request, if one does.
    pub domain: Option<Arc<str>>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Routes that come nearest to taking it, and do not.
    pub misses: Vec<Miss>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It takes this route.
    Route {
        /// The route.
        route: Box<Route>,
        /// The name of the backend and the endpoint that its session keeps it with.
        session: Option<(Arc<str>, SocketAddr)>,
    },
    /// Its connection is carried to one of these backends, unread.
    Stream(Vec<Backend>),
    /// It is answered by the engine itself.
    Refused {
        /// The status; none where the connection is closed without an answer.
        status: Option<StatusCode>,
        /// The cause.
        reason: String,
    },
}

impl Explainer {
    /// Answers for these listeners from now on.
    pub(crate) fn site(&self, sites: HashMap<SocketAddr, Sited>) {
        *self.sites.write().unwrap_or_else(PoisonError::into_inner) = sites;
    }

    /// What becomes of a request under TLS or without at each of the listeners that are asked for, by their addresses.
    pub fn explain(
        &self,
        asked: impl Fn(SocketAddr) -> bool,
        tls: bool,
        request: &Parts,
    ) -> Vec<Explanation> {
        let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut explanations: Vec<_> = sites
            .into_iter()
            .filter(|(address, _)| asked(*address))
            .filter_map(|(address, site)| {
                let state = Arc::clone(&site.read().unwrap_or_else(PoisonError::into_inner));
                at(address, &state, tls, request)
            })
            .collect();
        explanations.sort_by_key(|explanation| explanation.address);
        explanations
    }
}

fn at(address: SocketAddr, state: &State, tls: bool, request: &Parts) -> Option<Explanation> {
    let host = request.headers.get(HOST).map(HeaderValue::to_str).and_then(Result::ok).unwrap_or_default();
    let name = split_port(host).0;
    let told = |domain, outcome| Explanation { address, domain, outcome, misses: Vec::new() };
    let closed = |reason: &str| Outcome::Refused { status: None, reason: reason.to_owned() };
    let server_name = match &state.inside {
        Inside::Http if !tls => None,
        Inside::Tls(endings) if tls => {
            let none = "no listener here is for the server name; the connection is closed";
            let Some(ending) = endings.find(name) else { return Some(told(None, closed(none))) };
            let carried = |routes: &crate::host_table::HostTable<crate::state::Backends>| {
                routes.find(name).map_or_else(
                    || closed("no route is for the server name; the connection is closed"),
                    |backends| Outcome::Stream(backends.to_vec()),
                )
            };
            let outcome = match &ending.served {
                TlsServed::Http(_) => None,
                TlsServed::Tcp(_, routes) | TlsServed::Passthrough(routes) => Some(carried(routes)),
                TlsServed::Refused => Some(closed("the listener's TLS settings contradict each other")),
            };
            match outcome {
                None => Some(name),
                Some(outcome) => return Some(told(Some(Arc::clone(&ending.id)), outcome)),
            }
        }
        Inside::Tcp(backends) => return Some(told(None, Outcome::Stream(backends.to_vec()))),
        Inside::Http | Inside::Tls(_) => return None,
    };
    let (domain, table) = match state.domain(name, server_name) {
        Ok(found) => found,
        Err(refusal) => {
            let outcome =
                Outcome::Refused { status: Some(refusal.status), reason: refusal.reason.into_owned() };
            return Some(told(None, outcome));
        }
    };
    let mut request = request.clone();
    match path::normal(request.uri.path())
        .and_then(|normal| normal.map(|normal| filter::with_path(&request.uri, normal)).transpose())
    {
        Ok(None) => {}
        Ok(Some(uri)) => request.uri = uri,
        Err(refusal) => {
            let outcome =
                Outcome::Refused { status: Some(refusal.status), reason: refusal.reason.into_owned() };
            return Some(told(None, outcome));
        }
    }
    let asked = crate::table::Request::new(&request);
    let taken = table.placed(name, &asked);
    let mut misses = table.misses(name, &asked, taken);
    misses.sort_by(|one, two| (one.lacks.len(), &one.route).cmp(&(two.lacks.len(), &two.route)));
    misses.dedup();
    misses.truncate(MOST_MISSES);
    let outcome = match taken {
        Some(placed) => {
            let route = &placed.route;
            let backends = route.action.backends();
            let kept = route.session.as_ref().and_then(|rules| {
                let (backend, place) = session::find(rules, backends, &request.headers, SystemTime::now())?;
                Some((Arc::clone(&backend.id), backend.endpoints().get(place).copied()?))
            });
            Outcome::Route { route: Box::new(route.clone()), session: kept }
        }
        None => Outcome::Refused {
            status: Some(StatusCode::NOT_FOUND),
            reason: crate::forward::NO_ROUTE.to_owned(),
        },
    };
    Some(Explanation { address, domain: Some(Arc::clone(domain)), outcome, misses })
}
