//! The way of one request: match, choose a backend and endpoint, carry it there, hand the answer back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{HOST, TE, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, Scheme as UriScheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use tokio::time::{Instant, timeout, timeout_at};

use crate::answer::{Refusal, text};
use crate::body::{self, Body, Http2Response, StreamError};
use crate::config::{Action, Backend, BackendProtocol, Route, Target};
use crate::filter;
use crate::hop::{self, Origin};
use crate::http1::client::{Ask, Cause, Connection, Exchanged, Fault};
use crate::http1::head::content_length;
use crate::limits::Limits;
use crate::pool::Pool;
use crate::table::RouteTable;

/// What becomes of a request.
pub(crate) enum Answer {
    Response(Response<Body>),
    /// From here on both connections speak another protocol.
    Upgrade(Response<()>, Box<Connection>),
}

/// A request as it came.
pub(crate) struct Asked<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) parts: Parts,
    pub(crate) body: Body,
    pub(crate) ask: Ask,
}

/// Carries requests.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pool: Arc<Pool>,
    turn: AtomicUsize,
    connect_attempts: usize,
    exchange_idle: Duration,
}

impl Forwarder {
    pub(crate) fn new(limits: &Limits, pool: Arc<Pool>) -> Self {
        Self {
            pool,
            turn: AtomicUsize::new(0),
            connect_attempts: limits.connect_attempts.max(1),
            exchange_idle: limits.exchange_idle,
        }
    }

    /// Answers a request, whose host header is known to be one.
    pub(crate) async fn answer(&self, table: &RouteTable, mut asked: Asked<'_>) -> Answer {
        let parts = &mut asked.parts;
        // RFC 9112 section 3.2.2: the authority of an absolute target replaces the host header.
        if let Some(authority) = parts.uri.authority()
            && let Ok(value) = HeaderValue::from_str(authority.as_str())
        {
            parts.headers.insert(HOST, value);
        }
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let uri = &parts.uri;
        let name = filter::split_port(host).0;
        let Some(route) = table.find(name, &parts.method, uri.path(), uri.query(), &parts.headers) else {
            let reason = "no route of this listener matches the request";
            return Answer::Response(Refusal::new(StatusCode::NOT_FOUND, reason).into());
        };
        match &route.action {
            Action::Redirect(redirect) => {
                Answer::Response(filter::redirect(redirect, route, host, asked.origin.scheme, uri))
            }
            Action::Respond(respond) => Answer::Response(text(respond.status, respond.body.clone())),
            Action::Forward(backends) => self
                .forward(route, backends, asked)
                .await
                .unwrap_or_else(|refusal| Answer::Response(refusal.into())),
        }
    }

    async fn forward(
        &self,
        route: &Route,
        backends: &[Backend],
        asked: Asked<'_>,
    ) -> Result<Answer, Refusal> {
        let Asked { origin, parts: mut request, body, mut ask } = asked;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let failed = |reason| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason);
        let backend =
            choose(backends, turn).ok_or_else(|| failed("the route has no backend with a weight"))?;
        let Target::Endpoints(endpoints) = &backend.target else {
            return Err(failed("the route refers to a backend that is not valid"));
        };
        if endpoints.is_empty() {
            let reason = "the backend has no endpoint that is ready";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason));
        }
        ask.upgrade &= backend.protocol == BackendProtocol::Http1;
        prepare(&mut request, origin, ask, backend.protocol);
        filter::change_request(&route.filters, route, &mut request)?;
        filter::change_request(&backend.filters, route, &mut request)?;
        let carrying = Carrying {
            forwarder: self,
            endpoints,
            turn,
            request,
            ask,
            attempt_limit: route.timeouts.backend_request,
            http2: backend.protocol == BackendProtocol::H2c,
        };
        let carrying = std::pin::pin!(carrying.run(body));
        let mut answer = match route.timeouts.request {
            None => carrying.await?,
            Some(limit) => {
                let end = Instant::now() + limit;
                let late = |_| late("the request took longer than its route allows");
                match timeout_at(end, carrying).await.map_err(late)?? {
                    Answer::Response(response) => Answer::Response(response.map(|body| body.limited(end))),
                    upgrade @ Answer::Upgrade(..) => upgrade,
                }
            }
        };
        if let Answer::Response(response) = &mut answer {
            hop::strip(response.headers_mut());
            filter::change_response(&backend.filters, response.headers_mut());
            filter::change_response(&route.filters, response.headers_mut());
        }
        Ok(answer)
    }
}

