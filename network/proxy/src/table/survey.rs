//! What routes lack that a request does not take, for whoever wonders.

use std::sync::Arc;

use http::HeaderName;

use super::{Placed, Request, RouteTable};
use crate::config::{HostMatch, PathMatch, Route, RouteMatch, ValueMatch};

/// A route that a request does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The route's name.
    pub route: Arc<str>,
    /// What the request lacks; nothing where another route goes before it.
    pub lacks: Vec<String>,
}

impl RouteTable {
    /// Every route but the one that is taken, in no order.
    pub(crate) fn misses(&self, host: &str, request: &Request<'_>, taken: Option<&Placed>) -> Vec<Miss> {
        let mut misses = Vec::new();
        for (pattern, paths) in self.hosts.iter() {
            let of_host =
                (!pattern.matches(host)).then(|| format!("host {}, not {host:?}", shown_host(&pattern)));
            let all = paths.exact.values().chain(paths.prefix.values()).flatten().chain(&paths.regex);
            for placed in all.filter(|placed| taken.is_none_or(|taken| !std::ptr::eq(*placed, taken))) {
                let mut lacks: Vec<_> = of_host.iter().cloned().collect();
                lacks.extend(request.lacks(&placed.route));
                misses.push(Miss { route: Arc::clone(&placed.route.id), lacks });
            }
        }
        misses
    }
}

impl Request<'_> {
    /// What the request lacks to take the route, its host aside.
    fn lacks(&self, route: &Route) -> Vec<String> {
        let wanted = &route.matcher;
        let mut lacks = Vec::new();
        if !wanted.path.matches(self.path) {
            lacks.push(format!("path {}, not {:?}", shown_path(&wanted.path), self.path));
        }
        if !self.has_method(wanted.method.as_ref()) {
            let method = wanted.method.as_ref().map(http::Method::as_str).unwrap_or_default();
            lacks.push(format!("method {method}, not {}", self.method));
        }
        for (name, value) in wanted.headers.iter().filter(|(name, value)| !self.has_header(name, value)) {
            lacks.push(format!("header {name} {}, {}", shown_value(value), found(self.header(name))));
        }
        for (name, value) in wanted.query.iter().filter(|(name, value)| !self.has_parameter(name, value)) {
            lacks.push(format!("parameter {name} {}, {}", shown_value(value), found(self.parameter(name))));
        }
        lacks
    }

    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The conditions of a route in words.
pub fn conditions(wanted: &RouteMatch) -> Vec<String> {
    let method = wanted.method.iter().map(|method| format!("method {method}"));
    let headers = wanted.headers.iter().map(|(name, value)| format!("header {name} {}", shown_value(value)));
    let query = wanted.query.iter().map(|(name, value)| format!("parameter {name} {}", shown_value(value)));
    [format!("path {}", shown_path(&wanted.path))]
        .into_iter()
        .chain(method)
        .chain(headers)
        .chain(query)
        .collect()
}

fn found(value: Option<&str>) -> String {
    value.map_or_else(|| "and there is none".to_owned(), |value| format!("not {value:?}"))
}

/// A host pattern as it is written in objects.
pub(crate) fn shown_host(host: &HostMatch) -> String {
    match host {
        HostMatch::Exact(name) => format!("{name:?}"),
        HostMatch::Suffix(name) => format!("\"*.{name}\""),
        HostMatch::Any => "of any name".to_owned(),
    }
}

fn shown_path(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("{path:?} exactly"),
        PathMatch::Prefix(path) => format!("under {path:?}"),
        PathMatch::Regex(pattern) => format!("matching {:?}", pattern.as_str()),
    }
}

fn shown_value(value: &ValueMatch) -> String {
    match value {
        ValueMatch::Exact(value) => format!("{value:?}"),
        ValueMatch::Regex(pattern) => format!("matching {:?}", pattern.as_str()),
    }
}
