//! Reading and writing the parts of an object that every kind has.

use serde_json::{Map, Value, json};

/// A text of the object's metadata; empty where there is none.
pub fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// The object's name.
pub fn name(object: &Value) -> &str {
    meta(object, "name")
}

/// The object's namespace, where it has one.
pub fn namespace(object: &Value) -> Option<&str> {
    Some(meta(object, "namespace")).filter(|namespace| !namespace.is_empty())
}

/// A list of texts of the object's metadata.
pub fn meta_list<'a>(object: &'a Value, field: &str) -> Vec<&'a str> {
    let list = object.get("metadata").and_then(|meta| meta.get(field)).and_then(Value::as_array);
    list.map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Whether deletion has begun.
pub fn deleting(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// The labels.
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("labels")?.as_object()
}

/// The object's metadata, made if it is not there. The object must be a JSON object; anything else is replaced.
pub fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    section_mut(object, "metadata")
}

/// A section of the object, such as `spec`, made if it is not there.
pub fn section_mut<'a>(object: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let Value::Object(fields) = object else { unreachable!("made an object above") };
    let section = fields.entry(name).or_insert_with(|| json!({}));
    if !section.is_object() {
        *section = json!({});
    }
    let Value::Object(section) = section else { unreachable!("made an object above") };
    section
}

/// Sets a text of the metadata.
pub fn set_meta(object: &mut Value, field: &str, value: impl Into<Value>) {
    meta_mut(object).insert(field.to_owned(), value.into());
}

/// Replaces a top-level field by the one of another object, or takes it away if that has none.
pub fn take_over(object: &mut Value, from: &Value, field: &str) {
    let Value::Object(fields) = object else { return };
    match from.get(field) {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
}

/// Replaces a field of the metadata by that of another object, or takes it away if that has none.
pub fn take_over_meta(object: &mut Value, from: &Value, field: &str) {
    match from.get("metadata").and_then(|meta| meta.get(field)) {
        Some(value) => set_meta(object, field, value.clone()),
        None => drop(meta_mut(object).remove(field)),
    }
}

/// The value at a dotted path such as `.spec.replicas`.
pub fn at_path<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|part| !part.is_empty()).try_fold(object, |value, part| value.get(part))
}

/// Sets the value at a dotted path, and makes the objects on the way.
pub fn set_path(object: &mut Value, path: &str, value: Value) {
    let parts: Vec<&str> = path.split('.').filter(|part| !part.is_empty()).collect();
    let Some((last, way)) = parts.split_last() else { return };
    let mut place = object;
    for part in way {
        if !place.is_object() {
            *place = json!({});
        }
        let Value::Object(fields) = place else { return };
        place = fields.entry(*part).or_insert_with(|| json!({}));
    }
    if !place.is_object() {
        *place = json!({});
    }
    if let Value::Object(fields) = place {
        fields.insert((*last).to_owned(), value);
    }
}

/// Writes a condition; its time is that of the last change of its truth.
pub fn set_condition(object: &mut Value, mut condition: Value, now: &str) {
    let status = section_mut(object, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Value::Array(conditions) = conditions else { return };
    condition["lastTransitionTime"] = now.into();
    match conditions.iter_mut().find(|own| own.get("type") == condition.get("type")) {
        Some(own) => {
            if own.get("status") == condition.get("status") {
                condition["lastTransitionTime"] = own.get("lastTransitionTime").cloned().unwrap_or_default();
            }
            *own = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_made() {
        let mut object = json!({"spec": {"replicas": 1}});
        set_path(&mut object, ".spec.replicas", json!(3));
        set_path(&mut object, ".status.ready", json!(2));
        assert_eq!(at_path(&object, ".spec.replicas"), Some(&json!(3)));
        assert_eq!(at_path(&object, ".status.ready"), Some(&json!(2)));
        assert_eq!(at_path(&object, ".status.none"), None);
    }

    #[test]
    fn metadata_is_made_where_it_is_missing() {
        let mut object = json!({"metadata": null});
        set_meta(&mut object, "name", "a");
        assert_eq!((name(&object), namespace(&object)), ("a", None));
    }
}
