//! Cross-origin rules at work.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::answer::text;
use crate::body::Body;
use crate::config::{Cors, CorsList};

const ANY: HeaderValue = HeaderValue::from_static("*");

/// The answer to a preflight; none if the request is none. An origin that may not ask gets no permission.
pub(crate) fn preflight(cors: &Cors, request: &Parts) -> Option<Response<Body>> {
    let asked = &request.headers;
    let method = asked.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    if request.method != Method::OPTIONS || !asked.contains_key(ORIGIN) {
        return None;
    }
    let mut response = text(StatusCode::NO_CONTENT, Bytes::new());
    let headers = response.headers_mut();
    if permit(cors, asked.get(ORIGIN), headers) {
        let methods = match &cors.methods {
            CorsList::All => Some(method.clone()),
            CorsList::Some(methods) => joined(methods.iter().map(Method::as_str)),
        };
        let wanted = match &cors.headers {
            CorsList::All => asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
            CorsList::Some(names) => joined(names.iter().map(|name| name.as_str())),
        };
        methods.map(|methods| headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods));
        wanted.map(|names| headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age));
    }
    Some(response)
}

/// Says on an answer what a script of this origin may do with it; whatever the endpoint said of it is overruled.
pub(crate) fn permit(cors: &Cors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) -> bool {
    for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS]
    {
        headers.remove(name);
    }
    let Some(origin) = origin else { return false };
    headers.append(VARY, HeaderValue::from_name(ORIGIN));
    if !origin.to_str().is_ok_and(|origin| cors.origins.iter().any(|pattern| pattern.matches(origin))) {
        return false;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if cors.credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    let exposed = match &cors.exposed {
        CorsList::All => Some(ANY),
        CorsList::Some(names) => joined(names.iter().map(|name| name.as_str())),
    };
    exposed.map(|names| headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names));
    true
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let words: Vec<_> = words.collect();
    if words.is_empty() { None } else { HeaderValue::try_from(words.join(", ")).ok() }
}

#[cfg(test)]
mod tests;
