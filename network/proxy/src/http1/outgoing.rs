//! What is to be written to a connection: heads and small bodies gather in one buffer so that they leave in one
//! write, large pieces of a body are written from where they lie.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use crate::body::{Body, StreamError};

/// Pieces of a body up to this size are copied behind what waits before them.
const COPIED: usize = 4 * 1024;
/// Above this much waiting, a write comes first.
const GATHERED: usize = 16 * 1024;

/// Bytes waiting for a connection, in the order of the fields.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    gathered: Vec<u8>,
    piece: Bytes,
    tail: &'static [u8],
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.piece.is_empty() && self.tail.is_empty()
    }

    fn is_full(&self) -> bool {
        !self.piece.is_empty() || !self.tail.is_empty() || self.gathered.len() >= GATHERED
    }

    /// Where a head is written; nothing else may wait.
    pub(crate) fn gather(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.piece.is_empty() && self.tail.is_empty(), "a piece waits before the head");
        &mut self.gathered
    }

    fn push(&mut self, piece: Bytes, tail: &'static [u8]) {
        if piece.len() <= COPIED {
            self.gathered.extend_from_slice(&piece);
            self.gathered.extend_from_slice(tail);
        } else {
            self.piece = piece;
            self.tail = tail;
        }
    }

    /// Writes all that waits.
    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = if self.piece.is_empty() && self.tail.is_empty() {
                ready!(Pin::new(&mut *writer).poll_write(cx, &self.gathered))?
            } else {
                let slices =
                    [IoSlice::new(&self.gathered), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
                ready!(Pin::new(&mut *writer).poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Pin::new(writer).poll_flush(cx)
    }

    fn advance(&mut self, written: usize) {
        let from_gathered = written.min(self.gathered.len());
        // Nearly always all of it went.
        self.gathered.drain(..from_gathered);
        let from_piece = (written - from_gathered).min(self.piece.len());
        self.piece.advance(from_piece);
        self.tail = &self.tail[written - from_gathered - from_piece..];
    }
}

/// How the end of a body is told to the peer.
#[derive(Debug)]
pub(crate) enum Encoder {
    /// There is no body, whatever the head says.
    Nothing,
    /// So many bytes more.
    Length(u64),
    Chunked,
    /// The connection's end.
    UntilClose,
}

/// A body on its way into a connection.
#[derive(Debug)]
pub(crate) struct Sending {
    body: Body,
    encoder: Encoder,
    done: bool,
    touched: bool,
}

/// Why a body did not arrive.
#[derive(Debug)]
pub(crate) enum SendFault {
    /// The body itself failed.
    Body(StreamError),
    /// The connection that takes it failed.
    Write,
}

impl Sending {
    pub(crate) fn new(body: Body, encoder: Encoder) -> Self {
        Self { body, encoder, done: false, touched: false }
    }

    /// Whether the whole body is encoded, though maybe not written.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// The body, if nothing of it was read.
    pub(crate) fn into_untouched(self) -> Option<Body> {
        (!self.touched || matches!(self.body, Body::Empty)).then_some(self.body)
    }

    /// Moves the body through `out` into the writer; ready when all is written. `progress` is set when bytes left.
    pub(crate) fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Outgoing,
        writer: &mut W,
        progress: &mut bool,
    ) -> Poll<Result<(), SendFault>> {
        loop {
            let starved = self.poll_fill(cx, out).map_err(SendFault::Body)?.is_pending();
            if out.is_empty() {
                return if self.done { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            match out.poll_flush(cx, writer) {
                Poll::Ready(Ok(())) => *progress = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(SendFault::Write)),
                Poll::Pending => return Poll::Pending,
            }
            if starved {
                return Poll::Pending;
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<Result<(), StreamError>> {
        while !self.done && !out.is_full() {
            if self.body.is_end_stream() {
                self.finish(out, None)?;
                break;
            }
            self.touched = true;
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => self.encode(out, frame?)?,
                None => self.finish(out, None)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn encode(&mut self, out: &mut Outgoing, frame: Frame<Bytes>) -> Result<(), StreamError> {
        let data = match frame.into_data() {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => data,
            Err(frame) => return self.finish(out, frame.into_trailers().ok()),
        };
        match &mut self.encoder {
            Encoder::Nothing => {}
            Encoder::UntilClose => out.push(data, b""),
            Encoder::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(StreamError::Length)?;
                out.push(data, b"");
            }
            Encoder::Chunked => {
                put_hex(&mut out.gathered, data.len());
                out.push(data, b"\r\n");
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Outgoing, trailers: Option<HeaderMap>) -> Result<(), StreamError> {
        self.done = true;
        match self.encoder {
            Encoder::Length(left) if left > 0 => return Err(StreamError::Length),
            Encoder::Chunked => {
                out.gathered.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    put_fields(&mut out.gathered, &trailers);
                }
                out.gathered.extend_from_slice(b"\r\n");
            }
            _ => {}
        }
        Ok(())
    }
}

/// Writes header fields, one a line.
pub(crate) fn put_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn put_hex(out: &mut Vec<u8>, mut size: usize) {
    let mut digits = [0; 16];
    let mut start = digits.len();
    while size > 0 {
        start -= 1;
        digits[start] = b"0123456789abcdef"[size & 15];
        size >>= 4;
    }
    out.extend_from_slice(&digits[start..]);
    out.extend_from_slice(b"\r\n");
}
