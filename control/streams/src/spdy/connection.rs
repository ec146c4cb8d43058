//! One connection: a task reads its frames and gives each stream its own, another writes what all streams send.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::frame::{Frame, Reset, take};
use super::headers::{Deflater, Headers, Inflater};
use crate::{Error, Io};

/// The most streams that are open at once, on either side.
const STREAMS: usize = 1024;
/// The pieces of data that wait for the reader of a stream.
const WAITING: usize = 8;
/// The frames that wait for the socket.
const LEAVING: usize = 16;
/// How often a client is asked for a sign of life while what it sends is not read: the connection is not read then either,
/// and only a write shows that nobody is there.
const SIGN: Duration = Duration::from_secs(5);
/// The number of our pings; clients have the odd ones.
const PING: u32 = 2;
/// The most data in one frame.
const PIECE: usize = 64 << 10;

/// A stream that the client opened.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) headers: Headers,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

impl Stream {
    /// The value of a header; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value)
    }
}

/// What comes on a stream; ends when the client sends no more.
pub(crate) type Reader = mpsc::Receiver<Bytes>;

/// What is sent on a stream. Dropping it without [`Writer::finish`] leaves the stream open for the client.
#[derive(Debug, Clone)]
pub(crate) struct Writer(Arc<Writing>);

/// The side of a stream that is written here.
#[derive(Debug)]
struct Writing {
    stream: u32,
    frames: mpsc::Sender<Frame>,
    /// Nothing more is sent: it was said so, or the client wants nothing more.
    ended: CancellationToken,
}

impl Writer {
    /// Sends data; waits while the connection is full.
    pub(crate) async fn write(&self, mut data: Bytes) -> Result<(), Error> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE));
            let Writing { stream, frames, ended } = &*self.0;
            tokio::select! {
                biased;
                () = ended.cancelled() => return Err(Error::Gone),
                sent = frames.send(Frame::Data { stream: *stream, last: false, data: piece }) => {
                    sent.map_err(|_| Error::Gone)?;
                }
            }
        }
        Ok(())
    }

    /// Says that no more comes, if that was not said and the client still listens.
    pub(crate) async fn finish(&self) -> Result<(), Error> {
        let Writing { stream, frames, ended } = &*self.0;
        if ended.is_cancelled() {
            return Ok(());
        }
        ended.cancel();
        let last = Frame::Data { stream: *stream, last: true, data: Bytes::new() };
        frames.send(last).await.map_err(|_| Error::Gone)
    }

    /// Waits until nothing more can be sent.
    pub(crate) async fn ended(&self) {
        tokio::select! {
            () = self.0.ended.cancelled() => {}
            () = self.0.frames.closed() => {}
        }
    }
}

/// Begins to serve a connection. Gives the streams as the client opens them, and the task that drives it, which ends with
/// the connection; dropping the task closes it.
pub(crate) fn serve(io: impl Io) -> (mpsc::Receiver<Stream>, AbortOnDropHandle<()>) {
    let (streams, opened) = mpsc::channel(WAITING);
    let task = tokio::spawn(async move {
        let (read, write) = tokio::io::split(io);
        let (frames, leaving) = mpsc::channel(LEAVING);
        let receiver = Receiver {
            frames,
            streams,
            open: HashMap::new(),
            inflater: Inflater::new(),
            deflater: Deflater::new(),
        };
        let sending = send(write, leaving);
        tokio::pin!(sending);
        let ended = tokio::select! {
            ended = receiver.receive(read) => ended,
            // Nobody is there any more, whatever waits to be read.
            () = &mut sending => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a SPDY connection ended");
        }
        // Once nobody can send anything any more, what was sent still goes out.
        sending.await;
    });
    (opened, AbortOnDropHandle::new(task))
}

