//! Rules in CEL (`x-kubernetes-validations`): refused with the definition, run at every write, let pass where nothing
//! changed.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::server::{DEFINITIONS, Server};

pub(crate) const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";

pub(crate) fn definition(spec: &Value) -> Value {
    let schema = json!({"type": "object", "properties": {
        "spec": spec,
        "status": {
            "type": "object",
            "properties": {"seen": {"type": "integer", "x-kubernetes-validations": [
                {"rule": "self >= oldSelf", "message": "seen never falls"},
            ]}},
        },
    }});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.seen"},
                },
            }],
        },
    })
}

fn sized() -> Value {
    json!({
        "type": "object",
        "properties": {
            "replicas": {"type": "integer"},
            "most": {"type": "integer"},
            "name": {"type": "string", "maxLength": 20, "x-kubernetes-validations": [
                {"rule": "self == oldSelf", "message": "name is immutable", "reason": "FieldValueForbidden"},
            ]},
        },
        "x-kubernetes-validations": [{
            "rule": "!has(self.most) || !has(self.replicas) || self.replicas <= self.most",
            "messageExpression": "self.most > 1 ? 'no more than most' : 'one at most'",
            "fieldPath": ".replicas",
        }],
    })
}

pub(crate) fn thing(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec})
}

async fn merge(server: &Server, path: &str, patch: Value) -> (u16, Value) {
    server.send(Method::PATCH, path, "application/merge-patch+json", &patch).await
}

#[tokio::test]
async fn a_definition_is_refused_for_the_rules_that_can_not_be_run() {
    let server = Server::start().await;
    let mut spec = sized();
    spec["properties"]["tags"] = json!({"type": "array", "items": {"type": "string"}});
    spec["x-kubernetes-validations"] = json!([
        {"rule": "self.nothing > 1"},
        {"rule": "self.replicas"},
        {"rule": "self.tags.all(a, self.tags.all(b, a == b))"},
        {"rule": "self.replicas > 0", "optionalOldSelf": true, "messageExpression": "self.replicas"},
    ]);
    let (code, refused) = server.create(DEFINITIONS, &definition(&spec)).await;
    assert_eq!(code, 422, "{refused}");
    let causes = refused["details"]["causes"].as_array().unwrap();
    let at = |rule: usize, part: &str| {
        format!("spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[{rule}].{part}")
    };
    let rule = r#"{"Rule":"self.replicas","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}"#;
    for (field, reason, message) in [
        (at(0, "rule"), "FieldValueInvalid", "undefined field 'nothing'"),
        (
            at(1, "rule"),
            "FieldValueInvalid",
            &*format!("Invalid value: {rule}: cel expression must evaluate to a bool"),
        ),
        (
            at(2, "rule"),
            "FieldValueForbidden",
            "Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or \
             adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)",
        ),
        (
            at(3, "optionalOldSelf"),
            "FieldValueInvalid",
            "Invalid value: true: may not be set if oldSelf is not used in rule",
        ),
        (at(3, "messageExpression"), "FieldValueInvalid", "messageExpression must evaluate to a string"),
        (
            "spec.validation.openAPIV3Schema".to_owned(),
            "FieldValueForbidden",
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget",
        ),
    ] {
        let found = causes.iter().any(|cause| {
            cause["field"] == *field
                && cause["reason"] == reason
                && cause["message"].as_str().unwrap().contains(message)
        });
        assert!(found, "{field}: {message}\n{causes:#?}");
    }
}

#[tokio::test]
async fn every_write_is_held_to_the_rules() {
    let server = Server::start().await;
    server.define(&definition(&sized())).await;
    let (code, refused) = server.create(THINGS, &thing(json!({"replicas": 3, "most": 2}))).await;
    assert_eq!(code, 422, "{refused}");
    assert_eq!(
        refused["message"],
        r#"Thing.example.com "a" is invalid: spec.replicas: Invalid value: no more than most"#
    );
    assert_eq!(
        refused["details"]["causes"],
        json!([{
            "reason": "FieldValueInvalid", "field": "spec.replicas", "message": "Invalid value: no more than most",
        }])
    );
    let (code, made) =
        server.create(THINGS, &thing(json!({"replicas": 1, "most": 2, "name": "first"}))).await;
    assert_eq!(code, 201, "{made}");
    let one = format!("{THINGS}/a");

    let mut replaced = made.clone();
    replaced["spec"]["replicas"] = json!(5);
    let (code, answer) = server.send(Method::PUT, &one, "application/json", &replaced).await;
    assert_eq!(code, 422, "{answer}");
    let (code, answer) = merge(&server, &one, json!({"spec": {"name": "second"}})).await;
    assert_eq!(code, 422, "{answer}");
    assert_eq!(answer["details"]["causes"][0]["reason"], "FieldValueForbidden");
    assert!(answer["message"].as_str().unwrap().ends_with("spec.name: Forbidden: name is immutable"));
    let applied = thing(json!({"replicas": 7}));
    let path = format!("{one}?fieldManager=test&force=true");
    let (code, answer) = server.send(Method::PATCH, &path, "application/apply-patch+yaml", &applied).await;
    assert_eq!(code, 422, "{answer}");
    let (code, answer) = merge(&server, &format!("{one}/scale"), json!({"spec": {"replicas": 4}})).await;
    assert_eq!(code, 422, "{answer}");
    let (code, answer) = merge(&server, &format!("{one}/scale"), json!({"spec": {"replicas": 2}})).await;
    assert_eq!(code, 200, "{answer}");

    let status = format!("{one}/status");
    let (code, answer) = merge(&server, &status, json!({"status": {"seen": 4}})).await;
    assert_eq!(code, 200, "{answer}");
    let (code, answer) = merge(&server, &status, json!({"status": {"seen": 3}})).await;
    assert_eq!(code, 422, "{answer}");
    assert!(answer["message"].as_str().unwrap().ends_with("status.seen: Invalid value: 3: seen never falls"));
    let (code, answer) = merge(&server, &status, json!({"status": {"seen": "many"}})).await;
    assert_eq!(code, 422, "{answer}");
    let text = "some validation rules were not checked because the object was invalid; correct the existing errors to \
                complete validation";
    assert!(answer["message"].as_str().unwrap().contains(text), "{answer}");
    let fields = answer["details"]["causes"].as_array().unwrap().iter().map(|cause| &cause["field"]);
    assert_eq!(fields.collect::<Vec<_>>(), ["status.seen", ".status.seen", "<nil>"]);
}

