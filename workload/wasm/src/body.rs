//! The body of an answer, which carries the guest that is still writing it.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi_http::WasiBody;

use crate::guest::Guest;

/// The body of a workload's answer.
///
/// Reading it drives the guest on. Dropping it early lets the guest run to its end, or to its time limit, by itself.
#[derive(Debug)]
pub struct Body(Content);

enum Content {
    /// All of it is here.
    Whole { bytes: Bytes, trailers: Option<http::HeaderMap> },
    /// The guest has still to write it, or to be read.
    Streamed { body: WasiBody, writer: Writer },
}

/// Who stands behind a streamed body.
pub(crate) enum Writer {
    /// It is driven by reading the body.
    Guest(Held<Guest>),
    /// It runs by itself; the body holds its place among the running.
    Elsewhere(#[allow(dead_code, reason = "held, never read")] Held<OwnedSemaphorePermit>),
    /// It has ended.
    Nobody,
}

/// What a body holds until the deadline of its request at the latest: a client that stops reading polls nothing, and must
/// not keep a guest and its place for ever.
pub(crate) struct Held<T> {
    held: Arc<Mutex<Option<T>>>,
    _watch: Option<AbortOnDropHandle<()>>,
}

impl<T: Send + 'static> Held<T> {
    /// `end` ends it when its time is over.
    pub(crate) fn new<E>(it: T, deadline: Option<Instant>, end: impl FnOnce(T) -> E + Send + 'static) -> Self
    where
        E: Future<Output = ()> + Send,
    {
        let held = Arc::new(Mutex::new(Some(it)));
        let watched = held.clone();
        let watch = deadline.map(|deadline| {
            AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep_until(deadline.into()).await;
                let taken = watched.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(taken) = taken {
                    end(taken).await;
                }
            }))
        });
        Self { held, _watch: watch }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Whole { .. } => "Whole",
            Self::Streamed { .. } => "Streamed",
        })
    }
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
#[error("the component failed in the middle of its answer: {0}")]
pub struct BodyError(String);

/// Up to here an answer that is complete at once is gathered, so that it goes out whole and with its length.
const GATHERED: usize = 64 << 10;

impl Body {
    pub(crate) fn text(text: String) -> Self {
        Self::whole(text.into(), None)
    }

    /// A body whose guest has not ended yet.
    pub(crate) fn streamed(body: WasiBody, writer: Writer) -> Self {
        Self(Content::Streamed { body, writer })
    }

    /// Gathers what is there already. An answer that is there to its end, and small, goes out whole.
    pub(crate) fn gathered(mut body: WasiBody, writer: Writer) -> Result<Self, BodyError> {
        // Nobody waits here: who sends the answer polls the rest with a waker of its own.
        let cx = &mut Context::from_waker(Waker::noop());
        let mut gathered = Gathered::default();
        while gathered.length() <= GATHERED {
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(None) => return Ok(Self::whole(gathered.take(), None)),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => gathered.push(data),
                    Err(frame) => return Ok(Self::whole(gathered.take(), frame.into_trailers().ok())),
                },
                Poll::Ready(Some(Err(error))) => return Err(BodyError(error.to_string())),
                Poll::Pending => break,
            }
        }
        Ok(Self(Content::Streamed { body: gathered.before(body), writer }))
    }

    fn whole(bytes: Bytes, trailers: Option<http::HeaderMap>) -> Self {
        Self(Content::Whole { bytes, trailers })
    }
}

/// One piece without copying; more are put together.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    more: BytesMut,
}

impl Gathered {
    fn push(&mut self, data: Bytes) {
        if self.length() == 0 {
            self.first = data;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&mem::take(&mut self.first));
        }
        self.more.extend_from_slice(&data);
    }

    fn length(&self) -> usize {
        self.first.len().max(self.more.len())
    }

    fn take(&mut self) -> Bytes {
        if self.more.is_empty() { mem::take(&mut self.first) } else { mem::take(&mut self.more).freeze() }
    }

    /// The rest of a body with what was gathered of it put back in front.
    fn before(mut self, rest: WasiBody) -> WasiBody {
        use http_body_util::BodyExt as _;
        let gathered = self.take();
        if gathered.is_empty() {
            return rest;
        }
        Prefixed { first: Some(gathered), rest }.boxed_unsync()
    }
}

