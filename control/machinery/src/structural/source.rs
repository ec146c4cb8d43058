//! The text that a schema at rest is compiled from again.

use serde_json::{Map, Value};

use super::Parts;
use super::compile::build;
use crate::field::Path;

/// What a schema says to people alone.
const TOLD: [&str; 4] = ["description", "title", "example", "externalDocs"];

/// A schema that compiles, as the text of what its compiler reads.
#[derive(Debug)]
pub(super) struct Source {
    schema: Box<str>,
    /// Where it stands in its definition, which the problems of its rules name.
    path: Box<str>,
}

impl Source {
    /// The source of a schema that was compiled at `path`.
    pub(super) fn of(schema: &Value, path: &Path<'_>) -> Self {
        Self { schema: terse(schema).to_string().into(), path: path.to_string().into() }
    }

    /// Compiles it.
    ///
    /// # Panics
    ///
    /// Where it never compiled.
    pub(super) fn parts(&self) -> Parts {
        let schema = serde_json::from_str(&self.schema).expect("it was written from JSON");
        let (parts, _) = build(&schema, &Path::ROOT, &self.path).expect("it compiled before");
        parts
    }
}

/// A schema without what it says to people. Its fields may bear any name, so no map of schemas is taken for a schema.
fn terse(schema: &Value) -> Value {
    let Value::Object(map) = schema else { return schema.clone() };
    let each = |schemas: &Value| match schemas {
        Value::Object(map) => {
            Value::Object(map.iter().map(|(name, one)| (name.clone(), terse(one))).collect())
        }
        Value::Array(list) => list.iter().map(terse).collect(),
        other => other.clone(),
    };
    let kept = map.iter().filter(|(keyword, _)| !TOLD.contains(&keyword.as_str()));
    let kept = kept.map(|(keyword, value)| {
        let value = match keyword.as_str() {
            "properties" | "allOf" | "anyOf" | "oneOf" => each(value),
            "items" | "additionalProperties" | "not" => terse(value),
            _ => value.clone(),
        };
        (keyword.clone(), value)
    });
    Value::Object(kept.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_to_people_goes_and_fields_of_that_name_stay() {
        let schema = json!({
            "type": "object", "description": "a", "properties": {
                "description": {"type": "string", "title": "b", "default": {"description": "c"}},
                "list": {"type": "array", "items": {"type": "string", "description": "d"}},
            },
            "anyOf": [{"required": ["title"]}, {"not": {"required": ["list"]}}],
        });
        let expected = json!({
            "type": "object", "properties": {
                "description": {"type": "string", "default": {"description": "c"}},
                "list": {"type": "array", "items": {"type": "string"}},
            },
            "anyOf": [{"required": ["title"]}, {"not": {"required": ["list"]}}],
        });
        assert_eq!(terse(&schema), expected);
    }
}
