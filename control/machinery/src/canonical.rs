//! Objects of built-in kinds in the one form in which the API keeps them.
//!
//! Upstream's JSON goes through Go structs, and comes out changed: unknown fields are gone, empty fields marked
//! `omitempty` are gone, structs that are no pointers are always there, quantities and times have one writing. Clients
//! and field managers see that form, so it is made here, from the table.

use serde_json::{Map, Value};

use crate::builtin;
use crate::builtin::types::{Element, Many, Message, Row};
use crate::quantity::Quantity;
use crate::timestamp::Timestamp;

/// Brings an object of a built-in kind into its canonical form; an object of another kind stays as it is. Values of the
/// wrong type stay too: [`crate::validation`] refuses them.
pub fn apply(group: &str, version: &str, kind: &str, object: &mut Value) {
    let types = builtin::types();
    if let (Some(at), Value::Object(map)) = (types.object(group, version, kind), object) {
        message(&types.messages[at], map);
    }
}

/// Brings the `metadata` of any object into its canonical form.
pub fn metadata(object: &mut Value) {
    let types = builtin::types();
    if let (Some(at), Some(Value::Object(map))) = (types.object_meta(), object.get_mut("metadata")) {
        message(&types.messages[at], map);
    }
}

/// Brings a value of the message into its canonical form.
fn message(of: &Message, map: &mut Map<String, Value>) {
    map.retain(|key, value| match key.as_str() {
        "kind" | "apiVersion" if of.object => !is_zero(value),
        key => is_known(of, key),
    });
    fields(of, map);
}

/// Whether this is the JSON name of a field of a message, or of one that stands in it.
fn is_known(of: &Message, name: &str) -> bool {
    of.fields.iter().any(|row| match row.kind.of {
        Element::Message(at) if row.json.is_empty() => is_known(&builtin::types().messages[at], name),
        _ => row.json == name,
    })
}

fn fields(of: &Message, map: &mut Map<String, Value>) {
    for row in &of.fields {
        match row.kind.of {
            Element::Message(at) if row.json.is_empty() => fields(&builtin::types().messages[at], map),
            _ => match map.get_mut(row.json) {
                Some(there) => match field(row, there.take()) {
                    Some(value) => *there = value,
                    None => drop(map.remove(row.json)),
                },
                None => {
                    let made = field(row, Value::Null);
                    made.into_iter().for_each(|value| drop(map.insert(row.json.to_owned(), value)));
                }
            },
        }
    }
}

/// The field's value as Go would write it; nothing where it would leave it out.
pub(crate) fn field(row: &Row, mut value: Value) -> Option<Value> {
    if row.pointer || row.kind.many != Many::One {
        if row.omit_empty && (value.is_null() || (!row.pointer && is_empty(&value))) {
            return None;
        }
        if !value.is_null() {
            many(row, &mut value);
        }
        return Some(value);
    }
    value = one(row.kind.of, value);
    let left_out = match row.kind.of {
        // Go never leaves out a struct, unless it is asked to leave out the zero one.
        Element::Message(_)
        | Element::Quantity
        | Element::IntOrString
        | Element::Time
        | Element::MicroTime => row.omit_zero && is_zero(&value),
        Element::Raw | Element::Json | Element::Fields => row.omit_zero && value.is_null(),
        _ => row.omit_empty && is_zero(&value),
    };
    (!left_out).then_some(value)
}

fn many(row: &Row, value: &mut Value) {
    match (row.kind.many, value) {
        (Many::List, Value::Array(list)) => {
            for item in list {
                *item = one(row.kind.of, item.take());
            }
        }
        (Many::Map, Value::Object(map)) => {
            for item in map.values_mut() {
                *item = one(row.kind.of, item.take());
            }
        }
        (Many::One, value) => *value = one(row.kind.of, value.take()),
        _ => {}
    }
}

