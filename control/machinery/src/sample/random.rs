//! Random values: objects of a schema, values that have nothing to do with it, and patches.

use std::collections::HashSet;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::schema::{Field, ListType, Node, Shape};

/// An object of the shape of the sample workload.
pub(crate) fn object() -> BoxedStrategy<Value> {
    value(super::workload())
}

/// A value of the shape of `node`.
pub(crate) fn value(node: &'static Node) -> BoxedStrategy<Value> {
    match &node.shape {
        Shape::Any => {
            prop_oneof![Just(json!({"a": {"b": [1]}})), Just(json!([1, {"a": 2}])), Just(json!("x"))].boxed()
        }
        Shape::String => text(),
        Shape::Integer | Shape::Number => (0..4i64).prop_map(Value::from).boxed(),
        Shape::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Shape::IntOrString => prop_oneof![text(), (0..4i64).prop_map(Value::from)].boxed(),
        Shape::Map { values, .. } => btree_map("[a-d]", value(leaked(values)), 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
            .boxed(),
        Shape::List { items, list_type } => vec(value(leaked(items)), 0..4)
            .prop_map(move |items| Value::Array(distinct(items, list_type)))
            .boxed(),
        Shape::Struct { fields, .. } => {
            let fields: Vec<_> = fields
                .iter()
                .map(|field| {
                    let key = matches!(&*field.name, "name" | "containerPort" | "type" | "key");
                    let value = value(leaked(&field.node));
                    (
                        Just(field.name.to_string()),
                        if key { value.prop_map(Some).boxed() } else { maybe(value) },
                    )
                })
                .collect();
            fields
                .prop_map(|fields| {
                    Value::Object(fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
                })
                .boxed()
        }
    }
}

fn maybe(value: BoxedStrategy<Value>) -> BoxedStrategy<Option<Value>> {
    option::weighted(0.4, value).boxed()
}

fn text() -> BoxedStrategy<Value> {
    "[a-d]".prop_map(Value::from).boxed()
}

/// The sample's nodes live as long as the tests.
fn leaked(node: &'static crate::schema::Ref) -> &'static Node {
    node.node()
}

/// Only the first of the elements that are told apart by the same values; the first key is the merge key of patches.
fn distinct(items: Vec<Value>, list_type: &ListType) -> Vec<Value> {
    let mut seen = HashSet::new();
    let key = |item: &Value| match list_type {
        ListType::Atomic => None,
        ListType::Set => Some(item.clone()),
        ListType::Map(keys) => keys.first().and_then(|key| item.get(&**key)).cloned(),
    };
    items.into_iter().filter(|item| key(item).is_none_or(|key| seen.insert(key))).collect()
}

/// A value of any shape whose keys are often fields or directives.
pub(crate) fn any_value() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..3i64).prop_map(Value::from),
        Just(json!(0.5)),
        text(),
        Just(json!("delete")),
        Just(json!("replace")),
    ];
    leaf.prop_recursive(6, 48, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            btree_map(key(), inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}

fn key() -> BoxedStrategy<String> {
    let mut keys: Vec<String> = Vec::new();
    names(super::workload(), &mut keys);
    for list in ["containers", "finalizers", "ports", "env"] {
        keys.push(format!("$setElementOrder/{list}"));
        keys.push(format!("$deleteFromPrimitiveList/{list}"));
    }
    for other in ["$patch", "$retainKeys", "", "f:spec", "."] {
        keys.push(other.to_owned());
    }
    proptest::sample::select(keys).boxed()
}

fn names(node: &Node, into: &mut Vec<String>) {
    match &node.shape {
        Shape::Struct { fields, .. } => {
            for Field { name, node, .. } in fields {
                into.push(name.to_string());
                names(node.node(), into);
            }
        }
        Shape::List { items, .. } => names(items.node(), into),
        _ => {}
    }
}

/// The operations of a JSON patch.
pub(crate) fn operations() -> BoxedStrategy<Value> {
    let path = || {
        vec(prop_oneof![key(), "[0-2-]".prop_map(String::from)], 0..3).prop_map(|keys| {
            keys.iter()
                .map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1")))
                .collect::<String>()
        })
    };
    let verb = proptest::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]);
    let operation = (verb, path(), path(), any_value())
        .prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}));
    vec(operation, 0..8).prop_map(Value::Array).boxed()
}
