//! The compiled lookup: hosts, exact paths and prefixes by hash, so that the cost of a request does not grow with the
//! number of routes. Precedence follows the Gateway API's HTTPRoute rules.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use http::Method;

use crate::config::{PathMatch, Route, VirtualHost};
use crate::host_table::HostTable;

/// The routes of one listener, ready to look up.
#[derive(Debug, Default)]
pub struct RouteTable {
    hosts: HostTable<PathTable>,
}

#[derive(Debug, Default)]
struct PathTable {
    exact: HashMap<String, Vec<Arc<Route>>>,
    prefix: HashMap<String, Vec<Arc<Route>>>,
    regex: Vec<Arc<Route>>,
}

impl RouteTable {
    /// Compiles the hosts of a listener. Entries with the same host pattern are merged in order.
    pub fn new(hosts: Vec<VirtualHost>) -> Self {
        let mut table = Self::default();
        for host in hosts {
            let paths = table.hosts.entry(host.host, PathTable::default);
            host.routes.into_iter().for_each(|route| paths.insert(Arc::new(route)));
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
    ) -> Option<&Arc<Route>> {
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
    fn insert(&mut self, route: Arc<Route>) {
        match &route.matcher.path {
            PathMatch::Exact(path) => self.exact.entry(path.clone()).or_default().push(route),
            PathMatch::Prefix(path) => {
                self.prefix.entry(path.trim_end_matches('/').to_owned()).or_default().push(route);
            }
            PathMatch::Regex(_) => self.regex.push(route),
        }
    }

    fn rank(&mut self) {
        for routes in self.exact.values_mut().chain(self.prefix.values_mut()).chain([&mut self.regex]) {
            routes.sort_by_key(|route| {
                let wanted = &route.matcher;
                Reverse((wanted.method.is_some(), wanted.headers.len(), wanted.query.len()))
            });
        }
    }

    fn find(&self, request: &Request<'_>) -> Option<&Arc<Route>> {
        let first = |routes: &'_ Vec<Arc<Route>>| routes.iter().position(|route| request.satisfies(route));
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
        self.regex.iter().find(|route| {
            matches!(&route.matcher.path, PathMatch::Regex(expression) if expression.matches(request.path))
                && request.satisfies(route)
        })
    }
}

#[cfg(test)]
mod tests;
