//! One client's connection: TLS ends, then the protocol is told by ALPN or by the first bytes.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::BytesMut;
use http::HeaderValue;
use rustls::ServerConfig;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::{Listener, Protocol};
use crate::forward::Forwarder;
use crate::hop::{Origin, Scheme};
use crate::http1::server::{Reader, Session};
use crate::http2;
use crate::limits::Limits;
use crate::stream::{Io, Rewound, Stream};
use crate::table::RouteTable;
use crate::tasks::Tasks;
use crate::tls;

/// What HTTP/2 begins with where the client knows in advance (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a listener serves now, swapped whole.
pub(crate) struct State {
    pub(crate) table: RouteTable,
    tls: Option<Arc<ServerConfig>>,
}

impl State {
    pub(crate) fn new(listener: Listener) -> Self {
        let tls = match &listener.protocol {
            Protocol::Http => None,
            Protocol::Https(tls) => Some(tls::server_config(tls)),
        };
        Self { table: RouteTable::new(listener.hosts), tls }
    }
}

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
        let tls = self.state.read().unwrap_or_else(PoisonError::into_inner).tls.clone();
        let limit = self.limits.header_read_timeout;
        let Some(tls) = tls else {
            return self.serve_plain(io, peer).await;
        };
        // A client that fails or stalls its handshake is left; rustls has sent it the alert.
        let handshake = Box::pin(TlsAcceptor::from(tls).accept(io));
        let Ok(Ok(stream)) = timeout(limit, handshake).await else { return };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(tls::H2);
        let io = Io::Other(Box::new(stream));
        let site = self.site(peer, Scheme::Https);
        if http2 {
            Box::pin(http2::serve(site, io)).await;
        } else {
            Box::pin(serve_http1(site, io, BytesMut::new())).await;
        }
    }

    async fn serve_plain(self, mut io: Io, peer: SocketAddr) {
        let site = self.site(peer, Scheme::Http);
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

    fn site(&self, peer: SocketAddr, scheme: Scheme) -> Arc<Site> {
        let address = peer.ip().to_canonical().to_string();
        let address = HeaderValue::try_from(address).unwrap_or(HeaderValue::from_static("unknown"));
        Arc::new(Site {
            limits: Arc::clone(&self.limits),
            forwarder: Arc::clone(&self.forwarder),
            // Its own, so that connections do not meet at one lock between their requests.
            stop: self.stop.child_token(),
            origin: Origin { address, scheme },
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
