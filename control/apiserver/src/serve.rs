//! TLS sockets in front of the service.

mod answers;
mod idlers;
mod strangers;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Peer;
use crate::authenticate::certificate_user;
use crate::pki::Credential;
use crate::reply;
use crate::request::URL_LIMIT;
use crate::service::ResponseBody;
use crate::upgrades::Upgrades;
use answers::{Open, Requests};
use idlers::Idlers;
use strangers::{Stranger, Strangers};

/// How much of a request without TLS is read, and for how long, so that its answer arrives.
const PLAIN_REST: u64 = 64 * 1024;
const PLAIN_PATIENCE: Duration = Duration::from_secs(1);
/// How many bytes the heads of a request may have in HTTP/2: the longest URL and as much for all else.
const HEADS: u32 = 2 * URL_LIMIT as u32;
/// How long a connection may be silent before its client is asked for a sign, and between further questions, as upstream has it.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How often it is looked whether answers are still being taken.
const LOOK: Duration = Duration::from_secs(5);

/// How many clients may be connected, and how long they may keep the server waiting.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many connections there may be; the one that was idle the longest gives way to a new one.
    pub connections: usize,
    /// How many of them may be without a credential; the oldest of those gives way to a new one.
    pub anonymous: usize,
    /// How many connections may have ceased to speak HTTP, as those of exec and port-forward do; who comes then is told so.
    pub upgraded: usize,
    /// How many of those may be one user's.
    pub upgraded_each: usize,
    /// How long a client may take to agree on TLS.
    pub handshake: Duration,
    /// How long a client may take to send the head of a request.
    pub head: Duration,
    /// How long a connection may carry no request.
    pub idle: Duration,
    /// The same for a client without a credential.
    pub anonymous_idle: Duration,
    /// How often a client that speaks HTTP/2 is asked whether it is still there, and how long it may take to say so.
    pub ping: (Duration, Duration),
    /// How long a client may take nothing of a large answer.
    pub stalled: Duration,
    /// How long open connections may go on after the server was told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            anonymous: 256,
            upgraded: 1024,
            upgraded_each: 512,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(90),
            anonymous_idle: Duration::from_secs(10),
            ping: (Duration::from_secs(30), Duration::from_secs(15)),
            stalled: Duration::from_secs(60),
            drain: Duration::from_secs(5),
        }
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key cannot be read.
    #[error(
        "cannot read the server's certificate or key: {0}; remove them from the data directory to make new ones"
    )]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// They do not fit together.
    #[error("cannot serve TLS with this certificate and key: {0}")]
    Tls(#[from] rustls::Error),
    /// The authority cannot be used to verify clients.
    #[error("cannot verify client certificates: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// TLS with the server's credential. Clients may show a certificate of the authority, or none.
pub fn tls(server: &Credential, authority: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain =
        CertificateDer::pem_slice_iter(server.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes())?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves until `shutdown` is cancelled, then lets open requests end within some seconds. `service` is a
/// [`Service`](crate::service::Service), or what a caller has wrapped round one.
pub async fn serve<S>(listener: TcpListener, tls: Arc<ServerConfig>, service: S, shutdown: CancellationToken)
where
    S: tower::Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
    serve_within(listener, tls, service, shutdown, Limits::default()).await;
}

/// [`serve`] with limits of the caller's.
pub async fn serve_within<S>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: S,
    shutdown: CancellationToken,
    limits: Limits,
) where
    S: tower::Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let acceptor = TlsAcceptor::from(tls);
    let tracker = TaskTracker::new();
    let room = Arc::new(Semaphore::new(limits.connections));
    let upgrades = Upgrades::new(limits.upgraded, limits.upgraded_each);
    let (strangers, limits) = (Strangers::new(limits.anonymous), Arc::new(limits));
    let idlers = Idlers::default();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: those in use come free in a while.
                tracing::warn!(%error, "cannot accept a connection to the API");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let permit = room.clone().try_acquire_owned().ok();
        if permit.is_none() && !idlers.make_room() {
            tracing::warn!(%peer, "refused a connection to the API: {} are open, all busy", limits.connections);
            continue;
        }
        let client = Client {
            peer,
            limits: limits.clone(),
            stranger: strangers.enter(),
            idlers: idlers.clone(),
            upgrades: upgrades.clone(),
            requests: Arc::default(),
            shutdown: shutdown.clone(),
        };
        let (acceptor, service, room) = (acceptor.clone(), service.clone(), room.clone());
        tracker.spawn(async move {
            let _permit = match permit {
                Some(permit) => permit,
                // Who gave way leaves at once.
                None => match tokio::time::timeout(client.limits.handshake, room.acquire_owned()).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) | Err(_) => return,
                },
            };
            client.serve(stream, acceptor, service).await;
        });
    }
    tracker.close();
    if tokio::time::timeout(limits.drain, tracker.wait()).await.is_err() {
        tracing::info!("left API connections that did not end in time");
    }
}

