//! Bodies of requests that may be sent again: small ones are kept whole, larger ones are sent once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::body::{Body, StreamError};

/// A body whose beginning was read already.
#[derive(Debug)]
pub(crate) struct Chained {
    read: VecDeque<Bytes>,
    rest: Body,
}

impl Chained {
    pub(crate) fn is_end(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match self.read.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }
}

/// A body that was kept, or what is left to send once.
pub(crate) enum Kept {
    Whole(Bytes),
    Once(Body),
}

/// Keeps a body of at most so many bytes, without its trailers. A client that sends nothing for `idle` is left.
pub(crate) async fn keep(mut body: Body, limit: usize, idle: Duration) -> Result<Kept, StreamError> {
    match body {
        Body::Empty => return Ok(Kept::Whole(Bytes::new())),
        Body::Full(bytes) => return Ok(Kept::Whole(bytes)),
        _ => {}
    }
    if body.size_hint().lower() > limit as u64 {
        return Ok(Kept::Once(body));
    }
    let mut read = VecDeque::new();
    let mut length = 0;
    while let Some(frame) = timeout(idle, body.frame()).await.map_err(|_| StreamError::Unsent)? {
        match frame?.into_data() {
            Ok(data) => {
                length += data.len();
                read.push_back(data);
            }
            // A request's trailers tell nothing that its backend could not do without.
            Err(_) => break,
        }
        if length > limit {
            return Ok(Kept::Once(Body::Chained(Box::new(Chained { read, rest: body }))));
        }
    }
    let mut whole = BytesMut::with_capacity(length);
    read.iter().for_each(|data| whole.extend_from_slice(data));
    Ok(Kept::Whole(whole.freeze()))
}
