//! The compiled lookup: hosts, exact paths and prefixes by hash, so that the cost of a request does not grow with the
//! number of routes. Precedence follows the Gateway API's HTTPRoute rules.

mod survey;

use std::cmp::Reverse;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};

use crate::HashMap;
use crate::config::{PathMatch, Route, ValueMatch, VirtualHost};
use crate::host_table::HostTable;
use crate::traffic::{Counters, Traffic};

pub use survey::{Miss, conditions};

/// A route and the counters of its requests.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) route: Route,
    pub(crate) counters: Counters,
}

/// The routes of one listener, ready to look up.
#[derive(Debug, Default)]
pub struct RouteTable {
    hosts: HostTable<PathTable>,
}

#[derive(Debug, Default)]
struct PathTable {
    exact: HashMap<String, Vec<Placed>>,
    prefix: HashMap<String, Vec<Placed>>,
    regex: Vec<Placed>,
}

impl RouteTable {
    /// Compiles the hosts of a listener. Entries with the same host pattern are merged in order.
    pub fn new(hosts: Vec<VirtualHost>) -> Self {
        Self::counted(hosts, &Traffic::default())
    }

    /// The same, with requests counted here.
    pub(crate) fn counted(hosts: Vec<VirtualHost>, traffic: &Traffic) -> Self {
        let mut table = Self::default();
        for host in hosts {
            let paths = table.hosts.entry(host.host, PathTable::default);
            for route in host.routes {
                let counters = traffic.of_route(&route.id, route.action.backends().iter().map(|own| &own.id));
                paths.insert(Placed { route, counters });
            }
        }
        table.hosts.values_mut().for_each(PathTable::rank);
        table
    }

    /// The route for a request, from the most specific host that has one. `host` is without a port.
    pub fn find(
        &self,
        host: &str,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Option<&Route> {
        let request = Request { method, path, query: query.unwrap_or(""), headers };
        self.placed(host, &request).map(|placed| &placed.route)
    }

    /// The same, with its counters.
    pub(crate) fn placed(&self, host: &str, request: &Request<'_>) -> Option<&Placed> {
        self.hosts.find_map(host, |paths| paths.find(request))
    }
}

/// A request as routes see it, its host aside.
pub(crate) struct Request<'a> {
    method: &'a Method,
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
}

impl<'a> Request<'a> {
    pub(crate) fn new(parts: &'a Parts) -> Self {
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or(""));
        Self { method: &parts.method, path, query, headers: &parts.headers }
    }

    fn satisfies(&self, route: &Route) -> bool {
        let wanted = &route.matcher;
        self.has_method(wanted.method.as_ref())
            && wanted.headers.iter().all(|(name, value)| self.has_header(name, value))
            && wanted.query.iter().all(|(name, value)| self.has_parameter(name, value))
    }

    fn has_method(&self, wanted: Option<&Method>) -> bool {
        wanted.is_none_or(|method| method == self.method)
    }

    fn has_header(&self, name: &HeaderName, wanted: &ValueMatch) -> bool {
        self.headers
            .get(name)
            .and_then(|found| found.to_str().ok())
            .is_some_and(|found| wanted.matches(found))
    }

    fn has_parameter(&self, name: &str, wanted: &ValueMatch) -> bool {
        self.parameter(name).is_some_and(|found| wanted.matches(found))
    }

    /// The first parameter of the name.
    fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Some(pairs.find(|(key, _)| *key == name)?.1)
    }
}

impl PathTable {
    fn insert(&mut self, placed: Placed) {
        match &placed.route.matcher.path {
            PathMatch::Exact(path) => self.exact.entry(path.clone()).or_default().push(placed),
            PathMatch::Prefix(path) => {
                self.prefix.entry(path.trim_end_matches('/').to_owned()).or_default().push(placed);
            }
            PathMatch::Regex(_) => self.regex.push(placed),
        }
    }

    fn rank(&mut self) {
        for routes in self.exact.values_mut().chain(self.prefix.values_mut()).chain([&mut self.regex]) {
            routes.sort_by_key(|placed| {
                let wanted = &placed.route.matcher;
                Reverse((wanted.method.is_some(), wanted.headers.len(), wanted.query.len()))
            });
        }
    }

    fn find(&self, request: &Request<'_>) -> Option<&Placed> {
        let first =
            |routes: &'_ Vec<Placed>| routes.iter().position(|placed| request.satisfies(&placed.route));
        if let Some(routes) = self.exact.get(request.path)
            && let Some(index) = first(routes)
        {
            return routes.get(index);
        }
        let mut prefix = request.path;
        loop {
            if let Some(routes) = self.prefix.get(prefix)
                && let Some(index) = first(routes)
            {
                return routes.get(index);
            }
            match prefix.rfind('/') {
                Some(end) => prefix = &prefix[..end],
                None => break,
            }
        }
        self.regex
            .iter()
            .find(|Placed { route, .. }| route.matcher.path.matches(request.path) && request.satisfies(route))
    }
}

#[cfg(test)]
mod tests;
