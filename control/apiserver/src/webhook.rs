//! Calls of webhooks over HTTPS: a JSON document there, a JSON document back.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::api::Api;

/// How long a webhook may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const LARGEST: usize = 64 << 20;
/// How much is shown of an answer that is an error.
const SHOWN: usize = 1024;
/// Where systems keep the authorities that they trust.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Where a webhook is and whom it is known by.
struct Place {
    /// The name in its certificate.
    host: String,
    port: u16,
    path: String,
    /// Where it is reached.
    address: String,
}

impl Api {
    /// Sends `question` to the webhook of a `clientConfig` and gives its answer.
    ///
    /// # Errors
    /// Why there is none, in the words that Go's client has for it.
    pub(crate) async fn ask_webhook(&self, config: &Value, question: &Value) -> Result<Value, String> {
        let place = self.place_of(config)?;
        let tls = trust(config.get("caBundle").and_then(Value::as_str).unwrap_or_default())?;
        let target = format!("/{}?timeout={}s", place.path.trim_start_matches('/'), PATIENCE.as_secs());
        let url = format!("https://{}:{}{target}", place.host, place.port);
        let bytes = match tokio::time::timeout(PATIENCE, exchange(&place, tls, &target, question)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(Failure::Unreached(why))) => return Err(format!("Post {url:?}: {why}")),
            Ok(Err(Failure::Refused(why))) => return Err(why),
            Err(_) => return Err(format!("Post {url:?}: context deadline exceeded")),
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))
    }

    fn place_of(&self, config: &Value) -> Result<Place, String> {
        let text = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let Some(service) = config.get("service").filter(|service| service.is_object()) else {
            let url = text(config, "url");
            let uri: Uri = url.parse().map_err(|error| format!("Unparsable URL: {error}"))?;
            let host = uri.host().unwrap_or_default().to_owned();
            let port = uri.port_u16().unwrap_or(443);
            let address = format!("{host}:{port}");
            return Ok(Place { host, port, path: uri.path().to_owned(), address });
        };
        let (namespace, name) = (text(service, "namespace"), text(service, "name"));
        let port = service.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let port = port.unwrap_or(443);
        let address = self.endpoint_of(&namespace, &name, port).map_err(|status| status.message)?;
        Ok(Place { host: format!("{name}.{namespace}.svc"), port, path: text(service, "path"), address })
    }
}

/// Why there is no answer.
enum Failure {
    /// The webhook was not reached, or went away.
    Unreached(String),
    /// It answered that it will not.
    Refused(String),
}

impl Failure {
    fn unreached(error: &(dyn StdError + 'static)) -> Self {
        Self::Unreached(innermost(error))
    }
}

async fn exchange(
    place: &Place,
    tls: Arc<ClientConfig>,
    target: &str,
    question: &Value,
) -> Result<Bytes, Failure> {
    let stream = TcpStream::connect(&place.address).await.map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            _ => error.to_string(),
        };
        Failure::Unreached(format!("dial tcp {}: {why}", place.address))
    })?;
    stream.set_nodelay(true).map_err(|error| Failure::unreached(&error))?;
    let name = ServerName::try_from(place.host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| Failure::unreached(&error))?;
    let stream = TlsConnector::from(tls)
        .connect(name, stream)
        .await
        .map_err(|error| Failure::Unreached(of_tls(&error)))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failure::unreached(&error))?;
    let bytes = serde_json::to_vec(question).map_err(|error| Failure::unreached(&error))?;
    let request = Request::post(target)
        .header(HOST, format!("{}:{}", place.host, place.port))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, */*")
        .body(Full::new(Bytes::from(bytes)))
        .map_err(|error| Failure::unreached(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| {
            let torn = error.is_incomplete_message() || error.is_closed();
            if torn { Failure::Unreached("EOF".to_owned()) } else { Failure::unreached(&error) }
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let bytes = body.map_err(|error| Failure::Refused(innermost(&*error)))?.to_bytes();
        if status.is_success() { Ok(bytes) } else { Err(Failure::Refused(of_code(status.as_u16(), &bytes))) }
    };
    // The connection lives as long as the exchange, whose future owns it.
    tokio::pin!(exchange);
    tokio::select! {
        outcome = &mut exchange => outcome,
        Err(error) = connection => {
            tracing::debug!(%error, "a connection to a webhook broke");
            exchange.await
        }
    }
}

/// Trust in a bundle of certificates, or in those of the system where there is none.
fn trust(bundle: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let bytes = STANDARD.decode(bundle).map_err(|error| format!("caBundle is no base64: {error}"))?;
    if bytes.trim_ascii().is_empty() {
        roots = system_roots().clone();
    } else {
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok));
        if roots.is_empty() {
            return Err("unable to load root certificates: unable to parse bytes as PEM block".to_owned());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
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

fn of_tls(error: &io::Error) -> String {
    use rustls::CertificateError as Bad;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let why = match inner {
        // An authority of the same name did not sign it.
        Some(rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature)) => {
            "certificate signed by unknown authority".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
            "certificate has expired or is not yet valid".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(other)) => other.to_string(),
        Some(other) => return format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => return "EOF".to_owned(),
        None => return error.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

fn of_code(code: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..SHOWN).unwrap_or(body));
    match (code, text.trim()) {
        (404, _) => "the server could not find the requested resource".to_owned(),
        (503, _) => "the server is currently unable to handle the request".to_owned(),
        (500.., text) => {
            let text = if text.is_empty() { "unknown" } else { text };
            format!("an error on the server ({text:?}) has prevented the request from succeeding")
        }
        _ => format!("the server responded with the status code {code} but did not return more information"),
    }
}

/// The cause of an error that tells most.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
