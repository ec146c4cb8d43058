//! Validation, beside what Kubernetes itself says of the same objects (`conformance/kinds`).

use std::collections::BTreeSet;

use serde_json::Value;
use xebec_machinery::field::FieldError;
use xebec_machinery::{defaults, validation};

/// An error as its reason, field and message; a quoted struct is left out, as upstream quotes that of its own code, and
/// so is the difference that upstream appends to a refused change.
fn error(reason: &str, field: &str, message: &str) -> String {
    let message = message.split('\n').next().unwrap_or_default();
    let message = match (message.find(": {"), message.find("}: ")) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &message[..start], &message[end + 1..]),
        (Some(start), None) => message[..start].to_owned(),
        _ => message.to_owned(),
    };
    format!("{reason} {field}: {message}")
}

fn ours(errors: &[FieldError]) -> BTreeSet<String> {
    errors.iter().map(|e| error(e.error_type.reason(), &e.field, &e.body())).collect()
}

fn theirs(errors: &Value) -> BTreeSet<String> {
    let text = |error: &Value, key: &str| error[key].as_str().expect("a string").to_owned();
    let errors = errors.as_array().expect("a list").iter();
    errors.map(|e| error(&text(e, "reason"), &text(e, "field"), &text(e, "message"))).collect()
}

/// Group, version, kind and the object as it would be stored.
fn completed(object: &Value) -> (String, String, String, Value) {
    let text = |key: &str| object[key].as_str().expect("a string").to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let mut object = object.clone();
    defaults::apply(group, version, &kind, &mut object);
    (group.to_owned(), version.to_owned(), kind, object)
}

#[test]
fn objects_are_refused_as_upstream_refuses_them() {
    let given = include_str!("data/validation/given.jsonl");
    let expected = include_str!("data/validation/expected.jsonl");
    assert_eq!(given.lines().count(), expected.lines().count());
    let mut wrong = Vec::new();
    for (given, expected) in given.lines().zip(expected.lines()) {
        let case: Value = serde_json::from_str(given).unwrap();
        let errors = match case.get("new") {
            Some(new) => {
                let (group, version, kind, new) = completed(new);
                let (.., old) = completed(&case["old"]);
                validation::validate_update(&group, &version, &kind, &old, &new)
            }
            None => {
                let (group, version, kind, object) = completed(&case);
                validation::validate_create(&group, &version, &kind, &object)
            }
        };
        let (ours, theirs) = (ours(&errors), theirs(&serde_json::from_str(expected).unwrap()));
        if ours != theirs {
            let lines = |set: &BTreeSet<String>, other: &BTreeSet<String>| {
                set.difference(other).cloned().collect::<Vec<_>>().join("\n    ")
            };
            let (more, less) = (lines(&ours, &theirs), lines(&theirs, &ours));
            wrong.push(format!("{given}\n  only here\n    {more}\n  only upstream\n    {less}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), given.lines().count(), wrong.join("\n"));
}

#[test]
fn claims_of_a_stateful_set_are_volumes_of_its_pods() {
    let set = |mounted: &str| {
        serde_json::json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "d"},
            "spec": {
                "serviceName": "db", "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{
                    "name": "c", "image": "i", "volumeMounts": [{"name": mounted, "mountPath": "/d"}],
                }]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                }}],
            },
        })
    };
    let errors = |mounted| {
        let (group, version, kind, object) = completed(&set(mounted));
        ours(&validation::validate_create(&group, &version, &kind, &object))
    };
    assert_eq!(errors("data"), BTreeSet::new());
    let path = "spec.template.spec.containers[0].volumeMounts[0].name";
    assert!(errors("other").iter().any(|error| error.contains(path)), "{:?}", errors("other"));
}

#[test]
fn a_config_map_that_is_too_large_is_refused_as_a_whole() {
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big", "namespace": "d"},
        "data": {"a": "x".repeat(800 << 10), "b": "x".repeat(800 << 10)},
    });
    let errors = validation::validate_create("", "v1", "ConfigMap", &map);
    let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["[]: Too long: may not be more than 1048576 bytes"]);
}