/// One value as Go would write it, with `null` standing for the zero value.
fn one(of: Element, mut value: Value) -> Value {
    match (of, &mut value) {
        (Element::Message(at), Value::Null) => {
            let mut map = Map::new();
            message(&builtin::types().messages[at], &mut map);
            return Value::Object(map);
        }
        (Element::Message(at), Value::Object(map)) => message(&builtin::types().messages[at], map),
        (Element::PropsOrArray | Element::PropsOrBool | Element::PropsOrStrings, Value::Object(map)) => {
            let types = builtin::types();
            message(&types.messages[types.schema_props], map);
        }
        (Element::PropsOrArray, Value::Array(list)) => {
            let props = Element::Message(builtin::types().schema_props);
            for item in list {
                *item = one(props, item.take());
            }
        }
        (Element::Strings, Value::Array(list)) => {
            for item in list.iter_mut().filter(|item| item.is_null()) {
                *item = "".into();
            }
        }
        (Element::String, Value::Null) => return "".into(),
        (Element::Bool, Value::Null) => return false.into(),
        (Element::Int32 | Element::Int64 | Element::IntOrString, Value::Null) => return 0.into(),
        (Element::Double, Value::Null) => return 0.0.into(),
        (Element::Quantity, Value::Null) => return "0".into(),
        (Element::Quantity, Value::String(text)) => {
            if let Ok(quantity) = Quantity::parse(text) {
                return quantity.to_string().into();
            }
        }
        (Element::Quantity, Value::Number(number)) => {
            if let Ok(quantity) = Quantity::parse(&number.to_string()) {
                return quantity.to_string().into();
            }
        }
        (Element::Time | Element::MicroTime, Value::String(text)) => match Timestamp::parse(text) {
            Some(time) if time.is_zero() => return Value::Null,
            Some(time) if of == Element::Time => return time.to_string().into(),
            Some(time) => return time.micro().into(),
            None => {}
        },
        _ => {}
    }
    value
}

/// Whether a list, map or byte string holds nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Whether this is what Go has where nothing was said.
pub(crate) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => is_empty(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn canonical(group: &str, kind: &str, mut object: Value) -> Value {
        apply(group, "v1", kind, &mut object);
        object
    }

    #[test]
    fn what_go_leaves_out_is_left_out_and_what_it_always_writes_is_there() {
        let given = json!({"kind": "Pod", "apiVersion": "v1", "foo": 1, "metadata": {"labels": {}, "name": ""}, "spec": {
            "containers": [{"name": "x", "args": [], "stdin": false, "bar": 2, "livenessProbe": {}}, null],
            "replicas": 3, "nodeSelector": null, "tolerations": [{"tolerationSeconds": 0}],
        }});
        let expected = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {}, "status": {}, "spec": {"containers": [
            {"name": "x", "resources": {}, "livenessProbe": {}}, {"name": "", "resources": {}},
        ], "tolerations": [{"tolerationSeconds": 0}]}});
        assert_eq!(canonical("", "Pod", given), expected);
    }

    #[test]
    fn lists_that_must_be_there_are_null_where_nobody_gave_them() {
        assert_eq!(
            canonical("rbac.authorization.k8s.io", "Role", json!({})),
            json!({"metadata": {}, "rules": null})
        );
    }

    #[test]
    fn a_null_among_strings_is_an_empty_one() {
        let given = json!({"metadata": {}, "spec": {"extra": {"a": [null, "b"]}}});
        let made = canonical("authorization.k8s.io", "SubjectAccessReview", given);
        assert_eq!(made["spec"]["extra"], json!({"a": ["", "b"]}));
    }

    #[test]
    fn quantities_and_times_have_one_writing() {
        let given = json!({"metadata": {"creationTimestamp": "2026-01-01T02:00:00.5+02:00"}, "spec": {"hard": {
            "cpu": 0.5, "memory": "1024Mi", "odd": "x",
        }}});
        let expected = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"hard": {
            "cpu": "500m", "memory": "1Gi", "odd": "x",
        }}, "status": {}});
        assert_eq!(canonical("", "ResourceQuota", given), expected);
    }

    #[test]
    fn values_of_the_wrong_type_are_left_for_validation() {
        let given = json!({"metadata": 1, "spec": {"containers": {"a": 1}}, "status": {}});
        assert_eq!(canonical("", "Pod", given.clone()), given);
    }

    #[test]
    fn the_canonical_form_is_its_own_canonical_form() {
        let given = json!({"metadata": {}, "spec": {"template": {}, "selector": {}}});
        let once = canonical("apps", "Deployment", given);
        assert_eq!(canonical("apps", "Deployment", once.clone()), once);
    }
}
