//! Connections that clients open to ports of a pod, for `portforward`.
//!
//! Over SPDY each connection is a pair of streams with the headers `port` and `requestID`: `streamType: data` carries it,
//! `streamType: error` a text on what went wrong. Over the channels of a WebSocket the ports stand in the request; the
//! port at place `i` has the channels `2 i` (data) and `2 i + 1` (error), and each begins with its port in two bytes.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::negotiation::{Accepted, Transport};
use crate::session::OPENING;
use crate::{Error, Input, Io, Output, spdy, tunnel, websocket};

/// The most that is read from a pod at once.
const PIECE: usize = 32 << 10;
/// The messages that wait on either way.
const WAITING: usize = 16;
/// The most ports that one request may name.
pub const PORTS: usize = 100;
/// How long a client may go on to read what a pod sent last.
const LEAVING: Duration = Duration::from_secs(10);

/// One connection between a client and a port.
#[derive(Debug)]
pub struct Forward {
    /// The port that the client asks for.
    pub port: u16,
    input: Input,
    output: Output,
    error: Output,
}

impl Forward {
    /// Carries bytes until both sides have ended, or tells the client why it cannot.
    async fn carry<C: Io>(self, dial: impl Future<Output = io::Result<C>>) {
        let Self { port, mut input, output, error } = self;
        let carried = match dial.await {
            Ok(connection) => pump(&mut input, &output, connection).await,
            Err(why) => {
                _ = error.write(why.to_string().into()).await;
                Ok(())
            }
        };
        if let Err(Error::Io(why)) = carried {
            _ = error.write(format!("the connection to port {port} of the pod broke: {why}").into()).await;
        }
        // A client that is gone needs to hear of no end.
        _ = output.finish().await;
        _ = error.finish().await;
    }
}

async fn pump(input: &mut Input, output: &Output, connection: impl Io) -> Result<(), Error> {
    let (mut read, mut write) = tokio::io::split(connection);
    let to_pod = async {
        while let Some(data) = input.recv().await {
            write.write_all(&data).await?;
        }
        write.shutdown().await?;
        Ok::<_, Error>(())
    };
    let from_pod = async {
        let mut buffer = BytesMut::with_capacity(PIECE);
        while read.read_buf(&mut buffer).await? > 0 {
            output.write(buffer.split().freeze()).await?;
            buffer.reserve(PIECE);
        }
        Ok::<_, Error>(())
    };
    tokio::pin!(to_pod);
    tokio::select! {
        // The pod has said all: what the client still sends reaches nobody.
        ended = from_pod => ended,
        // The client wants no more, though the pod may have nothing to say for hours.
        () = output.ended() => Err(Error::Gone),
        ended = async {
            match to_pod.as_mut().await {
                Ok(()) => std::future::pending().await,
                failed => failed,
            }
        } => ended,
    }
}

/// Serves the connections of one client until it is gone. `ports` are those that the request names, which count for
/// channels alone; `dial` connects to a port of the pod.
///
/// # Errors
///
/// The client breaks the protocol.
pub async fn serve<D, F, C>(io: impl Io, accepted: Accepted, ports: &[u16], dial: D) -> Result<(), Error>
where
    D: Fn(u16) -> F,
    F: Future<Output = io::Result<C>> + Send + 'static,
    C: Io,
{
    match accepted.transport {
        Transport::Spdy => {
            let (opened, _task) = spdy::serve(io);
            pairs(opened, dial).await
        }
        Transport::Tunnel => {
            let (io, _tunnel) = tunnel::open(io);
            let (opened, _task) = spdy::serve(io);
            pairs(opened, dial).await
        }
        Transport::Channels { .. } => channels(io, ports, dial).await,
        Transport::Messages => Err(Error::Protocol("a port forward needs channels".to_owned())),
    }
}

/// A connection of which one stream is there.
#[derive(Default)]
struct Half {
    data: Option<spdy::Stream>,
    error: Option<spdy::Stream>,
    since: Option<Instant>,
}

