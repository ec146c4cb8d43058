//! Calls of hooks over HTTPS.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::object;
use crate::world::World;

/// How much is shown of an answer that is an error.
const SHOWN: usize = 1024;
/// Where systems keep the authorities that they trust.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// How one hook is reached.
pub struct Client {
    target: Target,
    tls: Arc<ClientConfig>,
    largest: usize,
}

enum Target {
    Url { host: String, port: u16, path: String },
    Service { namespace: String, name: String, port: u16, path: String },
}

impl Client {
    /// The client that a `clientConfig` speaks of, which reads answers of at most `largest` bytes.
    ///
    /// # Errors
    /// Why there can be none.
    pub fn of(config: &Value, largest: usize) -> Result<Self, String> {
        let target = match (object::at(config, &["service"]), object::text(config, &["url"])) {
            (Some(service), _) => Target::Service {
                namespace: object::text(service, &["namespace"]).to_owned(),
                name: object::name_of(service).to_owned(),
                port: object::at(service, &["port"])
                    .and_then(Value::as_u64)
                    .and_then(|port| u16::try_from(port).ok())
                    .unwrap_or(443),
                path: object::text(service, &["path"]).to_owned(),
            },
            (None, "") => return Err("webhook configuration must have either service or URL".to_owned()),
            (None, url) => {
                let uri: Uri = url.parse().map_err(|error| format!("Unparsable URL: {error}"))?;
                let host = uri.host().unwrap_or_default().to_owned();
                Target::Url { host, port: uri.port_u16().unwrap_or(443), path: uri.path().to_owned() }
            }
        };
        Ok(Self { target, tls: tls(object::text(config, &["caBundle"]))?, largest })
    }

    /// Sends a review and gives the answer's body.
    ///
    /// # Errors
    /// Why there is no answer, in the words that Go's client has for it.
    pub async fn post(&self, world: &dyn World, body: &Value, timeout: Duration) -> Result<Vec<u8>, String> {
        let seconds = timeout.as_secs();
        let (host, port, path) = match &self.target {
            Target::Url { host, port, path } => (host.clone(), *port, path),
            Target::Service { namespace, name, port, path } => {
                (format!("{name}.{namespace}.svc"), *port, path)
            }
        };
        let path = format!("/{}?timeout={seconds}s", path.trim_start_matches('/'));
        let url = format!("https://{host}:{port}{path}");
        let told = |why: String| format!("Post \"{url}\": {why}");
        let address = match &self.target {
            Target::Url { .. } => format!("{host}:{port}"),
            Target::Service { namespace, name, .. } => {
                world.endpoint(namespace, name, port).map_err(&told)?
            }
        };
        let reply = tokio::time::timeout(timeout, self.exchange(&address, &host, port, &path, body)).await;
        match reply {
            Ok(reply) => reply.map_err(|failure| match failure {
                Failure::Transport(why) => told(why),
                Failure::Answer(why) => why,
            }),
            Err(_) => Err(told("context deadline exceeded".to_owned())),
        }
    }

    async fn exchange(
        &self,
        address: &str,
        host: &str,
        port: u16,
        path: &str,
        body: &Value,
    ) -> Result<Vec<u8>, Failure> {
        let transport = |error: &dyn StdError| Failure::Transport(innermost(error));
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| Failure::Transport(format!("dial tcp {address}: {}", of_connecting(&error))))?;
        stream.set_nodelay(true).map_err(|error| transport(&error))?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| transport(&error))?;
        let connector = TlsConnector::from(self.tls.clone());
        let stream =
            connector.connect(name, stream).await.map_err(|error| Failure::Transport(of_tls(&error)))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| transport(&error))?;
        // It ends with the exchange, whose future owns it.
        let connection = async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a webhook broke");
            }
            std::future::pending::<Failure>().await
        };
        let bytes = serde_json::to_vec(body).map_err(|error| transport(&error))?;
        let request = Request::post(path)
            .header(HOST, format!("{host}:{port}"))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, */*")
            .header(USER_AGENT, "kube-apiserver-admission")
            .body(Full::new(Bytes::from(bytes)))
            .map_err(|error| transport(&error))?;
        let exchange = async {
            let response =
                sender.send_request(request).await.map_err(|error| Failure::Transport(of_http(&error)))?;
            let status = response.status();
            let collected = Limited::new(response.into_body(), self.largest).collect().await;
            let bytes = collected.map_err(|error| Failure::Answer(innermost(error.as_ref())))?.to_bytes();
            if status.is_success() {
                Ok(bytes.to_vec())
            } else {
                Err(Failure::Answer(of_code(status, &bytes)))
            }
        };
        tokio::select! {
            outcome = exchange => outcome,
            failure = connection => Err(failure),
        }
    }
}

/// Why there is no answer.
enum Failure {
    /// The hook was not reached, or went away.
    Transport(String),
    /// It answered, but not what was asked.
    Answer(String),
}

/// The authorities of a bundle of certificates as an object has it, or those of the system where there is none.
///
/// # Errors
/// Why it holds none.
pub fn roots(bundle: &str) -> Result<RootCertStore, String> {
    if bundle.is_empty() {
        return Ok(system_roots().clone());
    }
    let mut roots = RootCertStore::empty();
    let bytes = STANDARD.decode(bundle).map_err(|error| format!("caBundle is no base64: {error}"))?;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| format!("caBundle is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("unable to load root certificates: {error}"))?;
    }
    if roots.is_empty() {
        return Err("unable to load root certificates: unable to parse bytes as PEM block".to_owned());
    }
    Ok(roots)
}

/// Trust in a bundle of certificates.
fn tls(bundle: &str) -> Result<Arc<ClientConfig>, String> {
    let roots = roots(bundle)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&found).filter_map(Result::ok));
        roots
    })
}

fn of_connecting(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

fn of_tls(error: &io::Error) -> String {
    use rustls::CertificateError as Bad;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(bad)) = inner else {
        return match (error.kind(), inner) {
            (io::ErrorKind::UnexpectedEof, None) => "EOF".to_owned(),
            (_, Some(inner)) => format!("tls: {inner}"),
            _ => error.to_string(),
        };
    };
    let why = match bad {
        // An authority of the same name did not sign it.
        Bad::UnknownIssuer | Bad::BadSignature => "certificate signed by unknown authority".to_owned(),
        Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            "certificate is not valid for the name of the webhook".to_owned()
        }
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

fn of_http(error: &hyper::Error) -> String {
    let mut source: Option<&dyn StdError> = Some(error);
    let mut is_torn = error.is_incomplete_message() || error.is_closed();
    while let Some(cause) = source {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        is_torn |= kind == Some(io::ErrorKind::UnexpectedEof);
        source = cause.source();
    }
    if is_torn { "EOF".to_owned() } else { innermost(error) }
}

fn of_code(status: http::StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    match status.as_u16() {
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => "the server does not allow access to the requested resource".to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        code if code >= 500 => {
            let text = if text.trim().is_empty() { "unknown".into() } else { text };
            format!("an error on the server ({:?}) has prevented the request from succeeding", text.trim())
        }
        _ => format!(
            "the server responded with the status code {} but did not return more information",
            status.as_u16()
        ),
    }
}

/// The cause of an error that tells most.
fn innermost(error: &dyn StdError) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
