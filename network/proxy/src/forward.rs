//! The way of one request: match, choose a backend and endpoint, carry it there, hand the answer back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, ORIGIN, TE, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, Version};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::access::{Access, AccessLog};
use crate::answer::{Refusal, text};
use crate::authorization::Verdict;
use crate::body::Body;
use crate::carry::{Carrying, body_refusal, late};
use crate::config::{Action, Backend, BackendProtocol, BackendTls, Retry, Route, Target, choose};
use crate::hop::{self, Origin};
use crate::http1::client::{Ask, Asking, Connection};
use crate::http1::interim::Interim;
use crate::limits::Limits;
use crate::pool::{Destination, Pool};
use crate::replay::{self, Kept};
use crate::state::State;
use crate::stream::Upstream;
use crate::table::{Placed, Request};
use crate::tasks::Tasks;
use crate::trace::{TraceId, Traces};
use crate::traffic::Traffic;
use crate::{authorization, cors, filter, mirror, path, session};

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The status that is counted and told of a request whose client did not wait for the answer. None is sent.
const UNANSWERED: u16 = 499;
/// What a client is told whose request took too long.
const TOO_LATE: &str = "the request took longer than its route allows";
/// What a client is told whose request no route takes.
pub(crate) const NO_ROUTE: &str = "no route of this listener matches the request";

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
    /// Where interim answers go, if the client takes them.
    pub(crate) interim: Option<Interim>,
}

/// How far a request came.
#[derive(Default)]
struct Course<'s> {
    placed: Option<&'s Placed>,
    /// The place of the backend among the route's.
    backend: Option<usize>,
    endpoint: Option<SocketAddr>,
    /// When the route's time is over, if it has a limit.
    end: Option<Instant>,
}

/// What is counted and told of a request at its end: also when that is no answer, since its client has left.
struct Tale<'a, 's> {
    forwarder: &'a Forwarder,
    begun: Instant,
    access: Option<Box<Access>>,
    trace: Option<TraceId>,
    course: Course<'s>,
    status: u16,
}

impl Drop for Tale<'_, '_> {
    fn drop(&mut self) {
        let Course { placed, backend, endpoint, .. } = self.course;
        let Forwarder { traffic, log, .. } = self.forwarder;
        let Ok(status) = StatusCode::from_u16(self.status) else { return };
        let took = self.begun.elapsed();
        placed.map_or(traffic.unrouted(), |placed| placed.counters.of(backend)).add(status, took);
        if let (Some(log), Some(access)) = (log, self.access.take()) {
            let route = placed.map(|placed| Arc::clone(&placed.route.id));
            let backends = placed.map(|placed| placed.route.action.backends()).unwrap_or_default();
            let backend = backend.and_then(|at| backends.get(at)).map(|backend| Arc::clone(&backend.id));
            let trace = self.trace.take();
            log.tell(Access { took, trace, status, route, backend, endpoint, ..*access });
        }
    }
}

/// Carries requests.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pool: Arc<Pool>,
    turn: AtomicUsize,
    /// Of copies alone: they must not shift the turns of requests.
    mirror_turn: AtomicUsize,
    connect_attempts: usize,
    client_idle: Duration,
    exchange_idle: Duration,
    replayed_bytes: usize,
    mirrors: Arc<Semaphore>,
    tasks: Tasks,
    traffic: Traffic,
    traces: Traces,
    log: Option<AccessLog>,
}

impl Forwarder {
    pub(crate) fn new(limits: &Limits, pool: Arc<Pool>, tasks: Tasks, log: Option<AccessLog>) -> Self {
        Self {
            pool,
            turn: AtomicUsize::new(0),
            mirror_turn: AtomicUsize::new(0),
            connect_attempts: limits.connect_attempts.max(1),
            client_idle: limits.client_idle,
            exchange_idle: limits.exchange_idle,
            replayed_bytes: limits.replayed_bytes,
            mirrors: Arc::new(Semaphore::new(limits.mirrors)),
            tasks,
            traffic: Traffic::default(),
            traces: Traces::default(),
            log,
        }
    }

