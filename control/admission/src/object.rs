//! Reading and writing the parts of an object that stages look at.

use serde_json::{Map, Value, json};

/// A text of the object's metadata; empty where there is none.
pub fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    text(object, &["metadata", field])
}

/// The object's name.
pub fn name(object: &Value) -> &str {
    meta(object, "name")
}

/// The object's namespace; empty where it has none.
pub fn namespace(object: &Value) -> &str {
    meta(object, "namespace")
}

/// The name of a part of an object, such as a container.
pub fn name_of(part: &Value) -> &str {
    text(part, &["name"])
}

/// Whether deletion has begun.
pub fn is_deleting(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// The object's labels.
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    at(object, &["metadata", "labels"])?.as_object()
}

/// An annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "annotations", key])?.as_str()
}

/// Sets an annotation.
pub fn annotate(object: &mut Value, key: &str, value: &str) {
    set(object, &["metadata", "annotations", key], value.into());
}

/// The value at a path of fields, where there is one that is not null.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, field| value.get(*field)).filter(|value| !value.is_null())
}

/// The text at a path of fields; empty where there is none.
pub fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a path of fields; empty where there is none.
pub fn list<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The map at a path of fields; no entries where there is none.
pub fn entries<'a>(object: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let map = at(object, path).and_then(Value::as_object);
    map.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// Sets the value at a path of fields, and makes the objects on the way.
pub fn set(object: &mut Value, path: &[&str], value: Value) {
    let Some((last, way)) = path.split_last() else { return };
    let mut place = object;
    for field in way {
        place = map_of(place).entry(*field).or_insert(Value::Null);
    }
    map_of(place).insert((*last).to_owned(), value);
}

/// The list at a path of fields, made if it is not there.
pub fn list_mut<'a>(object: &'a mut Value, path: &[&str]) -> &'a mut Vec<Value> {
    let mut place = object;
    for field in path {
        place = map_of(place).entry(*field).or_insert(Value::Null);
    }
    if !place.is_array() {
        *place = json!([]);
    }
    match place {
        Value::Array(list) => list,
        _ => unreachable!("made a list above"),
    }
}

/// The value as a map; anything else is replaced by an empty one.
fn map_of(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_made() {
        let mut object = json!({"spec": {"replicas": 1, "none": null}});
        set(&mut object, &["metadata", "labels", "a"], json!("b"));
        list_mut(&mut object, &["spec", "list"]).push(json!(1));
        assert_eq!(
            object,
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1, "none": null, "list": [1]}})
        );
        assert_eq!(at(&object, &["spec", "none"]), None);
        assert_eq!(list(&object, &["spec", "list"]), [json!(1)]);
        assert_eq!(text(&object, &["spec", "replicas"]), "");
    }
}
