//! What the API passes on: to pods alone, and without what is for the API.

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const PODS: &str = "/api/v1/namespaces/default/pods";
const MERGE: &str = "application/merge-patch+json";

fn slice(name: &str, kind: &str, endpoint: Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": kind,
        "ports": [{"name": "", "port": 9}],
        "endpoints": [endpoint],
    })
}

#[tokio::test]
async fn endpoints_lie_in_the_network() {
    let server = Server::start().await;
    for (kind, address, why) in [
        ("IPv4", "169.254.169.254", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("IPv4", "127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ("IPv4", "0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("IPv4", "metadata.internal", "must be a valid IP address"),
        ("IPv4", "fd00::1", "must be an IPv4 address"),
        ("IPv6", "::1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    ] {
        let (code, answer) = server.create(SLICES, &slice("a", kind, json!({"addresses": [address]}))).await;
        assert_eq!(code, 422, "{address}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(why), "{answer}");
    }
    let subset = |ip: &str| json!({"addresses": [{"ip": ip}], "ports": [{"port": 9}]});
    let endpoints = |ip: &str| json!({"metadata": {"name": "a"}, "subsets": [subset(ip)]});
    let path = "/api/v1/namespaces/default/endpoints";
    assert_eq!(server.create(path, &endpoints("127.0.0.1")).await.0, 422);
    assert_eq!(server.create(path, &endpoints("10.1.2.3")).await.0, 201);
    // Where pods listen that have no network of their own.
    let (code, answer) =
        server.create(SLICES, &slice("a", "IPv4", json!({"addresses": ["127.128.0.7"]}))).await;
    assert_eq!(code, 201, "{answer}");
}

#[tokio::test]
async fn a_service_is_a_way_to_pods_alone() {
    let server = Server::start().await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
    assert_eq!(server.create(SERVICES, &service).await.0, 201);
    let proxy = format!("{SERVICES}/web/proxy/");
    // Nobody's address, and an address that its pod does not have.
    let target = json!({"kind": "Pod", "name": "a", "namespace": "default"});
    let free = slice("free", "IPv4", json!({"addresses": ["10.0.0.9"]}));
    assert_eq!(server.create(SLICES, &free).await.0, 201);
    let false_one = json!({"addresses": ["10.0.0.9"], "targetRef": target});
    assert_eq!(server.create(SLICES, &slice("false", "IPv4", false_one)).await.0, 201);
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    assert_eq!(server.create(PODS, &pod).await.0, 201);
    let (code, answer) = server.get(&proxy).await;
    assert_eq!(code, 503, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("no endpoints available"), "{answer}");

    // A pod that says it is where the machine's own services are.
    let status = json!({"status": {"podIP": "169.254.169.254", "podIPs": [{"ip": "169.254.169.254"}]}});
    assert_eq!(server.send(Method::PATCH, &format!("{PODS}/a/status"), MERGE, &status).await.0, 200);
    let (code, answer) = server.get(&format!("{PODS}/a/proxy/latest")).await;
    assert_eq!((code, answer["message"].as_str()), (400, Some("address not allowed")));
    let status = json!({"status": {"podIP": "metadata.internal"}});
    assert_eq!(server.send(Method::PATCH, &format!("{PODS}/a/status"), MERGE, &status).await.0, 200);
    assert_eq!(server.get(&format!("{PODS}/a/proxy/")).await.0, 503);
    // What is passed on is held to no rules of the API.
    assert_eq!(server.create(&format!("{PODS}/a/proxy/x%2Fy?dryRun=x"), &json!({})).await.0, 503);
}
