//! Every door that takes a body, with every body that makes no sense: upstream's code, reason and words, nothing of it
//! stored, and no answer that blames the server.

mod rubbish;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::rules::{THINGS, definition, thing};
use crate::server::{Server, object};
use rubbish::{Rubbish, bodies};

/// How a door reads what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As an object of a kind, in any encoding.
    Object(&'static str),
    /// As options that need not be there.
    Options,
    /// As an object that is merged in.
    Merge,
    /// The same with directives.
    Strategic,
    /// As a list of operations.
    Operations,
    /// As what a manager wants, in YAML.
    Applied,
}

/// A place that takes bodies.
struct Door {
    method: Method,
    path: String,
    reader: Reader,
}

impl Door {
    fn new(method: Method, path: impl Into<String>, reader: Reader) -> Self {
        Self { method, path: path.into(), reader }
    }
}

const DEFAULT: &str = "/api/v1/namespaces/default";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// The doors, by the verb.
fn doors() -> Vec<Door> {
    let (maps, pods) = (format!("{DEFAULT}/configmaps"), format!("{DEFAULT}/pods"));
    let mut doors = Vec::new();
    let created = [
        (maps.clone(), "ConfigMap"),
        (pods.clone(), "Pod"),
        (DEPLOYMENTS.to_owned(), "Deployment"),
        (THINGS.to_owned(), "Thing"),
        (format!("{pods}/p/binding"), "Binding"),
        (format!("{pods}/p/eviction"), "Eviction"),
        (format!("{DEFAULT}/serviceaccounts/robot/token"), "TokenRequest"),
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned(), "CustomResourceDefinition"),
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(), "SelfSubjectAccessReview"),
        ("/apis/authorization.k8s.io/v1/subjectaccessreviews".to_owned(), "SubjectAccessReview"),
        ("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews".to_owned(), "SelfSubjectRulesReview"),
        (
            "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews".to_owned(),
            "LocalSubjectAccessReview",
        ),
        ("/apis/authentication.k8s.io/v1/tokenreviews".to_owned(), "TokenReview"),
        ("/apis/authentication.k8s.io/v1/selfsubjectreviews".to_owned(), "SelfSubjectReview"),
    ];
    doors.extend(created.map(|(path, kind)| Door::new(Method::POST, path, Reader::Object(kind))));
    let replaced = [
        (format!("{maps}/a"), "ConfigMap"),
        (format!("{THINGS}/a"), "Thing"),
        (format!("{THINGS}/a/status"), "Thing"),
        (format!("{DEPLOYMENTS}/web/status"), "Deployment"),
        (format!("{DEPLOYMENTS}/web/scale"), "Scale"),
        (format!("{THINGS}/a/scale"), "Scale"),
        (format!("{pods}/p/ephemeralcontainers"), "Pod"),
        (format!("{pods}/p/resize"), "Pod"),
        ("/api/v1/namespaces/default/finalize".to_owned(), "Namespace"),
    ];
    doors.extend(replaced.map(|(path, kind)| Door::new(Method::PUT, path, Reader::Object(kind))));
    let patched = ["a", "a/status", "a/scale"].map(|part| (format!("{THINGS}/{part}"), false));
    let built_in = ["web", "web/status", "web/scale"].map(|part| (format!("{DEPLOYMENTS}/{part}"), true));
    let others = [(format!("{maps}/a"), true), (format!("{pods}/p/resize"), true)];
    for (path, is_built_in) in patched.into_iter().chain(built_in).chain(others) {
        for reader in [Reader::Merge, Reader::Operations, Reader::Applied, Reader::Strategic] {
            if is_built_in || reader != Reader::Strategic {
                doors.push(Door::new(Method::PATCH, &path, reader));
            }
        }
    }
    for path in [format!("{maps}/a"), format!("{THINGS}/a"), maps, THINGS.to_owned(), format!("{pods}/p")] {
        doors.push(Door::new(Method::DELETE, path, Reader::Options));
    }
    doors
}

