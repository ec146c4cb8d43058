//! ServiceCIDRs and IPAddresses: where services' addresses come from, and who has which.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

fn at(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}], "clusterIP": address},
    })
}

fn address(name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": name},
        "spec": {"parentRef": {"group": "example.com", "resource": "things", "name": "mine"}},
    })
}

async fn delete(server: &Server, path: &str) -> u16 {
    server.send(Method::DELETE, path, "application/json", &json!({})).await.0
}

/// The range once it says that of itself.
async fn range_that_is(server: &Server, name: &str, ready: &str, reason: &str) -> Value {
    for _ in 0..500 {
        let (_, range) = server.get(&format!("{RANGES}/{name}")).await;
        let condition = &range["status"]["conditions"][0];
        if condition["status"] == ready && condition["reason"] == reason {
            return range;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the range {name} never became {ready} {reason:?}");
}

#[tokio::test]
async fn an_address_that_a_service_has_is_an_object_for_as_long() {
    let server = Server::start().await;
    let (code, own) = server.get(&format!("{ADDRESSES}/10.96.0.1")).await;
    assert_eq!(code, 200, "the API's own service has one: {own}");
    let (code, made) = server.create(SERVICES, &at("web", "10.96.0.50")).await;
    assert_eq!(code, 201, "{made}");
    let (code, held) = server.get(&format!("{ADDRESSES}/10.96.0.50")).await;
    assert_eq!(code, 200, "{held}");
    let parent = json!({"resource": "services", "namespace": "default", "name": "web"});
    assert_eq!(held["spec"]["parentRef"], parent);
    assert_eq!(held["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"], "ipallocator.k8s.io");
    assert_eq!(held["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"], "one write");
    let patch = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
    let web = format!("{SERVICES}/web");
    let (code, named) = server.send(Method::PATCH, &web, "application/merge-patch+json", &patch).await;
    assert_eq!(code, 200, "{named}");
    assert_eq!(server.get(&format!("{ADDRESSES}/10.96.0.50")).await.0, 404, "a name has none");

    assert_eq!(server.create(SERVICES, &at("other", "10.96.0.50")).await.0, 201);
    assert_eq!(delete(&server, &format!("{SERVICES}/other")).await, 200);
    assert_eq!(server.get(&format!("{ADDRESSES}/10.96.0.50")).await.0, 404);
}

#[tokio::test]
async fn whoever_makes_an_ip_address_has_that_address() {
    let server = Server::start().await;
    let (code, mine) = server.create(ADDRESSES, &address("10.96.0.60")).await;
    assert_eq!(code, 201, "{mine}");
    let (code, refused) = server.create(SERVICES, &at("web", "10.96.0.60")).await;
    assert_eq!(code, 422, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("provided IP is already allocated"), "{refused}");
    assert_eq!(delete(&server, &format!("{ADDRESSES}/10.96.0.60")).await, 200);
    assert_eq!(server.create(SERVICES, &at("web", "10.96.0.60")).await.0, 201);
    for name in ["fe80::42:1dff:fe84:f9e2", "255.255.255.255"] {
        let (code, made) = server.create(ADDRESSES, &address(name)).await;
        assert_eq!(code, 201, "{made}");
    }
}

#[tokio::test]
async fn a_further_range_serves_until_it_goes_which_waits_for_its_services() {
    let server = Server::start().await;
    let default = range_that_is(&server, "kubernetes", "True", "").await;
    assert_eq!(default["spec"]["cidrs"], json!(["10.96.0.0/16"]));
    let (code, refused) = server.create(SERVICES, &at("web", "203.0.113.10")).await;
    assert_eq!(code, 422, "{refused}");
    let range = |name: &str, cidr: &str| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name},
            "spec": {"cidrs": [cidr]},
        })
    };
    let (code, made) = server.create(RANGES, &range("further", "203.0.113.0/24")).await;
    assert_eq!(code, 201, "{made}");
    range_that_is(&server, "further", "True", "").await;
    let (code, made) = server.create(SERVICES, &at("web", "203.0.113.10")).await;
    assert_eq!(code, 201, "{made}");

    assert_eq!(delete(&server, &format!("{RANGES}/further")).await, 200);
    range_that_is(&server, "further", "False", "Terminating").await;
    assert_eq!(server.create(SERVICES, &at("late", "203.0.113.11")).await.0, 422, "it gives no more");
    assert_eq!(delete(&server, &format!("{SERVICES}/web")).await, 200);
    for _ in 0..500 {
        if server.get(&format!("{RANGES}/further")).await.0 == 404 {
            assert_eq!(server.create(RANGES, &range("six", "2001:db8::/64")).await.0, 201);
            range_that_is(&server, "six", "False", "Unsupported").await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the range never went");
}
