//! What becomes of a definition: its conditions, and what clients read of its kind.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::server::{DEFINITIONS, Server};

const NAME: &str = "things.example.com";

fn definition(description: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": NAME},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "description": description,
                "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
            }}}],
        },
    })
}

fn condition<'a>(definition: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = definition["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == name)
}

/// The description of the kind in both forms of the documentation.
async fn described(server: &Server) -> [Option<String>; 2] {
    let text = |schema: &Value| schema["description"].as_str().map(str::to_owned);
    let (_, v3) = server.get("/openapi/v3/apis/example.com/v1").await;
    let (_, v2) = server.get("/openapi/v2").await;
    let kind = "com.example.v1.Thing";
    [text(&v3["components"]["schemas"][kind]), text(&v2["definitions"][kind])]
}

/// Waits no longer than a second until the documentation says so.
async fn until_described(server: &Server, wanted: Option<&str>) {
    let since = Instant::now();
    loop {
        let told = described(server).await;
        if told.iter().all(|told| told.as_deref() == wanted) {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(1), "after a second {told:?} was told, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_documentation_follows_a_definition_within_a_second() {
    let server = Server::start().await;
    until_described(&server, None).await;
    assert_eq!(server.create(DEFINITIONS, &definition("Something.")).await.0, 201);
    until_described(&server, Some("Something.")).await;
    let path = format!("{DEFINITIONS}/{NAME}");
    let at = "/spec/versions/0/schema/openAPIV3Schema/description";
    let patch = json!([{"op": "replace", "path": at, "value": "Anything."}]);
    let (code, answer) = server.send(Method::PATCH, &path, "application/json-patch+json", &patch).await;
    assert_eq!(code, 200, "{answer}");
    until_described(&server, Some("Anything.")).await;
    assert_eq!(server.send(Method::DELETE, &path, "application/json", &json!({})).await.0, 200);
    until_described(&server, None).await;
}

#[tokio::test]
async fn a_definition_that_is_served_says_so() {
    let server = Server::start().await;
    server.define(&definition("")).await;
    let (_, found) = server.get(&format!("{DEFINITIONS}/{NAME}")).await;
    for (name, reason, message) in [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ] {
        let condition = condition(&found, name).unwrap();
        assert_eq!(condition["status"], "True", "{condition}");
        assert_eq!((&condition["reason"], &condition["message"]), (&json!(reason), &json!(message)));
        assert!(condition["lastTransitionTime"].is_string());
    }
    assert_eq!(condition(&found, "NonStructuralSchema"), None);
    let names = json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"});
    assert_eq!(found["status"]["acceptedNames"], names);
}

#[tokio::test]
async fn a_stored_definition_that_is_not_structural_says_why_until_it_is() {
    let server = Server::start().await;
    let mut old = definition("");
    old["metadata"]["uid"] = json!("u");
    old["metadata"]["generation"] = json!(1);
    old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"] =
        json!({});
    old["status"] = json!({"storedVersions": ["v1"]});
    let key = format!("/registry/apiextensions.k8s.io/customresourcedefinitions/{NAME}");
    server.store.create(key, old.to_string().into_bytes().into()).await.unwrap();
    let found = server.until(NAME, "NonStructuralSchema", "Violations").await;
    let told = condition(&found, "NonStructuralSchema").unwrap();
    let text = "spec.validation.openAPIV3Schema.properties[spec].properties[size].type: Required value: must not be empty \
                for specified object fields";
    assert_eq!((&told["status"], &told["message"]), (&json!("True"), &json!(text)));
    assert_eq!(server.get("/apis/example.com/v1/namespaces/default/things").await.0, 404);

    let at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size";
    let patch = json!([{"op": "replace", "path": at, "value": {"type": "integer"}}]);
    let path = format!("{DEFINITIONS}/{NAME}");
    let (code, answer) = server.send(Method::PATCH, &path, "application/json-patch+json", &patch).await;
    assert_eq!(code, 200, "{answer}");
    let found = server.until(NAME, "Established", "InitialNamesAccepted").await;
    assert_eq!(condition(&found, "NonStructuralSchema"), None, "{found}");
}

#[tokio::test]
async fn lists_are_selected_by_the_fields_that_a_definition_names() {
    let server = Server::start().await;
    let mut given = definition("");
    let version = &mut given["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"] = json!({
        "size": {"type": "integer"}, "on": {"type": "boolean"}, "hostNetwork": {"type": "boolean"},
        "color": {"type": "string"},
    });
    version["selectableFields"] = json!([
        {"jsonPath": ".spec.size"}, {"jsonPath": ".spec.on"}, {"jsonPath": ".spec.hostNetwork"},
    ]);
    server.define(&given).await;
    let things = "/apis/example.com/v1/namespaces/default/things";
    for (name, spec) in [
        ("a", json!({"size": 1, "on": true, "color": "red"})),
        ("b", json!({"size": 2, "on": false, "hostNetwork": true})),
        ("c", json!({})),
    ] {
        let object = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec});
        assert_eq!(server.create(things, &object).await.0, 201);
    }
    for (selector, expected) in [
        ("spec.size=2", vec!["b"]),
        ("spec.on=true", vec!["a"]),
        ("spec.on!=true", vec!["b", "c"]),
        ("spec.hostNetwork=", vec!["a", "c"]),
        ("spec.hostNetwork=false", vec![]),
        ("spec.on=false,metadata.name=b", vec!["b"]),
        ("metadata.namespace=default,spec.size!=1", vec!["b", "c"]),
    ] {
        let encoded = selector.replace('=', "%3D").replace(',', "%2C");
        let (code, list) = server.get(&format!("{things}?fieldSelector={encoded}")).await;
        assert_eq!(code, 200, "{selector}: {list}");
        let items = list["items"].as_array().unwrap().iter();
        let names: Vec<&str> = items.map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{selector}");
    }
    let (code, refused) = server.get(&format!("{things}?fieldSelector=spec.color%3Dred")).await;
    assert_eq!((code, &refused["message"]), (400, &json!("field label not supported: spec.color")));
}
