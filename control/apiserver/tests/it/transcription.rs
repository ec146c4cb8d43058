//! Clients that take protobuf alone.

use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use xebec_machinery::protobuf;

use crate::rules::{THINGS, definition, thing};
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Asks for protobuf alone; gives the code, the media type and the bytes.
async fn ask(server: &Server, method: Method, path: &str, body: &Value) -> (u16, String, Vec<u8>) {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("accept", protobuf::MEDIA_TYPE).header("content-type", "application/json");
    let response = server.call(request.body(Full::from(body.to_string())).unwrap()).await;
    let media = response.headers()["content-type"].to_str().unwrap().to_owned();
    let code = response.status().as_u16();
    (code, media, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

async fn object(server: &Server, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let (code, media, bytes) = ask(server, method, path, body).await;
    assert_eq!(media, protobuf::MEDIA_TYPE);
    (code, protobuf::decode(&bytes).unwrap())
}

#[tokio::test]
async fn objects_lists_and_refusals_are_the_same_in_protobuf() {
    let server = Server::start().await;
    let map = json!({"metadata": {"name": "a"}, "data": {"b": "c"}});
    let (code, made) = object(&server, Method::POST, MAPS, &map).await;
    assert_eq!((code, &made["data"]), (201, &map["data"]), "{made}");
    let (_, plain) = server.get(&format!("{MAPS}/a")).await;
    assert_eq!(made, plain);
    let (code, list) = object(&server, Method::GET, MAPS, &Value::Null).await;
    assert_eq!(
        (code, &list["kind"], &list["items"][0]["data"]),
        (200, &json!("ConfigMapList"), &map["data"])
    );
    let (code, none) = object(&server, Method::GET, &format!("{MAPS}/none"), &Value::Null).await;
    assert_eq!((code, &none["details"]["name"]), (404, &json!("none")), "{none}");
}

#[tokio::test]
async fn a_watch_in_protobuf_is_a_stream_of_frames() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        assert_eq!(server.create(MAPS, &json!({"metadata": {"name": name}})).await.0, 201);
    }
    let path = format!("{MAPS}?watch=true&timeoutSeconds=1");
    let (code, media, bytes) = ask(&server, Method::GET, &path, &Value::Null).await;
    assert_eq!((code, &*media), (200, "application/vnd.kubernetes.protobuf;stream=watch"));
    let mut rest = &*bytes;
    let mut names = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (event, next) = after.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
        assert!(event.starts_with(b"\x0a\x05ADDED"), "{event:?}");
        let envelope = event.windows(4).position(|window| window == b"k8s\0").unwrap();
        let held = protobuf::decode(&event[envelope..]).unwrap();
        names.push(held["metadata"]["name"].as_str().unwrap().to_owned());
        rest = next;
    }
    assert_eq!(names, ["a", "b"]);
}

#[tokio::test]
async fn a_custom_kind_has_no_protobuf_and_nothing_is_written() {
    let server = Server::start().await;
    server.define(&definition(&json!({"type": "object"}))).await;
    let (code, _, _) = ask(&server, Method::POST, THINGS, &thing(json!({}))).await;
    assert_eq!(code, 406);
    let (_, list) = server.get(THINGS).await;
    assert_eq!(list["items"], json!([]));
}
