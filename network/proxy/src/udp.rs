//! Datagrams. Those of one client go to one endpoint by a socket of its own, so that answers find their way back.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::config::{Backend, Target, choose};
use crate::limits::Limits;
use crate::state::Backends;

/// The largest datagram.
const DATAGRAM: usize = 64 * 1024;

/// A datagram listener at work. Dropping it ends it.
pub(crate) struct Running {
    pub(crate) bound: SocketAddr,
    backends: Arc<Current>,
    serving: JoinHandle<()>,
}

/// The backends, and how often they changed.
struct Current {
    backends: RwLock<Backends>,
    changes: AtomicUsize,
}

/// A client and the endpoint that was chosen for it.
struct Client {
    endpoint: SocketAddr,
    socket: Arc<UdpSocket>,
    moved: Arc<AtomicBool>,
}

impl Running {
    pub(crate) async fn start(
        address: SocketAddr,
        backends: Vec<Backend>,
        limits: &Limits,
    ) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind(address).await?);
        let bound = socket.local_addr()?;
        let backends =
            Arc::new(Current { backends: RwLock::new(backends.into()), changes: AtomicUsize::new(0) });
        let (most, idle) = (limits.datagram_clients, limits.datagram_idle);
        let serving = tokio::spawn(serve(socket, Arc::clone(&backends), most, idle));
        Ok(Self { bound, backends, serving })
    }

    /// Clients whose endpoint is still there keep it.
    pub(crate) fn swap(&self, backends: Vec<Backend>) {
        *self.backends.backends.write().unwrap_or_else(PoisonError::into_inner) = backends.into();
        self.backends.changes.fetch_add(1, Ordering::Release);
    }

    /// Ends the listener and frees its address.
    pub(crate) async fn end(mut self) {
        self.serving.abort();
        // Cancelled, as it was asked to be.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(socket: Arc<UdpSocket>, current: Arc<Current>, most: usize, idle: Duration) {
    let mut clients = HashMap::<SocketAddr, Client>::new();
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    let (mut turn, mut seen) = (0_usize, 0);
    loop {
        tokio::select! {
            Some(gone) = answers.join_next() => {
                if let Ok((peer, socket)) = gone
                    && clients.get(&peer).is_some_and(|client| Arc::ptr_eq(&client.socket, &socket))
                {
                    clients.remove(&peer);
                }
            }
            received = socket.recv_from(&mut buffer) => {
                // An error is a word of an earlier datagram that did not arrive.
                let Ok((length, peer)) = received else { continue };
                let changes = current.changes.load(Ordering::Acquire);
                let backends =
                    Arc::clone(&current.backends.read().unwrap_or_else(PoisonError::into_inner));
                if changes != seen {
                    seen = changes;
                    clients.retain(|_, client| serves(&backends, client.endpoint));
                }
                if !clients.contains_key(&peer) {
                    if clients.len() >= most {
                        continue;
                    }
                    turn = turn.wrapping_add(1);
                    let Some(client) = open(&backends, turn).await else { continue };
                    answers.spawn(carry_back(Arc::clone(&socket), peer, &client, idle));
                    clients.insert(peer, client);
                }
                if let Some(client) = clients.get(&peer) {
                    client.moved.store(true, Ordering::Relaxed);
                    // Datagrams may be lost; an endpoint that takes none loses them.
                    let _ = client.socket.try_send(&buffer[..length]);
                }
            }
        }
    }
}

fn serves(backends: &[Backend], endpoint: SocketAddr) -> bool {
    backends.iter().any(|backend| {
        backend.weight > 0
            && matches!(&backend.target, Target::Endpoints(endpoints) if endpoints.contains(&endpoint))
    })
}

/// A socket to an endpoint of the backend whose turn it is.
async fn open(backends: &[Backend], turn: usize) -> Option<Client> {
    let Target::Endpoints(endpoints) = &choose(backends, turn)?.target else { return None };
    let endpoint = *endpoints.get(turn.checked_rem(endpoints.len())?)?;
    let own: SocketAddr = if endpoint.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
    let socket = UdpSocket::bind(own).await.ok()?;
    socket.connect(endpoint).await.ok()?;
    // A connected socket can be written to before it is known to be ready.
    socket.writable().await.ok()?;
    Some(Client { endpoint, socket: Arc::new(socket), moved: Arc::default() })
}

/// Carries answers to the client until nothing has moved for a while.
fn carry_back(
    listener: Arc<UdpSocket>,
    peer: SocketAddr,
    client: &Client,
    idle: Duration,
) -> impl Future<Output = (SocketAddr, Arc<UdpSocket>)> + use<> {
    let (socket, moved) = (Arc::clone(&client.socket), Arc::clone(&client.moved));
    async move {
        loop {
            match timeout(idle, socket.readable()).await {
                // The buffer lives for what is there to read only: most clients are quiet most of the time.
                Ok(Ok(())) => {
                    let mut buffer = vec![0; DATAGRAM];
                    while let Ok(length) = socket.try_recv(&mut buffer) {
                        // As above.
                        let _ = listener.send_to(&buffer[..length], peer).await;
                    }
                }
                Err(_) if moved.swap(false, Ordering::Relaxed) => {}
                Ok(Err(_)) | Err(_) => return (peer, socket),
            }
        }
    }
}
