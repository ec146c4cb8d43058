//! Headers that belong to one hop, and those that tell the next about this one.

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, Entry, HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is known of a client, made once a connection.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) address: HeaderValue,
    pub(crate) scheme: Scheme,
    /// What the client's TLS named.
    pub(crate) server_name: Option<Box<str>>,
}

/// What a client connected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Removes what belongs to one hop (RFC 9110 section 7.6.1), with what `Connection` names.
pub(crate) fn strip(headers: &mut HeaderMap) {
    strip_named(headers);
    // Most messages have none of the others: one look at the names costs less than asking for each.
    while let Some(name) = headers.keys().find(|name| is_of_hop(name)).cloned() {
        headers.remove(name);
    }
}

/// Whether the header is one that [`strip`] removes by itself.
fn is_of_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "te" | "expect"
            | "upgrade"
            | "keep-alive"
            | "http2-settings"
            | "proxy-connection"
            | "transfer-encoding"
            | "proxy-authenticate"
            | "proxy-authorization"
    )
}

/// Removes `Connection` and what it names, but for what [`strip`] removes by itself. Of a client's request this comes
/// first of all: later it would take away what the engine and the services it asks have put there.
pub(crate) fn strip_named(headers: &mut HeaderMap) {
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let mut named = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let plain = [&b"close"[..], b"keep-alive", b"upgrade", b"te"];
            if plain.iter().any(|known| option.eq_ignore_ascii_case(known)) {
                continue;
            }
            // The framing, the host and who asks are the proxy's to tell, whatever a client names.
            let own = [HOST, CONTENT_LENGTH, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO];
            if let Ok(name) = HeaderName::from_bytes(option)
                && !own.contains(&name)
            {
                named.push(name);
            }
        }
    }
    headers.remove(CONNECTION);
    for name in named {
        headers.remove(name);
    }
}

/// Whether the sender takes trailers (RFC 9110 section 10.1.4), which gRPC asks of every hop.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Tells the endpoint whom the request comes from, by the customary headers.
pub(crate) fn tell_origin(headers: &mut HeaderMap, origin: &Origin) {
    match headers.entry(FORWARDED_FOR) {
        Entry::Vacant(place) => {
            place.insert(origin.address.clone());
        }
        Entry::Occupied(mut earlier) => {
            let chain = earlier.iter().chain([&origin.address]).map(HeaderValue::as_bytes);
            let chain = bytes::Bytes::from(chain.collect::<Vec<_>>().join(&b", "[..]));
            let chain = HeaderValue::from_maybe_shared(chain);
            earlier.insert(chain.unwrap_or_else(|_| origin.address.clone()));
        }
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(origin.scheme.as_str()));
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// RFC 9113 section 8.2.3: HTTP/2 may split a cookie header, HTTP/1.1 may not.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = [first, second].join(&b"; "[..]);
    for crumb in crumbs {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb);
    }
    if let Ok(cookie) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests;