/// One connection.
struct Client {
    peer: SocketAddr,
    limits: Arc<Limits>,
    stranger: Arc<Stranger>,
    idlers: Idlers,
    upgrades: Upgrades,
    requests: Arc<Requests>,
    shutdown: CancellationToken,
}

impl Client {
    async fn serve<S>(self, stream: TcpStream, acceptor: TlsAcceptor, service: S)
    where
        S: tower::Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let peer = self.peer;
        let stranger = self.stranger.clone();
        tokio::select! {
            () = stranger.sent_away() => {
                tracing::debug!(%peer, "a client without a credential gave way to a newer one");
            }
            () = self.converse(stream, acceptor, service) => {}
        }
    }

    async fn converse<S>(self, stream: TcpStream, acceptor: TlsAcceptor, service: S)
    where
        S: tower::Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let (peer, limits) = (self.peer, self.limits.clone());
        // Who vanishes without a word from a connection that nobody writes to is found out by the kernel.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        let set =
            stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive));
        if let Err(error) = set {
            tracing::debug!(%peer, %error, "cannot set up a connection");
        }
        let agreeing = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            if first[0].is_ascii_uppercase() {
                return Ok(Err(stream));
            }
            acceptor.accept(stream).await.map(Ok)
        };
        let stream = match tokio::time::timeout(limits.handshake, agreeing).await {
            Ok(Ok(Ok(stream))) => stream,
            Ok(Ok(Err(stream))) => return tell_plain(stream).await,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "a client did not agree on TLS"),
            Err(_) => return tracing::debug!(%peer, "a client took too long to agree on TLS"),
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let user = certificates.and_then(|chain| chain.first()).and_then(|leaf| certificate_user(leaf));
        if user.is_some() {
            self.stranger.introduce();
        }
        let (stranger, requests) = (self.stranger.clone(), self.requests.clone());
        let upgrades = self.upgrades.clone();
        let handler = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            if let Some(user) = &user {
                request.extensions_mut().insert(user.clone());
            }
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(Introduction(stranger.clone()));
            request.extensions_mut().insert(upgrades.clone());
            let open = Open::new(&requests);
            let mut service = service.clone();
            async move {
                let response = service.call(request).await?;
                let is_large = reply::is_large(&response);
                Ok::<_, Infallible>(response.map(|body| open.track(body, is_large)))
            }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(250)
            .max_header_list_size(HEADS)
            .keep_alive_interval(limits.ping.0)
            .keep_alive_timeout(limits.ping.1);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), handler);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            rest = self.idle() => {
                if rest == Rest::GivesWay {
                    return tracing::debug!(%peer, "an idle connection gave way to a newer one");
                }
                connection.as_mut().graceful_shutdown();
                // The client is told, and does not have to agree.
                match tokio::time::timeout(limits.drain, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return tracing::debug!(%peer, "closed an idle connection to the API"),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection to the API broke");
        }
    }

    /// Waits until there was no request for too long, or another client needs the room more.
    async fn idle(&self) -> Rest {
        let mut requests = self.requests.open.subscribe();
        loop {
            let open = *requests.borrow_and_update();
            let known = self.stranger.is_known();
            let limit = if known { self.limits.idle } else { self.limits.anonymous_idle };
            let changed = requests.changed();
            if open > 0 {
                // The sender lives as long as this: what ends early is a change.
                let _is_time = tokio::time::timeout(LOOK.min(self.limits.stalled), changed).await;
                if self.requests.are_stalled(self.limits.stalled) {
                    return Rest::TooLong;
                }
                continue;
            }
            let idler = self.idlers.enter();
            tokio::select! {
                biased;
                changed = tokio::time::timeout(limit, changed) => {
                    if changed.is_err() {
                        return Rest::TooLong;
                    }
                }
                () = idler.sent_away() => return Rest::GivesWay,
            }
        }
    }
}

/// Why a connection that carries no request ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    TooLong,
    GivesWay,
}

/// The client at the other end of a connection, of whom it becomes known who that is.
#[derive(Clone)]
pub(crate) struct Introduction(Arc<Stranger>);

impl Introduction {
    /// The client has shown who it is.
    pub(crate) fn introduce(&self) {
        self.0.introduce();
    }
}

/// Tells a client that has begun with the method of a request that TLS is spoken here, in upstream's words.
async fn tell_plain(mut stream: TcpStream) {
    let answer = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let told = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        // What it still says is read, or the answer would be lost to a reset.
        tokio::io::copy(&mut (&mut stream).take(PLAIN_REST), &mut tokio::io::sink()).await
    };
    // Whether it listened is its own affair.
    let _ = tokio::time::timeout(PLAIN_PATIENCE, told).await;
}
