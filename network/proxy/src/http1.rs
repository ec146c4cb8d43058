//! HTTP/1.1 by hand (RFC 9112). A client's connection is one task: it reads a head, carries the request on a
//! connection to an endpoint that it holds itself meanwhile, and moves both bodies. No task or channel stands
//! between the two sockets.

pub(crate) mod client;
pub(crate) mod framing;
pub(crate) mod head;
pub(crate) mod interim;
pub(crate) mod outgoing;
pub(crate) mod server;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncRead;

/// Room for one read.
const READ: usize = 16 * 1024;
/// With less room than this left, a buffer gets new.
const LEAST: usize = 4 * 1024;

/// Reads once behind what the buffer holds; 0 is the stream's end.
fn poll_read<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if buffer.capacity() - buffer.len() < LEAST {
        buffer.reserve(READ);
    }
    tokio_util::io::poll_read_buf(Pin::new(reader), cx, buffer)
}
