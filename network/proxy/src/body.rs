//! Message bodies, wherever they come from.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::Sleep;

use crate::http1::client::ResponseBody;
use crate::http1::framing::FramingError;
use crate::http1::server::RequestBody;
use crate::mirror::{Copied, Mirrored};
use crate::pool::StreamGuard;
use crate::replay::Chained;
use crate::watchdog::Watchdog;

/// A body of a request or response in flight. Dropping it gives back or closes what it came from.
#[derive(Debug)]
pub(crate) enum Body {
    Empty,
    /// Made by the engine, or here as a whole.
    Full(Bytes),
    /// Of an HTTP/2 client.
    Http2Request(Box<Http2Request>),
    /// Of an HTTP/2 endpoint.
    Http2Response(Box<Http2Response>),
    /// Of an HTTP/1.1 client.
    Http1Request(Box<RequestBody>),
    /// Of an HTTP/1.1 endpoint.
    Http1Response(Box<ResponseBody>),
    /// Cut at a route's time limit.
    Limited(Box<Limited>),
    /// Read by a task that keeps its failure to itself.
    Told(Box<Told>),
    /// Copied as it is read.
    Mirrored(Box<Mirrored>),
    /// Such a copy.
    Copied(Copied),
    /// Read in part already.
    Chained(Box<Chained>),
}

/// Why a body ended early.
#[derive(Debug, Error)]
pub(crate) enum StreamError {
    #[error("the connection failed amid the body: {0}")]
    Io(#[from] std::io::Error),
    #[error("the connection closed amid the body")]
    Closed,
    #[error("the body is malformed: {0}")]
    Framing(#[from] FramingError),
    #[error("the body does not have the length that its head says")]
    Length,
    #[error("the body is larger than allowed")]
    TooLarge,
    #[error("nothing moved for too long")]
    Stalled,
    #[error("the client sent nothing more of the body for too long")]
    Unsent,
    #[error("the route's time limit passed")]
    Late,
    #[error("{0}")]
    Http2(#[from] hyper::Error),
}

/// The body of an HTTP/2 client.
#[derive(Debug)]
pub(crate) struct Http2Request {
    pub(crate) body: Incoming,
    /// How many bytes more it may have.
    pub(crate) allowed: u64,
}

/// The body of an HTTP/2 endpoint, with its place on the shared connection.
#[derive(Debug)]
pub(crate) struct Http2Response {
    pub(crate) body: Incoming,
    watchdog: Watchdog,
    /// The request's body, which may still be moving, and how much of it had moved.
    upload: (Arc<Report>, u64),
    /// Given up when the body is dropped.
    _place: StreamGuard,
}

/// A body with a moment after which it is cut.
#[derive(Debug)]
pub(crate) struct Limited {
    body: Body,
    limit: Pin<Box<Sleep>>,
}

/// What is told of a body that a task reads by itself.
#[derive(Debug, Default)]
pub(crate) struct Report {
    fault: OnceLock<StreamError>,
    frames: AtomicU64,
}

impl Report {
    /// The first failure, which is the cause of all others.
    pub(crate) fn fault(&self) -> Option<&StreamError> {
        self.fault.get()
    }

    /// How many pieces were read.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }
}

/// A body that tells of itself.
#[derive(Debug)]
pub(crate) struct Told {
    body: Body,
    report: Arc<Report>,
}

impl Body {
    /// Tells here how the body moves, and its failure.
    pub(crate) fn telling(self, report: &Arc<Report>) -> Self {
        if self.is_empty() {
            return self;
        }
        Self::Told(Box::new(Told { body: self, report: Arc::clone(report) }))
    }

    /// The body; what is left has none.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Empty)
    }

    /// Cuts the body at this moment.
    pub(crate) fn limited(self, limit: tokio::time::Instant) -> Self {
        if matches!(self, Self::Empty | Self::Full(_)) {
            return self;
        }
        Self::Limited(Box::new(Limited { body: self, limit: Box::pin(tokio::time::sleep_until(limit)) }))
    }

    /// Whether nothing more can come.
    pub(crate) fn is_empty(&self) -> bool {
        http_body::Body::is_end_stream(self)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Http2Request(request) => request.poll_frame(cx),
            Self::Http2Response(response) => response.poll_frame(cx),
            Self::Http1Request(body) => body.poll_frame(cx),
            Self::Http1Response(body) => body.poll_frame(cx),
            Self::Limited(limited) => {
                if limited.limit.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err(StreamError::Late)));
                }
                Pin::new(&mut limited.body).poll_frame(cx)
            }
            Self::Told(told) => match ready!(Pin::new(&mut told.body).poll_frame(cx)) {
                Some(Err(error)) => {
                    // Only the first is told.
                    let _ = told.report.fault.set(error);
                    Poll::Ready(Some(Err(StreamError::Closed)))
                }
                sound => {
                    told.report.frames.fetch_add(1, Ordering::Relaxed);
                    Poll::Ready(sound)
                }
            },
            Self::Mirrored(mirrored) => mirrored.poll_frame(cx),
            Self::Copied(copied) => copied.poll_frame(cx),
            Self::Chained(chained) => chained.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Http2Request(request) => request.body.is_end_stream(),
            Self::Http2Response(response) => response.body.is_end_stream(),
            Self::Http1Request(body) => body.is_done(),
            Self::Http1Response(body) => body.is_done(),
            Self::Limited(limited) => limited.body.is_end_stream(),
            Self::Told(told) => told.body.is_end_stream(),
            Self::Mirrored(mirrored) => mirrored.body().is_end_stream(),
            Self::Copied(copied) => copied.is_ended(),
            Self::Chained(chained) => chained.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Http2Request(request) => request.body.size_hint(),
            Self::Http2Response(response) => response.body.size_hint(),
            Self::Http1Request(body) => body.left().map_or_else(SizeHint::new, SizeHint::with_exact),
            Self::Http1Response(body) => body.left().map_or_else(SizeHint::new, SizeHint::with_exact),
            Self::Limited(limited) => limited.body.size_hint(),
            Self::Told(told) => told.body.size_hint(),
            Self::Mirrored(mirrored) => mirrored.body().size_hint(),
            // The head says the length, where it is known.
            Self::Copied(_) | Self::Chained(_) => SizeHint::new(),
        }
    }
}

impl Http2Request {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = frame?;
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(allowed) = self.allowed.checked_sub(length) else {
            return Poll::Ready(Some(Err(StreamError::TooLarge)));
        };
        self.allowed = allowed;
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Http2Response {
    pub(crate) fn new(body: Incoming, idle: Duration, upload: Arc<Report>, place: StreamGuard) -> Self {
        Self { body, watchdog: Watchdog::new(idle), upload: (upload, 0), _place: place }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.watchdog.restart();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => loop {
                ready!(self.watchdog.poll(cx));
                let (upload, seen) = &mut self.upload;
                let moved = upload.frames();
                if *seen == moved {
                    return Poll::Ready(Some(Err(StreamError::Stalled)));
                }
                *seen = moved;
                self.watchdog.restart();
            },
        }
    }
}
