//! Connections to a server behind this one: TLS that checks whom it reaches, and shows who this server is.
//!
//! A server that speaks HTTP/2 is asked everything over one connection to each of its addresses, which is kept. What is
//! upgraded, and all that goes to servers that speak HTTP/1.1 alone, has a connection of its own.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{CertificateError, ClientConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Backend, Trust};
use crate::api::Api;

/// How long a server may take to accept a connection and to agree on TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a server is asked whether it is still there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15));
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

type BoxError = Box<dyn StdError + Send + Sync>;
/// The body of a request that is passed on.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, BoxError>;
type Sender = http2::SendRequest<Outgoing>;

/// The way to one server.
pub(super) struct Channel {
    backend: Backend,
    bundle: Box<str>,
    insecure: bool,
    tls: OnceLock<Result<Tls, String>>,
    /// The connections that everything goes over, by where they go.
    shared: Mutex<BTreeMap<Box<str>, Sender>>,
}

/// With both versions of HTTP, and for what can be upgraded.
struct Tls {
    any: Arc<ClientConfig>,
    upgradable: Arc<ClientConfig>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl Channel {
    pub(super) fn new(backend: Backend, bundle: Box<str>, insecure: bool) -> Self {
        Self { backend, bundle, insecure, tls: OnceLock::new(), shared: Mutex::default() }
    }

    /// Whether it trusts the same certificates.
    pub(super) fn is_for(&self, bundle: &str, insecure: bool) -> bool {
        (&*self.bundle, self.insecure) == (bundle, insecure)
    }

    /// Sends a request to the server at an address, which is one of its Service's.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(super) async fn send(
        &self,
        api: &Api,
        address: &str,
        mut request: Request<Outgoing>,
        upgrades: bool,
    ) -> Result<Response<Incoming>, String> {
        let authority = self.backend.authority();
        let kept = self.kept(address).filter(|_| !upgrades);
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(as_http2(request, &authority)?).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    // It went away before the request was sent: there is a new one to be had.
                    Some(unsent) => request = unsent,
                    None => return Err(innermost(error.error())),
                },
            }
        }
        let stream = self.connect(api, address, upgrades).await?;
        if stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return send_http1(api, stream, as_http1(request, &authority)?).await;
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING.0).keep_alive_timeout(PING.1);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| innermost(&error))?;
        api.serve_stream(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to an extension server broke");
            }
        });
        self.lock().insert(address.into(), sender.clone());
        sender.send_request(as_http2(request, &authority)?).await.map_err(|error| innermost(&error))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Box<str>, Sender>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self, address: &str) -> Option<Sender> {
        let mut shared = self.lock();
        // Those of replicas that are gone, too.
        shared.retain(|_, sender| !sender.is_closed());
        shared.get(address).cloned()
    }

    async fn connect(
        &self,
        api: &Api,
        address: &str,
        upgrades: bool,
    ) -> Result<TlsStream<TcpStream>, String> {
        let tls = self.tls.get_or_init(|| self.configure(api.aggregation().trust()));
        let tls = tls.as_ref().map_err(Clone::clone)?;
        let config = if upgrades { &tls.upgradable } else { &tls.any };
        let name = ServerName::try_from(self.backend.host()).map_err(|error| error.to_string())?;
        let connecting = async {
            let dialled = TcpStream::connect(address).await;
            let stream = dialled.map_err(|error| format!("dial tcp {address}: connect: {error}"))?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let agreed = TlsConnector::from(config.clone()).connect(name, stream).await;
            agreed.map_err(|error| format!("tls: {}", disagreement(&error)))
        };
        let timeout = tokio::time::timeout(CONNECT, connecting).await;
        timeout.unwrap_or_else(|_| Err(format!("dial tcp {address}: i/o timeout")))
    }

    fn configure(&self, trust: Option<&Trust>) -> Result<Tls, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = if self.insecure {
            config.dangerous().with_custom_certificate_verifier(xebec_tls::anyone(provider))
        } else {
            config.with_root_certificates(xebec_admission::roots(&self.bundle)?)
        };
        let mut config = match trust {
            None => config.with_no_client_auth(),
            Some(trust) => {
                let chain: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(trust.proxy.certificate.as_bytes()).collect();
                let chain = chain.map_err(|error| error.to_string())?;
                let key = PrivateKeyDer::from_pem_slice(trust.proxy.key.as_bytes());
                let key = key.map_err(|error| error.to_string())?;
                config.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
            }
        };
        config.alpn_protocols = vec![HTTP1.to_vec()];
        let upgradable = Arc::new(config.clone());
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(Tls { any: Arc::new(config), upgradable })
    }
}

async fn send_http1(
    api: &Api,
    stream: TlsStream<TcpStream>,
    request: Request<Outgoing>,
) -> Result<Response<Incoming>, String> {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| innermost(&error))?;
    api.serve_stream(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an extension server broke");
        }
    });
    sender.send_request(request).await.map_err(|error| innermost(&error))
}

/// The request as HTTP/2 has it: with the server in its URL.
fn as_http2(mut request: Request<Outgoing>, authority: &str) -> Result<Request<Outgoing>, String> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder().scheme("https").authority(authority).path_and_query(path).build();
    *request.uri_mut() = uri.map_err(|error| error.to_string())?;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(HOST);
    Ok(request)
}

/// The request as HTTP/1.1 has it: with the server in a header.
fn as_http1(mut request: Request<Outgoing>, authority: &str) -> Result<Request<Outgoing>, String> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|error| format!("{error}"))?;
    *request.version_mut() = Version::HTTP_11;
    let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOST, host);
    Ok(request)
}

/// Why there is no agreement. The time at which a certificate was looked at is left out: the same fault has the same words each
/// time, and is written down once.
fn disagreement(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|own| own.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet".to_owned()
            }
            _ => innermost(error),
        },
        _ => innermost(error),
    }
}

/// What went wrong at the bottom of an error, which says most.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls_pki_types::UnixTime;

    use super::*;

    #[test]
    fn the_same_fault_has_the_same_words_at_each_moment() {
        let at = |seconds| {
            let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            let why = CertificateError::ExpiredContext { time: time(seconds), not_after: time(5) };
            disagreement(&io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(why)))
        };
        assert_eq!(at(10), at(20));
        let other = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let other = disagreement(&io::Error::new(io::ErrorKind::InvalidData, other));
        assert!(other.contains("UnknownIssuer"), "{other}");
    }
}
