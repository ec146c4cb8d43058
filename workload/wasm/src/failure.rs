//! Why a request got no answer from its guest, what its client is told, and what goes into the log.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::{
    Error, LogSink, Stream,
    body::Body,
    instance::{State, TimeIsOver},
};

/// Lines of a trap's report that go into the log.
const REPORT_LINES: usize = 20;

#[derive(Debug)]
pub(crate) enum Failure {
    /// The request itself cannot be handed to a guest.
    BadRequest(&'static str),
    /// All that may run or wait are there already, or every slot of the host is taken.
    Busy(&'static str),
    /// The time limit was over before the answer was complete.
    TimeIsOver(Duration),
    /// The guest went over its memory limit.
    Memory(String),
    /// The guest trapped, or could not be brought to life.
    Trap(String),
    /// The guest ended without an answer, or answered with an error.
    NoAnswer(String),
}

impl Failure {
    /// Finds out why a guest's call failed.
    pub(crate) fn of_call(error: &wasmtime::Error, state: &State, limit: Option<Duration>) -> Self {
        if error.is::<TimeIsOver>() {
            return Self::TimeIsOver(limit.unwrap_or_default());
        }
        match state.limiter.verdict() {
            // A guest that is refused memory ends itself by a trap of its own.
            Some(verdict) if error.is::<Trap>() => Self::Memory(verdict),
            _ => Self::Trap(report(error)),
        }
    }

    /// Finds out why an instance could not be made.
    pub(crate) fn of_start(error: &wasmtime::Error, state: Option<&State>) -> Self {
        if error.is::<PoolConcurrencyLimitError>() {
            return Self::Busy("every instance that the host can hold is in use");
        }
        match state.and_then(|state| state.limiter.verdict()) {
            Some(verdict) => Self::Memory(verdict),
            None => Self::Trap(format!("it does not start: {}", report(error))),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimeIsOver(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Memory(_) | Self::Trap(_) | Self::NoAnswer(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the client sees: enough to know whose fault it was, nothing of the guest's inside.
    pub(crate) fn response(&self) -> Response<Body> {
        let text = match self {
            Self::BadRequest(reason) | Self::Busy(reason) => reason,
            Self::TimeIsOver(_) => "the component took longer than its time limit",
            Self::Memory(_) => "the component went over its memory limit",
            Self::Trap(_) => "the component failed",
            Self::NoAnswer(_) => "the component gave no answer",
        };
        let mut response = Response::new(Body::text(format!("{text}\n")));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if matches!(self, Self::Busy(_)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// Tells the workload's own log, beside what the guest printed.
    pub(crate) fn log(&self, request: &Summary, output: &dyn LogSink) {
        let reason = match self {
            // Told by the client's error alone: the guest had no part in it, and under load they are many.
            Self::BadRequest(_) | Self::Busy(_) => return,
            Self::TimeIsOver(limit) => &format!("it took longer than its time limit of {limit:?}"),
            Self::Memory(reason) | Self::Trap(reason) | Self::NoAnswer(reason) => reason,
        };
        let mut lines = report_lines(reason);
        let first = lines.next().unwrap_or_default();
        output.line(
            Stream::Stderr,
            &format!("xebec: {} {} failed: {first}", request.method, request.target.path()),
        );
        for line in lines {
            output.line(Stream::Stderr, &format!("xebec:   {line}"));
        }
    }
}

/// An error in lines, its root first: a trap's own text begins with the backtrace.
pub(crate) fn report(error: &wasmtime::Error) -> String {
    let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.reverse();
    causes.join("\n")
}

/// The lines of a report that go into a workload's log.
pub(crate) fn report_lines(report: &str) -> impl Iterator<Item = &str> {
    report.lines().filter(|line| !line.trim().is_empty()).take(REPORT_LINES)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Trap(error.to_string())
    }
}

/// What a log line says of a request. The query stays out of it: it may hold secrets.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    method: http::Method,
    target: http::Uri,
}

impl Summary {
    pub(crate) fn of<B>(request: &http::Request<B>) -> Self {
        Self { method: request.method().clone(), target: request.uri().clone() }
    }
}
