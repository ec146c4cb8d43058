//! A transport that goes wrong: a `tower` layer round the API's service.
//!
//! What goes wrong is drawn from a seed, from what is asked for (verb and collection) and from how often that was asked
//! before. So a seed gives each kind of request the same fate in the same order, however the tasks interleave. Scripted
//! faults come before drawn ones. Everything done is noted, to be printed when a test fails.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hasher as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::client::Body;
use serde_json::json;
use tower::{BoxError, Service, ServiceExt as _};
use xebec_apiserver::service::ResponseBody;
use xebec_dice::Dice;

/// The body of an answer that may break off.
pub(crate) type FaultyBody = UnsyncBoxBody<Bytes, BoxError>;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The API answers so and does nothing.
    Refused(u16),
    /// The connection ends before the API sees the request.
    Unreached,
    /// The API does what it was asked; its answer is lost.
    AnswerLost,
    /// The answer comes late.
    Late(Duration),
    /// A watch ends after so many events, as if its time were over.
    Ended(usize),
    /// A watch says after so many events that its revision is too old.
    Expired(usize),
    /// A watch's connection is reset within the event after so many.
    Torn(usize),
}

/// How often, in percent, things go wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// Requests refused or cut off before the API sees them.
    pub(crate) before: usize,
    /// Writes whose answer is lost.
    pub(crate) lost: usize,
    /// Answers that come late.
    pub(crate) late: usize,
    /// Watches that do not last.
    pub(crate) watches: usize,
}

/// Nothing goes wrong but what a script says.
pub(crate) const CALM: Rates = Rates { before: 0, lost: 0, late: 0, watches: 0 };
/// A bad day.
pub(crate) const STORM: Rates = Rates { before: 12, lost: 8, late: 15, watches: 70 };

/// A scripted fault: for requests of this method whose path ends so.
struct Scripted {
    method: Method,
    path: String,
    fault: Fault,
}

struct Inner {
    seed: u64,
    rates: Rates,
    script: Vec<Scripted>,
    asked: HashMap<u64, u64>,
    requests: usize,
    done: Vec<String>,
}

/// The faults of one client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Faults(Arc<Mutex<Inner>>);

impl Faults {
    pub(crate) fn new(seed: u64, rates: Rates) -> Self {
        let inner =
            Inner { seed, rates, script: Vec::new(), asked: HashMap::new(), requests: 0, done: Vec::new() };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().expect("no test thread panics while it holds the lock"))
    }

    /// The next request of this method whose path ends so meets this fault.
    pub(crate) fn next(&self, method: Method, path: &str, fault: Fault) {
        self.with(|inner| inner.script.push(Scripted { method, path: path.to_owned(), fault }));
    }

    /// How many scripted faults have not happened yet.
    pub(crate) fn waiting(&self) -> usize {
        self.with(|inner| inner.script.len())
    }

    /// From now on things go wrong this often.
    pub(crate) fn rates(&self, rates: Rates) {
        self.with(|inner| inner.rates = rates);
    }

    /// The seed and what was done to requests so far, for the message of a failed test.
    pub(crate) fn story(&self) -> String {
        self.with(|inner| {
            let from = inner.done.len().saturating_sub(60);
            format!("seed {}, last faults:\n{}", inner.seed, inner.done[from..].join("\n"))
        })
    }

    /// How many requests something was done to.
    pub(crate) fn count(&self) -> usize {
        self.with(|inner| inner.done.len())
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.with(|inner| inner.requests)
    }

    /// Draws for a request and does nothing else.
    pub(crate) fn touch(&self, method: &Method, path: &str) {
        self.draw(method, path, false);
    }

    fn draw(&self, method: &Method, path: &str, watch: bool) -> Option<Fault> {
        self.with(|inner| {
            inner.requests += 1;
            let at = inner.script.iter().position(|one| one.method == method && path.ends_with(&one.path));
            let fault = match at {
                Some(at) => Some(inner.script.remove(at).fault),
                None => inner.drawn(method, path, watch),
            };
            if let Some(fault) = fault {
                inner.done.push(format!("{method} {path}{}: {fault:?}", if watch { " (watch)" } else { "" }));
            }
            fault
        })
    }
}

