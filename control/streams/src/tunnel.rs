//! A byte stream within the messages of a WebSocket.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_util::task::AbortOnDropHandle;

use crate::{Error, Io, websocket};

/// The bytes that wait on either way.
const WAITING: usize = 128 << 10;
/// The most that is sent in one message.
const PIECE: usize = 32 << 10;

/// The byte stream in a WebSocket, and the task that carries it, which ends with either; dropping the task closes it.
pub(crate) fn open(io: impl Io) -> (DuplexStream, AbortOnDropHandle<()>) {
    let (ours, theirs) = duplex(WAITING);
    let task = tokio::spawn(async move {
        let (mut sender, mut receiver) = websocket::accept(io).await;
        let (mut read, mut write) = tokio::io::split(theirs);
        let inward = async {
            while let Some(message) = receiver.receive().await? {
                write.write_all(&message).await?;
            }
            Ok::<_, Error>(())
        };
        let outward = async {
            let mut buffer = BytesMut::with_capacity(PIECE);
            while read.read_buf(&mut buffer).await? > 0 {
                sender.send(buffer.split().freeze()).await?;
                buffer.reserve(PIECE);
            }
            sender.close().await;
            Ok::<_, Error>(())
        };
        let ended = tokio::select! {
            ended = inward => ended,
            ended = outward => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a tunnel ended");
        }
    });
    (ours, AbortOnDropHandle::new(task))
}
