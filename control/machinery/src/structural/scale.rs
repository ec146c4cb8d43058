//! What a custom resource may hold where its scale subresource finds its numbers.

use serde_json::Value;

use crate::field::{FieldError, Path};
use crate::resource::Scale;

/// The most replicas.
const MOST: i64 = i32::MAX as i64;

/// Checks the numbers and the selector, or those of the status alone.
pub(super) fn check(scale: &Scale, object: &Value, status_alone: bool, found: &mut Vec<FieldError>) {
    if !status_alone {
        replicas(&scale.spec_replicas, object, found);
    }
    replicas(&scale.status_replicas, object, found);
    if let Some(selector) = &scale.selector
        && let Some(detail) = stranger(selector, object, "string", Value::is_string)
    {
        found.push(FieldError::invalid(&Path::ROOT.child(selector), "", detail));
    }
}

fn replicas(path: &str, object: &Value, found: &mut Vec<FieldError>) {
    if let Some(detail) = stranger(path, object, "int64", |value| value.as_i64().is_some()) {
        found.push(FieldError::invalid(&Path::ROOT.child(path), 0, detail));
        return;
    }
    let told = object.pointer(&path.replace('.', "/")).and_then(Value::as_i64).unwrap_or(0);
    let detail = match told {
        ..0 => "should be a non-negative integer".to_owned(),
        0..=MOST => return,
        _ => format!("should be less than or equal to {MOST}"),
    };
    found.push(FieldError::invalid(&Path::ROOT.child(path), told, detail));
}

/// Why the value at `path`, if there is one, is not of the type that Go calls `wanted`.
fn stranger(path: &str, object: &Value, wanted: &str, is: impl Fn(&Value) -> bool) -> Option<String> {
    let mut at = object;
    let mut walked = String::new();
    for name in path.split('.').skip(1) {
        walked.extend([".", name]);
        let Value::Object(map) = at else {
            return Some(refusal(&walked, at, "map[string]interface{}"));
        };
        at = map.get(name)?;
    }
    (!is(at)).then(|| refusal(path, at, wanted))
}

fn refusal(path: &str, value: &Value, wanted: &str) -> String {
    let (shown, actual) = match value {
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(flag) => (flag.to_string(), "bool"),
        Value::Number(number) if number.is_f64() => (number.to_string(), "float64"),
        Value::Number(number) => (number.to_string(), "int64"),
        Value::String(text) => (text.clone(), "string"),
        Value::Array(_) => (go_text(value), "[]interface {}"),
        Value::Object(_) => (go_text(value), "map[string]interface {}"),
    };
    format!("{path} accessor error: {shown} is of the type {actual}, expected {wanted}")
}

/// A value as Go prints it: `map[a:[1 2]]`.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(go_text).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let entries = map.iter().map(|(name, value)| format!("{name}:{}", go_text(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
        plain => plain.to_string(),
    }
}
