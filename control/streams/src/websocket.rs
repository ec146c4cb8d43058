//! WebSocket messages as they carry streams.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use crate::{Error, Io};

/// The longest message that is taken. Clients send 32 KiB at a time.
const LONGEST: usize = 1 << 20;

/// How often a client is asked for a sign of life while what it sends is not read: the connection is not read then either,
/// and only a write shows that nobody is there.
const SIGN: Duration = Duration::from_secs(5);

/// What is to leave.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A binary message.
    Message(Bytes),
    /// A question whether the client is there.
    Ping,
    /// No more comes.
    Close,
}

/// Gives what a client sent to its reader; fails if the client leaves while that waits to be read. Who reads no more has no
/// use for it.
pub(crate) async fn hand_on(
    reader: &mpsc::Sender<Bytes>,
    data: Bytes,
    leaving: &mpsc::Sender<Outgoing>,
) -> Result<(), Error> {
    let sending = reader.send(data);
    tokio::pin!(sending);
    while tokio::time::timeout(SIGN, &mut sending).await.is_err() {
        // A full queue is a sign that is on its way.
        if let Err(TrySendError::Closed(_)) = leaving.try_send(Outgoing::Ping) {
            return Err(Error::Gone);
        }
    }
    Ok(())
}

/// The half that sends binary messages.
pub(crate) struct Sender<S>(SplitSink<WebSocketStream<S>, Message>);

/// The half that receives binary messages, and answers pings.
pub(crate) struct Receiver<S>(SplitStream<WebSocketStream<S>>);

/// Takes over a connection whose handshake is done.
pub(crate) async fn accept<S: Io>(io: S) -> (Sender<S>, Receiver<S>) {
    let limits = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
    let (sink, stream) = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await.split();
    (Sender(sink), Receiver(stream))
}

impl<S: Io> Sender<S> {
    /// Sends a message.
    pub(crate) async fn send(&mut self, message: Bytes) -> Result<(), Error> {
        self.put(Message::Binary(message)).await
    }

    async fn put(&mut self, message: Message) -> Result<(), Error> {
        self.0.send(message).await.map_err(|_| Error::Gone)
    }

    /// Sends what is to leave until no more comes, and says so.
    pub(crate) async fn carry(mut self, mut leaving: mpsc::Receiver<Outgoing>) -> Result<(), Error> {
        while let Some(outgoing) = leaving.recv().await {
            match outgoing {
                Outgoing::Message(message) => self.send(message).await?,
                Outgoing::Ping => self.put(Message::Ping(Bytes::new())).await?,
                Outgoing::Close => break,
            }
        }
        self.close().await;
        Ok(())
    }

    /// Says that no more comes.
    pub(crate) async fn close(&mut self) {
        let normal = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
        // The client may be gone already.
        _ = self.0.send(Message::Close(Some(normal))).await;
    }
}

impl<S: Io> Receiver<S> {
    /// The next message; none once the client sends no more.
    pub(crate) async fn receive(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(message) = self.0.next().await {
            match message.map_err(|error| Error::Protocol(error.to_string()))? {
                Message::Binary(bytes) => return Ok(Some(bytes)),
                Message::Text(text) => return Ok(Some(text.into())),
                Message::Close(_) => return Ok(None),
                // Answered by the library.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Ok(None)
    }
}
