//! One connection: a task reads its frames and gives each stream its own, another writes what all streams send.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::frame::{Frame, Reset, take};
use super::headers::{Deflater, Headers, Inflater};
use crate::{Error, Io};

/// The most streams that are open at once.
const STREAMS: usize = 1024;
/// The pieces of data that wait for the reader of a stream.
const WAITING: usize = 8;
/// The frames that wait for the socket.
const LEAVING: usize = 16;
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

/// What is sent on a stream. Dropping it without [`Writer::finish`] leaves the stream open.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    stream: u32,
    frames: mpsc::Sender<Frame>,
}

impl Writer {
    /// Sends data; waits while the connection is full.
    pub(crate) async fn write(&self, mut data: Bytes) -> Result<(), Error> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE));
            self.send(Frame::Data { stream: self.stream, last: false, data: piece }).await?;
        }
        Ok(())
    }

    /// Says that no more comes.
    pub(crate) async fn finish(&self) -> Result<(), Error> {
        self.send(Frame::Data { stream: self.stream, last: true, data: Bytes::new() }).await
    }

    async fn send(&self, frame: Frame) -> Result<(), Error> {
        self.frames.send(frame).await.map_err(|_| Error::Gone)
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
        // Once nobody can send anything any more, what was sent still goes out.
        let ((), ended) = tokio::join!(send(write, leaving), receiver.receive(read));
        if let Err(error) = ended {
            tracing::debug!(%error, "a SPDY connection ended");
        }
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
    /// The streams on which the client may still send.
    open: HashMap<u32, mpsc::Sender<Bytes>>,
    inflater: Inflater,
    deflater: Deflater,
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
                if let Some(reader) = self.open.get(&stream)
                    && !data.is_empty()
                {
                    // Who reads no more has no use for it; the stream may still be written.
                    _ = reader.send(data).await;
                }
                self.end(stream, last);
            }
            Frame::Reset { stream, .. } => self.end(stream, true),
            // Clients count with odd numbers; others answer a ping of ours.
            Frame::Ping(id) if id % 2 == 1 => self.send(Frame::Ping(id)).await?,
            Frame::Ping(_) => {}
            Frame::GoAway => return Ok(false),
        }
        Ok(true)
    }

    async fn open(&mut self, stream: u32, last: bool, headers: &[u8]) -> Result<(), Error> {
        let headers = self.inflater.read(headers)?;
        if stream.is_multiple_of(2) || self.open.contains_key(&stream) {
            return self.send(Frame::Reset { stream, code: Reset::Protocol as u32 }).await;
        }
        if self.open.len() >= STREAMS {
            return self.send(Frame::Reset { stream, code: Reset::Refused as u32 }).await;
        }
        let (sender, reader) = mpsc::channel(WAITING);
        if !last {
            self.open.insert(stream, sender);
        }
        let reply = self.deflater.write(&[])?;
        self.send(Frame::Reply { stream, headers: reply }).await?;
        let writer = Writer { stream, frames: self.frames.clone() };
        if self.streams.send(Stream { headers, reader, writer }).await.is_err() {
            self.open.remove(&stream);
            self.send(Frame::Reset { stream, code: Reset::Cancel as u32 }).await?;
        }
        Ok(())
    }

    fn end(&mut self, stream: u32, last: bool) {
        if last {
            self.open.remove(&stream);
        }
    }

    async fn send(&self, frame: Frame) -> Result<(), Error> {
        self.frames.send(frame).await.map_err(|_| Error::Gone)
    }
}

#[cfg(test)]
pub(crate) mod tests;
