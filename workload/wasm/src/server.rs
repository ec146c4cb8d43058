//! HTTP/1.1 and HTTP/2 (with prior knowledge, no TLS) in front of a workload.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::Workload;

/// How long a client may take to send the head of a request, and so how long a connection may idle.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// The most bytes that a head may have.
const HEAD_SIZE: usize = 64 << 10;
/// How many requests one HTTP/2 connection may have open.
const STREAMS: u32 = 256;
/// How long accepting rests when the system has no more descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

impl Workload {
    /// Answers what comes by the listener until `shutdown` is cancelled, then lets open requests end, for
    /// [`drain_time`](crate::WorkloadOptions::drain_time) at most, and stops the workload.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) {
        let limit = self.shared.options.max_connections.min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(limit));
        let mut connections = JoinSet::new();
        let accepting = async {
            loop {
                // The semaphore is never closed.
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        if !is_of_one_connection(&error) {
                            tracing::warn!(%error, "a connection could not be accepted");
                            sleep(ACCEPT_REST).await;
                        }
                        continue;
                    }
                };
                // Small pieces of a streamed answer go out at once.
                let _ = stream.set_nodelay(true);
                let (workload, shutdown) = (self.clone(), shutdown.clone());
                connections.spawn(async move {
                    workload.serve_connection(stream, &shutdown).await;
                    drop(place);
                });
                while connections.try_join_next().is_some() {}
            }
        };
        let _ = shutdown.run_until_cancelled(accepting).await;
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if timeout(self.shared.options.drain_time, drained).await.is_err() {
            connections.shutdown().await;
        }
        self.stop();
        // Guests whose clients have gone end at once now; when this returns, nothing of the workload is left.
        self.shared.leftovers.close();
        self.shared.leftovers.wait().await;
    }

    /// Answers what comes by one connection. After `shutdown` is cancelled the request in hand is the last.
    pub async fn serve_connection<I>(&self, stream: I, shutdown: &CancellationToken)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_SIZE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEAD_SIZE).unwrap_or(u32::MAX));
        let workload = self.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let workload = workload.clone();
            async move { Ok::<_, Infallible>(workload.handle(request).await) }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Such an error concerns the one connection that was about to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