#[tokio::test]
async fn what_did_not_change_is_let_pass_with_a_warning() {
    let server = Server::start().await;
    server.define(&definition(&json!({
        "type": "object",
        "properties": {
            "size": {"type": "object", "properties": {"width": {"type": "integer"}, "unit": {"type": "string"}}},
            "replicas": {"type": "integer"},
        },
    })))
    .await;
    let (code, made) =
        server.create(THINGS, &thing(json!({"size": {"width": 9, "unit": "furlong"}, "replicas": 1}))).await;
    assert_eq!(code, 201, "{made}");

    // The definition becomes stricter than what it has already.
    let stricter = json!([{
        "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
        "value": {
            "type": "object",
            "properties": {
                "size": {
                    "type": "object",
                    "properties": {
                        "width": {"type": "integer"},
                        "unit": {"type": "string", "enum": ["mm", "m"]},
                    },
                },
                "replicas": {"type": "integer", "x-kubernetes-validations": [
                    {"rule": "self > 1", "message": "one is too few"},
                ]},
            },
        },
    }]);
    let path = format!("{DEFINITIONS}/things.example.com");
    let (code, answer) = server.send(Method::PATCH, &path, "application/json-patch+json", &stricter).await;
    assert_eq!(code, 200, "{answer}");
    let one = format!("{THINGS}/a");
    let refused = "spec.replicas: Invalid value: 1: one is too few";
    for _ in 0..500 {
        let (code, _) = server.create(&format!("{THINGS}?dryRun=All"), &thing(json!({"replicas": 1}))).await;
        if code == 422 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    let patch = json!({"spec": {"size": {"width": 10}}});
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(&one)
        .header("content-type", "application/merge-patch+json")
        .body(Full::new(Bytes::from(patch.to_string())))
        .unwrap();
    let response = server.call(request).await;
    assert_eq!(response.status(), 200);
    let warnings: Vec<&str> =
        response.headers().get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(warnings, [format!("299 - \"{refused}\"")]);

    let (code, answer) = merge(&server, &one, json!({"spec": {"size": {"unit": "inch"}}})).await;
    assert_eq!(code, 422, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("spec.size.unit: Unsupported value: \"inch\""));
    let (code, answer) = merge(&server, &one, json!({"spec": {"replicas": 0}})).await;
    assert_eq!(code, 422, "{answer}");
    let (code, answer) = merge(&server, &one, json!({"spec": {"replicas": 2, "size": {"unit": "m"}}})).await;
    assert_eq!(code, 200, "{answer}");
}

#[tokio::test]
async fn an_object_that_costs_too_much_is_refused_and_the_others_are_served_meanwhile() {
    let server = Server::start().await;
    server.define(&definition(&json!({
        "type": "object",
        "properties": {"tags": {"type": "array", "maxItems": 600, "items": {"type": "string", "maxLength": 5}}},
        "x-kubernetes-validations": [{
            "rule": "self.tags.all(a, self.tags.all(b, a.contains(b) && b.contains(a)))", "message": "all alike",
        }],
    })))
    .await;
    let (code, refused) = server.create(THINGS, &thing(json!({"tags": vec!["abc"; 500]}))).await;
    assert_eq!(code, 422, "{refused}");
    let text = "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call \
                cost exceeds limit for rule: all alike";
    assert!(refused["message"].as_str().unwrap().ends_with(text), "{refused}");
    let (code, made) = server.create(THINGS, &thing(json!({"tags": ["abc", "abc"]}))).await;
    assert_eq!(code, 201, "{made}");
}

#[tokio::test]
async fn a_default_that_came_later_is_seen_in_older_objects() {
    let server = Server::start().await;
    server
        .define(&definition(&json!({"type": "object", "properties": {"replicas": {"type": "integer"}}})))
        .await;
    assert_eq!(server.create(THINGS, &thing(json!({}))).await.0, 201);
    let patch = json!([{
        "op": "add",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/replicas/default",
        "value": 3,
    }]);
    let path = format!("{DEFINITIONS}/things.example.com");
    let (code, answer) = server.send(Method::PATCH, &path, "application/json-patch+json", &patch).await;
    assert_eq!(code, 200, "{answer}");
    for _ in 0..500 {
        let (_, found) = server.get(&format!("{THINGS}/a")).await;
        if found["spec"]["replicas"] == 3 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the default was never seen");
}
