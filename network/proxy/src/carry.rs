//! One request on its way to one backend: endpoints are tried until one takes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, Scheme as UriScheme};
use http::{Method, Request, StatusCode, Uri, Version};
use tokio::time::timeout;

use crate::answer::Refusal;
use crate::body::{Body, Http2Response, Report, StreamError};
use crate::config::BackendTls;
use crate::forward::{Answer, Forwarder};
use crate::http1::client::{Asking, Cause, Exchanged, Fault};
use crate::http1::head::content_length;
use crate::pool::Destination;

/// One request and the endpoints that it may go to.
pub(crate) struct Carrying<'a> {
    pub(crate) forwarder: &'a Forwarder,
    pub(crate) endpoints: &'a [SocketAddr],
    pub(crate) tls: Option<&'a Arc<BackendTls>>,
    /// Where among the endpoints it begins.
    pub(crate) turn: usize,
    /// The place of the endpoint that was tried last.
    pub(crate) tried: AtomicUsize,
    pub(crate) request: &'a Parts,
    pub(crate) asking: Asking<'a>,
    pub(crate) attempt_limit: Option<Duration>,
    pub(crate) http2: bool,
}

/// An attempt that may be made again, elsewhere or anew.
enum Failed {
    /// The endpoint was not reached.
    Unreached(Body),
    /// The endpoint closed a kept connection as the request came; it has not taken it.
    Raced(Body),
    /// The request may have had effect, or its body is gone.
    Final(Refusal),
}

