//! The side of a client: requests one after another, each answered before the next is read.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Response, StatusCode, Version};
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::client::Ask;
use super::framing::{Decoded, Decoder};
use super::head::{self, HeadScan, RequestHead};
use super::interim::Interim;
use super::outgoing::{Encoder, Outgoing, SendFault, Sending, put_fields};
use super::poll_read;
use crate::answer::Refusal;
use crate::body::{Body, StreamError};
use crate::connection::Site;
use crate::forward::{Answer, Asked};
use crate::stream::{ReadHalf, WriteHalf};
use crate::tunnel;
use crate::watchdog::Watchdog;

/// How long, and how much, a closing connection still reads, so that the last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// How long a request goes on whose client has closed its side: it may have left, or only have nothing more to ask.
const LEAVING: Duration = Duration::from_secs(1);
/// So much of the next requests is read while one waits for its answer.
const AHEAD: usize = 16 * 1024;

/// The reading half with what was read ahead.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) half: ReadHalf,
    pub(crate) buffer: BytesMut,
}

/// Where a body leaves the reader when it has ended, or is dropped.
type Slot = Arc<Mutex<Option<Returned>>>;

/// A reader that is back from a body.
#[derive(Debug)]
enum Returned {
    /// What comes next is the next request.
    Whole(Reader),
    /// The rest of the body comes next.
    Amid(Reader),
}

/// A request's body. At its end the connection's reader is given back.
#[derive(Debug)]
pub(crate) struct RequestBody {
    reader: Option<Reader>,
    decoder: Decoder,
    slot: Slot,
    proceed: Option<oneshot::Sender<()>>,
    allowed: u64,
}

