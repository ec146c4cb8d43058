//! Asking a target: HTTP/1.1 over TCP or TLS, on a connection that is kept.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT,
};
use http::request::Builder;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::target::{Target, Url};
use crate::config::{Credentials, Pem, ScrapeConfig, TlsConfig, basic_header};

/// No body may be larger, whatever is configured.
const MOST_BODY: u64 = 512 << 20;
/// How a body over its limit is told.
const BODY_LIMIT: &str = "body size limit exceeded";
/// Where distributions keep the list of the authorities that a machine believes.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What a target said.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) content_type: Option<String>,
}

/// Asks one target.
#[derive(Debug)]
pub(crate) struct Client {
    url: Url,
    accept: &'static str,
    compression: bool,
    most: u64,
    authorization: Option<Credentials>,
    headers: Vec<(String, String)>,
    timeout: f64,
    user_agent: String,
    tls: TlsConfig,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Client {
    pub(crate) fn new(target: &Target, job: &ScrapeConfig, user_agent: &str) -> Self {
        let limit = job.limits.body;
        Self {
            url: target.url.clone(),
            accept: job.accept(),
            compression: job.compression,
            most: if limit == 0 { MOST_BODY } else { limit.min(MOST_BODY) },
            authorization: job.authorization.clone(),
            headers: job.headers.clone(),
            timeout: target.timeout.as_secs_f64(),
            user_agent: user_agent.to_owned(),
            tls: job.tls.clone(),
            connection: None,
        }
    }

    /// Gives the connection up.
    pub(crate) fn forget(&mut self) {
        self.connection = None;
    }

    /// Asks. A connection that was kept and is closed by now is replaced by a new one.
    pub(crate) async fn fetch(&mut self) -> Result<Body, String> {
        if let Some(mut kept) = self.connection.take()
            && kept.sender.ready().await.is_ok()
        {
            let asked = kept.sender.send_request(self.request()?).await;
            if let Ok(response) = asked {
                return self.read(kept, response).await;
            }
        }
        let mut fresh = self.connect().await?;
        let response = fresh.sender.send_request(self.request()?).await.map_err(|error| causes(&error))?;
        self.read(fresh, response).await
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::get(&self.url.path)
            .header(HOST, &self.url.authority)
            .header(ACCEPT, self.accept)
            .header(USER_AGENT, &self.user_agent)
            .header("x-prometheus-scrape-timeout-seconds", self.timeout.to_string());
        if self.compression {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        self.configured(request)?.body(Full::default()).map_err(|error| error.to_string())
    }

    /// With the headers that the configuration asks for.
    fn configured(&self, mut request: Builder) -> Result<Builder, String> {
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(credentials) = &self.authorization {
            let mut value = HeaderValue::try_from(shown(credentials)?)
                .map_err(|_| "the credentials have bytes that no header may have".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Sends JSON on a connection of its own, and is content with any answer that is none of a fault.
    pub(crate) async fn post(&self, body: Bytes) -> Result<(), String> {
        let request = Request::post(&self.url.path)
            .header(HOST, &self.url.authority)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, &self.user_agent);
        let request = self.configured(request)?.body(Full::from(body)).map_err(|error| error.to_string())?;
        let mut connection = self.connect().await?;
        let response = connection.sender.send_request(request).await.map_err(|error| causes(&error))?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(format!("bad response status {status}")) }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let url = &self.url;
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await;
        let stream = stream.map_err(|error| format!("dial tcp {}:{}: {error}", url.host, url.port))?;
        let _slower = stream.set_nodelay(true);
        if !url.is_tls {
            return start(stream).await;
        }
        let config = client_config(&self.tls)?;
        let name = self.tls.server_name.clone().unwrap_or_else(|| url.host.clone());
        let name = ServerName::try_from(name).map_err(|error| format!("tls: {error}"))?;
        let secured = TlsConnector::from(config).connect(name, stream).await;
        start(secured.map_err(|error| format!("tls: {error}"))?).await
    }

    async fn read(
        &mut self,
        connection: Connection,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<Body, String> {
        let status = response.status();
        if status != StatusCode::OK {
            return Err(format!("server returned HTTP status {status}"));
        }
        let header = |name| response.headers().get(&name).and_then(|value| value.to_str().ok());
        let content_type = header(CONTENT_TYPE).map(str::to_owned);
        let is_packed = match header(CONTENT_ENCODING) {
            None | Some("" | "identity") => false,
            Some("gzip") => true,
            Some(other) => return Err(format!("the body is packed as {other:?}, which was not asked for")),
        };
        let most = usize::try_from(self.most).unwrap_or(usize::MAX);
        let read = Limited::new(response.into_body(), most).collect().await;
        let packed = read.map_err(|error| {
            let is_limit = error.is::<http_body_util::LengthLimitError>();
            if is_limit { BODY_LIMIT.to_owned() } else { error.to_string() }
        })?;
        self.connection = Some(connection);
        let packed = packed.to_bytes();
        if !is_packed {
            return Ok(Body { bytes: packed.into(), content_type });
        }
        let most = self.most;
        // Unpacking takes a while where there is much.
        let unpacked = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::with_capacity(packed.len().saturating_mul(8).min(1 << 20));
            let mut reader = MultiGzDecoder::new(&packed[..]).take(most + 1);
            reader.read_to_end(&mut bytes).map_err(|error| format!("gzip: {error}"))?;
            if bytes.len() as u64 > most { Err(BODY_LIMIT.to_owned()) } else { Ok(bytes) }
        });
        let bytes = unpacked.await.map_err(|error| error.to_string())??;
        Ok(Body { bytes, content_type })
    }
}

async fn start<S>(stream: S) -> Result<Connection, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|error| causes(&error))?;
    let driver = tokio::spawn(async move {
        // Whoever asks is told what went wrong.
        let _ended = driver.await;
    });
    Ok(Connection { sender, _driver: AbortOnDropHandle::new(driver) })
}

