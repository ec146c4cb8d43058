//! Removing what the schema does not know.

use serde_json::Value;

use super::{Additional, Schema, object_meta};
use crate::field::Path;
use crate::findings::Findings;
use crate::schema::{Node, Shape};

/// Paths told; the fields beyond are pruned in silence.
const MAX_TOLD: usize = 1_000;

/// Prunes `value` and tells what went. A `whole` object keeps its `apiVersion` and `kind`, and of its `metadata` what every
/// object has, whatever the schema says.
pub(super) fn prune(schema: &Schema, value: &mut Value, whole: bool) -> Vec<String> {
    let mut told = Findings::new(MAX_TOLD);
    walk(schema, value, &Path::ROOT, whole, &mut told);
    told.into_vec()
}

fn walk(schema: &Schema, value: &mut Value, path: &Path<'_>, whole: bool, told: &mut Findings) {
    match value {
        Value::Object(map) => {
            let whole = whole || schema.embedded;
            map.retain(|name, inner| {
                let at = path.child(name);
                match name.as_str() {
                    "apiVersion" | "kind" if whole => return true,
                    "metadata" if whole => {
                        walk_node(object_meta(), inner, &at, told);
                        return true;
                    }
                    _ => {}
                }
                if let Some(field) = schema.properties.get(name.as_str()) {
                    walk(field, inner, &at, false, told);
                    return true;
                }
                let kept = match &schema.additional {
                    Additional::Schema(values) => {
                        walk(values, inner, &at, false, told);
                        true
                    }
                    Additional::Any => true,
                    Additional::None => schema.preserve_unknown,
                };
                if !kept {
                    told.tell(at);
                }
                kept
            });
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                for (index, inner) in list.iter_mut().enumerate() {
                    walk(items, inner, &path.index(index), false, told);
                }
            }
        }
        _ => {}
    }
}

/// The same by a merge model, which is how the metadata of every object is known.
fn walk_node(node: &Node, value: &mut Value, path: &Path<'_>, told: &mut Findings) {
    match (&node.shape, value) {
        (Shape::Struct { fields, preserve_unknown, .. }, Value::Object(map)) => {
            map.retain(|name, inner| {
                let at = path.child(name);
                if let Some(field) = fields.iter().find(|field| &*field.name == name.as_str()) {
                    walk_node(field.node.node(), inner, &at, told);
                    return true;
                }
                if !preserve_unknown {
                    told.tell(at);
                }
                *preserve_unknown
            });
        }
        (Shape::List { items, .. }, Value::Array(list)) => {
            for (index, inner) in list.iter_mut().enumerate() {
                walk_node(items.node(), inner, &path.index(index), told);
            }
        }
        _ => {}
    }
}
