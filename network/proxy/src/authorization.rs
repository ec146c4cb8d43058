//! Authorization at work: the request is described to a service, whose answer decides.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::answer::Refusal;
use crate::body::Body;
use crate::carry::body_refusal;
use crate::config::Authorization;
use crate::forward::{Answer, Asked, Forwarder};
use crate::replay::{self, Kept};
use crate::trace::{TRACEPARENT, TRACESTATE};
use crate::{filter, hop};

/// How much of an answer's body is read, and for how long, when only its head is asked for.
const LARGEST_END: usize = 64 * 1024;
const LONGEST_END: Duration = Duration::from_millis(500);

/// What the service says.
pub(crate) enum Verdict {
    /// The request takes these headers along.
    Passes(HeaderMap),
    /// The client gets this instead.
    Refused(Box<Response<Body>>),
}

/// Asks whether a request may pass.
pub(crate) async fn ask(
    forwarder: &Forwarder,
    rules: &Authorization,
    asked: &mut Asked<'_>,
) -> Result<Verdict, Refusal> {
    let body = match rules.body_bytes {
        None => Bytes::new(),
        Some(most) => match replay::keep(asked.body.take(), most, forwarder.client_idle()).await {
            Ok(Kept::Whole(body)) => {
                asked.body = if body.is_empty() { Body::Empty } else { Body::Full(body.clone()) };
                body
            }
            Ok(Kept::Once(_)) => {
                let reason =
                    format!("the body is larger than the {most} bytes that are shown for authorization");
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
            }
            Err(error) => return Err(body_refusal(&error)),
        },
    };
    let question = question(rules, &asked.parts, body.len())?;
    let body = if body.is_empty() { Body::Empty } else { Body::Full(body) };
    let answer = forwarder.carry_copy(&rules.backend, question, body, 0).await?;
    let Answer::Response(mut response) = answer else {
        return Err(Refusal::new(StatusCode::BAD_GATEWAY, "the authorization service switched protocols"));
    };
    hop::strip(response.headers_mut());
    if response.status() != StatusCode::OK {
        return Ok(Verdict::Refused(Box::new(response)));
    }
    // Read to its end, so that the connection can be kept, unless that takes longer than a new one would.
    let _read_or_given_up = timeout(LONGEST_END, read_out(response.body_mut())).await;
    let mut headers = std::mem::take(response.headers_mut());
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    if !rules.taken.is_empty() {
        headers = headers_of(&headers, &rules.taken);
    }
    Ok(Verdict::Passes(headers))
}

/// Puts what the service said of a request into it. What the service is to say the client cannot: its own headers of
/// these names go even where the service is silent.
pub(crate) fn take(rules: &Authorization, headers: HeaderMap, request: &mut Parts) {
    for name in rules.taken.iter().filter(|name| **name != HOST && !filter::frames(name)) {
        request.headers.remove(name);
    }
    let mut last = None;
    for (name, value) in headers {
        // A map names each key once, before the first of its values.
        match (name, &last) {
            (Some(name), _) => {
                request.headers.insert(name.clone(), value);
                last = Some(name);
            }
            (None, Some(name)) => {
                request.headers.append(name.clone(), value);
            }
            (None, None) => {}
        }
    }
}

/// Reads a body to its end, or until there is too much of it.
async fn read_out(body: &mut Body) {
    let mut left = LARGEST_END;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}

fn question(rules: &Authorization, asked: &Parts, length: usize) -> Result<Parts, Refusal> {
    let target = asked.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let target = format!("{}{target}", rules.path_prefix.trim_end_matches('/'));
    let target = PathAndQuery::try_from(target).map_err(|_| {
        let reason = "the route asks for authorization at something that is not a path";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
    })?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = asked.method.clone();
    parts.uri = Uri::from(target);
    parts.headers = headers_of(&asked.headers, &rules.shown);
    parts.headers.extend(headers_of(&asked.headers, &[HOST, AUTHORIZATION, TRACEPARENT, TRACESTATE]));
    if length > 0 {
        parts.headers.extend(headers_of(&asked.headers, &[CONTENT_TYPE]));
    }
    hop::strip(&mut parts.headers);
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(parts)
}

fn headers_of(all: &HeaderMap, names: &[http::HeaderName]) -> HeaderMap {
    let mut some = HeaderMap::new();
    for name in names {
        for value in all.get_all(name) {
            some.append(name.clone(), value.clone());
        }
    }
    some
}
