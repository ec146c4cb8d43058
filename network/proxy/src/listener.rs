//! A listening socket and the connections that came by it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::Shared;
use crate::state::State;
use crate::stream::Io;

/// A listener at work. Dropping it cuts its connections.
pub(crate) struct Running {
    pub(crate) bound: SocketAddr,
    pub(crate) shared: Shared,
    accept: JoinHandle<()>,
    /// Given when the socket is closed.
    closed: CancellationToken,
}

impl Running {
    /// Binds the address and begins to accept.
    pub(crate) async fn start(address: SocketAddr, shared: Shared) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let bound = socket.local_addr()?;
        let closed = CancellationToken::new();
        let accept = tokio::spawn(accept(socket, shared.clone(), closed.clone().drop_guard()));
        Ok(Self { bound, shared, accept, closed })
    }

    /// What is served at this moment.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.shared.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves by this from the next request on; TLS from the next connection on.
    pub(crate) fn swap(&self, state: State) {
        *self.shared.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }

    /// Stops accepting; connections end when what they do is done.
    pub(crate) fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Waits until a stopped listener's address is free.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Waits for the connections of a stopped listener, and cuts them at the deadline. Whether none was cut.
    pub(crate) async fn drained(mut self, deadline: Instant) -> bool {
        let clean = timeout_at(deadline, &mut self.accept).await.is_ok();
        // What still runs is cut as this is dropped.
        drop(self);
        clean
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accept.abort();
        self.shared.tasks.cut();
    }
}

/// Accepts until stopped, then waits for the connections. They are owned here: aborting this task cuts them.
async fn accept(socket: TcpListener, shared: Shared, closed: DropGuard) {
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(shared.limits.connections));
    loop {
        let accepting = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, socket.accept().await)
        };
        tokio::select! {
            () = shared.stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = accepting => match accepted {
                Ok((stream, peer)) => {
                    // Failing to set the option costs latency only.
                    let _ = stream.set_nodelay(true);
                    let serving = shared.clone().serve(Io::Tcp(stream), peer);
                    connections.spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
                // Out of descriptors, or a peer that left: a pause keeps the loop from spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    drop(socket);
    drop(closed);
    while connections.join_next().await.is_some() {}
}
