//! In which bytes answers go out, and who says so.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use xebec_machinery::protobuf;

use crate::rules::{THINGS, definition, thing};
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const YAML: &str = "application/yaml";
const JSON: &str = "application/json";
const TABLE: &str = "application/yaml;as=Table;g=meta.k8s.io;v=v1";

/// The code, the media type and the bytes of an answer.
async fn get(server: &Server, accept: &str, path: &str) -> (u16, String, Vec<u8>) {
    let request = Request::get(path).header("accept", accept).body(Full::<Bytes>::default()).unwrap();
    let response = server.call(request).await;
    let media = response.headers()["content-type"].to_str().unwrap().to_owned();
    let code = response.status().as_u16();
    (code, media, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

async fn yaml(server: &Server, path: &str) -> (u16, Value) {
    let (code, media, bytes) = get(server, YAML, path).await;
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(media, YAML, "{path}: {text}");
    (code, serde_saphyr::from_str(&text).unwrap())
}

#[tokio::test]
async fn whatever_is_an_object_is_had_in_yaml() {
    let server = Server::start().await;
    let data = json!({
        "yes": "no", "a": "line\n  two\n\n", "b": " spaces ", "c": "1e3", "d": "", "e": "x".repeat(500), "f": "a: b # c",
        "1_000": "0o7", "g": "\u{85}\u{2028}\t\r", "h": "~", "i": "- x", "j": "2026-01-01", "k": "12:30:45", "l": "é",
    });
    let map = json!({"metadata": {"name": "a", "labels": {"on": "off"}}, "data": data});
    assert_eq!(server.create(MAPS, &map).await.0, 201);
    server.define(&definition(&json!({"type": "object"}))).await;
    assert_eq!(server.create(THINGS, &thing(json!({}))).await.0, 201);
    for path in [
        &format!("{MAPS}/a"),
        MAPS,
        THINGS,
        &format!("{THINGS}/a"),
        &format!("{MAPS}/none"),
        "/api/v1/kites",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/example.com/v1",
    ] {
        let (code, plain) = server.get(path).await;
        assert_eq!(yaml(&server, path).await, (code, plain), "{path}");
    }
    let (_, media, text) = get(&server, YAML, &format!("{MAPS}/a")).await;
    assert_eq!(media, YAML);
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("apiVersion: v1\ndata:\n"), "{text}");
    assert!(text.contains("'yes': 'no'") || text.contains("\"yes\": \"no\""), "{text}");
    let (code, media, table) = get(&server, TABLE, MAPS).await;
    let table: Value = serde_saphyr::from_str(std::str::from_utf8(&table).unwrap()).unwrap();
    assert_eq!((code, &*media, &table["kind"]), (200, YAML, &json!("Table")));
    // What has one form only keeps it.
    for path in ["/version", "/", "/openapi/v3"] {
        assert_eq!(get(&server, YAML, path).await.1, JSON, "{path}");
    }
}

#[tokio::test]
async fn what_is_made_and_deleted_is_answered_in_yaml_too() {
    let server = Server::start().await;
    let send = |method: Method, path: String, body: &str| {
        let request =
            Request::builder().method(method).uri(path).header("accept", "application/yaml, */*;q=0.1");
        let request = request.header("content-type", YAML).body(Full::from(body.to_owned())).unwrap();
        server.call(request)
    };
    let made = send(Method::POST, MAPS.to_owned(), "metadata: {name: a}\ndata: {b: c}\n").await;
    assert_eq!((made.status().as_u16(), made.headers()["content-type"].as_bytes()), (201, YAML.as_bytes()));
    let gone = send(Method::DELETE, format!("{MAPS}/a"), "").await;
    assert_eq!((gone.status().as_u16(), gone.headers()["content-type"].as_bytes()), (200, YAML.as_bytes()));
    let text = gone.into_body().collect().await.unwrap().to_bytes();
    let status: Value = serde_saphyr::from_str(std::str::from_utf8(&text).unwrap()).unwrap();
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")));
}

#[tokio::test]
async fn who_takes_nothing_that_there_is_is_told_what_there_is() {
    const ALL: &str = "only the following media types are accepted: application/json, application/yaml, \
                       application/vnd.kubernetes.protobuf";
    const STREAMS: &str = "only the following media types are accepted: application/json;stream=watch, \
                           application/vnd.kubernetes.protobuf;stream=watch";
    let server = Server::start().await;
    server.define(&definition(&json!({"type": "object"}))).await;
    for (accept, path, why) in [
        ("text/html", MAPS, ALL),
        ("text/html", "/apis", ALL),
        ("text/html", "/apis/apps/v1", ALL),
        ("text/html", THINGS, ALL),
        (protobuf::MEDIA_TYPE, THINGS, ALL),
        ("text/html", &format!("{MAPS}?watch=1"), ALL),
        ("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1", MAPS, ALL),
        (YAML, &format!("{MAPS}?watch=1"), STREAMS),
        ("application/yaml, application/json;q=0.5", &format!("{THINGS}?watch=1"), STREAMS),
    ] {
        let (code, media, bytes) = get(&server, accept, path).await;
        let text = String::from_utf8(bytes).unwrap();
        let status: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!((code, status["message"].as_str()), (406, Some(why)), "{accept} of {path}: {text}");
        assert_eq!(media, if accept.starts_with(YAML) { YAML } else { JSON }, "{accept} of {path}");
    }
}

#[tokio::test]
async fn discovery_is_the_same_in_protobuf() {
    let server = Server::start().await;
    server.define(&definition(&json!({"type": "object"}))).await;
    for version in ["v2", "v2beta1"] {
        for path in ["/api", "/apis"] {
            let view = format!("g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
            let accept = format!("application/vnd.kubernetes.protobuf;{view}");
            let (code, media, bytes) = get(&server, &accept, path).await;
            assert_eq!((code, &media), (200, &accept));
            let (_, _, plain) = get(&server, &format!("application/json;{view}"), path).await;
            let plain: Value = serde_json::from_slice(&plain).unwrap();
            // Texts that are empty are not told by the one, and not written by the other.
            let written = protobuf::encode(&plain).unwrap();
            assert_eq!(bytes, written, "{path}");
            let read = protobuf::decode(&bytes).unwrap();
            assert_eq!((&read["kind"], &read["apiVersion"]), (&plain["kind"], &plain["apiVersion"]));
            let group = |list: &Value| -> Vec<Value> {
                let items = list["items"].as_array().unwrap().iter();
                items.map(|item| item["metadata"]["name"].clone()).collect()
            };
            assert_eq!(group(&read), group(&plain));
            let pods = |list: &Value| list["items"][0]["versions"][0]["resources"][0]["subresources"].clone();
            assert_eq!(pods(&read).as_array().map(Vec::len), pods(&plain).as_array().map(Vec::len));
        }
    }
    for (path, kind) in [
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/apis/apps", "APIGroup"),
        ("/apis/apps/v1", "APIResourceList"),
        ("/apis/example.com/v1", "APIResourceList"),
    ] {
        let (code, media, bytes) = get(&server, protobuf::MEDIA_TYPE, path).await;
        assert_eq!((code, &*media), (200, protobuf::MEDIA_TYPE), "{path}");
        let (_, plain) = server.get(path).await;
        assert_eq!(plain["kind"], kind);
        assert_eq!(bytes, protobuf::encode(&plain).unwrap(), "{path}");
    }
}

#[tokio::test]
async fn the_metadata_of_a_custom_resource_is_had_in_protobuf() {
    let server = Server::start().await;
    server.define(&definition(&json!({"type": "object"}))).await;
    assert_eq!(server.create(THINGS, &thing(json!({}))).await.0, 201);
    let view = |kind: &str| format!("application/vnd.kubernetes.protobuf;as={kind};g=meta.k8s.io;v=v1");
    let (code, _, bytes) = get(&server, &view("PartialObjectMetadata"), &format!("{THINGS}/a")).await;
    let object = protobuf::decode(&bytes).unwrap();
    assert_eq!((code, &object["metadata"]["name"]), (200, &json!("a")), "{object}");
    let (code, _, bytes) = get(&server, &view("PartialObjectMetadataList"), THINGS).await;
    let list = protobuf::decode(&bytes).unwrap();
    assert_eq!((code, &list["items"][0]["metadata"]["name"]), (200, &json!("a")), "{list}");
}

#[tokio::test]
async fn a_path_to_nothing_is_told_of_as_upstream_does() {
    let server = Server::start().await;
    server.define(&definition(&json!({"type": "object"}))).await;
    for path in [
        "/nope",
        "/apis/none.example",
        "/apis/none.example/v1",
        "/apis/none.example/v1/things",
        "/apis/example.com/v1/kites",
        "/apis/example.com/v9/things",
        "/livez/nope",
        "/openapi/v3/apis/none.example/v1",
    ] {
        let (code, media, bytes) = get(&server, JSON, path).await;
        assert_eq!((code, &*media), (404, "text/plain; charset=utf-8"), "{path}");
        assert_eq!(bytes, b"404 page not found\n", "{path}");
    }
    for path in ["/api/v1/nope", "/api/v9", "/apis/apps/v1/nope", "/apis/apps/v9", "/api/v1/nodes/a/b/c/d"] {
        let (code, status) = server.get(path).await;
        let why = "the server could not find the requested resource";
        assert_eq!((code, status["message"].as_str()), (404, Some(why)), "{path}: {status}");
        assert_eq!((&status["reason"], &status["details"]), (&json!("NotFound"), &json!({})), "{path}");
    }
    let (code, status) = server.get(&format!("{THINGS}/a/nope")).await;
    assert_eq!((code, status["message"].as_str()), (404, Some("things.example.com \"a\" not found")));
}
