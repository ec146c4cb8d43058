//! One client's connection: TLS ends, then the protocol is told by ALPN or by the first bytes.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::BytesMut;
use http::HeaderValue;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Backend;
use crate::forward::Forwarder;
use crate::hop::{Origin, Scheme};
use crate::http1::server::{Reader, Session};
use crate::http2;
use crate::limits::Limits;
use crate::state::{Inside, State, TlsServed};
use crate::stream::{Io, Rewound, Stream};
use crate::tasks::Tasks;
use crate::{tls, tunnel};

/// What HTTP/2 begins with where the client knows in advance (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What all connections of a listener share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) limits: Arc<Limits>,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) state: Arc<RwLock<Arc<State>>>,
    /// Given when the listener ends.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: Tasks,
}

/// Where a connection is served, and for whom.
pub(crate) struct Site {
    pub(crate) limits: Arc<Limits>,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) stop: CancellationToken,
    pub(crate) origin: Origin,
    state: Arc<RwLock<Arc<State>>>,
    tasks: Tasks,
}

impl Site {
    /// What the listener serves at this moment.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The tasks of the connection's streams.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

impl Shared {
    /// Serves one connection to its end.
    pub(crate) async fn serve(self, io: Io, peer: SocketAddr) {
        let state = Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner));
        match &state.inside {
            Inside::Http => self.serve_plain(io, peer).await,
            Inside::Tls(_) => Box::pin(self.serve_tls(state, io, peer)).await,
            Inside::Tcp(backends) => {
                let backends = Arc::clone(backends);
                drop(state);
                Box::pin(self.carry(io, &backends)).await;
            }
        }
    }

    /// Reads the server name, by which the state says where TLS ends.
    async fn serve_tls(self, state: Arc<State>, mut io: Io, peer: SocketAddr) {
        let limit = self.limits.header_read_timeout;
        let Ok(Ok(hello)) = timeout(limit, tls::hello(&mut io)).await else { return };
        let name = hello.server_name.as_deref().unwrap_or_default();
        let Inside::Tls(endings) = &state.inside else { return };
        let io = Rewound::new(hello.read, io);
        let (config, backends) = match endings.find(name).map(|ending| &ending.served) {
            // No answer but the end: without a certificate there is nothing to say an alert with that is believed.
            None | Some(TlsServed::Refused) => return,
            Some(TlsServed::Http(config)) => (Arc::clone(config), None),
            Some(TlsServed::Tcp(config, routes)) => {
                let Some(backends) = routes.find(name) else { return };
                (Arc::clone(config), Some(Arc::clone(backends)))
            }
            Some(TlsServed::Passthrough(routes)) => {
                let Some(backends) = routes.find(name).map(Arc::clone) else { return };
                drop(state);
                return self.carry(io, &backends).await;
            }
        };
        drop(state);
        // A client that fails or stalls its handshake is left; rustls has sent it the alert.
        let handshake = Box::pin(TlsAcceptor::from(config).accept(io));
        let Ok(Ok(stream)) = timeout(limit, handshake).await else { return };
        if let Some(backends) = backends {
            return self.carry(stream, &backends).await;
        }
        let http2 = stream.get_ref().1.alpn_protocol() == Some(tls::H2);
        let io = Io::Other(Box::new(stream));
        let site = self.site(peer, Scheme::Https, hello.server_name);
        if http2 {
            Box::pin(http2::serve(site, io)).await;
        } else {
            Box::pin(serve_http1(site, io, BytesMut::new())).await;
        }
    }

    /// Joins the connection to an endpoint; it ends where there is none.
    async fn carry(self, io: impl Stream, backends: &[Backend]) {
        let Some(endpoint) = self.forwarder.reach(backends).await else { return };
        let stopped = async {
            self.stop.cancelled().await;
            tokio::time::sleep(self.limits.drain).await;
        };
        tokio::select! {
            () = tunnel::join(io, endpoint, self.limits.tunnel_idle) => {}
            () = stopped => {}
        }
    }

    async fn serve_plain(self, mut io: Io, peer: SocketAddr) {
        let site = self.site(peer, Scheme::Http, None);
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        let reading = async {
            while io.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
                if buffer.len() >= PREFACE.len() || !PREFACE.starts_with(&buffer) {
                    return;
                }
            }
        };
        let told = tokio::select! {
            biased;
            told = timeout(self.limits.header_read_timeout, reading) => told,
            () = self.stop.cancelled() => Ok(()),
        };
        match told {
            Ok(()) if buffer.starts_with(PREFACE) => {
                // Boxed, so that a connection of the other protocol does not hold its room.
                Box::pin(http2::serve(site, Rewound::new(buffer.freeze(), io))).await;
            }
            // A client that stopped amid the preface is told so by the other protocol's reader.
            Ok(()) | Err(_) => serve_http1(site, io, buffer).await,
        }
    }

    fn site(&self, peer: SocketAddr, scheme: Scheme, server_name: Option<Box<str>>) -> Arc<Site> {
        let address = peer.ip().to_canonical().to_string();
        let address = HeaderValue::try_from(address).unwrap_or(HeaderValue::from_static("unknown"));
        Arc::new(Site {
            limits: Arc::clone(&self.limits),
            forwarder: Arc::clone(&self.forwarder),
            // Its own, so that connections do not meet at one lock between their requests.
            stop: self.stop.child_token(),
            origin: Origin { address, scheme, server_name },
            state: Arc::clone(&self.state),
            tasks: self.tasks.child(),
        })
    }
}

async fn serve_http1(site: Arc<Site>, io: Io, buffer: BytesMut) {
    let (half, writer) = io.split();
    Session::new(site, writer).serve(Reader { half, buffer }).await;
}

/// A stream that did not come by a listener's own socket.
pub(crate) fn other(stream: impl Stream) -> Io {
    Io::Other(Box::new(stream))
}

#[cfg(test)]
mod tests;