    /// What is counted.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn connect_attempts(&self) -> usize {
        self.connect_attempts
    }

    pub(crate) fn client_idle(&self) -> Duration {
        self.client_idle
    }

    pub(crate) fn exchange_idle(&self) -> Duration {
        self.exchange_idle
    }

    /// Places for copies of requests.
    pub(crate) fn mirrors(&self) -> &Arc<Semaphore> {
        &self.mirrors
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn mirror_turn(&self) -> usize {
        self.mirror_turn.fetch_add(1, Ordering::Relaxed)
    }

    /// A connection of its own to an endpoint of one of these backends.
    pub(crate) async fn reach(&self, backends: &[Backend]) -> Option<Upstream> {
        let turn = self.turn();
        let backend = choose(backends, turn)?;
        let Target::Endpoints(endpoints) = &backend.target else { return None };
        let attempts = self.connect_attempts.min(endpoints.len());
        let start = if endpoints.is_empty() { 0 } else { turn % endpoints.len() };
        for address in endpoints.iter().cycle().skip(start).take(attempts) {
            let endpoint = Destination { address: *address, tls: backend.tls.clone() };
            if let Ok(stream) = self.pool.reach(&endpoint, BackendTls::http1).await {
                return Some(stream);
            }
        }
        None
    }

    /// Answers a request, whose host header is known to be one, counts it and tells of it.
    pub(crate) async fn answer(self: &Arc<Self>, state: &State, mut asked: Asked<'_>) -> Answer {
        let begun = Instant::now();
        let parts = &mut asked.parts;
        hop::strip_named(&mut parts.headers);
        // RFC 9112 section 3.2.2: the authority of an absolute target replaces the host header.
        if let Some(authority) = parts.uri.authority()
            && let Ok(value) = HeaderValue::from_str(authority.as_str())
        {
            parts.headers.insert(HOST, value);
        }
        let trace = self.traces.follow(&mut asked.parts.headers);
        let Origin { address, scheme, .. } = asked.origin;
        let access =
            self.log.as_ref().map(|_| Box::new(Access::begin(address, scheme.as_str(), &asked.parts)));
        let mut tale =
            Tale { forwarder: self, begun, access, trace, course: Course::default(), status: UNANSWERED };
        let answer = self.route(state, asked, &mut tale.course).await;
        tale.status = match &answer {
            Answer::Response(response) => response.status().as_u16(),
            Answer::Upgrade(response, _) => response.status().as_u16(),
        };
        answer
    }

    async fn route<'s>(
        self: &Arc<Self>,
        state: &'s State,
        mut asked: Asked<'_>,
        course: &mut Course<'s>,
    ) -> Answer {
        let parts = &mut asked.parts;
        match path::normal(parts.uri.path()) {
            Ok(None) => {}
            Ok(Some(normal)) => match filter::with_path(&parts.uri, normal) {
                Ok(uri) => parts.uri = uri,
                Err(refusal) => return Answer::Response(refusal.into()),
            },
            Err(refusal) => return Answer::Response(refusal.into()),
        }
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = filter::split_port(host).0;
        let table = match state.table(name, asked.origin.server_name.as_deref()) {
            Ok(table) => table,
            Err(refusal) => return Answer::Response(refusal.into()),
        };
        let Some(placed) = table.placed(name, &Request::new(parts)) else {
            return Answer::Response(Refusal::new(StatusCode::NOT_FOUND, NO_ROUTE).into());
        };
        let route = &placed.route;
        course.placed = Some(placed);
        course.end = route.timeouts.request.map(|limit| Instant::now() + limit);
        let Some(rules) = &route.cors else { return self.act(route, asked, course).await };
        if let Some(answer) = cors::preflight(rules, &asked.parts) {
            return Answer::Response(answer);
        }
        let origin = asked.parts.headers.get(ORIGIN).cloned();
        let mut answer = self.act(route, asked, course).await;
        if let Answer::Response(response) = &mut answer {
            cors::permit(rules, origin.as_ref(), response.headers_mut());
        }
        answer
    }

    async fn act(self: &Arc<Self>, route: &Route, mut asked: Asked<'_>, course: &mut Course<'_>) -> Answer {
        if let Some(rules) = &route.authorization {
            // Boxed, so that a request that needs none does not hold its room.
            let asking = Box::pin(authorization::ask(self, rules, &mut asked));
            let said = match course.end {
                None => asking.await,
                Some(end) => timeout_at(end, asking).await.unwrap_or_else(|_| Err(late(TOO_LATE))),
            };
            match said {
                Ok(Verdict::Passes(headers)) => authorization::take(rules, headers, &mut asked.parts),
                Ok(Verdict::Refused(response)) => return Answer::Response(*response),
                Err(refusal) => return Answer::Response(refusal.into()),
            }
        }
        match &route.action {
            Action::Redirect(redirect) => {
                let Parts { headers, uri, .. } = &asked.parts;
                let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                Answer::Response(filter::redirect(redirect, route, host, asked.origin, uri))
            }
            Action::Respond(respond) => Answer::Response(text(respond.status, respond.body.clone())),
            Action::Forward(backends) => self
                .forward(route, backends, asked, course)
                .await
                .unwrap_or_else(|refusal| Answer::Response(refusal.into())),
        }
    }

    async fn forward(
        self: &Arc<Self>,
        route: &Route,
        backends: &[Backend],
        asked: Asked<'_>,
        course: &mut Course<'_>,
    ) -> Result<Answer, Refusal> {
        let Asked { origin, parts: mut request, mut body, mut ask, interim } = asked;
        let turn = self.turn();
        let failed = |reason| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason);
        let known = match &route.session {
            None => None,
            Some(session) => session::find(session, backends, &request.headers, SystemTime::now()),
        };
        let (backend, turn) = match known {
            Some(known) => known,
            None => {
                let chosen = choose(backends, turn);
                (chosen.ok_or_else(|| failed("the route has no backend with a weight"))?, turn)
            }
        };
        course.backend = backends.iter().position(|own| std::ptr::eq(own, backend));
        let endpoints = endpoints(backend)?;
        ask.upgrade &= backend.protocol == BackendProtocol::Http1;
        prepare(&mut request, origin, ask, backend.protocol);
        filter::change_request(&route.filters, route, &mut request)?;
        filter::change_request(&backend.filters, route, &mut request)?;
        if !ask.upgrade {
            body = mirror::begin(self, &route.filters, &request, body);
            body = mirror::begin(self, &backend.filters, &request, body);
        }
        let carrying = Carrying {
            forwarder: self,
            endpoints,
            tls: backend.tls.as_ref(),
            turn,
            tried: AtomicUsize::new(0),
            request: &request,
            asking: Asking { ask, interim: interim.as_ref() },
            attempt_limit: route.timeouts.backend_request,
            http2: backend.protocol == BackendProtocol::H2c,
        };
        let tried = &carrying.tried;
        let carried = async {
            match &route.retry {
                None => carrying.run(0, body).await,
                // Boxed, so that a request without retries does not hold their room.
                Some(retry) => Box::pin(self.retry(retry, &carrying, body)).await,
            }
        };
        let carried = std::pin::pin!(carried);
        let answer = match course.end {
            None => carried.await,
            Some(end) => match timeout_at(end, carried).await.unwrap_or_else(|_| Err(late(TOO_LATE))) {
                Ok(Answer::Response(response)) => {
                    Ok(Answer::Response(response.map(|body| body.limited(end))))
                }
                other => other,
            },
        };
        course.endpoint = endpoints.get(tried.load(Ordering::Relaxed)).copied();
        let mut answer = answer?;
        if let Answer::Response(response) = &mut answer {
            hop::strip(response.headers_mut());
            filter::change_response(&backend.filters, response.headers_mut());
            filter::change_response(&route.filters, response.headers_mut());
            let place = tried.load(Ordering::Relaxed);
            if let Some(session) = &route.session
                && known.is_none_or(|(_, begun)| begun != place)
                && let Some(endpoint) = endpoints.get(place)
            {
                let headers = response.headers_mut();
                session::begin(session, *endpoint, origin.scheme, headers, SystemTime::now());
            }
        }
        Ok(answer)
    }

    /// Carries a request until an answer is good enough, or the attempts are used up.
    async fn retry(&self, retry: &Retry, carrying: &Carrying<'_>, body: Body) -> Result<Answer, Refusal> {
        let whole = match replay::keep(body, self.replayed_bytes, self.client_idle).await {
            Ok(Kept::Whole(whole)) => whole,
            Ok(Kept::Once(body)) => return carrying.run(0, body).await,
            Err(error) => return Err(body_refusal(&error)),
        };
        let mut wait = retry.backoff;
        for attempt in 0..retry.attempts as usize {
            let answer = carrying.run(attempt, full(&whole)).await;
            let again = match &answer {
                Ok(Answer::Response(response)) => retry.statuses.contains(&response.status()),
                Ok(Answer::Upgrade(..)) => false,
                // The statuses of an endpoint that was not reached, failed, or was late.
                Err(refusal) => {
                    [StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT].contains(&refusal.status)
                }
            };
            if !again {
                return answer;
            }
            drop(answer);
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
        carrying.run(retry.attempts as usize, full(&whole)).await
    }

    /// Carries the copy of a request, which was prepared for its own backend.
    pub(crate) async fn carry_copy(
        &self,
        backend: &Backend,
        mut request: Parts,
        body: Body,
        turn: usize,
    ) -> Result<Answer, Refusal> {
        if backend.protocol == BackendProtocol::Http1 {
            request.headers.remove(TE);
        }
        let carrying = Carrying {
            forwarder: self,
            endpoints: endpoints(backend)?,
            tls: backend.tls.as_ref(),
            turn,
            tried: AtomicUsize::new(0),
            request: &request,
            asking: Asking { ask: Ask::default(), interim: None },
            attempt_limit: Some(self.exchange_idle),
            http2: backend.protocol == BackendProtocol::H2c,
        };
        carrying.run(0, body).await
    }
}

/// The endpoints of a backend, of which there is at least one.
fn endpoints(backend: &Backend) -> Result<&[SocketAddr], Refusal> {
    match &backend.target {
        Target::Endpoints(endpoints) if endpoints.is_empty() => {
            let reason = "the backend has no endpoint that is ready";
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason))
        }
        Target::Endpoints(endpoints) => Ok(endpoints),
        Target::Invalid => {
            let reason = "the route refers to a backend that is not valid";
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason))
        }
    }
}

fn full(bytes: &Bytes) -> Body {
    if bytes.is_empty() { Body::Empty } else { Body::Full(bytes.clone()) }
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
