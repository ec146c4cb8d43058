//! HTTP/2 clients: framing by hyper, requests answered like any other.

mod stream;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::answer::Refusal;
use crate::body::{Body, Http2Request};
use crate::connection::Site;
use crate::forward::{Answer, Asked};
use crate::http1::client::Ask;
use crate::http1::head::{check_authority, content_length};
use crate::limits::Limits;
use crate::stream::Stream;

use stream::{Activity, Sent, Streams};

/// Serves until either side ends the connection; when the listener stops, running requests are finished.
pub(crate) async fn serve(site: Arc<Site>, io: impl Stream) {
    let limits = Arc::clone(&site.limits);
    let streams = Streams { tasks: site.tasks().clone(), idle: limits.client_idle };
    let mut server = http2::Builder::new(streams);
    server
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.client_idle)
        .keep_alive_timeout(limits.header_read_timeout);
    let activity = Arc::new(Activity::default());
    let stop = site.stop.clone();
    let tasks = site.tasks().clone();
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request| {
            let (site, running) = (Arc::clone(&site), activity.begin());
            async move {
                let response = answer(&site, request).await;
                Ok::<_, Infallible>(response.map(|body| Sent::new(body, running)))
            }
        })
    };
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(io), service));
    let idle = async {
        let mut seen = u64::MAX;
        loop {
            let begun = activity.begun();
            if begun == seen && activity.rests() {
                return;
            }
            seen = begun;
            tokio::time::sleep(limits.client_idle).await;
        }
    };
    // The client's faults end its own connection; the frames that say so were sent.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
        () = idle => {
            connection.as_mut().graceful_shutdown();
            let resting = async {
                loop {
                    tokio::time::sleep(limits.client_idle).await;
                    if activity.rests() {
                        return;
                    }
                }
            };
            tokio::select! {
                _ = connection.as_mut() => {}
                // What a client does not take of the last bytes must not hold the connection.
                () = resting => {}
            }
        }
    }
    // What hyper spawned for the streams of a connection that is gone has nobody to serve.
    tasks.cut();
}

async fn answer(site: &Site, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = match checked(request, &site.limits) {
        Ok(request) => request,
        Err(refusal) => {
            site.forwarder.traffic().unrouted().add(refusal.status, Duration::ZERO);
            return refusal.into();
        }
    };
    let state = site.state();
    let asked = Asked { origin: &site.origin, parts, body, ask: Ask::default(), interim: None };
    match site.forwarder.answer(&state, asked).await {
        Answer::Response(response) => response,
        Answer::Upgrade(..) => {
            Refusal::new(StatusCode::BAD_GATEWAY, "the endpoint switched protocols unasked").into()
        }
    }
}

/// A request within the limits, whose host and length are told in one way.
fn checked(request: Request<Incoming>, limits: &Limits) -> Result<(Parts, Body), Refusal> {
    let (mut parts, body) = request.into_parts();
    let bad = |reason| Refusal::new(StatusCode::BAD_REQUEST, reason);
    if parts.headers.len() > limits.header_count {
        let reason = format!("the request has more than the {} headers allowed", limits.header_count);
        return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason));
    }
    let target = parts
        .uri
        .path_and_query()
        .ok_or_else(|| Refusal::new(StatusCode::NOT_IMPLEMENTED, "CONNECT is not served here"))?;
    if target.as_str().len() > limits.target_bytes {
        let reason = format!("the request's target is longer than the {} bytes allowed", limits.target_bytes);
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, reason));
    }
    if let Some(authority) = parts.uri.authority() {
        check_authority(authority.as_str().as_bytes())?;
        // RFC 9113 section 8.3.1: the authority is the host; another beside it has no say.
        parts.headers.remove(HOST);
    } else {
        let mut hosts = parts.headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(bad("a request needs exactly one authority or host"));
        };
        check_authority(host.as_bytes())?;
    }
    let allowed = limits.body_bytes.unwrap_or(u64::MAX);
    let length = content_length(&parts.headers).map_err(bad)?;
    if length.is_some_and(|length| length > allowed) {
        let reason = format!("the body is larger than the {allowed} bytes allowed");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    let body = if hyper::body::Body::is_end_stream(&body) {
        if length.is_some_and(|length| length > 0) {
            return Err(bad("the request has no body, though its head says so"));
        }
        Body::Empty
    } else {
        Body::Http2Request(Box::new(Http2Request { body, allowed }))
    };
    Ok((parts, body))
}
