//! The requests of a connection that are being answered, until the client has taken all of the answer.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;

use crate::service::ResponseBody;

/// The requests of a connection that are being answered.
#[derive(Default)]
pub(super) struct Requests {
    /// How many there are.
    pub(super) open: watch::Sender<usize>,
    /// When something of each large answer was last taken.
    sending: Mutex<Sending>,
}

#[derive(Default)]
struct Sending {
    next: u64,
    moved: BTreeMap<u64, Instant>,
}

impl Requests {
    fn sending(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the client has taken nothing of an answer for so long.
    pub(super) fn are_stalled(&self, limit: Duration) -> bool {
        self.sending().moved.values().any(|moved| moved.elapsed() >= limit)
    }
}

/// A request that is being answered.
pub(super) struct Open(Arc<Requests>);

impl Open {
    pub(super) fn new(requests: &Arc<Requests>) -> Self {
        requests.open.send_modify(|count| *count += 1);
        Self(requests.clone())
    }

    pub(super) fn track(self, body: ResponseBody, is_large: bool) -> Tracked {
        let number = is_large.then(|| {
            let mut sending = self.0.sending();
            let number = sending.next;
            sending.next += 1;
            sending.moved.insert(number, Instant::now());
            number
        });
        Tracked { body, number, open: self }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|count| *count -= 1);
    }
}

/// The body of an answer, which is being given until it is dropped.
pub(super) struct Tracked {
    body: ResponseBody,
    /// Where it is noted that a large one moves.
    number: Option<u64>,
    open: Open,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.open.0.sending().moved.remove(&number);
        }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(number) = self.number {
            self.open.0.sending().moved.insert(number, Instant::now());
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