struct Prefixed {
    first: Option<Bytes>,
    rest: WasiBody,
}

impl http_body::Body for Prefixed {
    type Data = Bytes;
    type Error = wasmtime_wasi_http::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Content::Whole { bytes, trailers } => {
                if !bytes.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(mem::take(bytes)))));
                }
                Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Content::Streamed { body, writer } => poll_streamed(body, writer, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Whole { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
            Content::Streamed { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Content::Streamed { body, .. } => body.size_hint(),
        }
    }
}

fn poll_streamed(
    body: &mut WasiBody,
    writer: &mut Writer,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    loop {
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
            let ended = frame.is_none();
            let frame = frame.map(|frame| frame.map_err(|error| BodyError(error.to_string())));
            if !ended {
                return Poll::Ready(frame);
            }
            // The stream's end and the guest's end may come in either order, and a guest that trapped ends its stream
            // too: let it have its say before calling the answer complete.
            return match poll_writer(writer, cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(None),
            };
        }
        if !matches!(writer, Writer::Guest(_)) {
            return Poll::Pending;
        }
        match poll_writer(writer, cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
            // It may have written before it began to wait.
            Poll::Pending => {
                return Pin::new(&mut *body)
                    .poll_frame(cx)
                    .map(|frame| frame.map(|frame| frame.map_err(|error| BodyError(error.to_string()))));
            }
        }
    }
}

fn poll_writer(writer: &mut Writer, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
    let Writer::Guest(guest) = writer else { return Poll::Ready(Ok(())) };
    let ended = match &mut *guest.held.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(guest) => std::task::ready!(guest.poll(cx)).map_err(drop),
        None => Err(()),
    };
    *writer = Writer::Nobody;
    Poll::Ready(ended.map_err(|_| BodyError("see the workload's log".into())))
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, stream};
    use http::HeaderMap;
    use http_body::Body as _;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    type Piece = Result<Frame<Bytes>, wasmtime_wasi_http::Error>;

    fn data(text: &str) -> Piece {
        Ok(Frame::data(Bytes::from(text.to_owned())))
    }

    fn gathered(pieces: Vec<Piece>) -> Result<Body, BodyError> {
        let body = StreamBody::new(stream::iter(pieces)).boxed_unsync();
        Body::gathered(body, Writer::Nobody)
    }

    #[test]
    fn a_small_answer_is_put_together_and_has_a_length() {
        let body = gathered(vec![data("one "), data(""), data("two "), data("three")]).unwrap();
        assert_eq!(body.size_hint().exact(), Some(13));
        assert_eq!(block_on(body.collect()).unwrap().to_bytes(), "one two three");
        let empty = gathered(Vec::new()).unwrap();
        assert!(empty.is_end_stream());
    }

    #[test]
    fn a_large_answer_is_streamed_without_loss() {
        let piece = "x".repeat(GATHERED / 4);
        let body = gathered((0..9).map(|_| data(&piece)).collect()).unwrap();
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(block_on(body.collect()).unwrap().to_bytes().len(), 9 * piece.len());
    }

    #[test]
    fn trailers_follow_the_gathered_body() {
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", "abc".parse().unwrap());
        let body = gathered(vec![data("text"), Ok(Frame::trailers(trailers.clone()))]).unwrap();
        let collected = block_on(body.collect()).unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "text");
    }

    #[test]
    fn an_answer_that_breaks_off_at_once_is_an_error() {
        let error =
            gathered(vec![data("text"), Err(wasmtime_wasi_http::Error::HttpProtocolError)]).unwrap_err();
        assert!(error.to_string().contains("in the middle of its answer"), "{error}");
    }
}
