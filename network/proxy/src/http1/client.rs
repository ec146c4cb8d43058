//! The side of an endpoint: a kept-alive connection, one request and response at a time.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONNECTION;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use tokio::time::Instant;

use super::framing::{Decoded, Decoder};
use super::head::{self, HeadScan, ResponseHead};
use super::interim::Interim;
use super::outgoing::{Encoder, Outgoing, SendFault, Sending, put_fields};
use super::poll_read;
use crate::body::{Body, StreamError};
use crate::pool::{Destination, Pool};
use crate::stream::Upstream;
use crate::watchdog::Watchdog;

/// How long a body is held back for an endpoint's 100 (RFC 9110 section 10.1.1 forbids to wait for ever).
const CONTINUE: Duration = Duration::from_secs(1);

/// How many interim answers a request may have; more are no answer, and nobody waits for their end.
const MOST_INTERIM: usize = 64;

/// A connection to an endpoint.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) endpoint: Destination,
    pub(crate) created: Instant,
    pub(crate) idle_since: Instant,
    pub(crate) stream: Upstream,
    pub(crate) buffer: BytesMut,
    out: Outgoing,
    watchdog: Watchdog,
}

/// What a request asks of its exchange beyond the message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ask {
    /// The body waits for the endpoint's 100.
    pub(crate) expects: bool,
    /// The endpoint may switch to WebSocket.
    pub(crate) upgrade: bool,
}

/// What is asked of an exchange, and where its interim answers go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) ask: Ask,
    pub(crate) interim: Option<&'a Interim>,
}

/// What an endpoint answered.
pub(crate) enum Exchanged {
    Response(Response<Body>),
    /// From here on the connection speaks another protocol.
    Upgraded(Response<()>, Connection),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) cause: Cause,
    /// The request's body, if nothing of it was read.
    pub(crate) body: Option<Body>,
}

#[derive(Debug)]
pub(crate) enum Cause {
    /// The endpoint closed the connection.
    Closed,
    /// The endpoint's answer is not HTTP.
    Malformed(&'static str),
    /// Nothing moved for too long.
    Stalled,
    /// The client's body failed.
    Body(StreamError),
}

impl Connection {
    pub(crate) fn new(endpoint: Destination, stream: Upstream, exchange_idle: Duration) -> Self {
        let now = Instant::now();
        Self {
            endpoint,
            created: now,
            idle_since: now,
            stream,
            buffer: BytesMut::new(),
            out: Outgoing::default(),
            watchdog: Watchdog::new(exchange_idle),
        }
    }

    /// Whether an idle connection is open still, with nothing to read on it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.stream.is_quiet()
    }

    /// Sends a request and waits for the head of its response, while the request's body is still moving.
    pub(crate) async fn exchange(
        mut self,
        request: &Parts,
        body: Body,
        asking: Asking<'_>,
        pool: &Arc<Pool>,
    ) -> Result<Exchanged, Fault> {
        let Asking { ask, .. } = asking;
        let encoder = put_request(self.out.gather(), request, &body, ask);
        self.watchdog.restart();
        let mut upload = Upload {
            sending: Some(Sending::new(body, encoder)),
            held_until: ask.expects.then(|| Instant::now() + CONTINUE),
            failed: false,
            interim: 0,
        };
        let mut scan = HeadScan::default();
        let read = async {
            let hold = upload.held_until;
            let answered = poll_fn(|cx| self.poll_head(cx, &mut upload, &mut scan, &request.method, asking));
            match hold {
                None => answered.await,
                Some(until) => {
                    let mut answered = std::pin::pin!(answered);
                    match tokio::time::timeout_at(until, answered.as_mut()).await {
                        Ok(answer) => answer,
                        Err(_) => answered.await,
                    }
                }
            }
        };
        match read.await {
            Err(cause) => {
                let body = upload.sending.and_then(Sending::into_untouched);
                Err(Fault { cause, body })
            }
            Ok(head) if head.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Ok(Exchanged::Upgraded(head.response, self))
            }
            Ok(head) => {
                let keep_alive = head.keep_alive && !upload.failed;
                let sending = upload.sending.filter(|sending| !sending.is_done() || !self.out.is_empty());
                let mut body = ResponseBody {
                    connection: Some(self),
                    decoder: head.body,
                    upload: sending,
                    keep_alive,
                    pool: Arc::clone(pool),
                };
                if body.decoder.is_done() {
                    body.release();
                    return Ok(Exchanged::Response(head.response.map(|()| Body::Empty)));
                }
                Ok(Exchanged::Response(head.response.map(|()| Body::Http1Response(Box::new(body)))))
            }
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut Upload,
        scan: &mut HeadScan,
        method: &Method,
        asking: Asking<'_>,
    ) -> Poll<Result<ResponseHead, Cause>> {
        loop {
            upload.poll(cx, self)?;
            let parsed = head::response(&mut self.buffer, scan, method).map_err(Cause::Malformed)?;
            match parsed {
                Some(head) if head.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Poll::Ready(
                        if asking.ask.upgrade && head::names_websocket(head.response.headers()) {
                            Ok(head)
                        } else {
                            Err(Cause::Malformed("it switched to a protocol that was not asked for"))
                        },
                    );
                }
                Some(head) if head.response.status().is_informational() => {
                    upload.interim += 1;
                    if upload.interim > MOST_INTERIM {
                        return Poll::Ready(Err(Cause::Malformed("it sends interim answers without an end")));
                    }
                    if head.response.status() == StatusCode::CONTINUE {
                        upload.held_until = None;
                    } else if let Some(interim) = asking.interim {
                        interim.put(head.response);
                    }
                    continue;
                }
                Some(head) => return Poll::Ready(Ok(head)),
                None => {}
            }
            match poll_read(&mut self.stream, &mut self.buffer, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Cause::Closed)),
                Poll::Ready(Ok(_)) => self.watchdog.restart(),
                Poll::Pending => {
                    ready!(self.watchdog.poll(cx));
                    return Poll::Ready(Err(Cause::Stalled));
                }
            }
        }
    }
}

