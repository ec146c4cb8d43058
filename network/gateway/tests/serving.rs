//! The loop against an API that lists a Gateway, once its kinds are defined, and keeps what is written.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use xebec_gateway::{Options, Pool, run};
use xebec_proxy::config::SessionKey;
use xebec_proxy::proxy::{Limits, Proxy};

const UNDEFINED_FOR: usize = 3;

#[derive(Default)]
struct Api {
    port: u16,
    asked_for_gateways: AtomicUsize,
    written: Mutex<Vec<(String, Value)>>,
}

impl Api {
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if head.method == Method::PATCH {
            let change = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
            self.written.lock().unwrap().push((path, change));
            return Ok(json_answer(
                200,
                &json!({ "metadata": {"name": "web"}, "spec": self.gateway_spec() }),
            ));
        }
        if head.uri.query().unwrap_or_default().contains("watch=") {
            return std::future::pending().await;
        }
        let items = match path.rsplit('/').next().unwrap_or_default() {
            "gateways" if self.asked_for_gateways.fetch_add(1, Ordering::Relaxed) < UNDEFINED_FOR => {
                let status = json!({ "kind": "Status", "status": "Failure", "message": "", "code": 404 });
                return Ok(json_answer(404, &status));
            }
            "gateways" => json!([{
                "metadata": { "name": "web", "namespace": "infra", "resourceVersion": "1", "generation": 1 },
                "spec": self.gateway_spec(),
            }]),
            "gatewayclasses" => json!([{
                "metadata": { "name": "xebec", "resourceVersion": "1" },
                "spec": { "controllerName": xebec_gateway::CONTROLLER },
            }]),
            _ => json!([]),
        };
        Ok(json_answer(200, &json!({ "metadata": { "resourceVersion": "1" }, "items": items })))
    }

    fn gateway_spec(&self) -> Value {
        json!({
            "gatewayClassName": "xebec",
            "controllerName": xebec_gateway::CONTROLLER,
            "addresses": [{ "type": "IPAddress", "value": "127.0.0.1" }],
            "listeners": [{ "name": "http", "port": self.port, "protocol": "HTTP" }],
        })
    }
}

fn json_answer(status: u16, value: &Value) -> Response<Body> {
    Response::builder().status(status).body(Body::from(serde_json::to_vec(value).unwrap())).unwrap()
}

#[tokio::test]
async fn a_gateway_is_opened_once_its_kind_is_defined_and_closed_at_the_shutdown() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let api = Arc::new(Api { port: address.port(), ..Api::default() });
    let answering = Arc::clone(&api);
    let client =
        Client::new(tower::service_fn(move |request| Arc::clone(&answering).answer(request)), "default");
    let shutdown = CancellationToken::new();
    let options = Options {
        pool: Pool::new("127.128.0.0".parse().unwrap(), 16),
        privileged: false,
        session_key: SessionKey::new([7; SessionKey::LENGTH]),
    };
    let running = tokio::spawn(run(client, Proxy::new(Limits::default()), options, None, shutdown.clone()));

    let path = "/apis/gateway.networking.k8s.io/v1/namespaces/infra/gateways/web/status";
    let status = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let written = api.written.lock().unwrap().iter().find(|(at, _)| at == path).cloned();
            if let Some((_, change)) = written {
                return change["status"].clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the status is written");
    assert_eq!(status["conditions"][1]["type"], "Programmed");
    assert_eq!(status["conditions"][1]["status"], "True");
    assert_eq!(status["addresses"][0]["value"], "127.0.0.1");
    assert!(TcpStream::connect(address).await.is_ok(), "the port is open before the status says so");
    assert!(api.asked_for_gateways.load(Ordering::Relaxed) > UNDEFINED_FOR);

    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("the loop ends").unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
