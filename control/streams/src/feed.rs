//! Bytes that a client only reads, such as a log, as the messages of a WebSocket (`binary.k8s.io`).

use std::pin::pin;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use crate::{Accepted, Error, Io, websocket};

/// Sends each piece as a message until they end or the client leaves. What the client sends is not looked at.
///
/// # Errors
///
/// The connection broke, or the pieces ended early.
pub async fn feed(
    io: impl Io,
    _accepted: Accepted,
    pieces: impl Stream<Item = std::io::Result<Bytes>> + Send,
) -> Result<(), Error> {
    let (mut sender, mut receiver) = websocket::accept(io).await;
    let mut pieces = pin!(pieces);
    let outward = async {
        while let Some(piece) = pieces.next().await {
            sender.send(piece?).await?;
        }
        sender.close().await;
        Ok(())
    };
    let gone = async { while let Ok(Some(_)) = receiver.receive().await {} };
    tokio::select! {
        ended = outward => ended,
        () = gone => Err(Error::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiation::Transport;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::{Message, Role};

    #[tokio::test]
    async fn each_piece_is_a_message_and_the_end_closes() {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        let pieces = futures::stream::iter(["one\n", "two\n"].map(|text| Ok(Bytes::from(text))));
        let feeding = tokio::spawn(feed(ours, Accepted::over(Transport::Messages), pieces));
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        for expected in ["one\n", "two\n"] {
            let message = client.next().await.and_then(Result::ok);
            assert_eq!(message, Some(Message::Binary(Bytes::from(expected))));
        }
        assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
        assert!(matches!(feeding.await, Ok(Ok(()))));
    }

    #[tokio::test]
    async fn who_leaves_ends_it() {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        let feeding =
            tokio::spawn(feed(ours, Accepted::over(Transport::Messages), futures::stream::pending()));
        drop(theirs);
        assert!(matches!(feeding.await, Ok(Err(Error::Gone))));
    }
}