/// An error with what it came from.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn read_file(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    text.map(|text| text.trim().to_owned()).map_err(|error| format!("{}: {error}", path.display()))
}

fn shown(credentials: &Credentials) -> Result<String, String> {
    Ok(match credentials {
        Credentials::Header(header) => header.clone(),
        Credentials::Basic { user, file } => basic_header(user, &read_file(file)?),
        Credentials::File { kind, file } => format!("{kind} {}", read_file(file)?),
    })
}

fn pem(pem: &Pem) -> Result<Vec<u8>, String> {
    match pem {
        Pem::Text(text) => Ok(text.clone().into_bytes()),
        Pem::File(path) => std::fs::read(path).map_err(|error| format!("{}: {error}", path.display())),
    }
}

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let each = CertificateDer::pem_slice_iter(bytes);
    each.collect::<Result<_, _>>().map_err(|error| format!("tls_config: not a certificate: {error}"))
}

/// Who the machine believes.
fn machine_authorities() -> Arc<RootCertStore> {
    static KNOWN: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = AUTHORITIES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
        roots.add_parsable_certificates(certificates(&found).unwrap_or_default());
        Arc::new(roots)
    });
    Arc::clone(known)
}

/// Read anew at each connection, so that certificates may be renewed.
fn client_config(tls: &TlsConfig) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?;
    let builder = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(xebec_tls::anyone(provider))
    } else {
        let roots = match &tls.authorities {
            None => machine_authorities(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates(&pem(authorities)?)?);
                Arc::new(roots)
            }
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| format!("tls_config: {error}"))?;
        builder.with_webpki_verifier(verifier)
    };
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_slice(&pem(key)?)
                .map_err(|error| format!("tls_config: not a key: {error}"))?;
            let chain = certificates(&pem(certificate)?)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("tls_config: {error}"))?
        }
    };
    Ok(Arc::new(config))
}