/// A server with an object behind every door.
async fn furnished() -> Server {
    let server = Server::start().await;
    let number = json!({"type": "integer"});
    let spec = json!({"type": "object", "properties": {"replicas": number}});
    server.define(&definition(&spec)).await;
    let containers = json!({"containers": [{"name": "c", "image": "i"}]});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": containers});
    let made = [
        (THINGS.to_owned(), thing(json!({"replicas": 1}))),
        (format!("{DEFAULT}/configmaps"), json!({"metadata": {"name": "a"}, "data": {"a": "1"}})),
        (format!("{DEFAULT}/serviceaccounts"), json!({"metadata": {"name": "robot"}})),
        (format!("{DEFAULT}/pods"), json!({"metadata": {"name": "p"}, "spec": containers})),
        (
            DEPLOYMENTS.to_owned(),
            json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        ),
    ];
    for (path, body) in made {
        let (code, answer) = server.create(&path, &body).await;
        assert_eq!(code, 201, "{answer}");
    }
    server
}

/// All that could have been changed.
async fn everything(server: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    for plural in ["configmaps", "pods", "serviceaccounts"] {
        all.push(server.get(&format!("{DEFAULT}/{plural}")).await.1["items"].take());
    }
    let others = ["/api/v1/namespaces", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"];
    for path in [DEPLOYMENTS, THINGS].into_iter().chain(others) {
        all.push(server.get(path).await.1["items"].take());
    }
    all
}

/// What is wrong with how a door took a body; nothing where it was refused as it should be.
async fn fault(server: &Server, door: &Door, body: &Rubbish) -> Option<String> {
    let query = if door.reader == Reader::Applied { "fieldManager=tester&" } else { "" };
    let mut request = Request::builder()
        .method(&door.method)
        .uri(format!("{}?{query}fieldValidation=Strict", door.path))
        .header("content-type", body.media);
    if let Some(encoding) = body.encoding {
        request = request.header("content-encoding", encoding);
    }
    let request = request.body(Full::new(Bytes::clone(&body.bytes))).unwrap();
    let (code, status) = object(server.call(request).await).await;
    let said = status["message"].as_str().unwrap_or_default();
    let is_told = status["kind"] == "Status" && status["code"] == code && status["status"] == "Failure";
    let (wanted, reason) = body.expected;
    if is_told
        && (code, status["reason"].as_str().unwrap_or_default()) == (wanted, reason)
        && said.contains(&body.words)
    {
        return None;
    }
    let shown: String = status.to_string().chars().take(400).collect();
    Some(format!(
        "{} {} ({:?}), {} as {}: {code}\n    {shown}\n    wanted: {wanted} {reason} {:?}",
        door.method, door.path, door.reader, body.name, body.media, body.words
    ))
}

#[tokio::test]
async fn every_door_refuses_every_body_that_makes_no_sense_and_stores_nothing_of_it() {
    let server = furnished().await;
    let before = everything(&server).await;
    let (mut tried, mut faults) = (0, Vec::new());
    for door in doors() {
        for body in bodies(door.reader) {
            tried += 1;
            faults.extend(fault(&server, &door, &body).await);
        }
        let now = everything(&server).await;
        assert_eq!(now, before, "{} {} ({:?}) left something", door.method, door.path, door.reader);
    }
    assert!(faults.is_empty(), "{} of {tried}:\n{}", faults.len(), faults.join("\n"));
    assert!(tried > 2_000, "only {tried} were tried");
}

#[tokio::test]
async fn letters_that_are_none_are_replaced_and_never_stored_as_they_came() {
    let server = furnished().await;
    let maps = format!("{DEFAULT}/configmaps");
    let body = b"{\"metadata\": {\"name\": \"odd\"}, \"data\": {\"a\": \"\xff\xfe\"}}";
    let (code, made) = server.raw(Method::POST, &maps, "application/json", body).await;
    assert_eq!((code, &made["data"]["a"]), (201, &json!("\u{fffd}\u{fffd}")), "{made}");
    let (_, found) = server.get(&format!("{maps}/odd")).await;
    assert_eq!(found["data"]["a"], "\u{fffd}\u{fffd}");
    let named = b"{\"metadata\": {\"name\": \"odd\xff\"}}";
    let (code, status) = server.raw(Method::POST, &maps, "application/json", named).await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{status}");
}
