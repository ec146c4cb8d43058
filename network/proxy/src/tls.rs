//! Server-side TLS by rustls with ring. The client's hello is read before the handshake begins, as its server name
//! chooses what it gets.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DistinguishedName, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::config::{Alpn, Certificate, ClientValidation, Tls};
use crate::signature::checks_signatures;

pub(crate) const H2: &[u8] = b"h2";
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// The longest hello that is waited for.
const HELLO: usize = 64 * 1024;

/// The rustls configuration of a domain; none if its client validation cannot be built.
pub(crate) fn server_config(tls: &Tls, http: bool) -> Option<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3");
    let builder = match &tls.clients {
        ClientValidation::None => builder.with_no_client_auth(),
        ClientValidation::Required(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots.store()), provider);
            builder.with_client_cert_verifier(verifier.build().ok()?)
        }
        ClientValidation::Asked => builder.with_client_cert_verifier(Arc::new(AnyClient { provider })),
    };
    let certificates = Certificates(tls.certificates.clone());
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    let name = |alpn: &Alpn| match alpn {
        Alpn::Http2 => H2.to_vec(),
        Alpn::Http1 => HTTP1.to_vec(),
    };
    config.alpn_protocols = match &tls.alpn[..] {
        [] if http => vec![H2.to_vec(), HTTP1.to_vec()],
        offered => offered.iter().map(name).collect(),
    };
    Some(Arc::new(config))
}

/// What a client says first: its server name, and the bytes that said so.
pub(crate) struct Hello {
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) read: Bytes,
}

/// Reads a client's hello, which whoever ends TLS reads again.
pub(crate) async fn hello(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut buffer = BytesMut::with_capacity(2 * 1024);
    let mut seen = 0;
    loop {
        if io.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while seen < buffer.len() {
            seen += acceptor.read_tls(&mut &buffer[seen..])?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let server_name = accepted.client_hello().server_name().map(Into::into);
                return Ok(Hello { server_name, read: buffer.freeze() });
            }
            Ok(None) if buffer.len() < HELLO => {}
            Ok(None) => return Err(io::ErrorKind::InvalidData.into()),
            // The handshake that follows says what is wrong in an alert.
            Err(_) => return Ok(Hello { server_name: None, read: buffer.freeze() }),
        }
    }
}

/// The certificates of a domain.
struct Certificates(Vec<Certificate>);

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.0.len())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = &self.0;
        let named = match hello.server_name() {
            Some(name) if certificates.len() > 1 => ServerName::try_from(name).ok(),
            _ => None,
        };
        let fitting =
            named.and_then(|name| certificates.iter().find(|certificate| certificate.is_for(&name)));
        fitting.or_else(|| certificates.first()).map(|certificate| Arc::clone(certificate.key()))
    }
}

/// Asks clients for a certificate, and lets them in whatever they show, so long as the key is theirs.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    checks_signatures!(provider);
}
