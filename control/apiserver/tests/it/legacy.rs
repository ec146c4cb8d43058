//! What upstream has deprecated and clients still ask for.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use xebec_apiserver::components::Component;
use xebec_apiserver::user::{ADMINISTRATORS, User};

use crate::rules::{THINGS, definition, thing};
use crate::server::{Server, ask};

#[tokio::test]
async fn components_are_looked_at_and_never_stored() {
    let server = Server::start().await;
    let (code, list) = server.get("/api/v1/componentstatuses").await;
    assert_eq!(code, 200, "{list}");
    let healthy = json!([{"type": "Healthy", "status": "True", "message": "ok"}]);
    let names: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!(names, ["controller-manager", "scheduler", "etcd-0"]);
    assert_eq!(list["items"][2]["conditions"], healthy);
    let (scheduler, ended) = ("/api/v1/componentstatuses/scheduler", CancellationToken::new());
    let told = async || server.get(scheduler).await.1["conditions"].clone();
    let none = "no scheduler runs in this process; start one with `up`";
    let absent = json!([{"type": "Healthy", "status": "False", "message": none}]);
    assert_eq!(told().await, absent);
    server.service.api().has_component(Component::Scheduler, ended.clone());
    assert_eq!(told().await, healthy);
    assert_eq!(
        server.get("/api/v1/componentstatuses").await.1["items"][0]["conditions"][0]["status"],
        "False"
    );
    ended.cancel();
    assert_eq!(told().await, absent);
    let (code, one) = server.get("/api/v1/componentstatuses/etcd-0").await;
    assert_eq!((code, &one["kind"]), (200, &json!("ComponentStatus")), "{one}");
    let (code, none) = server.get("/api/v1/componentstatuses/x").await;
    assert_eq!((code, &none["message"]), (404, &json!("componentstatus \"x\" not found")));
    let (code, _) = server.create("/api/v1/componentstatuses", &json!({"metadata": {"name": "x"}})).await;
    assert_eq!(code, 405);
}

#[tokio::test]
async fn who_uses_what_is_deprecated_is_warned_also_where_it_is_not_there() {
    let server = Server::start().await;
    for path in ["endpoints/none", "endpoints", "endpoints?watch=1&timeoutSeconds=1", "configmaps"] {
        let uri = format!("/api/v1/namespaces/default/{path}");
        let request = Request::builder().uri(uri).body(Full::default()).unwrap();
        let response = server.call(request).await;
        let warning = response.headers().get("warning").map(|warning| warning.to_str().unwrap());
        let told = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
        assert_eq!(warning, path.starts_with("endpoints").then_some(told), "{path}");
    }
}

#[tokio::test]
async fn a_scale_has_columns_of_its_own() {
    let server = Server::start().await;
    let pods = json!({
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "a"}]},
    });
    let set = json!({
        "metadata": {"name": "a"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": pods},
    });
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    assert_eq!(server.create(sets, &set).await.0, 201);
    let admin = User::new("admin", [ADMINISTRATORS]);
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    for (part, names) in [
        ("scale", ["Name", "Desired", "Available", "Age"].as_slice()),
        ("status", &["Name", "Desired", "Current", "Ready", "Age", "Containers", "Images", "Selector"]),
    ] {
        let path = format!("{sets}/a/{part}");
        let (code, table) = ask(&server, &admin, Method::GET, &path, &accept, &json!(null)).await;
        assert_eq!((code, &table["kind"]), (200, &json!("Table")), "{table}");
        let columns = table["columnDefinitions"].as_array().unwrap();
        let found: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
        assert_eq!(found, names);
        assert_eq!(table["rows"][0]["cells"][1], 3);
    }
}

#[tokio::test]
async fn the_api_tells_where_it_is_found() {
    let server = Server::start().await;
    let api = server.service.api().clone();
    tokio::spawn(async move { api.serve_endpoints(([198, 51, 100, 7], 6443).into()).await });
    let found = async |path: &str| {
        for _ in 0..200 {
            let (code, object) = server.get(path).await;
            if code == 200 {
                return object;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} does not come");
    };
    let endpoints = found("/api/v1/namespaces/default/endpoints/kubernetes").await;
    assert_eq!(endpoints["subsets"][0]["addresses"], json!([{"ip": "198.51.100.7"}]));
    assert_eq!(endpoints["metadata"]["managedFields"][0]["manager"], "kube-apiserver");
    let slice = found("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await;
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["198.51.100.7"]));
    assert_eq!(slice["ports"], json!([{"name": "https", "port": 6443, "protocol": "TCP"}]));
}

#[tokio::test]
async fn built_in_kinds_begin_with_what_they_are_however_they_are_answered() {
    let server = Server::start().await;
    let text = async |method: Method, path: &str, media: &str, body: &str| {
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let response = server.call(request.body(Full::from(body.to_owned())).unwrap()).await;
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    };
    const JSON: &str = "application/json";
    const MERGE: &str = "application/merge-patch+json";
    let (maps, one) = ("/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/configmaps/a");
    let map = r#"{"data":{"b":"c"},"metadata":{"name":"a"}}"#;
    let begins = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"#;
    for (method, path, media, body) in [
        (Method::POST, maps, JSON, map),
        (Method::GET, one, JSON, ""),
        (Method::PUT, one, JSON, map),
        (Method::PATCH, one, MERGE, r#"{"data":{"b":"d"}}"#),
    ] {
        let answer = text(method.clone(), path, media, body).await;
        assert!(answer.starts_with(begins) && answer.ends_with("}\n"), "{method}: {answer}");
    }
    let list = text(Method::GET, maps, JSON, "").await;
    assert!(list.starts_with(r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"#), "{list}");
    assert!(list.contains(r#""items":[{"metadata":{"#), "{list}");
    let watch = text(Method::GET, &format!("{maps}?watch=1&timeoutSeconds=1"), JSON, "").await;
    assert!(watch.starts_with(&format!(r#"{{"type":"ADDED","object":{begins}"#)), "{watch}");
    let none = text(Method::GET, &format!("{maps}/none"), JSON, "").await;
    let begins = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"#;
    assert!(none.starts_with(begins), "{none}");

    server.define(&definition(&json!({"type": "object"}))).await;
    let made = text(Method::POST, THINGS, JSON, &thing(json!({})).to_string()).await;
    assert!(made.starts_with(r#"{"apiVersion":""#), "{made}");
}
