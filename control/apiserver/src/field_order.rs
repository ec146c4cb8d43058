//! The order in which an object's fields stand in JSON.
//!
//! Upstream's built-in kinds are Go structures, which begin with what the object is: `kind`, `apiVersion`, then `metadata`.
//! Custom resources are maps there and stand in the order of the alphabet, in which all objects rest here. No client should
//! mind, and some do.

use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use xebec_machinery::builtin;

/// What stands first.
const HEAD: [&str; 3] = ["kind", "apiVersion", "metadata"];
/// The same of the answer that is no object.
const STATUS: [&str; 8] =
    ["kind", "apiVersion", "metadata", "status", "message", "reason", "details", "code"];
/// Groups of which everything is a structure upstream, and which have no resources in the tables.
const STRUCTURES: [&str; 3] = ["meta.k8s.io", "metrics.k8s.io", "apidiscovery.k8s.io"];

/// An object, to be written in upstream's order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ordered<'a>(pub(crate) &'a Value);

/// An event of a watch, to be written in upstream's order.
#[derive(Debug, Serialize)]
pub(crate) struct OrderedEvent<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    pub(crate) object: Ordered<'a>,
}

/// Whatever may have objects in it: a list's items, a table's rows.
struct Elements<'a>(&'a Value);

/// One of them, which need not say what it is.
struct Element<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) if is_structure(fields) => {
                let is_status = fields.get("kind").is_some_and(|kind| kind == "Status");
                write(fields, if is_status { &STATUS } else { &HEAD }, serializer)
            }
            other => other.serialize(serializer),
        }
    }
}

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Array(elements) = self.0 else { return self.0.serialize(serializer) };
        let mut written = serializer.serialize_seq(Some(elements.len()))?;
        for element in elements {
            written.serialize_element(&Element(element))?;
        }
        written.end()
    }
}

impl Serialize for Element<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            // An item of a list that says what all of them are.
            Value::Object(fields) if !fields.contains_key("kind") && fields.contains_key("metadata") => {
                write(fields, &HEAD, serializer)
            }
            // A row of a table, with the object that it is about.
            Value::Object(fields) if fields.contains_key("cells") => {
                let mut written = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    match name.as_str() {
                        "object" => written.serialize_entry(name, &Ordered(value))?,
                        _ => written.serialize_entry(name, value)?,
                    }
                }
                written.end()
            }
            other => Ordered(other).serialize(serializer),
        }
    }
}

/// Writes these fields first and the others behind them.
fn write<S: Serializer>(
    fields: &Map<String, Value>,
    head: &[&str],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut written = serializer.serialize_map(Some(fields.len()))?;
    for name in head {
        if let Some(value) = fields.get(*name) {
            written.serialize_entry(name, value)?;
        }
    }
    for (name, value) in fields.iter().filter(|(name, _)| !head.contains(&name.as_str())) {
        match name.as_str() {
            "items" | "rows" => written.serialize_entry(name, &Elements(value))?,
            _ => written.serialize_entry(name, value)?,
        }
    }
    written.end()
}

/// Whether upstream has a structure for an object.
fn is_structure(fields: &Map<String, Value>) -> bool {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    STRUCTURES.contains(&group) || builtin::kind_node(group, version, kind).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(object: &Value) -> String {
        let text = serde_json::to_string(&Ordered(object)).unwrap();
        let again: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(again, *object, "nothing is lost");
        text
    }

    #[test]
    fn built_in_kinds_begin_with_what_they_are_and_others_do_not() {
        let map =
            json!({"apiVersion": "v1", "data": {"a": "1"}, "kind": "ConfigMap", "metadata": {"name": "a"}});
        assert_eq!(
            written(&map),
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"a":"1"}}"#
        );
        let custom = json!({"kind": "Kite", "apiVersion": "example.org/v1", "metadata": {}, "a": 1});
        assert_eq!(written(&custom), r#"{"a":1,"apiVersion":"example.org/v1","kind":"Kite","metadata":{}}"#);
        // Another's kind in a group of upstream's.
        let guest = json!({"kind": "Gate", "apiVersion": "networking.k8s.io/v1"});
        assert_eq!(written(&guest), r#"{"apiVersion":"networking.k8s.io/v1","kind":"Gate"}"#);
    }

    #[test]
    fn so_do_lists_and_what_is_in_them() {
        let list = json!({
            "kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
            "items": [{"data": {}, "metadata": {"name": "a"}}, "odd"],
        });
        let expected = r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a"},"data":{}},"odd"]}"#;
        assert_eq!(written(&list), expected);
        let custom = json!({
            "kind": "KiteList", "apiVersion": "example.org/v1", "metadata": {},
            "items": [{"kind": "Kite", "apiVersion": "example.org/v1"}],
        });
        assert!(written(&custom).starts_with(r#"{"apiVersion":"example.org/v1","items":[{"apiVersion""#));
        let table = json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": [],
            "rows": [{"cells": [], "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}}],
        });
        let expected = r#""rows":[{"cells":[],"object":{"kind":"PartialObjectMetadata","apiVersion""#;
        assert!(written(&table).contains(expected), "{}", written(&table));
    }

    #[test]
    fn a_status_stands_in_its_own_order_and_an_event_begins_with_its_type() {
        let status = xebec_machinery::status::Status::bad_request("wrong").to_value();
        let text = written(&status);
        let expected = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"wrong","reason":"BadRequest","code":400}"#;
        assert_eq!(text, expected);
        let event = OrderedEvent { kind: "ERROR", object: Ordered(&status) };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            format!(r#"{{"type":"ERROR","object":{expected}}}"#)
        );
    }
}
