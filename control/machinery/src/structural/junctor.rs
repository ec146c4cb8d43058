//! `allOf`, `anyOf`, `oneOf` and `not`: they may say more about values, never about structure.

use serde_json::{Map, Value};

use super::compile::Compiler;
use super::{Checks, Junct, Schema, Type};
use crate::field::{FieldError, Path};

/// What a schema within a junctor may not have, since the structure stands outside.
const STRUCTURAL_KEYWORDS: [&str; 13] = [
    "additionalProperties",
    "default",
    "description",
    "nullable",
    "title",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
    "$ref",
];

/// Compiles the junctors of `map` into the checks of `schema`.
pub(super) fn compile(
    compiler: &mut Compiler,
    map: &Map<String, Value>,
    path: &Path<'_>,
    depth: usize,
    schema: &mut Schema,
) {
    let mut checks = std::mem::take(&mut schema.checks);
    junctors(compiler, map, path, depth, &mut checks, Some(schema));
    schema.checks = checks;
}

/// `outer` is the structure that the junctors speak about, as far as it is known.
fn junctors(
    compiler: &mut Compiler,
    map: &Map<String, Value>,
    path: &Path<'_>,
    depth: usize,
    checks: &mut Checks,
    outer: Option<&Schema>,
) {
    for (keyword, list) in
        [("allOf", &mut checks.all_of), ("anyOf", &mut checks.any_of), ("oneOf", &mut checks.one_of)]
    {
        let at = path.child(keyword);
        for (index, value) in compiler.array(map, keyword, path).iter().enumerate() {
            list.push(junct(compiler, value, &at.index(index), depth + 1, outer));
        }
    }
    if let Some(value) = map.get("not") {
        checks.not = Some(Box::new(junct(compiler, value, &path.child("not"), depth + 1, outer)));
    }
}

fn junct(
    compiler: &mut Compiler,
    value: &Value,
    path: &Path<'_>,
    depth: usize,
    outer: Option<&Schema>,
) -> Junct {
    let mut junct = Junct::default();
    if !compiler.enter(path, depth) {
        return junct;
    }
    let Some(map) = compiler.map(value, path) else { return junct };
    for keyword in STRUCTURAL_KEYWORDS {
        if map.contains_key(keyword) {
            compiler.error(FieldError::forbidden(&path.child(keyword), "must be empty to be structural"));
        }
    }
    let named = map.get("type").and_then(Value::as_str);
    match named {
        Some("integer") if outer.is_some_and(|outer| outer.int_or_string) => {
            junct.schema_type = Some(Type::Integer);
        }
        Some("string") if outer.is_some_and(|outer| outer.int_or_string) => {
            junct.schema_type = Some(Type::String);
        }
        _ if map.contains_key("type") => {
            compiler.error(FieldError::forbidden(&path.child("type"), "must be empty to be structural"));
        }
        _ => {}
    }
    junct.checks = compiler.checks(map, path);
    junctors(compiler, map, path, depth, &mut junct.checks, outer);

    let properties = path.child("properties");
    if let Some(fields) = map.get("properties").and_then(|value| compiler.map(value, &properties)) {
        for (name, field) in fields {
            let at = properties.key(name);
            let known = outer.and_then(|outer| outer.properties.get(name.as_str()));
            let open = outer.is_none_or(|outer| outer.preserve_unknown);
            if known.is_none() && !open {
                compiler.error(FieldError::required(&at, "must be specified outside of the junctor too"));
            }
            junct
                .properties
                .insert(name.as_str().into(), self::junct(compiler, field, &at, depth + 1, known));
        }
    }
    if let Some(items) = map.get("items") {
        let at = path.child("items");
        let known = outer.and_then(|outer| outer.items.as_deref());
        if known.is_none() && outer.is_some_and(|outer| !outer.preserve_unknown) {
            compiler.error(FieldError::required(&at, "must be specified outside of the junctor too"));
        }
        junct.items = Some(Box::new(self::junct(compiler, items, &at, depth + 1, known)));
    }
    junct
}