async fn send(mut write: WriteHalf<impl Io>, mut frames: mpsc::Receiver<Frame>) {
    let mut buffer = BytesMut::new();
    while let Some(frame) = frames.recv().await {
        frame.put(&mut buffer);
        while buffer.len() < PIECE
            && let Ok(frame) = frames.try_recv()
        {
            frame.put(&mut buffer);
        }
        if write.write_all_buf(&mut buffer).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
    // The other side may be gone already.
    _ = write.shutdown().await;
}

struct Receiver {
    frames: mpsc::Sender<Frame>,
    streams: mpsc::Sender<Stream>,
    /// The streams that have not ended on both sides.
    open: HashMap<u32, Open>,
    inflater: Inflater,
    deflater: Deflater,
}

/// A stream that has not ended on both sides.
struct Open {
    /// For what the client sends; absent once it sends no more.
    reader: Option<mpsc::Sender<Bytes>>,
    writing: Weak<Writing>,
}

impl Open {
    fn is_live(&self) -> bool {
        self.reader.is_some() || self.writing.upgrade().is_some_and(|writing| !writing.ended.is_cancelled())
    }
}

impl Receiver {
    async fn receive(mut self, mut read: ReadHalf<impl Io>) -> Result<(), Error> {
        let mut buffer = BytesMut::with_capacity(PIECE);
        loop {
            while let Some(frame) = take(&mut buffer)? {
                if !self.handle(frame).await? {
                    return Ok(());
                }
            }
            if read.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Whether more is to come.
    async fn handle(&mut self, frame: Frame) -> Result<bool, Error> {
        match frame {
            Frame::Open { stream, last, headers } => self.open(stream, last, &headers).await?,
            Frame::Headers { stream, last, headers } => {
                self.inflater.read(&headers)?;
                self.end(stream, last);
            }
            Frame::Reply { headers, .. } => drop(self.inflater.read(&headers)?),
            Frame::Data { stream, last, data } => {
                if let Some(Open { reader: Some(reader), .. }) = self.open.get(&stream)
                    && !data.is_empty()
                {
                    self.hand_on(reader, data).await?;
                }
                self.end(stream, last);
            }
            Frame::Reset { stream, .. } => {
                let open = self.open.remove(&stream);
                if let Some(writing) = open.and_then(|open| open.writing.upgrade()) {
                    writing.ended.cancel();
                }
            }
            // Clients count with odd numbers; others answer a ping of ours.
            Frame::Ping(id) if id % 2 == 1 => self.send(Frame::Ping(id)).await?,
            Frame::Ping(_) => {}
            Frame::GoAway => return Ok(false),
        }
        Ok(true)
    }

    async fn open(&mut self, stream: u32, last: bool, headers: &[u8]) -> Result<(), Error> {
        let headers = self.inflater.read(headers)?;
        if stream.is_multiple_of(2) || self.open.get(&stream).is_some_and(Open::is_live) {
            return self.send(Frame::Reset { stream, code: Reset::Protocol as u32 }).await;
        }
        if self.open.len() >= STREAMS {
            self.open.retain(|_, open| open.is_live());
        }
        if self.open.len() >= STREAMS {
            return self.send(Frame::Reset { stream, code: Reset::Refused as u32 }).await;
        }
        let (sender, reader) = mpsc::channel(WAITING);
        let writing = Writing { stream, frames: self.frames.clone(), ended: CancellationToken::new() };
        let writer = Writer(Arc::new(writing));
        let reading = (!last).then_some(sender);
        self.open.insert(stream, Open { reader: reading, writing: Arc::downgrade(&writer.0) });
        let reply = self.deflater.write(&[])?;
        self.send(Frame::Reply { stream, headers: reply }).await?;
        if self.streams.send(Stream { headers, reader, writer }).await.is_err() {
            self.open.remove(&stream);
            self.send(Frame::Reset { stream, code: Reset::Cancel as u32 }).await?;
        }
        Ok(())
    }

    /// Gives data to the reader of a stream; fails if the client leaves while it waits to be read. Who reads no more has no
    /// use for it; the stream may still be written.
    async fn hand_on(&self, reader: &mpsc::Sender<Bytes>, data: Bytes) -> Result<(), Error> {
        let sending = reader.send(data);
        tokio::pin!(sending);
        while tokio::time::timeout(SIGN, &mut sending).await.is_err() {
            // A full queue is a sign that is on its way.
            if let Err(TrySendError::Closed(_)) = self.frames.try_send(Frame::Ping(PING)) {
                return Err(Error::Gone);
            }
        }
        Ok(())
    }

    fn end(&mut self, stream: u32, last: bool) {
        if last && let Some(open) = self.open.get_mut(&stream) {
            open.reader = None;
            if !open.is_live() {
                self.open.remove(&stream);
            }
        }
    }

    async fn send(&self, frame: Frame) -> Result<(), Error> {
        self.frames.send(frame).await.map_err(|_| Error::Gone)
    }
}

#[cfg(test)]
pub(crate) mod tests;
