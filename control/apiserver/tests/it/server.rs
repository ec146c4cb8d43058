//! An API server without a socket.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::Service as _;
use xebec_admission::Chain;
use xebec_apiserver::aggregation::Trust;
use xebec_apiserver::api::Api;
use xebec_apiserver::authenticate::Tokens;
use xebec_apiserver::catalog::Catalog;
use xebec_apiserver::cluster_ip::{ClusterIps, Range};
use xebec_apiserver::jwt::Signer;
use xebec_apiserver::pki::Authority;
use xebec_apiserver::pods::NoPods;
use xebec_apiserver::service::{ResponseBody, Service};
use xebec_apiserver::storage::Storage;
use xebec_apiserver::user::{ADMINISTRATORS, AUTHENTICATED, User};
use xebec_machinery::{builtin, decoding};
use xebec_store::{Options, Store};

/// Where definitions of custom resources are.
pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The API over an empty store, which goes when the server does.
pub(crate) struct Server {
    pub(crate) service: Service,
    pub(crate) store: Store,
    pub(crate) stop: CancellationToken,
    upkeep: tokio::sync::Mutex<tokio::task::JoinHandle<()>>,
    _data: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Someone who may do everything.
pub(crate) fn administrator() -> User {
    User::new("tester", [ADMINISTRATORS, AUTHENTICATED])
}

impl Server {
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), &Options::default()).unwrap();
        let stop = CancellationToken::new();
        let range = Range::new(Ipv4Addr::new(10, 96, 0, 0), 16).unwrap();
        let catalog = Catalog::new(builtin::resources().to_vec());
        // Nobody makes the accounts of namespaces here.
        let chain = Chain::standard().without(&["ServiceAccount"]);
        let api = Api::new(Storage::new(store.clone()), catalog, ClusterIps::new(range), chain, stop.clone());
        let (clients, proxies) =
            (Authority::open(&data.path().join("clients")), Authority::open(&data.path().join("proxies")));
        let (clients, proxies) = (clients.unwrap(), proxies.unwrap());
        let proxy = proxies.lone_client(Trust::PROXY).unwrap();
        api.set_trust(Trust::new(clients.certificate(), proxies.certificate(), proxy));
        api.prepare(6443).await.unwrap();
        let mut tokens = Tokens::default();
        tokens.add("s3cret", User::new("robot", ["robots"]));
        tokens.set_signer(Signer::open(data.path()).unwrap());
        let service = Service::new(api.clone(), tokens, Arc::new(NoPods), "127.0.0.1:6443".into());
        let upkeep = tokio::spawn(async move {
            tokio::join!(
                api.serve_definitions(),
                api.serve_roles(),
                api.serve_policies(),
                api.serve_flow_control(),
                api.serve_aggregation(),
                api.serve_service(6443),
                api.serve_ranges()
            );
        });
        Self { service, store, stop, upkeep: upkeep.into(), _data: data }
    }

    /// Waits until what keeps the API in step with its objects has ended.
    pub(crate) async fn upkeep_ended(&self) {
        (&mut *self.upkeep.lock().await).await.unwrap();
    }

    /// Sends a request as the administrator, and gives the answer as it comes.
    pub(crate) async fn call<B>(&self, mut request: Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if request.extensions().get::<User>().is_none() {
            request.extensions_mut().insert(administrator());
        }
        self.service.clone().call(request).await.unwrap()
    }

    /// Sends bytes, and gives the code and the object of the answer.
    pub(crate) async fn raw(&self, method: Method, path: &str, media: &str, body: &[u8]) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media)
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        object(self.call(request).await).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, media: &str, body: &Value) -> (u16, Value) {
        self.raw(method, path, media, body.to_string().as_bytes()).await
    }

    pub(crate) async fn create(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(Method::POST, path, "application/json", body).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.raw(Method::GET, path, "application/json", b"").await
    }

    /// Creates a definition and waits until it is served.
    pub(crate) async fn define(&self, definition: &Value) {
        let (code, answer) = self.create(DEFINITIONS, definition).await;
        assert_eq!(code, 201, "{answer}");
        let name = definition["metadata"]["name"].as_str().unwrap();
        let found = self.until(name, "Established", "InitialNamesAccepted").await;
        assert_eq!(found["status"]["storedVersions"], json!(["v1"]));
    }

    /// Waits until the condition of a definition has this reason.
    pub(crate) async fn until(&self, name: &str, condition: &str, reason: &str) -> Value {
        let path = format!("{DEFINITIONS}/{name}");
        for _ in 0..500 {
            let (_, found) = self.get(&path).await;
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|one| one["type"] == condition && one["reason"] == reason) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{condition} of {name} was never {reason}");
    }
}

/// The code and the object of an answer, or its text where it is none.
pub(crate) async fn object(response: Response<ResponseBody>) -> (u16, Value) {
    let code = response.status().as_u16();
    let media = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    if media.starts_with("text/plain") {
        return (code, String::from_utf8(bytes.to_vec()).unwrap().into());
    }
    (code, decoding::own(&bytes).unwrap())
}

/// Sends JSON as somebody, with these headers.
pub(crate) async fn ask(
    server: &Server,
    user: &User,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Full::new(Bytes::from(body.to_string()))).unwrap();
    request.extensions_mut().insert(user.clone());
    object(server.call(request).await).await
}
