//! The compiled lookup: hosts, exact paths and prefixes by hash, so that the cost of a request does not grow with the
//! number of routes. Precedence follows the Gateway API's HTTPRoute rules.

use std::cmp::Reverse;
use std::collections::HashMap;

use http::HeaderMap;
use http::Method;

use crate::config::{PathMatch, Route, VirtualHost};
use crate::host_table::HostTable;
use crate::traffic::{Counters, Traffic};

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
        self.placed(host, method, path, query, headers).map(|placed| &placed.route)
    }

    /// The same, with its counters.
    pub(crate) fn placed(
        &self,
        host: &str,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Option<&Placed> {
        let request = Request { method, path, query: query.unwrap_or(""), headers };
        self.hosts.find_map(host, |paths| paths.find(&request))
    }
}

struct Request<'a> {
    method: &'a Method,
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
}

impl Request<'_> {
    fn satisfies(&self, route: &Route) -> bool {
        let wanted = &route.matcher;
        wanted.method.as_ref().is_none_or(|method| method == self.method)
            && wanted.headers.iter().all(|(name, value)| {
                self.headers.get(name).and_then(|found| found.to_str().ok()).is_some_and(|v| value.matches(v))
            })
            && wanted.query.iter().all(|(name, value)| {
                let mut pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                pairs.find(|(key, _)| key == name).is_some_and(|(_, found)| value.matches(found))
            })
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
        self.regex.iter().find(|Placed { route, .. }| {
            matches!(&route.matcher.path, PathMatch::Regex(expression) if expression.matches(request.path))
                && request.satisfies(route)
        })
    }
}

#[cfg(test)]
mod tests;
