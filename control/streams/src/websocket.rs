//! WebSocket messages as they carry streams.

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use crate::{Error, Io};

/// The longest message that is taken. Clients send 32 KiB at a time.
const LONGEST: usize = 1 << 20;

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
        self.0.send(Message::Binary(message)).await.map_err(|_| Error::Gone)
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
