//! What is wrong with the metadata of an object, in the words of Kubernetes.

use serde_json::{Map, Value};

use super::{FOREGROUND, NameRule, ORPHAN, name};
use crate::field::{Bad, FieldError, Path};
use crate::go_text;
use crate::label::{key_problems, value_problems};

/// The bytes that all annotations of an object may take together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Everything that is wrong with the metadata of a new object, whose kind has this rule for names and lives in namespaces
/// or beside them.
pub fn validate(object: &Value, rule: NameRule, namespaced: bool) -> Vec<FieldError> {
    let empty = Map::new();
    let path = Path::ROOT.child("metadata");
    let mut wrong = Vec::new();
    metadata(super::of(object).unwrap_or(&empty), rule, namespaced, &path, &mut wrong);
    wrong
}

/// What is wrong with an object within another (`x-kubernetes-embedded-resource`) as an object.
pub fn validate_embedded(object: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    for name in ["apiVersion", "kind"] {
        let at = path.child(name);
        let detail = match object.get(name) {
            None => {
                wrong.push(FieldError::required(&at, ""));
                continue;
            }
            Some(Value::String(text)) if text.is_empty() => "must not be empty".to_owned(),
            Some(Value::String(text)) if name == "apiVersion" => match text.matches('/').count() {
                0 | 1 => continue,
                _ => format!("unexpected GroupVersion string: {text}"),
            },
            Some(Value::String(text)) => match name::dns_label_1035(&text.to_lowercase()).as_slice() {
                [] => continue,
                what => format!("may have mixed case, but should otherwise match: {}", what.join(",")),
            },
            Some(_) => "must be a string".to_owned(),
        };
        wrong.push(FieldError::invalid(&at, object.get(name).cloned().unwrap_or_default(), detail));
    }
    let at = path.child("metadata");
    match object.get("metadata") {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) => {
            for (field, value) in [("name", map.get("name")), ("generateName", map.get("generateName"))] {
                let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) else {
                    continue;
                };
                for what in NameRule::Segment.check(text, field == "generateName") {
                    wrong.push(FieldError::invalid(&at.child(field), text, what));
                }
            }
            common(map, &at, &mut wrong);
        }
        Some(other) => wrong.push(FieldError::type_invalid(&at, other.clone(), "must be an object")),
    }
    wrong
}

/// Everything that is wrong with the metadata of `new` in the place of `old`.
pub fn validate_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let empty = Map::new();
    let (new, old) = (super::of(new).unwrap_or(&empty), super::of(old).unwrap_or(&empty));
    let path = Path::ROOT.child("metadata");
    let mut wrong = Vec::new();
    if present(old, "deletionTimestamp") {
        let known: Vec<&str> = texts(old, "finalizers").collect();
        let added: Vec<String> = texts(new, "finalizers")
            .filter(|name| !known.contains(name))
            .map(|name| format!("\"{name}\""))
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            wrong.push(FieldError::forbidden(&path.child("finalizers"), detail));
        }
    }
    let count = |metadata: &Map<String, Value>| {
        metadata.get("generation").and_then(Value::as_i64).unwrap_or_default()
    };
    if count(new) < count(old) {
        wrong.push(FieldError::invalid(&path.child("generation"), count(new), "must not be decremented"));
    }
    for name in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let value = |metadata: &Map<String, Value>| metadata.get(name).cloned().unwrap_or_default();
        if value(new) != value(old) {
            wrong.push(FieldError::invalid(&path.child(name), value(new), "field is immutable"));
        }
    }
    common(new, &path, &mut wrong);
    wrong
}

fn present(map: &Map<String, Value>, name: &str) -> bool {
    map.get(name).is_some_and(|value| !value.is_null())
}

