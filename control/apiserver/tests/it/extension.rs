//! A server behind the API, as small as one can be.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use xebec_apiserver::authenticate::certificate_user;
use xebec_apiserver::pki::Authority;
use xebec_apiserver::serve::tls;

pub(crate) const GROUP: &str = "wardle.example.com";
/// Where it listens: one of the addresses of pods that have no network of their own.
pub(crate) const ADDRESS: &str = "127.128.77.1";
pub(crate) const ROOT: &str = "/apis/wardle.example.com/v1alpha1";

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// How it behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As it should.
    Well,
    /// It knows nothing of aggregated discovery.
    Old,
    /// Its documents make no sense.
    Rubbish,
    /// It refuses everything.
    Refusing,
}

/// The server; it goes when this does.
pub(crate) struct Extension {
    pub(crate) port: u16,
    pub(crate) bundle: String,
    pub(crate) mode: Arc<Mutex<Mode>>,
    task: tokio::task::JoinHandle<()>,
    _data: tempfile::TempDir,
}

impl Drop for Extension {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Extension {
    /// Serves under a certificate for a host, to whoever may show one of `proxies`.
    pub(crate) async fn start(host: &str, proxies: &str) -> Self {
        Self::start_with(host, proxies, &["h2", "http/1.1"]).await
    }

    /// [`Extension::start`] with these versions of HTTP.
    pub(crate) async fn start_with(host: &str, proxies: &str, versions: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let authority = Authority::open(data.path()).unwrap();
        let mut config = (*tls(&authority.server(&[host]).unwrap(), proxies).unwrap()).clone();
        config.alpn_protocols = versions.iter().map(|version| version.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((ADDRESS, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(Mutex::new(Mode::Well));
        let own = mode.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, mode) = (acceptor.clone(), own.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                    let proxy = leaf.and_then(|leaf| certificate_user(leaf)).map(|user| user.name);
                    let service = hyper::service::service_fn(move |request| {
                        let (mode, proxy) = (*mode.lock().unwrap(), proxy.clone().unwrap_or_default());
                        async move { Ok::<_, Infallible>(answer(request, mode, &proxy).await) }
                    });
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, bundle: authority.certificate().to_owned(), mode, task, _data: data }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

fn whole(code: u16, media: &str, bytes: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(bytes.into()).boxed_unsync();
    Response::builder().status(code).header("content-type", media).body(body).unwrap()
}

fn document(object: &Value) -> Response<Body> {
    whole(200, "application/json", object.to_string())
}

fn resources() -> Value {
    let resource = |name: &str| json!({"name": name, "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get", "list"]});
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/v1alpha1"),
        "resources": [resource("flunders"), resource("flunders/status")],
    })
}

fn aggregated() -> Value {
    let kind = json!({"group": GROUP, "version": "v1alpha1", "kind": "Flunder"});
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [{
        "metadata": {"name": GROUP},
        "versions": [{"version": "v1alpha1", "freshness": "Current", "resources": [{
            "resource": "flunders", "responseKind": kind, "scope": "Namespaced", "singularResource": "flunder",
            "verbs": ["get", "list"], "secret": "is not passed on",
        }]}],
    }]})
}

async fn answer(mut request: Request<Incoming>, mode: Mode, proxy: &str) -> Response<Body> {
    const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let path = request.uri().path().to_owned();
    match (path.as_str(), mode) {
        (_, Mode::Refusing) => whole(403, "text/plain", "go away"),
        (ROOT, _) => document(&resources()),
        ("/apis", Mode::Well) => whole(200, AGGREGATED, aggregated().to_string()),
        ("/apis", Mode::Old) => whole(406, "text/plain", "what?"),
        ("/apis", Mode::Rubbish) => whole(200, AGGREGATED, "[".repeat(100_000)),
        ("/openapi/v2" | "/openapi/v3", Mode::Rubbish) => whole(200, "application/json", "{\"paths\":"),
        ("/openapi/v3", _) => {
            let place = &ROOT[1..];
            document(&json!({"paths": {place: {"serverRelativeURL": format!("/openapi/v3{ROOT}?hash=0A")}}}))
        }
        ("/openapi/v2", _) => {
            let schema = json!({"$ref": "#/definitions/Flunder"});
            let get = json!({"responses": {"200": {"description": "OK", "schema": schema}}});
            let paths = json!({format!("{ROOT}/flunders"): {"get": get}, "/apis/apps/v1/": {}});
            document(
                &json!({"swagger": "2.0", "paths": paths, "definitions": {"Flunder": {"type": "object"}}}),
            )
        }
        ("/apis/wardle.example.com/v1alpha1/elsewhere", _) => Response::builder()
            .status(302)
            .header("location", "https://evil.example")
            .body(Body::default())
            .unwrap(),
        _ if request.uri().query() == Some("watch=1") => {
            let lines = futures::stream::unfold(0, |count| async move {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                Some((Ok(Frame::data(Bytes::from(format!("{count}\n")))), count + 1))
            });
            Response::new(StreamBody::new(lines).boxed_unsync())
        }
        _ if request.headers().contains_key("upgrade") => {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgraded.await.unwrap());
                let mut four = [0; 4];
                stream.read_exact(&mut four).await.unwrap();
                four.make_ascii_uppercase();
                stream.write_all(&four).await.unwrap();
                stream.flush().await.unwrap();
            });
            let mut response = Response::new(Body::default());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            for (name, value) in [("connection", "upgrade"), ("upgrade", "echo")] {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        _ => echo(request, proxy).await,
    }
}

/// What came, as it came.
async fn echo(request: Request<Incoming>, proxy: &str) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut headers: std::collections::BTreeMap<String, Vec<String>> = Default::default();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.to_string()).or_default().push(value);
    }
    let path = head.uri.path_and_query().map(ToString::to_string);
    document(&json!({
        "method": head.method.as_str(), "path": path, "headers": headers,
        "body": String::from_utf8_lossy(&body), "proxy": proxy, "version": format!("{:?}", head.version),
    }))
}
