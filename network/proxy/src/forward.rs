//! The way of one request: match, choose a backend and endpoint, carry it there, stream the answer back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::{Action, Backend, Target};
use crate::proxy::Limits;
use crate::table::RouteTable;

type Body = BoxBody<Bytes, hyper::Error>;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Carries requests and owns the idle upstream connections.
pub(crate) struct Forwarder {
    idle: Mutex<HashMap<SocketAddr, Vec<SendRequest<Incoming>>>>,
    turn: AtomicUsize,
    connect_timeout: Duration,
    connect_attempts: usize,
    idle_per_endpoint: usize,
}

impl Forwarder {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            idle: Mutex::default(),
            turn: AtomicUsize::new(0),
            connect_timeout: limits.connect_timeout,
            connect_attempts: limits.connect_attempts.max(1),
            idle_per_endpoint: limits.idle_per_endpoint,
        }
    }

    pub(crate) async fn answer(
        &self,
        table: &RouteTable,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|value| value.to_str().ok()), hosts.next()) else {
            return refusal(StatusCode::BAD_REQUEST, "a request needs exactly one host header");
        };
        let uri = request.uri();
        let host = uri.host().unwrap_or_else(|| without_port(host));
        let found = table.find(host, request.method(), uri.path(), uri.query(), request.headers());
        let Some(route) = found else {
            return refusal(StatusCode::NOT_FOUND, "no route matches");
        };
        let backends = match &route.action {
            Action::Forward(backends) => backends,
            Action::Redirect(redirect) => return refusal(redirect.status.into(), "moved"),
            Action::Respond(respond) => return refusal(respond.status, "answered"),
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Some(backend) = choose(backends, turn) else {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "the route has no backend");
        };
        let Target::Endpoints(endpoints) = &backend.target else {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "the backend is not valid");
        };
        if endpoints.is_empty() {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "the backend has no endpoints");
        }
        let carried = self.carry(endpoints, turn, request, peer);
        match route.timeouts.request {
            None => carried.await,
            Some(limit) => tokio::time::timeout(limit, carried)
                .await
                .unwrap_or_else(|_| refusal(StatusCode::GATEWAY_TIMEOUT, "the backend took too long")),
        }
    }

    async fn carry(
        &self,
        endpoints: &[SocketAddr],
        turn: usize,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        let Some(target) = request.uri().path_and_query().cloned() else {
            return refusal(StatusCode::BAD_REQUEST, "the request target has no path");
        };
        // RFC 9112 section 3.2.2: the authority of an absolute target replaces the host header.
        if let Some(authority) = request.uri().authority()
            && let Ok(value) = HeaderValue::from_str(authority.as_str())
        {
            request.headers_mut().insert(HOST, value);
        }
        *request.uri_mut() = Uri::from(target);
        *request.version_mut() = Version::HTTP_11;
        strip(request.headers_mut());
        forwarded(request.headers_mut(), peer);
        let Some((endpoint, mut sender)) = self.connection(endpoints, turn).await else {
            return refusal(StatusCode::BAD_GATEWAY, "no endpoint of the backend accepts connections");
        };
        let mut sent = sender.try_send_request(request).await;
        // A reused connection that died unused hands the request back whole: one fresh connection may try it.
        if let Err(error) = &mut sent
            && let Some(unsent) = error.take_message()
            && let Some(fresh) = self.connect(endpoint).await
        {
            sender = fresh;
            sent = sender.try_send_request(unsent).await;
        }
        match sent {
            Ok(mut response) => {
                self.keep(endpoint, sender);
                strip(response.headers_mut());
                *response.version_mut() = Version::HTTP_11;
                response.map(BodyExt::boxed)
            }
            Err(_) => refusal(StatusCode::BAD_GATEWAY, "the backend closed the connection without an answer"),
        }
    }

    async fn connection(
        &self,
        endpoints: &[SocketAddr],
        turn: usize,
    ) -> Option<(SocketAddr, SendRequest<Incoming>)> {
        let attempts = self.connect_attempts.min(endpoints.len());
        for endpoint in endpoints.iter().cycle().skip(turn % endpoints.len()).take(attempts) {
            // A connection is kept when its answer's head is in, so it may still stream: take only a ready one.
            let ready = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.get_mut(endpoint).and_then(|kept| {
                    kept.retain(|sender| !sender.is_closed());
                    let index = kept.iter().rposition(SendRequest::is_ready)?;
                    Some(kept.swap_remove(index))
                })
            };
            if let Some(sender) = ready {
                return Some((*endpoint, sender));
            }
            if let Some(sender) = self.connect(*endpoint).await {
                return Some((*endpoint, sender));
            }
        }
        None
    }

    async fn connect(&self, endpoint: SocketAddr) -> Option<SendRequest<Incoming>> {
        let connecting = tokio::time::timeout(self.connect_timeout, TcpStream::connect(endpoint));
        let stream = connecting.await.ok()?.ok()?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        // Ends when the sender is dropped or the endpoint closes.
        tokio::spawn(connection);
        Some(sender)
    }

    fn keep(&self, endpoint: SocketAddr, sender: SendRequest<Incoming>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(endpoint).or_default();
        if kept.len() < self.idle_per_endpoint && !sender.is_closed() {
            kept.push(sender);
        }
    }
}

/// The backend whose share of the weights this turn falls into. The multiplier spreads neighbouring turns.
fn choose(backends: &[Backend], turn: usize) -> Option<&Backend> {
    let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let spread = (turn as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut place = ((u128::from(spread) * u128::from(total)) >> 64) as u64;
    backends.iter().find(|backend| {
        let inside = place < u64::from(backend.weight);
        place = place.saturating_sub(u64::from(backend.weight));
        inside
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Removes what belongs to one hop (RFC 9110 section 7.6.1).
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        // The framing and the host are the proxy's to decide, whatever a client names.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    let hop =
        [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, UPGRADE];
    for name in hop.into_iter().chain([TRANSFER_ENCODING]) {
        headers.remove(name);
    }
}

fn forwarded(headers: &mut HeaderMap, peer: SocketAddr) {
    let earlier = headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok());
    let chain = earlier.map_or_else(|| peer.ip().to_string(), |earlier| format!("{earlier}, {}", peer.ip()));
    if let Ok(value) = HeaderValue::from_str(&chain) {
        headers.insert(FORWARDED_FOR, value);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
}

fn refusal(status: StatusCode, reason: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(reason.as_bytes())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
