//! Bringing an object into the shape of its kind: what the kind does not know is dropped and told, what has the wrong type
//! is refused, and `null` is the same as nothing, as it is to programs that decode into typed values.

use serde_json::{Map, Value};

use crate::schema::{Node, Shape};

/// A value that does not have the type of its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot unmarshal {found} into field {path} of type {wanted}; send a value of that type")]
pub struct TypeError {
    /// The field's path, such as `spec.replicas`.
    pub path: String,
    /// The type that was sent.
    pub found: &'static str,
    /// The type that the field has.
    pub wanted: &'static str,
}

/// Brings `object` into the shape of `node`, and gives the paths of the fields that were dropped.
///
/// # Errors
///
/// The first value that has the wrong type; the object is then changed in part.
pub fn conform(node: &Node, object: &mut Value) -> Result<Vec<String>, TypeError> {
    let mut walk = Walk { path: Vec::new(), unknown: Vec::new() };
    walk.value(node, object)?;
    Ok(walk.unknown)
}

enum Step {
    Field(String),
    Item(usize),
}

struct Walk {
    path: Vec<Step>,
    unknown: Vec<String>,
}

impl Walk {
    fn place(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if text.is_empty() => text.push_str(name),
                Step::Field(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                Step::Item(at) => text.push_str(&format!("[{at}]")),
            }
        }
        text
    }

    fn value(&mut self, node: &Node, value: &mut Value) -> Result<(), TypeError> {
        let wanted = match (&node.shape, &mut *value) {
            (Shape::Any, _) | (_, Value::Null) => return Ok(()),
            (Shape::String, Value::String(_)) | (Shape::Boolean, Value::Bool(_)) => return Ok(()),
            (Shape::Integer, Value::Number(number)) if whole(number) => return Ok(()),
            (Shape::Number, Value::Number(_)) => return Ok(()),
            (Shape::IntOrString, Value::String(_) | Value::Number(_)) => return Ok(()),
            (Shape::List { items, .. }, Value::Array(list)) => return self.list(items.node(), list),
            (Shape::Map { values, .. }, Value::Object(fields)) => return self.map(values.node(), fields),
            (Shape::Struct { .. }, Value::Object(fields)) => return self.fields(node, fields),
            (Shape::String, _) => "string",
            (Shape::Boolean, _) => "boolean",
            (Shape::Integer, _) => "integer",
            (Shape::Number, _) => "number",
            (Shape::IntOrString, _) => "integer or string",
            (Shape::List { .. }, _) => "list",
            (Shape::Map { .. } | Shape::Struct { .. }, _) => "object",
        };
        Err(TypeError { path: self.place(), found: kind_of(value), wanted })
    }

    fn list(&mut self, node: &Node, list: &mut [Value]) -> Result<(), TypeError> {
        for (at, item) in list.iter_mut().enumerate() {
            self.path.push(Step::Item(at));
            self.value(node, item)?;
            self.path.pop();
        }
        Ok(())
    }

    fn map(&mut self, node: &Node, fields: &mut Map<String, Value>) -> Result<(), TypeError> {
        for (name, value) in fields.iter_mut() {
            self.path.push(Step::Field(name.clone()));
            self.value(node, value)?;
            self.path.pop();
        }
        Ok(())
    }

    fn fields(&mut self, node: &Node, fields: &mut Map<String, Value>) -> Result<(), TypeError> {
        let keeps_unknown = matches!(node.shape, Shape::Struct { preserve_unknown: true, .. });
        let mut dropped = Vec::new();
        for (name, value) in fields.iter_mut() {
            self.path.push(Step::Field(name.clone()));
            match node.field(name) {
                Some(field) if value.is_null() && !field.node.node().nullable => dropped.push(name.clone()),
                Some(field) => self.value(field.node.node(), value)?,
                None if keeps_unknown => {}
                None => {
                    self.unknown.push(self.place());
                    dropped.push(name.clone());
                }
            }
            self.path.pop();
        }
        for name in dropped {
            fields.remove(&name);
        }
        Ok(())
    }
}

/// `1` and `1.0` are whole, `1.5` is not.
fn whole(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use serde_json::json;

    fn deployment(spec: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec})
    }

    fn node() -> &'static Node {
        builtin::kind_node("apps", "v1", "Deployment").unwrap()
    }

    #[test]
    fn unknown_fields_are_dropped_and_told_with_their_paths() {
        let mut object = deployment(json!({
            "replicas": 1, "foo": 2,
            "template": {"spec": {"containers": [{"name": "c", "imag": "x"}]}},
        }));
        let unknown = conform(node(), &mut object).unwrap();
        assert_eq!(unknown, ["spec.foo", "spec.template.spec.containers[0].imag"]);
        assert!(object["spec"].get("foo").is_none());
    }

    #[test]
    fn a_wrong_type_is_refused_by_its_path() {
        let error = conform(node(), &mut deployment(json!({"replicas": "three"}))).unwrap_err();
        assert_eq!((error.path.as_str(), error.found, error.wanted), ("spec.replicas", "string", "integer"));
        let containers = json!({"template": {"spec": {"containers": {"name": "c"}}}});
        assert!(conform(node(), &mut deployment(containers)).is_err());
    }

    #[test]
    fn null_is_nothing() {
        let mut object = deployment(json!({"replicas": null, "selector": {"matchLabels": {"a": "b"}}}));
        assert!(conform(node(), &mut object).unwrap().is_empty());
        assert_eq!(object["spec"], json!({"selector": {"matchLabels": {"a": "b"}}}));
    }
}
