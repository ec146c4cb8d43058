//! As much of a client as the scenarios need: HTTP/1.1 over TLS, one request after the other on a connection.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, crypto::ring};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where an API is, and as whom it is spoken to.
#[derive(Clone)]
pub(crate) struct Target {
    address: String,
    tls: TlsConnector,
    authorization: Option<HeaderValue>,
}

impl Target {
    /// The first cluster and user of a kubeconfig. Whether the server is the right one is not what is measured.
    pub(crate) fn of_kubeconfig(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let config: Value = serde_saphyr::from_str(&text)?;
        let user = &config["users"][0]["user"];
        let server = config["clusters"][0]["cluster"]["server"].as_str().context("no server")?;
        let address = server.strip_prefix("https://").context("the server is not https")?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(xebec_tls::anyone(provider));
        let pem = |field: &str| user[field].as_str().map(|text| STANDARD.decode(text)).transpose();
        let tls = match (pem("client-certificate-data")?, pem("client-key-data")?) {
            (Some(chain), Some(key)) => builder.with_client_auth_cert(
                CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>()?,
                PrivateKeyDer::from_pem_slice(&key)?,
            )?,
            _ => builder.with_no_client_auth(),
        };
        let authorization =
            user["token"].as_str().map(|token| format!("Bearer {token}").parse()).transpose()?;
        Ok(Self {
            address: address.trim_end_matches('/').to_owned(),
            tls: Arc::new(tls).into(),
            authorization,
        })
    }

    pub(crate) async fn connect(&self) -> Result<Client> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (host, _) = self.address.rsplit_once(':').context("the server has no port")?;
        let stream = self.tls.connect(ServerName::try_from(host.to_owned())?, stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Client { sender, target: self.clone() })
    }
}

/// A connection.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    target: Target,
}

/// What is sent along with a request.
pub(crate) enum Body {
    Nothing,
    Json(Bytes),
    MergePatch(Bytes),
}

impl Client {
    /// Sends a request and reads its whole answer, which has to be of the kind 2xx.
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Body) -> Result<Bytes> {
        let response = self.begin(method, path, body).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    /// Sends a request whose answer goes on.
    pub(crate) async fn begin(
        &mut self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.target.address);
        if let Some(value) = &self.target.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let (media, bytes) = match body {
            Body::Nothing => (None, Bytes::new()),
            Body::Json(bytes) => (Some("application/json"), bytes),
            Body::MergePatch(bytes) => (Some("application/merge-patch+json"), bytes),
        };
        if let Some(media) = media {
            request = request.header(CONTENT_TYPE, media);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(bytes))?).await?;
        if !response.status().is_success() {
            let code = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            bail!("{path}: {code}: {}", String::from_utf8_lossy(&body));
        }
        Ok(response)
    }
}
