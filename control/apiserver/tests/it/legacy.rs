//! What upstream has deprecated and clients still ask for.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use xebec_apiserver::user::{ADMINISTRATORS, User};

use crate::server::{Server, ask};

#[tokio::test]
async fn components_are_looked_at_and_never_stored() {
    let server = Server::start().await;
    let (code, list) = server.get("/api/v1/componentstatuses").await;
    assert_eq!(code, 200, "{list}");
    let healthy = json!([{"type": "Healthy", "status": "True", "message": "ok"}]);
    assert_eq!(list["items"][0]["conditions"], healthy);
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
