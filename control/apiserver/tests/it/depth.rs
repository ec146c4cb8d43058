//! Objects that nest as deep as upstream's may: every way of theirs through the API, on threads with half of the stack that
//! these need.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use xebec_machinery::decoding::{self, DEPTH_MAX, STACK};
use xebec_machinery::protobuf;

use crate::rules::{THINGS, definition};
use crate::server::Server;

const JSON: &str = "application/json";

/// Runs on a thread with half of the stack that there is. Whatever overflows it ends the whole test.
fn on_half_a_stack<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    std::thread::Builder::new().stack_size(STACK / 2).spawn(run).unwrap().join().unwrap();
}

/// An object with so many levels in all.
fn nested(name: &str, levels: usize, (open, close): (&str, &str)) -> String {
    let levels = levels - 2;
    format!(
        r#"{{"apiVersion":"example.com/v1","kind":"Thing","metadata":{{"name":"{name}"}},"spec":{{"a":{}1{}}}}}"#,
        open.repeat(levels),
        close.repeat(levels)
    )
}

async fn deep_server() -> Server {
    let server = Server::start().await;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    server.define(&definition(&open)).await;
    server
}

async fn text(server: &Server, accept: &str, path: &str) -> (u16, Bytes) {
    let request = Request::get(path).header("accept", accept).body(Full::<Bytes>::default()).unwrap();
    let response = server.call(request).await;
    (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
}

async fn goes_every_way(kind: (&'static str, &'static str)) {
    let server = deep_server().await;
    let body = nested("a", DEPTH_MAX, kind);
    let (code, made) = server.raw(Method::POST, THINGS, JSON, body.as_bytes()).await;
    assert_eq!(code, 201, "{}", made["message"]);
    let sent = decoding::own(body.as_bytes()).unwrap();
    assert!(made["spec"] == sent["spec"]);
    let one = format!("{THINGS}/a");

    for accept in [JSON, "application/yaml", "application/json;as=Table;g=meta.k8s.io;v=v1"] {
        for path in [&*one, THINGS] {
            let (code, bytes) = text(&server, accept, path).await;
            assert_eq!(code, 200, "{accept} of {path}");
            assert!(decoding::own(&bytes).is_ok(), "{accept} of {path}");
        }
    }
    let pretty = text(&server, JSON, &format!("{one}?pretty=true")).await.1;
    assert!(pretty.len() < 2 * body.len() + 4096, "{} bytes", pretty.len());
    let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let (code, bytes) = text(&server, metadata, &one).await;
    assert_eq!((code, &protobuf::decode(&bytes).unwrap()["metadata"]["name"]), (200, &json!("a")));
    let (code, events) = text(&server, JSON, &format!("{THINGS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(code, 200);
    assert!(decoding::own(&events).unwrap()["object"]["spec"] == sent["spec"]);

    // Written as it is, it does not change.
    let (code, again) = server.raw(Method::PUT, &one, JSON, made.to_string().as_bytes()).await;
    assert_eq!((code, &again["metadata"]["resourceVersion"]), (200, &made["metadata"]["resourceVersion"]));
    let merge = "application/merge-patch+json";
    let (code, changed) = server.raw(Method::PATCH, &one, merge, br#"{"spec":{"b":1}}"#).await;
    assert_eq!((code, &changed["spec"]["b"]), (200, &json!(1)));
    let (code, same) = server.raw(Method::PATCH, &one, merge, body.as_bytes()).await;
    assert_eq!((code, &same["metadata"]["resourceVersion"]), (200, &changed["metadata"]["resourceVersion"]));
    let patch = "application/json-patch+json";
    let value = &sent["spec"]["a"];
    let operations = json!([
        {"op": "test", "path": "/spec/a", "value": value},
        {"op": "copy", "from": "/spec/a", "path": "/spec/c"},
        {"op": "add", "path": "/spec/d", "value": value},
        {"op": "move", "from": "/spec/d", "path": "/spec/e"},
        {"op": "remove", "path": "/spec/c"},
    ]);
    // With the list and the operation round it, it is as deep as may be.
    let (code, moved) = server.raw(Method::PATCH, &one, patch, operations.to_string().as_bytes()).await;
    assert_eq!(code, 200, "{}", moved["message"]);
    assert!(moved["spec"]["e"] == *value && moved["spec"].get("c").is_none());
    let operations = json!([{"op": "copy", "from": "/spec/a", "path": "/spec/c"}]);
    let (code, copied) = server.raw(Method::PATCH, &one, patch, operations.to_string().as_bytes()).await;
    assert_eq!(code, 200, "{}", copied["message"]);
    assert!(copied["spec"]["c"] == *value);
    let deeper = json!([{"op": "copy", "from": "/spec/a", "path": "/spec/c/b"}]);
    let (code, answer) = server.raw(Method::PATCH, &one, patch, deeper.to_string().as_bytes()).await;
    assert_eq!(code, 422, "{answer}");

    let apply = |manager: &str| format!("{one}?fieldManager={manager}&force=true");
    for manager in ["first", "second"] {
        let media = "application/apply-patch+yaml";
        let (code, applied) = server.raw(Method::PATCH, &apply(manager), media, body.as_bytes()).await;
        assert_eq!(code, 200, "{}", applied["message"]);
        let books = applied["metadata"]["managedFields"].to_string();
        assert!(
            serde_json::from_str::<Value>(&format!("[[[[[[{books}]]]]]]")).is_ok(),
            "others could not read it"
        );
    }
    let (code, _) = server.raw(Method::DELETE, &one, JSON, b"").await;
    assert_eq!(code, 200);
    server.stop.cancel();
    server.upkeep_ended().await;
}

#[test]
fn maps_as_deep_as_may_be_go_every_way() {
    on_half_a_stack(|| goes_every_way((r#"{"b":"#, "}")));
}

#[test]
fn lists_as_deep_as_may_be_go_every_way() {
    on_half_a_stack(|| goes_every_way(("[", "]")));
}

#[test]
fn what_is_deeper_is_refused_whatever_it_is_sent_as() {
    on_half_a_stack(|| async {
        let server = deep_server().await;
        for kind in [(r#"{"b":"#, "}"), ("[", "]")] {
            for levels in [DEPTH_MAX + 1, DEPTH_MAX * 2, 150_000] {
                let body = nested("a", levels, kind);
                let (code, answer) = server.raw(Method::POST, THINGS, JSON, body.as_bytes()).await;
                let message = answer["message"].as_str().unwrap();
                assert_eq!(code, 400, "{message}");
                assert!(message.contains("exceeded max depth"), "{message}");
                for media in [
                    "application/apply-patch+yaml",
                    "application/merge-patch+json",
                    "application/json-patch+json",
                ] {
                    let path = format!("{THINGS}/a?fieldManager=a");
                    let (code, answer) = server.raw(Method::PATCH, &path, media, body.as_bytes()).await;
                    assert!((400..500).contains(&code), "{media}: {answer}");
                }
            }
        }
    });
}

#[test]
fn policies_judge_what_is_deep() {
    on_half_a_stack(|| async {
        const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
        let server = deep_server().await;
        let rules = json!([{"apiGroups": ["example.com"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]);
        let policy = json!({"metadata": {"name": "p"}, "spec": {
            "matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": "oldObject == null || object.spec == oldObject.spec", "message": "it stays"}],
        }});
        assert_eq!(
            server.create(&format!("{REGISTRATION}/validatingadmissionpolicies"), &policy).await.0,
            201
        );
        let binding =
            json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
        let bindings = format!("{REGISTRATION}/validatingadmissionpolicybindings");
        assert_eq!(server.create(&bindings, &binding).await.0, 201);
        let body = nested("a", DEPTH_MAX, ("[", "]"));
        let (code, answer) = server.raw(Method::POST, THINGS, JSON, body.as_bytes()).await;
        assert_eq!(code, 201, "{}", answer["message"]);
        let merge = "application/merge-patch+json";
        let one = format!("{THINGS}/a");
        let change = br#"{"metadata":{"labels":{"a":"b"}}}"#;
        let (code, answer) = server.raw(Method::PATCH, &one, merge, change).await;
        assert_eq!(code, 200, "{}", answer["message"]);
        let (code, answer) = server.raw(Method::PATCH, &one, merge, br#"{"spec":{"b":1}}"#).await;
        assert!(code == 422 && answer["message"].as_str().unwrap().contains("it stays"), "{code}");
    });
}
