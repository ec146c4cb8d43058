use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// An API with one kind of an extension server: what discovery says of it at each look, and the objects that there are.
#[derive(Clone)]
struct Extension {
    looks: Arc<Mutex<Vec<Value>>>,
    objects: Arc<Mutex<Vec<&'static str>>>,
}

impl Extension {
    fn new(looks: &[Value]) -> Self {
        let looks = looks.iter().rev().cloned().collect();
        Self { looks: Arc::new(Mutex::new(looks)), objects: Arc::new(Mutex::new(vec!["a", "b"])) }
    }

    fn client(&self) -> Client {
        let own = self.clone();
        let answer = move |request: Request<Body>| {
            let (code, body) = own.answer(request.method(), request.uri().path());
            let answer = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            std::future::ready(answer)
        };
        Client::new(tower::service_fn(answer), "default")
    }

    fn answer(&self, method: &Method, path: &str) -> (u16, Value) {
        let place = "/apis/shop.io/v1/namespaces/a/widgets";
        let mut objects = self.objects.lock().unwrap();
        match (method, path) {
            (&Method::GET, "/api") => (200, json!({"metadata": {}, "items": []})),
            (&Method::GET, "/apis") => {
                let mut looks = self.looks.lock().unwrap();
                // The last look is as it stays.
                let version = if looks.len() > 1 { looks.pop() } else { looks.last().cloned() };
                (
                    200,
                    json!({"metadata": {}, "items": [{"metadata": {"name": "shop.io"}, "versions": [version]}]}),
                )
            }
            (&Method::GET, path) if path == place => {
                let items: Vec<Value> = objects
                    .iter()
                    .map(|name| json!({"metadata": {"name": name, "namespace": "a"}}))
                    .collect();
                (200, json!({"kind": "PartialObjectMetadataList", "metadata": {}, "items": items}))
            }
            (&Method::DELETE, path) if path.starts_with(place) && path != place => {
                objects.retain(|name| path != format!("{place}/{name}"));
                (200, json!({"kind": "Status", "status": "Success"}))
            }
            _ => (405, json!({"kind": "Status", "status": "Failure", "code": 405, "message": "not here"})),
        }
    }
}

fn version(freshness: &str, verbs: &[&str]) -> Value {
    let kind = json!({
        "resource": "widgets", "responseKind": {"group": "shop.io", "version": "v1", "kind": "Widget"},
        "scope": "Namespaced", "verbs": verbs,
    });
    let resources = if verbs.is_empty() { json!([]) } else { json!([kind]) };
    json!({"version": "v1", "freshness": freshness, "resources": resources})
}

#[tokio::test]
async fn what_cannot_be_deleted_together_is_deleted_one_by_one() {
    let extension = Extension::new(&[version("Current", &["list", "delete"])]);
    let remaining = empty(&extension.client(), "a").await;
    assert_eq!(*extension.objects.lock().unwrap(), Vec::<&str>::new());
    assert_eq!(remaining, Remaining::default());
}

#[tokio::test]
async fn what_cannot_be_deleted_at_all_holds_nothing_up() {
    let extension = Extension::new(&[version("Current", &["list", "get"])]);
    assert!(empty(&extension.client(), "a").await.is_empty());
    assert_eq!(*extension.objects.lock().unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn a_server_that_comes_back_while_a_namespace_is_emptied_is_waited_for() {
    let back = version("Current", &["list", "delete"]);
    let extension = Extension::new(&[version("Stale", &[]), back]);
    let remaining = empty(&extension.client(), "a").await;
    let why = remaining.discovery.unwrap();
    assert!(
        why.ends_with("list of server APIs: shop.io/v1: stale GroupVersion discovery: shop.io/v1"),
        "{why}"
    );
    assert!(empty(&extension.client(), "a").await.is_empty());
    assert_eq!(*extension.objects.lock().unwrap(), Vec::<&str>::new());
}
