//! Filling in defaults.

use serde_json::Value;

use super::{Additional, Schema};

/// Fills in the defaults of `schema` below `value`, and drops nulls of fields that take none.
pub(super) fn default(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, field) in &schema.properties {
                let absent = match map.get(&**name) {
                    None => true,
                    Some(Value::Null) if !field.nullable => {
                        map.remove(&**name);
                        true
                    }
                    Some(_) => false,
                };
                if let (true, Some(filled)) = (absent, &field.default) {
                    map.insert(name.to_string(), filled.clone());
                }
                if let Some(inner) = map.get_mut(&**name) {
                    default(field, inner);
                }
            }
            if let Additional::Schema(values) = &schema.additional {
                for inner in map.values_mut() {
                    fill(values, inner);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                for inner in list {
                    fill(items, inner);
                }
            }
        }
        _ => {}
    }
}

/// An entry of a map or list keeps its place: a null that may not be becomes the default, if there is one.
fn fill(schema: &Schema, value: &mut Value) {
    if let (true, false, Some(filled)) = (value.is_null(), schema.nullable, &schema.default) {
        *value = filled.clone();
    }
    default(schema, value);
}