async fn pairs<D, F, C>(mut opened: mpsc::Receiver<spdy::Stream>, dial: D) -> Result<(), Error>
where
    D: Fn(u16) -> F,
    F: Future<Output = io::Result<C>> + Send + 'static,
    C: Io,
{
    let mut halves: HashMap<String, Half> = HashMap::new();
    let mut carried = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = opened.recv() => stream,
            Some(_) = carried.join_next() => continue,
        };
        let Some(stream) = stream else { return Ok(()) };
        halves.retain(|_, half| half.since.is_none_or(|since| since.elapsed() < OPENING));
        let port = stream.header("port").parse::<u16>().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| {
            Error::Protocol(format!("a stream for port {:?}; say 1 to 65535", stream.header("port")))
        })?;
        // Clients of old did not number their requests: then a port's streams follow each other.
        let request = match stream.header("requestid") {
            "" => format!("port {port}"),
            request => request.to_owned(),
        };
        let half = halves.entry(request.clone()).or_default();
        half.since.get_or_insert_with(Instant::now);
        let place = match stream.header("streamtype") {
            "data" => &mut half.data,
            "error" => &mut half.error,
            other => return Err(Error::Protocol(format!("a stream of type {other:?}; say data or error"))),
        };
        *place = Some(stream);
        if let Half { data: Some(_), error: Some(_), .. } = half
            && let Some(Half { data: Some(data), error: Some(error), .. }) = halves.remove(&request)
        {
            let forward = Forward {
                port,
                input: data.reader,
                output: Output::stream(data.writer),
                error: Output::stream(error.writer),
            };
            carried.spawn(forward.carry(dial(port)));
        }
    }
}

async fn channels<D, F, C>(io: impl Io, ports: &[u16], dial: D) -> Result<(), Error>
where
    D: Fn(u16) -> F,
    F: Future<Output = io::Result<C>> + Send + 'static,
    C: Io,
{
    if ports.is_empty() || ports.len() > PORTS {
        return Err(Error::Protocol(format!("{} ports; name 1 to {PORTS} with ?ports=", ports.len())));
    }
    let (sender, mut receiver) = websocket::accept(io).await;
    let (messages, leaving) = mpsc::channel(WAITING);
    // The connection ends with the last of its ports.
    let asking = messages.downgrade();
    let mut inputs = Vec::new();
    let mut carried = JoinSet::new();
    // Channels are numbered by a byte, and there are at most 200.
    for (port, number) in ports.iter().zip((0_u8..).step_by(2)) {
        let (input, reader) = mpsc::channel(WAITING);
        inputs.push(input);
        let output = Output::channel(number, messages.clone());
        let error = Output::channel(number + 1, messages.clone());
        let (port, dialed) = (*port, dial(*port));
        carried.spawn(async move {
            let begins = Bytes::copy_from_slice(&port.to_le_bytes());
            if output.write(begins.clone()).await.is_ok() && error.write(begins).await.is_ok() {
                Forward { port, input: reader, output, error }.carry(dialed).await;
            }
        });
    }
    drop(messages);
    let outward = sender.carry(leaving);
    let inward = async {
        while let Some(message) = receiver.receive().await? {
            let Some(number) = message.first() else { continue };
            // What comes on a channel for errors, or for no port, is nobody's.
            if number % 2 == 0
                && let Some(input) = inputs.get(usize::from(*number / 2))
                && let Some(asking) = asking.upgrade()
            {
                websocket::hand_on(input, message.slice(1..), &asking).await?;
            }
        }
        Ok::<_, Error>(())
    };
    tokio::pin!(outward, inward);
    tokio::select! {
        ended = &mut outward => {
            ended?;
            // The client answers the close.
            tokio::time::timeout(LEAVING, inward).await.unwrap_or(Ok(()))
        }
        ended = &mut inward => ended,
    }
}

#[cfg(test)]
mod tests;
