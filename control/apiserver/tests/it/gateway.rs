//! Gateway API's own CustomResourceDefinitions, where they stand beside the project: they apply server-side, and their
//! rules refuse through the API what they should, and nothing else.

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};

use crate::server::{DEFINITIONS, Server};

/// The folder with the definitions of a channel; none where it was not fetched.
fn channel(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = ["../../../shared/data", "../../../../shared/data"].map(|up| root.join(up));
    let found = beside.iter().map(|at| at.join("gateway-api-v1.6.1").join(name)).find(|at| at.is_dir());
    if found.is_none() {
        eprintln!("skipped: Gateway API's definitions are not beside the project");
    }
    found
}

/// Applies every definition of the folder as it was published, and waits until it is served.
async fn apply(server: &Server, folder: &Path) -> usize {
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for document in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            if document["kind"] != "CustomResourceDefinition" {
                continue;
            }
            let name = document["metadata"]["name"].as_str().unwrap().to_owned();
            let path = format!("{DEFINITIONS}/{name}?fieldManager=tester&fieldValidation=Strict");
            let (code, answer) =
                server.send(Method::PATCH, &path, "application/apply-patch+yaml", &document).await;
            assert_eq!(code, 201, "{name}: {answer}");
            names.push(name);
        }
    }
    for name in &names {
        server.until(name, "Established", "InitialNamesAccepted").await;
    }
    names.len()
}

/// What each kind needs besides what is tried.
fn spec(kind: &str) -> Value {
    match kind {
        "Gateway" => {
            json!({"gatewayClassName": "c", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]})
        }
        "BackendTLSPolicy" => json!({
            "targetRefs": [{"group": "", "kind": "Service", "name": "s"}],
            "validation": {"hostname": "a.example", "wellKnownCACertificates": "System"},
        }),
        "ListenerSet" => {
            json!({"parentRef": {"name": "g"}, "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]})
        }
        "TLSRoute" => {
            json!({"hostnames": ["a.example"], "rules": [{"backendRefs": [{"name": "s", "port": 443}]}]})
        }
        _ => json!({}),
    }
}

/// Sets the value at a JSON pointer, and makes what is missing on the way.
fn set(object: &mut Value, pointer: &str, value: &Value) {
    let mut at = object;
    for step in pointer.split('/').skip(1) {
        at = match step.parse::<usize>() {
            Ok(0) => {
                if at.is_null() {
                    *at = json!([null]);
                }
                &mut at[0]
            }
            _ => &mut at[step],
        };
    }
    *at = value.clone();
}

/// Tries to create an object, and gives the code and what its causes say.
async fn attempt(server: &Server, kind: &str, pointer: &str, value: &Value) -> (u16, Vec<String>, Value) {
    let mut object = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec(kind),
    });
    set(&mut object, pointer, value);
    let plural = match kind {
        "BackendTLSPolicy" => "backendtlspolicies".to_owned(),
        _ => format!("{}s", kind.to_lowercase()),
    };
    let path = format!("/apis/gateway.networking.k8s.io/v1/namespaces/default/{plural}?dryRun=All");
    let (code, answer) = server.create(&path, &object).await;
    let causes = answer["details"]["causes"].as_array().cloned().unwrap_or_default();
    let said = causes.iter().map(|cause| cause["message"].as_str().unwrap_or_default().to_owned());
    (code, said.collect(), answer)
}

#[tokio::test]
async fn every_published_definition_applies_and_its_rules_refuse_what_they_should() {
    let Some(folder) = channel("standard") else { return };
    let server = Server::start().await;
    assert_eq!(apply(&server, &folder).await, 10);
    let cases: Vec<Value> = serde_json::from_str(include_str!("../data/gateway.json")).unwrap();
    let mut refused = 0;
    for case in &cases {
        let (kind, pointer) = (case["kind"].as_str().unwrap(), case["at"].as_str().unwrap());
        let (code, _, answer) = attempt(&server, kind, pointer, &case["good"]).await;
        assert_eq!(code, 201, "{kind} {}: {answer}", case["good"]);
        for bad in case["bad"].as_array().unwrap() {
            let (code, causes, answer) = attempt(&server, kind, pointer, &bad["value"]).await;
            assert_eq!(code, 422, "{kind} {bad}: {answer}");
            let message = bad["message"].as_str().unwrap();
            let found = causes.iter().any(|cause| cause.ends_with(message));
            assert!(found, "{kind} {bad} was refused for {causes:?}");
            refused += 1;
        }
    }
    assert!(refused >= 75, "only {refused} rules were tried");
}

#[tokio::test]
async fn the_experimental_definitions_apply_too() {
    let Some(folder) = channel("experimental") else { return };
    let server = Server::start().await;
    assert_eq!(apply(&server, &folder).await, 13);
}

#[tokio::test]
async fn what_a_class_was_made_for_does_not_change() {
    let Some(folder) = channel("standard") else { return };
    let server = Server::start().await;
    apply(&server, &folder).await;
    let classes = "/apis/gateway.networking.k8s.io/v1/gatewayclasses";
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "a"},
        "spec": {"controllerName": "example.org/one"},
    });
    let (code, made) = server.create(classes, &class).await;
    assert_eq!(code, 201, "{made}");
    let patch = json!({"spec": {"controllerName": "example.org/other"}});
    let one = format!("{classes}/a");
    let (code, answer) = server.send(Method::PATCH, &one, "application/merge-patch+json", &patch).await;
    assert_eq!(code, 422, "{answer}");
    let text = r#"spec.controllerName: Invalid value: "example.org/other": Value is immutable"#;
    assert!(answer["message"].as_str().unwrap().ends_with(text), "{answer}");
    let patch = json!({"spec": {"description": "the first"}});
    let (code, answer) = server.send(Method::PATCH, &one, "application/merge-patch+json", &patch).await;
    assert_eq!(code, 200, "{answer}");
}