/// The request on its way out, while its response is awaited.
struct Upload {
    sending: Option<Sending>,
    held_until: Option<Instant>,
    /// The endpoint took no more; it may have answered all the same.
    failed: bool,
    /// How many interim answers came.
    interim: usize,
}

impl Upload {
    fn poll(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Result<(), Cause> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        if self.failed || (sending.is_done() && connection.out.is_empty()) {
            return Ok(());
        }
        let mut progress = false;
        let polled = match self.held_until {
            Some(until) if Instant::now() < until => {
                let waiting = !connection.out.is_empty();
                match connection.out.poll_flush(cx, &mut connection.stream) {
                    Poll::Ready(Ok(())) => {
                        progress = waiting;
                        Poll::Pending
                    }
                    Poll::Ready(Err(_)) => Poll::Ready(Err(SendFault::Write)),
                    Poll::Pending => Poll::Pending,
                }
            }
            _ => sending.poll(cx, &mut connection.out, &mut connection.stream, &mut progress),
        };
        if progress {
            connection.watchdog.restart();
        }
        match polled {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(SendFault::Write)) => {
                self.failed = true;
                Ok(())
            }
            Poll::Ready(Err(SendFault::Body(error))) => Err(Cause::Body(error)),
        }
    }
}

/// Writes a request's head and says how its body goes.
fn put_request(out: &mut BytesMut, request: &Parts, body: &Body, ask: Ask) -> Encoder {
    out.put_slice(request.method.as_str().as_bytes());
    out.put_slice(b" ");
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    put_fields(out, &request.headers);
    if ask.upgrade {
        out.put_slice(b"connection: upgrade\r\n");
    }
    if ask.expects {
        out.put_slice(b"expect: 100-continue\r\n");
    }
    let encoder = if body.is_empty() {
        Encoder::Nothing
    } else if let Ok(Some(length)) = head::content_length(&request.headers) {
        Encoder::Length(length)
    } else {
        out.put_slice(b"transfer-encoding: chunked\r\n");
        Encoder::Chunked
    };
    out.put_slice(b"\r\n");
    debug_assert!(!request.headers.contains_key(CONNECTION), "hop-by-hop headers are stripped before");
    encoder
}

/// The body of a response, which moves the rest of the request's body too. At its end the connection goes back to
/// the pool.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    connection: Option<Connection>,
    decoder: Decoder,
    upload: Option<Sending>,
    keep_alive: bool,
    pool: Arc<Pool>,
}

impl ResponseBody {
    pub(crate) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// The length still to come, if it is known.
    pub(crate) fn left(&self) -> Option<u64> {
        self.decoder.left()
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        self.poll_upload(cx);
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            match self.decoder.decode(&mut connection.buffer) {
                Ok(Decoded::Data(data)) => {
                    self.decoder.settle(&mut connection.buffer);
                    if self.decoder.is_done() {
                        self.release();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Decoded::Trailers(trailers)) => {
                    self.release();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Decoded::End) => {
                    self.release();
                    return Poll::Ready(None);
                }
                Ok(Decoded::More) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            match poll_read(&mut connection.stream, &mut connection.buffer, cx) {
                Poll::Ready(Ok(0)) if matches!(self.decoder, Decoder::UntilClose) => {
                    self.decoder = Decoder::Done;
                    self.connection = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Err(StreamError::Closed))),
                Poll::Ready(Ok(_)) => connection.watchdog.restart(),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Pending => {
                    ready!(connection.watchdog.poll(cx));
                    return Poll::Ready(Some(Err(StreamError::Stalled)));
                }
            }
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) {
        let (Some(sending), Some(connection)) = (&mut self.upload, &mut self.connection) else { return };
        let mut progress = false;
        match sending.poll(cx, &mut connection.out, &mut connection.stream, &mut progress) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.upload = None,
            // The response goes on without the rest of the request; the connection ends with it.
            Poll::Ready(Err(_)) => {
                self.upload = None;
                self.keep_alive = false;
            }
        }
        if progress {
            connection.watchdog.restart();
        }
    }

    fn release(&mut self) {
        self.decoder = Decoder::Done;
        if let Some(connection) = self.connection.take()
            && self.keep_alive
            && self.upload.is_none()
            && connection.buffer.is_empty()
        {
            self.pool.put(connection);
        }
        self.upload = None;
    }
}