impl Inner {
    fn drawn(&mut self, method: &Method, path: &str, watch: bool) -> Option<Fault> {
        let collection = collection(path);
        let key = hash(&(self.seed, method.as_str(), &collection, watch));
        let times = self.asked.entry(key).or_default();
        *times += 1;
        let mut dice = Dice::new(hash(&(key, *times)));
        let Rates { before, lost, late, watches } = self.rates;
        let draw = dice.below(100);
        if draw < before {
            return Some(match dice.below(6) {
                0 => Fault::Refused(429),
                1 => Fault::Refused(500),
                2 => Fault::Refused(503),
                3 if !watch && method != Method::GET => Fault::Refused(409),
                4 => Fault::Refused(504),
                _ => Fault::Unreached,
            });
        }
        if watch {
            return (dice.below(100) < watches).then(|| {
                let events = dice.below(12);
                match dice.below(3) {
                    0 => Fault::Ended(events),
                    1 => Fault::Expired(events),
                    _ => Fault::Torn(events),
                }
            });
        }
        if method != Method::GET && draw < before + lost {
            return Some(Fault::AnswerLost);
        }
        (dice.below(100) < late).then(|| Fault::Late(Duration::from_millis(dice.below(40) as u64)))
    }
}

/// The path without the name of an object, which may be random.
fn collection(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let from = if parts.first() == Some(&"api") { 2 } else { 3 };
    let mut rest = parts.get(from..).unwrap_or_default();
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        rest = &rest[2..];
    }
    let plural = rest.first().copied().unwrap_or("discovery");
    format!("{plural}/{}", rest.get(2).copied().unwrap_or_default())
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The service round which the faults are.
#[derive(Clone)]
pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    pub(crate) faults: Faults,
}

type Answer = Result<Response<FaultyBody>, BoxError>;

impl<S> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<ResponseBody>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    type Response = Response<FaultyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, faults) = (self.inner.clone(), self.faults.clone());
        Box::pin(answer(inner, faults, request))
    }
}

async fn answer<S>(inner: S, faults: Faults, request: Request<Body>) -> Answer
where
    S: Service<Request<Body>, Response = Response<ResponseBody>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let query = request.uri().query().unwrap_or_default();
    let watch = query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1");
    let fault = faults.draw(request.method(), request.uri().path(), watch);
    match fault {
        Some(Fault::Refused(code)) => return Ok(refusal(code)),
        Some(Fault::Unreached) => return Err("connection refused (injected)".into()),
        _ => {}
    }
    let asked = inner.oneshot(request);
    let response = match fault {
        // As on a real network, the request is done though nobody waits for it.
        Some(Fault::AnswerLost) => {
            drop(asked.await);
            return Err("connection reset before the answer came (injected)".into());
        }
        Some(Fault::Late(time)) => {
            let response = asked.await.map_err(Into::into)?;
            tokio::time::sleep(time).await;
            response
        }
        _ => asked.await.map_err(Into::into)?,
    };
    let broken = match fault {
        Some(Fault::Ended(events)) => Some((events, End::Quiet)),
        Some(Fault::Expired(events)) => Some((events, End::Expired)),
        Some(Fault::Torn(events)) => Some((events, End::Torn)),
        _ => None,
    };
    Ok(match broken {
        Some((events, end)) if watch => response.map(|body| broken_off(body, events, end)),
        _ => response.map(|body| body.map_err(Into::into).boxed_unsync()),
    })
}

#[derive(Clone, Copy)]
enum End {
    Quiet,
    Expired,
    Torn,
}

/// The first events of a watch, and how it ends. Each frame of the API's body is one event.
fn broken_off(body: ResponseBody, events: usize, end: End) -> FaultyBody {
    let mut frames = body.into_data_stream().map(|frame| frame.map_err(BoxError::from));
    let mut left = events;
    let mut over = false;
    let stream = stream::poll_fn(move |context| -> Poll<Option<Result<Bytes, BoxError>>> {
        if over {
            return Poll::Ready(None);
        }
        if left == 0 && !matches!(end, End::Torn) {
            over = true;
            return Poll::Ready(matches!(end, End::Expired).then(|| Ok(expired())));
        }
        let Poll::Ready(next) = Pin::new(&mut frames).poll_next(context) else { return Poll::Pending };
        if left > 0 {
            left -= 1;
            return Poll::Ready(next);
        }
        // Half of the event, then the reset: the second poll gives the error.
        over = true;
        Poll::Ready(next.map(|bytes| bytes.map(|bytes| bytes.slice(..bytes.len() / 2))))
    });
    let reset =
        matches!(end, End::Torn).then(|| Err::<Bytes, BoxError>("connection reset (injected)".into()));
    let stream = stream.chain(stream::iter(reset)).map(|bytes| bytes.map(Frame::data));
    StreamBody::new(stream).boxed_unsync()
}

fn expired() -> Bytes {
    let status = status(410, "Expired", "too old resource version (injected)");
    Bytes::from(format!("{}\n", json!({"type": "ERROR", "object": status})))
}

fn status(code: u16, reason: &str, message: &str) -> serde_json::Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

fn refusal(code: u16) -> Response<FaultyBody> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let body = Full::from(status(code, reason, "injected").to_string());
    let mut response = Response::new(body.map_err(Into::into).boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(code).expect("a status code");
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}
