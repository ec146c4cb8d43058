//! Addresses of services: nobody takes another's, and none is lost.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::server::Server;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const MERGE: &str = "application/merge-patch+json";

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

fn named(name: &str, address: &str) -> Value {
    let spec = json!({"type": "ExternalName", "externalName": "example.com", "clusterIP": address});
    service(name, spec)
}

fn at(name: &str, address: &str) -> Value {
    service(name, json!({"ports": [{"port": 80}], "clusterIP": address}))
}

#[tokio::test]
async fn a_mere_name_has_no_address_to_give_or_to_take() {
    let server = Server::start().await;
    let (code, victim) = server.create(SERVICES, &at("victim", "10.96.0.50")).await;
    assert_eq!(code, 201, "{victim}");

    for address in ["10.96.0.50", "10.96.0.1", "10.96.0.77"] {
        let (code, refused) = server.create(SERVICES, &named("thief", address)).await;
        assert_eq!(code, 422, "{refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.contains("spec.clusterIPs: Forbidden: may not be set for ExternalName services"),
            "{message}"
        );
    }

    // What an older server may have stored is no claim.
    let mut stored = named("thief", "10.96.0.50");
    stored["metadata"]["namespace"] = "default".into();
    let spec = stored["spec"].as_object_mut().unwrap();
    spec.insert("sessionAffinity".into(), "None".into());
    server.store.create("/registry/core/services/default/thief", stored.to_string().into()).await.unwrap();
    let thief = format!("{SERVICES}/thief");
    let patch = json!({"spec": {"type": "ClusterIP", "externalName": null, "ports": [{"port": 80}]}});
    let (code, refused) = server.send(Method::PATCH, &thief, MERGE, &patch).await;
    assert_eq!(code, 422, "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("provided IP is already allocated"), "{message}");
    assert_eq!(server.send(Method::DELETE, &thief, "application/json", &json!({})).await.0, 200);
    let (code, _) = server.create(SERVICES, &at("other", "10.96.0.50")).await;
    assert_eq!(code, 422, "the victim's address was freed by another's end");
}

#[tokio::test]
async fn a_service_that_becomes_a_name_gives_its_address_back() {
    let server = Server::start().await;
    assert_eq!(server.create(SERVICES, &at("a", "10.96.0.60")).await.0, 201);
    let patch = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
    let one = format!("{SERVICES}/a");
    let dry = format!("{one}?dryRun=All");
    assert_eq!(server.send(Method::PATCH, &dry, MERGE, &patch).await.0, 200);
    assert_eq!(server.create(SERVICES, &at("b", "10.96.0.60")).await.0, 422, "a dry run frees nothing");
    let (code, changed) = server.send(Method::PATCH, &one, MERGE, &patch).await;
    assert_eq!(code, 200, "{changed}");
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        assert!(changed["spec"].get(field).is_none(), "{changed}");
    }
    let (code, made) = server.create(SERVICES, &at("b", "10.96.0.60")).await;
    assert_eq!(code, 201, "{made}");

    // And the way back: another address, held by the service alone.
    let back = json!({"spec": {"type": "ClusterIP", "externalName": null}});
    let (code, back) = server.send(Method::PATCH, &one, MERGE, &back).await;
    assert_eq!(code, 200, "{back}");
    let address = back["spec"]["clusterIP"].as_str().unwrap();
    assert_ne!(address, "10.96.0.60");
    assert_eq!(back["spec"]["clusterIPs"], json!([address]));
    assert_eq!(server.create(SERVICES, &at("c", address)).await.0, 422);
    assert_eq!(server.send(Method::DELETE, &one, "application/json", &json!({})).await.0, 200);
    assert_eq!(server.create(SERVICES, &at("c", address)).await.0, 201);
}

#[tokio::test]
async fn an_address_list_that_does_not_fit_its_address_is_refused() {
    let server = Server::start().await;
    for (spec, why) in [
        (json!({"clusterIPs": ["10.96.0.70"]}), "must be empty when `clusterIP` is not specified"),
        (
            json!({"clusterIP": "10.96.0.71", "clusterIPs": ["10.96.0.70"]}),
            "first value must match `clusterIP`",
        ),
    ] {
        let mut service = service("a", spec);
        service["spec"]["ports"] = json!([{"port": 80}]);
        let (code, refused) = server.create(SERVICES, &service).await;
        assert_eq!(code, 422, "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(why), "{refused}");
    }
    assert_eq!(server.create(SERVICES, &at("a", "10.96.0.70")).await.0, 201);
}

/// Sends a request whose client leaves while the store writes.
async fn and_leave(server: &Server, method: Method, path: &str, body: &Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(body.to_string()))).unwrap();
    let mut call = Box::pin(server.call(request));
    // A few polls bring it past whatever holds a request up at first, and into the store.
    for _ in 0..3 {
        if tokio::time::timeout(Duration::ZERO, &mut call).await.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(call);
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_client_that_leaves_gives_no_address_away() {
    let server = Server::start().await;
    let address = "10.96.0.80";
    and_leave(&server, Method::POST, SERVICES, &at("a", address)).await;
    let (code, made) = server.get(&format!("{SERVICES}/a")).await;
    assert_eq!(code, 200, "{made}");
    let (code, answer) = server.create(SERVICES, &at("b", address)).await;
    assert_eq!(code, 422, "the address is in use twice: {answer}");

    and_leave(&server, Method::DELETE, &format!("{SERVICES}/a"), &json!({})).await;
    let (code, answer) = server.create(SERVICES, &at("b", address)).await;
    assert_eq!(code, 201, "the address was never freed: {answer}");
}

#[tokio::test]
async fn the_service_of_the_api_itself_comes_back() {
    let server = Server::start().await;
    let own = format!("{SERVICES}/kubernetes");
    let (_, first) = server.get(&own).await;
    assert_eq!(server.send(Method::DELETE, &own, "application/json", &json!({})).await.0, 200);
    let begun = std::time::Instant::now();
    let again = loop {
        let (code, again) = server.get(&own).await;
        if code == 200 {
            break again;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{again}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_ne!(first["metadata"]["uid"], again["metadata"]["uid"]);
    assert_eq!(first["spec"], again["spec"]);
}
