//! One stream of a client's connection. hyper asks a response for its next piece only while the client has room for it,
//! so a body cannot see by itself that nobody takes it: the task of its stream does, and ends.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;

use crate::body::{Body, StreamError};
use crate::tasks::Tasks;
use crate::watchdog::Watchdog;

tokio::task_local! {
    /// Of the stream whose task this is.
    static PROGRESS: Arc<Progress>;
}

/// The requests of a connection, so that an idle one is known.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    running: AtomicUsize,
}

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// How many requests there were.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether no request or response is on its way.
    pub(super) fn rests(&self) -> bool {
        self.running.load(Ordering::Relaxed) == 0
    }
}

/// A request until the last of its response is taken.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How far the response of a stream is.
#[derive(Debug, Default)]
struct Progress {
    /// How many pieces the client took.
    taken: AtomicU64,
    /// Whether it is the client that is waited for, and not the endpoint.
    held: AtomicBool,
}

/// The body of a response on its way to a client.
#[derive(Debug)]
pub(super) struct Sent {
    body: Body,
    progress: Option<Arc<Progress>>,
    /// Ends with the body; none where there is no body to wait for.
    _running: Option<Running>,
}

impl Sent {
    /// Must be called in the task of the stream.
    pub(super) fn new(body: Body, running: Running) -> Self {
        if body.is_end_stream() {
            return Self { body, progress: None, _running: None };
        }
        Self { body, progress: PROGRESS.try_with(Arc::clone).ok(), _running: Some(running) }
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(progress) = &self.progress {
            progress.held.store(polled.is_ready(), Ordering::Relaxed);
            progress.taken.fetch_add(u64::from(polled.is_ready()), Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the streams of a connection, each until its client has taken nothing of the response for too long. Dropping the
/// stream's future resets the stream and lets the endpoint go.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) tasks: Tasks,
    pub(super) idle: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let progress = Arc::new(Progress::default());
        let watching = watched(future, Arc::clone(&progress), self.idle);
        self.tasks.spawn(PROGRESS.scope(progress, watching));
    }
}

async fn watched(stream: impl Future, progress: Arc<Progress>, idle: Duration) {
    let mut stream = std::pin::pin!(stream);
    let mut watchdog = Watchdog::new(idle);
    let mut seen = 0;
    std::future::poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !progress.held.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let taken = progress.taken.load(Ordering::Relaxed);
        if taken != seen {
            seen = taken;
            watchdog.restart();
        }
        watchdog.poll(cx)
    })
    .await;
}
