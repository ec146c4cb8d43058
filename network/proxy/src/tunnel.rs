//! Two connections that speak what the engine does not know: bytes go both ways until both ends have ended, or
//! nothing has moved for too long.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use crate::http1::client::Connection;
use crate::http1::server::Reader;
use crate::stream::{Rewound, WriteHalf};

/// Moves bytes between a client and an endpoint that agreed on another protocol.
pub(crate) async fn run(client: Reader, writer: &mut WriteHalf, endpoint: Connection, idle: Duration) {
    let client = tokio::io::join(Rewound::new(client.buffer.freeze(), client.half), writer);
    join(client, Rewound::new(endpoint.buffer.freeze(), endpoint.stream), idle).await;
}

/// Moves bytes both ways. The idle limit is met within twice its length.
pub(crate) async fn join(
    client: impl AsyncRead + AsyncWrite + Unpin,
    endpoint: impl AsyncRead + AsyncWrite + Unpin,
    idle: Duration,
) {
    let moved = AtomicBool::new(false);
    let (mut client, mut endpoint) =
        (Noted { inner: client, moved: &moved }, Noted { inner: endpoint, moved: &moved });
    let quiet = async {
        loop {
            tokio::time::sleep(idle).await;
            if !moved.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    };
    tokio::select! {
        // An error is an end like any other: the bytes are not the engine's.
        _ = copy_bidirectional(&mut client, &mut endpoint) => {}
        () = quiet => {}
    }
}

/// Notes that something was read.
struct Noted<'a, T> {
    inner: T,
    moved: &'a AtomicBool,
}

impl<T: AsyncRead + Unpin> AsyncRead for Noted<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_ready() {
            self.moved.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Noted<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
