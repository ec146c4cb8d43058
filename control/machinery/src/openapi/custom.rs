//! The definitions of custom resources: their schema as the definition gives it, or as its merge model knows it.

use serde_json::{Map, Value};

use crate::resource::{Resource, Version};
use crate::schema::{Field, ListType, Node, Shape};

use super::json::Json;
use super::names::{self, META};
use super::types::kinds;
use super::{Dialect, descriptions};

/// Deeper schemas than this are cut off; those of CustomResourceDefinitions do not reach it.
const DEPTH_MAX: usize = 128;

/// Writes the definition of a custom resource's kind. `published` is the schema as the definition gives it.
pub(super) fn define(
    json: &mut Json<'_>,
    dialect: Dialect,
    resource: &Resource,
    version: &Version,
    published: Option<&Value>,
) {
    json.object(|json| {
        match published.and_then(Value::as_object) {
            // Clients of version 2 would refuse what such an object holds beside what is said of it.
            Some(schema) if dialect == Dialect::V2 && is_open(schema) => json.entry("type", "object"),
            Some(schema) => given(json, dialect, schema, true, 0),
            None => node(json, dialect, version.schema.node(), true, 0),
        }
        kinds(json, &[[&resource.group, &version.name, &resource.kind]]);
    });
}

/// Writes the definition of a custom resource's lists.
pub(super) fn define_list(json: &mut Json<'_>, dialect: Dialect, resource: &Resource, version: &Version) {
    json.object(|json| {
        json.entry("type", "object");
        json.texts("required", ["items"]);
        json.within("properties", |json| {
            of_every_object(json, dialect, "ListMeta");
            json.within("items", |json| {
                json.entry("type", "array");
                let name = names::custom(resource, &version.name, &resource.kind);
                json.within("items", |json| dialect.refer(json, &name));
            });
        });
        kinds(json, &[[&resource.group, &version.name, &resource.list_kind]]);
    });
}

fn is_open(schema: &Map<String, Value>) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
}

const OBJECT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The fields that every object has, whatever its own schema says of them.
fn of_every_object(json: &mut Json<'_>, dialect: Dialect, metadata: &str) {
    let describe = |json: &mut Json<'_>, name: &str| {
        descriptions::of_object(name).into_iter().for_each(|text| json.entry("description", text));
    };
    for name in ["apiVersion", "kind"] {
        json.within(name, |json| {
            describe(json, name);
            json.entry("type", "string");
        });
    }
    json.within("metadata", |json| {
        describe(json, "metadata");
        dialect.refer(json, &format!("{META}{metadata}"));
    });
}

/// What a version 2 document can not say of a schema, beside what depends on the schema.
const ONLY_V3: [&str; 7] =
    ["oneOf", "anyOf", "allOf", "not", "nullable", "default", "x-kubernetes-validations"];

/// A schema as it was given, within an object that is open. `whole` objects have metadata.
fn given(json: &mut Json<'_>, dialect: Dialect, schema: &Map<String, Value>, whole: bool, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    let set = |flag: &str| schema.get(flag) == Some(&Value::Bool(true));
    let whole = whole || set("x-kubernetes-embedded-resource");
    let old = dialect == Dialect::V2;
    // Clients of version 2 would refuse what such a schema takes beside what it names.
    let open = old && is_open(schema);
    let typeless = old && (open || set("nullable") || set("x-kubernetes-int-or-string"));
    for (key, value) in schema {
        match (key.as_str(), value) {
            ("type", _) if typeless && !whole => {}
            ("items" | "properties", _) if open => {}
            ("properties", Value::Object(fields)) => json.within("properties", |json| {
                if whole {
                    of_every_object(json, dialect, "ObjectMeta");
                }
                for (name, schema) in fields {
                    if !(whole && OBJECT_FIELDS.contains(&name.as_str())) {
                        json.within(name, |json| given_or_nothing(json, dialect, schema, depth + 1));
                    }
                }
            }),
            ("items" | "additionalProperties", Value::Object(_)) => {
                json.within(key, |json| given_or_nothing(json, dialect, value, depth + 1));
            }
            (key, _) if old && ONLY_V3.contains(&key) => {}
            // The kinds are written for the whole.
            ("x-kubernetes-group-version-kind", _) => {}
            _ => {
                json.key(key);
                json.value(value);
            }
        }
    }
    if whole && !open && !schema.contains_key("properties") {
        json.within("properties", |json| of_every_object(json, dialect, "ObjectMeta"));
    }
    if whole && !schema.contains_key("type") {
        json.entry("type", "object");
    }
}

fn given_or_nothing(json: &mut Json<'_>, dialect: Dialect, schema: &Value, depth: usize) {
    if let Some(schema) = schema.as_object() {
        given(json, dialect, schema, false, depth);
    }
}

/// A node of the merge model, within an object that is open.
fn node(json: &mut Json<'_>, dialect: Dialect, from: &Node, whole: bool, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match &from.shape {
        Shape::Any if whole => json.entry("type", "object"),
        Shape::Any => {}
        Shape::String => json.entry("type", "string"),
        Shape::Integer => json.entry("type", "integer"),
        Shape::Number => json.entry("type", "number"),
        Shape::Boolean => json.entry("type", "boolean"),
        Shape::IntOrString => {
            json.key("x-kubernetes-int-or-string");
            json.flag(true);
        }
        Shape::List { items, list_type } => {
            json.entry("type", "array");
            json.within("items", |json| node(json, dialect, items.node(), false, depth + 1));
            json.entry(
                "x-kubernetes-list-type",
                match list_type {
                    ListType::Atomic => "atomic",
                    ListType::Set => "set",
                    ListType::Map(_) => "map",
                },
            );
            if let ListType::Map(keys) = list_type {
                json.texts("x-kubernetes-list-map-keys", keys.iter().map(|key| &**key));
            }
        }
        Shape::Map { values, atomic } => {
            json.entry("type", "object");
            json.within("additionalProperties", |json| node(json, dialect, values.node(), false, depth + 1));
            if *atomic {
                json.entry("x-kubernetes-map-type", "atomic");
            }
        }
        Shape::Struct { fields, atomic, preserve_unknown } => {
            json.entry("type", "object");
            structure(json, dialect, fields, whole, depth);
            if *atomic {
                json.entry("x-kubernetes-map-type", "atomic");
            }
            if *preserve_unknown {
                json.key("x-kubernetes-preserve-unknown-fields");
                json.flag(true);
            }
        }
    }
    if whole && !matches!(from.shape, Shape::Struct { .. }) {
        json.within("properties", |json| of_every_object(json, dialect, "ObjectMeta"));
    }
    if from.nullable && dialect == Dialect::V3 && !matches!(from.shape, Shape::Any) {
        json.key("nullable");
        json.flag(true);
    }
}

fn structure(json: &mut Json<'_>, dialect: Dialect, fields: &[Field], whole: bool, depth: usize) {
    let mut required = fields.iter().filter(|field| field.required).map(|field| &*field.name).peekable();
    if required.peek().is_some() {
        json.texts("required", required);
    }
    json.within("properties", |json| {
        if whole {
            of_every_object(json, dialect, "ObjectMeta");
        }
        for field in fields.iter().filter(|field| !(whole && OBJECT_FIELDS.contains(&&*field.name))) {
            json.within(&field.name, |json| {
                node(json, dialect, field.node.node(), false, depth + 1);
                if let Some(default) = &field.default {
                    json.key("default");
                    json.value(default);
                }
            });
        }
    });
}