/// Makes a client's request the proxy's own: its hop's headers go, the origin is told.
fn prepare(request: &mut Parts, origin: &Origin, ask: Ask, protocol: BackendProtocol) {
    let trailers = protocol == BackendProtocol::H2c && hop::takes_trailers(&request.headers);
    let upgrade = if ask.upgrade { request.headers.remove(UPGRADE) } else { None };
    hop::strip(&mut request.headers);
    hop::tell_origin(&mut request.headers, origin);
    if request.version == Version::HTTP_2 {
        hop::join_cookies(&mut request.headers);
    }
    if trailers {
        request.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(upgrade) = upgrade {
        request.headers.insert(UPGRADE, upgrade);
    }
}

/// One request and the endpoints that it may go to.
struct Carrying<'a> {
    forwarder: &'a Forwarder,
    endpoints: &'a [SocketAddr],
    turn: usize,
    request: Parts,
    ask: Ask,
    attempt_limit: Option<Duration>,
    http2: bool,
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
    async fn run(mut self, mut body: Body) -> Result<Answer, Refusal> {
        let endpoints = self.endpoints;
        let attempts = self.forwarder.connect_attempts.min(endpoints.len());
        for endpoint in endpoints.iter().cycle().skip(self.turn % endpoints.len()).take(attempts) {
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

    async fn attempt(&mut self, endpoint: SocketAddr, body: Body, reuse: bool) -> Result<Answer, Failed> {
        let limit = self.attempt_limit;
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

    async fn attempt_http1(&self, endpoint: SocketAddr, body: Body, reuse: bool) -> Result<Answer, Failed> {
        let pool = &self.forwarder.pool;
        let kept = if reuse { pool.take(endpoint) } else { None };
        let reused = kept.is_some();
        let connection = match kept {
            Some(connection) => connection,
            None => match pool.connect(endpoint).await {
                Ok(connection) => connection,
                Err(_) => return Err(Failed::Unreached(body)),
            },
        };
        match connection.exchange(&self.request, body, self.ask, pool).await {
            Ok(Exchanged::Response(response)) => Ok(Answer::Response(response)),
            Ok(Exchanged::Upgraded(response, connection)) => {
                Ok(Answer::Upgrade(response, Box::new(connection)))
            }
            Err(Fault { cause: Cause::Closed, body: Some(body) }) if reused && self.is_idempotent() => {
                Err(Failed::Raced(body))
            }
            Err(fault) => Err(Failed::Final(refusal(&fault.cause))),
        }
    }

    async fn attempt_http2(&self, endpoint: SocketAddr, body: Body, reuse: bool) -> Result<Answer, Failed> {
        let pool = &self.forwarder.pool;
        let kept = if reuse { pool.take_shared(endpoint) } else { None };
        let mut shared = match kept {
            Some(shared) => shared,
            None => match pool.connect_shared(endpoint).await {
                Ok(shared) => shared,
                Err(_) => return Err(Failed::Unreached(body)),
            },
        };
        let place = shared.place();
        let fault = body::Fault::default();
        let request = self.http2_request(body.telling(&fault)).map_err(Failed::Final)?;
        let sending = shared.sender.try_send_request(request);
        let Ok(sent) = timeout(self.forwarder.exchange_idle, sending).await else {
            return Err(Failed::Final(refusal(&Cause::Stalled)));
        };
        match sent {
            Ok(response) => {
                if let Err(reason) = content_length(response.headers()) {
                    return Err(Failed::Final(refusal(&Cause::Malformed(reason))));
                }
                let idle = self.forwarder.exchange_idle;
                let body = |body| Body::Http2Response(Box::new(Http2Response::new(body, idle, place)));
                Ok(Answer::Response(response.map(body)))
            }
            Err(mut error) => match error.take_message() {
                Some(unsent) => Err(Failed::Raced(unsent.into_body())),
                None => Err(Failed::Final(match fault.get() {
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
        uri.scheme = Some(UriScheme::HTTP);
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

fn gone(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_GATEWAY, reason)
}

fn late(reason: &'static str) -> Refusal {
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
fn body_refusal(error: &StreamError) -> Refusal {
    let status = match error {
        StreamError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    Refusal::new(status, error.to_string())
}

/// The backend whose share of the weights this turn falls into. The multiplier spreads neighbouring turns.
fn choose(backends: &[Backend], turn: usize) -> Option<&Backend> {
    if let [only] = backends {
        return (only.weight > 0).then_some(only);
    }
    let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let spread = (turn as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut place = ((u128::from(spread) * u128::from(total)) >> 64) as u64;
    backends.iter().find(|backend| {
        let inside = place < u64::from(backend.weight);
        place = place.saturating_sub(u64::from(backend.weight));
        inside
    })
}
