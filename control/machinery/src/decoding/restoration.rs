//! Whether a tree of values is an object of its kind, as upstream judges what a strategic merge patch made: not by its
//! decoder of JSON but field by field, in the order of the Go struct and in words of its own.

use serde_json::{Map, Value};

use super::{Check, FINDINGS_MAX, Path};
use crate::builtin;
use crate::builtin::types::{Element, Many, Types};
use crate::findings::Findings;
use crate::go_text;

/// Checks an object of a built-in kind, and finds its unknown fields, as `unknown field "spec.foo"`, by name. Objects of
/// other kinds pass.
///
/// # Errors
///
/// What upstream's converter says of the first value that has the wrong type.
pub fn restore(group: &str, version: &str, kind: &str, object: &Value) -> Result<Vec<String>, String> {
    let types = builtin::types();
    let mut restoration = Restoration { types, unknown: Findings::new(FINDINGS_MAX) };
    if let Some(at) = types.object(group, version, kind) {
        restoration.value(Element::Message(at), &Path::ROOT, object)?;
    }
    let mut unknown = restoration.unknown.into_vec();
    unknown.sort_unstable();
    Ok(unknown)
}

struct Restoration {
    types: &'static Types,
    unknown: Findings,
}

impl Restoration {
    fn message(&mut self, at: usize, path: &Path<'_>, map: &Map<String, Value>) -> Result<(), String> {
        let message = &self.types.messages[at];
        if message.object {
            for name in ["kind", "apiVersion"] {
                self.value(Element::String, &path.key(name), map.get(name).unwrap_or(&Value::Null))?;
            }
        }
        self.fields(at, path, map)?;
        for key in map.keys() {
            let own = message.object && matches!(key.as_str(), "apiVersion" | "kind");
            if !own && self.types.field(at, key).is_none() {
                self.unknown.tell(format_args!("unknown field \"{}\"", path.key(key)));
            }
        }
        Ok(())
    }

    /// The known fields, with those of structs that stand in the same JSON object.
    fn fields(&mut self, at: usize, path: &Path<'_>, map: &Map<String, Value>) -> Result<(), String> {
        for row in &self.types.messages[at].fields {
            if let ("", Element::Message(inner)) = (row.json, row.kind.of) {
                self.fields(inner, path, map)?;
                continue;
            }
            let inner = path.key(row.json);
            match (row.kind.many, map.get(row.json)) {
                (_, None | Some(Value::Null)) => {}
                (Many::One, Some(value)) => self.value(row.kind.of, &inner, value)?,
                (Many::List, Some(Value::Array(list))) => {
                    for (index, item) in list.iter().enumerate() {
                        self.value(row.kind.of, &inner.index(index), item)?;
                    }
                }
                (Many::Map, Some(Value::Object(entries))) => {
                    for (key, item) in entries {
                        self.value(row.kind.of, &inner.key(key), item)?;
                    }
                }
                (Many::List, Some(value)) => {
                    return Err(format!("cannot restore slice from {}", word(value)));
                }
                (Many::Map, Some(value)) => return Err(format!("cannot restore map from {}", word(value))),
            }
        }
        Ok(())
    }

    fn value(&mut self, of: Element, path: &Path<'_>, value: &Value) -> Result<(), String> {
        match (of, value) {
            (_, Value::Null) => Ok(()),
            (Element::Message(at), Value::Object(map)) => self.message(at, path, map),
            (Element::Message(_), value) => Err(format!("cannot restore struct from: {}", word(value))),
            (Element::String, Value::String(_))
            | (Element::Bool, Value::Bool(_))
            | (Element::Double, Value::Number(_)) => Ok(()),
            // Go makes a letter of a whole number, which upstream forbids in other words.
            (Element::String, Value::Number(number)) if !number.is_f64() => {
                Err("cannot convert int64 to string".to_owned())
            }
            (Element::Int32 | Element::Int64, Value::Number(number)) if !number.is_f64() => Ok(()),
            (Element::Int32 | Element::Int64, Value::Number(number)) => {
                match number.as_f64().is_some_and(|number| number.fract() == 0.0) {
                    true => Ok(()),
                    false => Err(format!("cannot convert float64 to {}", scalar(of))),
                }
            }
            (Element::String | Element::Bool | Element::Double | Element::Int32 | Element::Int64, _) => {
                Err(format!("unrecognized type: {}", scalar(of)))
            }
            (Element::Bytes, value) if !value.is_string() => {
                Err(format!("cannot restore slice from {}", word(value)))
            }
            // The rest reads JSON of its own.
            _ => Check { types: self.types, unknown: &mut self.unknown }.value(of, path, None, value),
        }
    }
}

/// What Go's reflection calls the sort of a value.
fn word(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        scalar => go_text::type_name(scalar),
    }
}

fn scalar(of: Element) -> &'static str {
    match of {
        Element::Bool => "bool",
        Element::Int32 => "int32",
        Element::Int64 => "int64",
        Element::Double => "float64",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(spec: &Value) -> Result<Vec<String>, String> {
        restore("apps", "v1", "Deployment", &json!({"kind": "Deployment", "metadata": {}, "spec": spec}))
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_as_the_converter_words_it() {
        let pod = |spec: Value| json!({"template": {"spec": spec}});
        for (spec, why) in [
            (json!({"replicas": "two"}), "unrecognized type: int32"),
            (json!({"paused": 1}), "unrecognized type: bool"),
            (json!({"minReadySeconds": 1.5}), "cannot convert float64 to int32"),
            (json!("x"), "cannot restore struct from: string"),
            (pod(json!({"nodeSelector": [1]})), "cannot restore map from slice"),
            (pod(json!({"nodeSelector": {"a": 5}})), "cannot convert int64 to string"),
            (pod(json!({"containers": [{"env": {}}]})), "cannot restore slice from map"),
            (
                json!({"strategy": {"rollingUpdate": {"maxSurge": []}}}),
                "json: cannot unmarshal array into Go value of type int32",
            ),
        ] {
            assert_eq!(deployment(&spec).unwrap_err(), why, "{spec}");
        }
    }

    #[test]
    fn unknown_fields_are_told_by_name() {
        let spec = json!({"z": 1, "template": {"spec": {"b": 1, "containers": [{"a": 1, "name": "x"}]}}});
        assert_eq!(
            deployment(&spec).unwrap(),
            [
                "unknown field \"spec.template.spec.b\"",
                "unknown field \"spec.template.spec.containers[0].a\"",
                "unknown field \"spec.z\""
            ]
        );
    }
}
