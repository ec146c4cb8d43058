//! Filters at work on a request or response.

use std::fmt::Write as _;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, LOCATION, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};

use crate::answer::{Refusal, text};
use crate::body::Body;
use crate::config::{Filter, HeaderModifier, PathMatch, PathRewrite, Redirect, RedirectScheme, Route};
use crate::hop::{Origin, Scheme};

/// Applies the filters that change requests.
pub(crate) fn change_request(filters: &[Filter], route: &Route, request: &mut Parts) -> Result<(), Refusal> {
    for filter in filters {
        match filter {
            Filter::RequestHeaders(modifier) => change_headers(modifier, &mut request.headers),
            Filter::UrlRewrite(rewrite) => {
                if let Some(hostname) = &rewrite.hostname {
                    request.headers.insert(HOST, hostname.clone());
                }
                if let Some(path) = &rewrite.path {
                    let path = changed_path(path, route, request.uri.path());
                    request.uri = with_path(&request.uri, path)?;
                }
            }
            Filter::ResponseHeaders(_) | Filter::Mirror(_) => {}
        }
    }
    Ok(())
}

/// Applies the filters that change responses.
pub(crate) fn change_response(filters: &[Filter], headers: &mut HeaderMap) {
    for filter in filters {
        if let Filter::ResponseHeaders(modifier) = filter {
            change_headers(modifier, headers);
        }
    }
}

fn change_headers(modifier: &HeaderModifier, headers: &mut HeaderMap) {
    for (name, value) in modifier.set.iter().filter(|(name, _)| !frames(name)) {
        headers.insert(name, value.clone());
    }
    for (name, value) in modifier.add.iter().filter(|(name, _)| !frames(name)) {
        headers.append(name, value.clone());
    }
    for name in modifier.remove.iter().filter(|name| !frames(name)) {
        headers.remove(name);
    }
}

/// Whether the header says how the message lies on its connection, which is not a filter's to change.
pub(crate) fn frames(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, TE, EXPECT].contains(name)
}

/// The path after a rewrite. A prefix is replaced by whole segments, whether or not it is written with a final slash.
fn changed_path(rewrite: &PathRewrite, route: &Route, path: &str) -> String {
    match rewrite {
        PathRewrite::ReplaceFull(full) => full.clone(),
        PathRewrite::ReplacePrefix(replacement) => {
            let matched = match &route.matcher.path {
                PathMatch::Prefix(prefix) => prefix.trim_end_matches('/'),
                PathMatch::Exact(_) | PathMatch::Regex(_) => "",
            };
            let rest = path.strip_prefix(matched).unwrap_or(path);
            let changed = format!("{}{rest}", replacement.trim_end_matches('/'));
            if changed.is_empty() { "/".to_owned() } else { changed }
        }
    }
}

/// The same target with another path.
pub(crate) fn with_path(uri: &Uri, mut path: String) -> Result<Uri, Refusal> {
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(path)).map(Uri::from).map_err(|_| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the route rewrites to something that is not a path")
    })
}

/// The answer of a redirect. `host` is what the request named, with its port.
pub(crate) fn redirect(
    redirect: &Redirect,
    route: &Route,
    host: &str,
    origin: &Origin,
    target: &Uri,
) -> Response<Body> {
    let (name, asked_port) = split_port(host);
    let scheme = origin.scheme;
    let scheme = match redirect.scheme {
        Some(RedirectScheme::Http) => Scheme::Http,
        Some(RedirectScheme::Https) => Scheme::Https,
        None => scheme,
    };
    let port = redirect.port.or(if redirect.scheme.is_none() { asked_port } else { None });
    let own_port = if scheme == Scheme::Http { 80 } else { 443 };
    let mut location = format!("{}://{}", scheme.as_str(), redirect.hostname.as_deref().unwrap_or(name));
    if let Some(port) = port.filter(|port| *port != own_port) {
        // Writing to a string does not fail.
        let _ = write!(location, ":{port}");
    }
    match &redirect.path {
        Some(path) => location.push_str(&changed_path(path, route, target.path())),
        None => location.push_str(target.path()),
    }
    if let Some(query) = target.query() {
        location.push('?');
        location.push_str(query);
    }
    match HeaderValue::from_maybe_shared(bytes::Bytes::from(location)) {
        Ok(location) => {
            let mut response = text(redirect.status.into(), bytes::Bytes::new());
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(_) => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the route redirects to something that is not a place",
        )
        .into(),
    }
}

/// A host's name and port.
pub(crate) fn split_port(host: &str) -> (&str, Option<u16>) {
    let Some(colon) = memchr::memrchr(b':', host.as_bytes()) else { return (host, None) };
    match (&host[..colon], &host[colon + 1..]) {
        (name, port) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port.parse().ok()),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests;
