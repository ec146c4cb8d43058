//! A webhook in the tests' own process: TLS, and whatever it likes to answer.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The bytes of one record of TLS.
const RECORD: usize = 16 << 10;

/// What a webhook says to a review.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// This `response`; the uid is filled in where there is none.
    Response(Value),
    /// These bytes as they are, and the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, and then those again and again.
    Endless(&'static str, &'static str),
    /// Nothing, for as long as it is waited for.
    Silence,
}

/// A running webhook, which ends when it is dropped.
pub(crate) struct Hook {
    port: u16,
    certificate: String,
    _running: DropGuard,
}

impl Hook {
    /// Starts a webhook that answers each review so.
    pub(crate) async fn start(answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (stop, answer) = (CancellationToken::new(), Arc::new(answer));
        let stopped = stop.clone();
        tokio::spawn(stopped.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer) = (acceptor.clone(), answer.clone());
                let serving = async move { drop(serve(stream, acceptor, &*answer).await) };
                tokio::spawn(stopped.clone().run_until_cancelled_owned(serving));
            }
        }));
        Self { port, certificate, _running: stop.drop_guard() }
    }

    /// A webhook for the creation of ConfigMaps in namespaces with this label.
    pub(crate) fn webhook(&self, label: &str) -> Value {
        json!({
            "name": "hook.example.org",
            "clientConfig": {
                "url": format!("https://localhost:{}/", self.port), "caBundle": STANDARD.encode(&self.certificate),
            },
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "namespaceSelector": {"matchExpressions": [{"key": label, "operator": "Exists"}]},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        })
    }
}

/// A response that allows with these changes.
pub(crate) fn patched(operations: &Value) -> Answer {
    let patch = STANDARD.encode(operations.to_string());
    Answer::Response(json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"}))
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    answer: &impl Fn(&Value) -> Answer,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    while let Some(review) = read(&mut stream).await? {
        match answer(&review) {
            Answer::Response(mut response) => {
                let told = response.as_object_mut().expect("a response is an object");
                told.entry("uid").or_insert_with(|| review["request"]["uid"].clone());
                let kind = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
                let body = kind.to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
                stream.flush().await?;
            }
            Answer::Bytes(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
            Answer::Endless(first, more) => {
                stream.write_all(first.as_bytes()).await?;
                // As much as one record of TLS holds.
                let more = more.repeat(1 + RECORD / more.len());
                loop {
                    stream.write_all(more.as_bytes()).await?;
                }
            }
            Answer::Silence => return std::future::pending().await,
        }
    }
    Ok(())
}

/// The next review; none once the connection ends.
async fn read(stream: &mut TlsStream<TcpStream>) -> std::io::Result<Option<Value>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Ok(serde_json::from_slice(&bytes[end + 4..end + 4 + length]).ok());
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}