fn texts<'a>(map: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a str> {
    map.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn metadata(
    map: &Map<String, Value>,
    rule: NameRule,
    namespaced: bool,
    path: &Path<'_>,
    wrong: &mut Vec<FieldError>,
) {
    let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut refuse = |field: &str, problems: Vec<String>| {
        let at = path.child(field);
        wrong.extend(problems.into_iter().map(|what| FieldError::invalid(&at, text(field), what)));
    };
    if !text("generateName").is_empty() {
        refuse("generateName", rule.check(text("generateName"), true));
    }
    if !text("name").is_empty() {
        refuse("name", rule.check(text("name"), false));
    }
    if namespaced && !text("namespace").is_empty() {
        refuse("namespace", name::dns_label(text("namespace")));
    }
    if text("name").is_empty() {
        wrong.push(FieldError::required(&path.child("name"), "name or generateName is required"));
    }
    match (namespaced, text("namespace").is_empty()) {
        (true, true) => wrong.push(FieldError::required(&path.child("namespace"), "")),
        (false, false) => {
            wrong.push(FieldError::forbidden(&path.child("namespace"), "not allowed on this type"));
        }
        _ => {}
    }
    if let Some(generation) = map.get("generation").and_then(Value::as_i64).filter(|count| *count < 0) {
        let detail = "must be greater than or equal to 0";
        wrong.push(FieldError::invalid(&path.child("generation"), generation, detail));
    }
    common(map, path, wrong);
}

/// The rules that hold for new and changed objects alike.
fn common(map: &Map<String, Value>, path: &Path<'_>, wrong: &mut Vec<FieldError>) {
    let entries = |name: &str| map.get(name).and_then(Value::as_object).into_iter().flatten();
    let at = path.child("labels");
    for (key, value) in entries("labels") {
        wrong.extend(key_problems(key).into_iter().map(|what| FieldError::invalid(&at, key.as_str(), what)));
        let value = value.as_str().unwrap_or_default();
        wrong.extend(value_problems(value).into_iter().map(|what| FieldError::invalid(&at, value, what)));
    }
    let at = path.child("annotations");
    let mut size = 0;
    for (key, value) in entries("annotations") {
        // Upper case in the prefix is taken, as ever was.
        let problems = key_problems(&key.to_lowercase());
        wrong.extend(problems.into_iter().map(|what| FieldError::invalid(&at, key.as_str(), what)));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        wrong.push(FieldError::too_long(&at, ANNOTATIONS_MAX));
    }
    finalizers(map, &path.child("finalizers"), wrong);
    owners(map, &path.child("ownerReferences"), wrong);
}

fn finalizers(map: &Map<String, Value>, path: &Path<'_>, wrong: &mut Vec<FieldError>) {
    for name in texts(map, "finalizers") {
        wrong.extend(key_problems(name).into_iter().map(|what| FieldError::invalid(path, name, what)));
    }
    let has = |wanted: &str| texts(map, "finalizers").any(|name| name == wanted);
    if has(ORPHAN) && has(FOREGROUND) {
        let detail = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        let value = map.get("finalizers").cloned().unwrap_or_default();
        wrong.push(FieldError::invalid(path, value, detail));
    }
}

fn owners(map: &Map<String, Value>, path: &Path<'_>, wrong: &mut Vec<FieldError>) {
    let list = map.get("ownerReferences").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut controller: Option<String> = None;
    for owner in list {
        let text = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
        let version = text("apiVersion").rsplit('/').next().unwrap_or_default();
        if version.is_empty() || text("apiVersion").matches('/').count() > 1 {
            let at = path.child("apiVersion");
            wrong.push(FieldError::invalid(&at, text("apiVersion"), "version must not be empty"));
        }
        for name in ["kind", "name", "uid"] {
            if text(name).is_empty() {
                wrong.push(FieldError::invalid(&path.child(name), text(name), "must not be empty"));
            }
        }
        if (text("apiVersion"), text("kind")) == ("v1", "Event") {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            wrong.push(FieldError::invalid(path, owner.clone(), detail));
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            if let Some(first) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {}/{}",
                    text("kind"),
                    text("name")
                );
                wrong.push(FieldError::invalid(path, Bad::Text(go_text::owners(list)), detail));
            } else {
                controller = Some(format!("{}/{}", text("kind"), text("name")));
            }
        }
    }
}
