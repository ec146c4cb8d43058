//! What sets and lists with keys may not hold: the same twice.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{Additional, Schema};
use crate::field::{FieldError, Path};
use crate::schema::ListType;

/// Everything that is wrong with the sets and keyed lists in `value`.
pub(super) fn check(schema: &Schema, value: &Value, path: &Path<'_>, found: &mut Vec<FieldError>) {
    if !schema.tells_elements {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if let Additional::Schema(values) = &schema.additional {
                    check(values, inner, &path.key(name), found);
                }
                if let Some(field) = schema.properties.get(name.as_str()) {
                    check(field, inner, &path.child(name), found);
                }
            }
        }
        Value::Array(list) => {
            match &schema.list_type {
                Some(ListType::Set) => {
                    for index in second(list) {
                        found.push(FieldError::duplicate(&path.index(index), list[index].clone()));
                    }
                }
                Some(ListType::Map(keys)) => keyed(list, keys, path, found),
                Some(ListType::Atomic) | None => {}
            }
            if let Some(items) = &schema.items {
                for (index, inner) in list.iter().enumerate() {
                    check(items, inner, &path.index(index), found);
                }
            }
        }
        _ => {}
    }
}

/// Where each value that is there more than once is there for the second time.
fn second(list: &[Value]) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(list.len());
    let mut again = Vec::new();
    for (index, value) in list.iter().enumerate() {
        // Objects are ordered maps, so that equal values read equal.
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            again.push(index);
        }
    }
    again
}

fn keyed(list: &[Value], keys: &[Box<str>], path: &Path<'_>, found: &mut Vec<FieldError>) {
    let stranger = list.iter().position(|value| !value.is_null() && !value.is_object());
    if let Some(index) = stranger {
        let detail = "must be an object for an array of list-type map";
        found.push(FieldError::invalid(&path.index(index), list[index].clone(), detail));
        return;
    }
    let own = |value: &Value| -> Value {
        let part = |key: &str| Some((key.to_owned(), value.get(key)?.clone()));
        Value::Object(keys.iter().filter_map(|key| part(key)).collect::<Map<_, _>>())
    };
    let all: Vec<Value> = list.iter().map(own).collect();
    for index in second(&all) {
        let value = all.get(index).cloned().unwrap_or_else(|| json!({}));
        found.push(FieldError::duplicate(&path.index(index), value));
    }
}
