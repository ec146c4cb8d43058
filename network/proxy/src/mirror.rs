//! Copies of requests for backends whose answers nobody waits for. A copy moves as its request does; a mirror that falls
//! behind is left, so that it never holds the request up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use crate::body::{Body, StreamError};
use crate::config::{Backend, Filter, Mirror, spread};
use crate::forward::{Answer, Forwarder};

/// How many pieces of a body a mirror may lag behind.
const LAG: usize = 64;

/// A piece of a body, or its sound end.
type Piece = Option<Bytes>;

/// A body that is copied as it is read.
#[derive(Debug)]
pub(crate) struct Mirrored {
    body: Body,
    copies: Vec<mpsc::Sender<Piece>>,
}

/// The copy of a body.
#[derive(Debug)]
pub(crate) struct Copied {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

impl Mirrored {
    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.copies.retain(|copy| copy.try_send(Some(data.clone())).is_ok());
                }
                if self.body.is_end_stream() {
                    self.end();
                }
            }
            Some(Err(_)) => self.copies.clear(),
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn end(&mut self) {
        for copy in self.copies.drain(..) {
            // One that is too far behind ends without its sound end.
            let _ = copy.try_send(None);
        }
    }
}

impl Copied {
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.pieces.poll_recv(cx)) {
            Some(Some(data)) => Some(Ok(Frame::data(data))),
            Some(None) => {
                self.ended = true;
                None
            }
            None => Some(Err(StreamError::Closed)),
        })
    }
}

/// Begins the copies that these filters ask for; the request goes on with the body that is returned.
pub(crate) fn begin(forwarder: &Arc<Forwarder>, filters: &[Filter], request: &Parts, body: Body) -> Body {
    let mut copies = Vec::new();
    for filter in filters {
        let Filter::Mirror(mirror) = filter else { continue };
        let turn = forwarder.mirror_turn();
        if !chosen(mirror, turn) {
            continue;
        }
        let copy = match &body {
            Body::Empty => Body::Empty,
            Body::Full(bytes) => Body::Full(bytes.clone()),
            _ => {
                let (sender, pieces) = mpsc::channel(LAG);
                copies.push(sender);
                Body::Copied(Copied { pieces, ended: false })
            }
        };
        send(forwarder, Arc::clone(&mirror.backend), request.clone(), copy, turn);
    }
    if copies.is_empty() { body } else { Body::Mirrored(Box::new(Mirrored { body, copies })) }
}

fn chosen(mirror: &Mirror, turn: usize) -> bool {
    mirror.part >= mirror.of || spread(turn, u64::from(mirror.of)) < u64::from(mirror.part)
}

fn send(forwarder: &Arc<Forwarder>, backend: Arc<Backend>, request: Parts, body: Body, turn: usize) {
    let mirroring = Arc::clone(forwarder);
    let Ok(place) = Arc::clone(forwarder.mirrors()).try_acquire_owned() else { return };
    forwarder.tasks().spawn(async move {
        if let Ok(Answer::Response(mut response)) = mirroring.carry_copy(&backend, request, body, turn).await
        {
            while let Some(Ok(_)) = response.body_mut().frame().await {}
        }
        drop(place);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_requests_is_chosen_evenly() {
        let backend = Arc::new(Backend::new("m", 1, Vec::new()));
        let chosen_of = |part, of| {
            let mirror = Mirror { backend: Arc::clone(&backend), part, of };
            (0..1000).filter(|turn| chosen(&mirror, *turn)).count()
        };
        assert_eq!(chosen_of(0, 100), 0);
        assert!((190..=210).contains(&chosen_of(20, 100)), "{}", chosen_of(20, 100));
        assert_eq!(chosen_of(1, 1), 1000);
    }
}
