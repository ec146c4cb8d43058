//! A webhook: a server with a certificate of its own that answers as a test wants.

use std::future::pending;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a webhook does with a request.
pub(crate) enum Reply {
    /// Answers with this `response`; the uid is filled in.
    Response(Value),
    /// Answers with these bytes and this code.
    Raw(u16, &'static str),
    /// Never answers.
    Silence,
    /// Closes the connection.
    Hangup,
}

/// A running webhook.
pub(crate) struct Hook {
    port: u16,
    certificate: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Hook {
    /// Starts a webhook that answers each request so.
    pub(crate) async fn start(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        let names = vec!["localhost".to_owned(), "hook.default.svc".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let chain = CertificateDer::pem_slice_iter(made.cert.pem().as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, record) = (Arc::new(answer), seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, record) = (acceptor.clone(), answer.clone(), record.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(|request: Request<Incoming>| {
                        let (answer, record) = (answer.clone(), record.clone());
                        async move {
                            let query = request.uri().to_string();
                            let bytes = request.into_body().collect().await.unwrap().to_bytes();
                            let mut review: Value = serde_json::from_slice(&bytes).unwrap();
                            let reply = answer(&review);
                            let (uid, version) =
                                (review["request"]["uid"].clone(), review["apiVersion"].clone());
                            review["uri"] = query.into();
                            record.lock().unwrap().push(review);
                            let (code, text) = match reply {
                                Reply::Response(mut response) => {
                                    response["uid"] = uid;
                                    let kind = "AdmissionReview";
                                    let review =
                                        json!({"kind": kind, "apiVersion": version, "response": response});
                                    (200, review.to_string())
                                }
                                Reply::Raw(code, text) => (code, text.to_owned()),
                                Reply::Silence => pending().await,
                                Reply::Hangup => return Err("gone"),
                            };
                            let response =
                                Response::builder().status(code).body(Full::new(Bytes::from(text)));
                            Ok(response.unwrap())
                        }
                    });
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { port, certificate: made.cert.pem(), seen }
    }

    /// The reviews that came, each with the `uri` that it was sent to.
    pub(crate) fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The certificate by which it is known.
    pub(crate) fn bundle(&self) -> String {
        STANDARD.encode(&self.certificate)
    }

    /// A webhook of this name for the creation of ConfigMaps, by URL.
    pub(crate) fn webhook(&self, name: &str) -> Value {
        json!({
            "name": name,
            "clientConfig": {"url": format!("https://localhost:{}/judge", self.port), "caBundle": self.bundle()},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        })
    }
}

/// A response that allows.
pub(crate) fn allow() -> Reply {
    Reply::Response(json!({"allowed": true}))
}

/// A response that allows with these changes.
pub(crate) fn patched(operations: &Value) -> Reply {
    let patch = STANDARD.encode(operations.to_string());
    Reply::Response(json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"}))
}