impl Carrying<'_> {
    /// Tries endpoints from the first on, or so many places behind it.
    pub(crate) async fn run(&self, shift: usize, mut body: Body) -> Result<Answer, Refusal> {
        let endpoints = self.endpoints;
        let attempts = self.forwarder.connect_attempts().min(endpoints.len());
        let places = endpoints.iter().enumerate().cycle();
        for (place, endpoint) in places.skip(self.turn.wrapping_add(shift) % endpoints.len()).take(attempts) {
            self.tried.store(place, Ordering::Relaxed);
            let mut failed = match self.attempt(*endpoint, body, true).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if let Failed::Raced(unread) = failed {
                failed = match self.attempt(*endpoint, unread, false).await {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failed,
                };
            }
            match failed {
                Failed::Unreached(unread) => body = unread,
                Failed::Raced(_) => return Err(gone("the endpoint closed the connection without an answer")),
                Failed::Final(refusal) => return Err(refusal),
            }
        }
        Err(gone("no endpoint of the backend accepts connections"))
    }

    async fn attempt(&self, address: SocketAddr, body: Body, reuse: bool) -> Result<Answer, Failed> {
        let limit = self.attempt_limit;
        let endpoint = &Destination { address, tls: self.tls.cloned() };
        let attempt = async {
            if self.http2 {
                Box::pin(self.attempt_http2(endpoint, body, reuse)).await
            } else {
                self.attempt_http1(endpoint, body, reuse).await
            }
        };
        let attempt = std::pin::pin!(attempt);
        match limit {
            None => attempt.await,
            Some(limit) => timeout(limit, attempt).await.unwrap_or_else(|_| {
                Err(Failed::Final(late("the backend took longer than its route allows")))
            }),
        }
    }

    async fn attempt_http1(&self, endpoint: &Destination, body: Body, reuse: bool) -> Result<Answer, Failed> {
        let pool = self.forwarder.pool();
        let kept = if reuse { pool.take(endpoint) } else { None };
        let reused = kept.is_some();
        let connection = match kept {
            Some(connection) => connection,
            None => match pool.connect(endpoint).await {
                Ok(connection) => connection,
                Err(_) => return Err(Failed::Unreached(body)),
            },
        };
        match connection.exchange(self.request, body, self.asking, pool).await {
            Ok(Exchanged::Response(response)) => Ok(Answer::Response(response)),
            Ok(Exchanged::Upgraded(response, connection)) => Ok(Answer::Upgrade(response, connection)),
            Err(Fault { cause: Cause::Closed, body: Some(body) }) if reused && self.is_idempotent() => {
                Err(Failed::Raced(body))
            }
            Err(fault) => Err(Failed::Final(refusal(&fault.cause))),
        }
    }

    async fn attempt_http2(&self, endpoint: &Destination, body: Body, reuse: bool) -> Result<Answer, Failed> {
        let pool = self.forwarder.pool();
        let kept = if reuse { pool.take_shared(endpoint) } else { None };
        let mut shared = match kept {
            Some(shared) => shared,
            None => match pool.connect_shared(endpoint).await {
                Ok(shared) => shared,
                Err(_) => return Err(Failed::Unreached(body)),
            },
        };
        let place = shared.place();
        let upload = Arc::new(Report::default());
        let request = self.http2_request(body.telling(&upload)).map_err(Failed::Final)?;
        let sending = shared.sender.try_send_request(request);
        let Some(sent) = while_moving(&upload, self.forwarder.exchange_idle(), sending).await else {
            return Err(Failed::Final(refusal(&Cause::Stalled)));
        };
        match sent {
            Ok(response) => {
                if let Err(reason) = content_length(response.headers()) {
                    return Err(Failed::Final(refusal(&Cause::Malformed(reason))));
                }
                let idle = self.forwarder.exchange_idle();
                let body =
                    |body| Body::Http2Response(Box::new(Http2Response::new(body, idle, upload, place)));
                Ok(Answer::Response(response.map(body)))
            }
            Err(mut error) => match error.take_message() {
                Some(unsent) => Err(Failed::Raced(unsent.into_body())),
                None => Err(Failed::Final(match upload.fault() {
                    Some(error) => body_refusal(error),
                    None => gone("the endpoint ended the request's stream without an answer"),
                })),
            },
        }
    }

    fn http2_request(&self, body: Body) -> Result<Request<Body>, Refusal> {
        let malformed = || Refusal::new(StatusCode::BAD_REQUEST, "the request's host or target is malformed");
        let host = self.request.headers.get(HOST).ok_or_else(malformed)?;
        let mut uri = self.request.uri.clone().into_parts();
        uri.scheme = Some(if self.tls.is_some() { UriScheme::HTTPS } else { UriScheme::HTTP });
        uri.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| malformed())?);
        let mut request = Request::new(body);
        *request.method_mut() = self.request.method.clone();
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| malformed())?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.request.headers.clone();
        request.headers_mut().remove(HOST);
        Ok(request)
    }

    /// RFC 9110 section 9.2.2: only these may be sent twice.
    fn is_idempotent(&self) -> bool {
        [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE]
            .contains(&self.request.method)
    }
}

/// Waits for the answer to a request as long as its body moves: what has not come within `idle` of the body's last piece
/// is given up, at the latest within twice that time.
async fn while_moving<T>(upload: &Report, idle: Duration, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    let mut seen = 0;
    loop {
        if let Ok(answer) = timeout(idle, answer.as_mut()).await {
            return Some(answer);
        }
        let moved = upload.frames();
        if moved == seen {
            return None;
        }
        seen = moved;
    }
}

fn gone(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_GATEWAY, reason)
}

pub(crate) fn late(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::GATEWAY_TIMEOUT, reason)
}

/// What a client is told of a failed exchange.
fn refusal(cause: &Cause) -> Refusal {
    match cause {
        Cause::Closed => gone("the endpoint closed the connection without an answer"),
        Cause::Malformed(reason) => {
            Refusal::new(StatusCode::BAD_GATEWAY, format!("the endpoint's answer is not taken: {reason}"))
        }
        Cause::Stalled => late("the endpoint gave no answer for too long"),
        Cause::Body(error) => body_refusal(error),
    }
}

/// What a client is told of its own body.
pub(crate) fn body_refusal(error: &StreamError) -> Refusal {
    let status = match error {
        StreamError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        StreamError::Unsent => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    };
    Refusal::new(status, error.to_string())
}