impl RequestBody {
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
        if let Some(proceed) = self.proceed.take() {
            // A connection that waits no longer needs no word.
            let _ = proceed.send(());
        }
        loop {
            let Some(reader) = &mut self.reader else { return Poll::Ready(None) };
            let decoded = match self.decoder.decode(&mut reader.buffer) {
                Ok(decoded) => decoded,
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            };
            match decoded {
                Decoded::Data(data) => {
                    let Some(allowed) = self.allowed.checked_sub(data.len() as u64) else {
                        return Poll::Ready(Some(Err(StreamError::TooLarge)));
                    };
                    self.allowed = allowed;
                    self.decoder.settle(&mut reader.buffer);
                    self.give_back_if_done();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Decoded::Trailers(trailers) => {
                    self.give_back_if_done();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Decoded::End => {
                    self.give_back_if_done();
                    return Poll::Ready(None);
                }
                Decoded::More => {}
            }
            match ready!(poll_read(&mut reader.half, &mut reader.buffer, cx)) {
                Ok(0) => return Poll::Ready(Some(Err(StreamError::Closed))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    fn give_back_if_done(&mut self) {
        if self.decoder.is_done() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        let returned = if self.is_done() { Returned::Whole(reader) } else { Returned::Amid(reader) };
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(returned);
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// What comes next on a connection.
enum Next {
    Request(Box<RequestHead>),
    Refused(Refusal),
    Closed,
}

/// Whether the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    KeepAlive,
    Close,
}

/// One client's connection.
pub(crate) struct Session {
    site: Arc<Site>,
    writer: WriteHalf,
    out: Outgoing,
    watchdog: Watchdog,
    interim: Interim,
}

impl Session {
    pub(crate) fn new(site: Arc<Site>, writer: WriteHalf) -> Self {
        let watchdog = Watchdog::new(site.limits.header_read_timeout);
        Self { site, writer, out: Outgoing::default(), watchdog, interim: Interim::default() }
    }

    /// Serves until either side ends it. Errors of the stream end it too: nobody is left to be told.
    pub(crate) async fn serve(mut self, mut reader: Reader) {
        let mut first = true;
        loop {
            let head = match self.next(&mut reader, first).await {
                Next::Request(head) => *head,
                Next::Refused(refusal) => {
                    self.site.forwarder.traffic().unrouted().add(refusal.status, Duration::ZERO);
                    let ask = Told { method: &Method::GET, version: Version::HTTP_11, after: After::Close };
                    if self.respond(refusal.into(), ask).await.is_ok() {
                        self.linger(Some(reader)).await;
                    }
                    return;
                }
                Next::Closed => return,
            };
            first = false;
            match self.answer(head, reader).await {
                Some(returned) => reader = returned,
                None => return,
            }
        }
    }

    async fn next(&mut self, reader: &mut Reader, first: bool) -> Next {
        let Self { site, watchdog, .. } = self;
        let limits = &site.limits;
        let mut scan = HeadScan::default();
        // The time for the first head runs from the connection's begin.
        let mut begun = first || !reader.buffer.is_empty();
        watchdog.restart_with(if begun { limits.header_read_timeout } else { limits.client_idle });
        let mut stopped = std::pin::pin!(site.stop.cancelled());
        poll_fn(|cx| {
            loop {
                if !reader.buffer.is_empty() {
                    match head::request(&mut reader.buffer, &mut scan, limits) {
                        Ok(Some(head)) => return Poll::Ready(Next::Request(Box::new(head))),
                        Ok(None) => {}
                        Err(refusal) => return Poll::Ready(Next::Refused(refusal)),
                    }
                }
                match poll_read(&mut reader.half, &mut reader.buffer, cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Closed),
                    Poll::Ready(Ok(_)) => {
                        if !begun {
                            begun = true;
                            watchdog.restart_with(limits.header_read_timeout);
                        }
                    }
                    Poll::Pending => {
                        if reader.buffer.is_empty() && stopped.as_mut().poll(cx).is_ready() {
                            return Poll::Ready(Next::Closed);
                        }
                        ready!(watchdog.poll(cx));
                        return Poll::Ready(if reader.buffer.is_empty() {
                            Next::Closed
                        } else {
                            let reason = "the request's head took too long to arrive";
                            Next::Refused(Refusal::new(StatusCode::REQUEST_TIMEOUT, reason))
                        });
                    }
                }
            }
        })
        .await
    }

    /// Answers one request; gives the reader back if the connection goes on.
    async fn answer(&mut self, head: RequestHead, reader: Reader) -> Option<Reader> {
        let RequestHead { request, body: decoder, keep_alive, expects, upgrade } = head;
        let (parts, ()) = request.into_parts();
        let (method, version) = (parts.method.clone(), parts.version);
        let slot = Slot::default();
        let mut kept = None;
        let (mut proceed, mut proceeds) = (None, None);
        let body = if decoder.is_done() {
            kept = Some(Returned::Whole(reader));
            Body::Empty
        } else {
            if expects {
                let (sender, receiver) = oneshot::channel();
                (proceed, proceeds) = (Some(sender), Some(receiver));
            }
            let allowed = self.site.limits.body_bytes.unwrap_or(u64::MAX);
            let slot = Arc::clone(&slot);
            Body::Http1Request(RequestBody { reader: Some(reader), decoder, slot, proceed, allowed })
        };
        let returned = || slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let site = Arc::clone(&self.site);
        // The table is let go before the response streams: an old one must not live as long as its last stream.
        let answer = {
            let state = site.state();
            let interim = (version == Version::HTTP_11).then(|| self.interim.clone());
            let ask = Ask { expects, upgrade };
            let asked = Asked { origin: &site.origin, parts, body, ask, interim };
            let answering = std::pin::pin!(site.forwarder.answer(&state, asked));
            self.wait(answering, proceeds, &slot, &mut kept).await?
        };
        match answer {
            Answer::Upgrade(response, upstream) => {
                let Returned::Whole(reader) = kept? else { return None };
                put_upgrade(self.out.gather(), &response);
                self.flush().await.ok()?;
                let Self { writer, site, .. } = self;
                Box::pin(tunnel::run(reader, writer, *upstream, site.limits.tunnel_idle)).await;
                None
            }
            Answer::Response(response) => {
                kept = kept.or_else(returned);
                // The rest of a request's body moves with its response, if it is not the engine's own.
                let moving = matches!(
                    response.body(),
                    Body::Http1Response(_) | Body::Http2Response(_) | Body::Limited(_)
                );
                let goes_on = keep_alive
                    && !self.site.stop.is_cancelled()
                    && match kept {
                        Some(Returned::Whole(_)) => true,
                        Some(Returned::Amid(_)) => false,
                        None => moving,
                    };
                let after = if goes_on { After::KeepAlive } else { After::Close };
                let after = self.respond(response, Told { method: &method, version, after }).await.ok()?;
                match kept.or_else(returned) {
                    Some(Returned::Whole(reader)) if after == After::KeepAlive => Some(reader),
                    Some(Returned::Whole(reader) | Returned::Amid(reader)) => {
                        self.linger(Some(reader)).await;
                        None
                    }
                    None => {
                        self.linger(None).await;
                        None
                    }
                }
            }
        }
    }

    /// Waits for the answer. Meanwhile 100 is sent as soon as someone reads the body, interim answers are passed on, and a
    /// client that leaves is noticed: there is no answer then.
    async fn wait(
        &mut self,
        mut answering: Pin<&mut impl Future<Output = Answer>>,
        mut proceeds: Option<oneshot::Receiver<()>>,
        slot: &Slot,
        kept: &mut Option<Returned>,
    ) -> Option<Answer> {
        let Self { out, writer, interim, watchdog, .. } = self;
        let mut ended = false;
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answering.as_mut().poll(cx) {
                // What came together with the answer goes before it, and never before another's.
                interim.move_to(out.gather());
                return Poll::Ready(Some(answer));
            }
            if let Some(told) = &mut proceeds
                && let Poll::Ready(told) = Pin::new(told).poll(cx)
            {
                proceeds = None;
                if told.is_ok() {
                    out.gather().put_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
            }
            loop {
                if out.is_empty() {
                    interim.move_to(out.gather());
                }
                if out.is_empty() {
                    break;
                }
                match out.poll_flush(cx, writer) {
                    // What came meanwhile goes at once: nobody would wake this task for it.
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Pending => break,
                }
            }
            if kept.is_none() {
                *kept = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            let Some(Returned::Whole(reader)) = kept else { return Poll::Pending };
            // What comes before the answer is the next request.
            while !ended && reader.buffer.len() < AHEAD {
                match ready!(poll_read(&mut reader.half, &mut reader.buffer, cx)) {
                    Ok(0) => ended = true,
                    Ok(_) => {}
                    Err(_) => return Poll::Ready(None),
                }
                watchdog.restart_with(LEAVING);
            }
            if ended {
                ready!(watchdog.poll(cx));
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    async fn respond(&mut self, response: Response<Body>, told: Told<'_>) -> std::io::Result<After> {
        let (encoder, after) = put_response(self.out.gather(), &response, &told);
        let mut sending = Sending::new(response.into_body(), encoder);
        match self.send(&mut sending).await {
            // The client sees what came until the endpoint's failure, cut short.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.flush().await?;
                Err(error)
            }
            sent => sent.map(|()| after),
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        self.send(&mut Sending::new(Body::Empty, Encoder::Nothing)).await
    }

    /// Writes all; a client that takes nothing for too long is left.
    async fn send(&mut self, sending: &mut Sending) -> std::io::Result<()> {
        let Self { out, writer, watchdog, site, .. } = self;
        let mut blocked = false;
        poll_fn(|cx| {
            let mut progress = false;
            match sending.poll(cx, out, writer, &mut progress) {
                Poll::Ready(sent) => Poll::Ready(sent.map_err(|fault| match fault {
                    SendFault::Body(_) => std::io::ErrorKind::InvalidData.into(),
                    SendFault::Write => std::io::ErrorKind::ConnectionAborted.into(),
                })),
                Poll::Pending if out.is_empty() => {
                    blocked = false;
                    Poll::Pending
                }
                Poll::Pending => {
                    if !blocked || progress {
                        watchdog.restart_with(site.limits.client_idle);
                    }
                    blocked = true;
                    ready!(watchdog.poll(cx));
                    Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
                }
            }
        })
        .await
    }

    /// Closes so that the client can still read the last answer (RFC 9112 section 9.6).
    async fn linger(&mut self, reader: Option<Reader>) {
        if self.writer.shutdown().await.is_err() {
            return;
        }
        let Some(Reader { mut half, mut buffer }) = reader else { return };
        let draining = async {
            let mut drained = 0;
            while drained < LINGER_BYTES {
                buffer.clear();
                match half.read_buf(&mut buffer).await {
                    Ok(read) if read > 0 => drained += read,
                    _ => return,
                }
            }
        };
        // Whether it ended by itself or not, it is over.
        let _ = tokio::time::timeout(LINGER, draining).await;
    }
}

/// What a response's head must know of its request and connection.
struct Told<'a> {
    method: &'a Method,
    version: Version,
    after: After,
}

pub(super) fn put_status(out: &mut BytesMut, status: StatusCode) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
}

/// Writes a response's head; says how its body goes, and whether the connection goes on.
fn put_response(out: &mut BytesMut, response: &Response<Body>, told: &Told<'_>) -> (Encoder, After) {
    put_status(out, response.status());
    put_fields(out, response.headers());
    let mut after = told.after;
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    // Heads of both protocols were checked, so what is not one number is none.
    let known = head::content_length(response.headers()).unwrap_or(None);
    let encoder = if bodiless || told.method == Method::HEAD {
        Encoder::Nothing
    } else if response.body().is_empty() {
        if known.is_none() {
            out.put_slice(b"content-length: 0\r\n");
        }
        Encoder::Nothing
    } else if let Some(length) = known {
        Encoder::Length(length)
    } else if told.version == Version::HTTP_11 {
        out.put_slice(b"transfer-encoding: chunked\r\n");
        Encoder::Chunked
    } else {
        after = After::Close;
        Encoder::UntilClose
    };
    if after == After::Close {
        out.put_slice(b"connection: close\r\n");
    } else if told.version == Version::HTTP_10 {
        out.put_slice(b"connection: keep-alive\r\n");
    }
    out.put_slice(b"\r\n");
    (encoder, after)
}

/// Writes the head that ends HTTP on the connection; its `Upgrade` names what follows.
fn put_upgrade(out: &mut BytesMut, response: &Response<()>) {
    put_status(out, response.status());
    let mut headers = response.headers().clone();
    let upgrade = headers.get(http::header::UPGRADE).cloned();
    crate::hop::strip(&mut headers);
    put_fields(out, &headers);
    if let Some(upgrade) = upgrade {
        out.put_slice(b"upgrade: ");
        out.put_slice(upgrade.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"connection: upgrade\r\n\r\n");
}
