//! Custom resources, beside what Kubernetes itself says of the same objects (`conformance/cel`).

use serde_json::{Value, json};
use xebec_machinery::metadata::{self, NameRule};
use xebec_machinery::resource::Scale;
use xebec_machinery::structural::{Change, compile};

/// The object with what every object has.
fn whole(object: &Value) -> Value {
    let mut whole = json!({
        "apiVersion": "example.com/v1", "kind": "Thing",
        "metadata": {"name": "a", "namespace": "default", "resourceVersion": "1"},
    });
    for (name, value) in object.as_object().expect("an object") {
        match value.as_object().filter(|_| name == "metadata") {
            Some(metadata) => {
                for (name, value) in metadata {
                    whole["metadata"][name] = value.clone();
                }
            }
            None => whole[name] = value.clone(),
        }
    }
    whole
}

fn answer(change: &Value) -> Value {
    let structural = match compile(&change["schema"]) {
        Ok(structural) => structural,
        Err(errors) => return json!({"compile": errors[0].to_string()}),
    };
    let text = |name: &str| change["scale"].get(name).and_then(Value::as_str).map(Into::into);
    let scale = change.get("scale").map(|_| Scale {
        spec_replicas: text("specReplicasPath").unwrap_or_default(),
        status_replicas: text("statusReplicasPath").unwrap_or_default(),
        selector: text("labelSelectorPath"),
    });
    let object = whole(&change["object"]);
    let old = change.get("old").map(whole);
    let (kind, errors) = match &old {
        None => (Change::Create, metadata::validate(&object, NameRule::Subdomain, true)),
        Some(old) if change["subresource"] == "status" => {
            (Change::Status(old), metadata::validate_update(old, &object))
        }
        Some(old) => (Change::Update(old), metadata::validate_update(old, &object)),
    };
    let verdict = structural.judge(&object, kind, scale.as_ref(), errors);
    let mut failures: Vec<String> = verdict.errors.iter().map(ToString::to_string).collect();
    let mut warnings = verdict.warnings;
    failures.sort();
    warnings.sort();
    let mut answer = json!({});
    for (name, list) in [("failures", failures), ("warnings", warnings)] {
        if !list.is_empty() {
            answer[name] = list.into();
        }
    }
    answer
}

#[test]
fn objects_are_judged_in_the_words_of_kubernetes() {
    let (given, expected) =
        (include_str!("data/objects/given.jsonl"), include_str!("data/objects/expected.jsonl"));
    let mut asked: Vec<Value> = Vec::new();
    let mut wrong = Vec::new();
    for (given, expected) in given.lines().zip(expected.lines()) {
        let question: Value = serde_json::from_str(given).unwrap();
        let mut change = question["change"].clone();
        if let Some(like) = question["like"].as_u64() {
            let like = &asked[like as usize - 1];
            for shared in ["schema", "scale", "status"] {
                if let Some(value) = like.get(shared) {
                    change[shared] = value.clone();
                }
            }
        }
        let (ours, theirs) = (answer(&change), serde_json::from_str::<Value>(expected).unwrap());
        if ours != theirs {
            let number = asked.len() + 1;
            wrong.push(format!("{number}: {given}\n  ours   {ours}\n  theirs {theirs}"));
        }
        asked.push(change);
    }
    assert_eq!(asked.len(), expected.lines().count());
    assert!(asked.len() >= 100, "only {} objects", asked.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), asked.len(), wrong.join("\n"));
}
