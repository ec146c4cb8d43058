//! Strategic merge patch: a merge patch that knows from the schema which lists are merged, and by which key.
//!
//! Beside values a patch holds directives: `$patch: replace|delete` in an object or list element, `$retainKeys`,
//! `$setElementOrder/<list>` and `$deleteFromPrimitiveList/<list>`. None of them ever reaches the result.

mod list;
mod rest;

pub use rest::rest;

use serde_json::{Map, Value};

use self::list::{Elements, Places, merge_list};
use super::{Error, is_deeper, kind};
use crate::schema::{Node, PatchStrategy, Shape};

/// Built-in kinds and patches of them nest no deeper than this.
const DEPTH_MAX: usize = 100;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch to an object whose shape is `node`.
///
/// Where the schema says nothing ([`Shape::Any`], unknown fields that are kept), objects merge and lists are replaced.
///
/// ```
/// use serde_json::json;
/// use xebec_machinery::{builtin, patch};
///
/// let pod = builtin::kind_node("", "v1", "Pod").expect("a built-in kind");
/// let current = json!({"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}});
/// let change = json!({"spec": {"containers": [{"name": "b", "image": "b:2"}]}});
/// let patched = patch::strategic(current, change, pod)?;
/// assert_eq!(patched["spec"]["containers"][1], json!({"name": "b", "image": "b:2"}));
/// # Ok::<(), patch::Error>(())
/// ```
pub fn strategic(current: Value, patch: Value, node: &Node) -> Result<Value, Error> {
    if is_deeper(&current, DEPTH_MAX) || is_deeper(&patch, DEPTH_MAX) {
        return Err(Error::TooDeep);
    }
    let current = match current {
        Value::Object(current) => current,
        Value::Null => Map::new(),
        other => return Err(Error::NotAnObject(kind(&other))),
    };
    let patch = match patch {
        Value::Object(patch) => patch,
        other => return Err(Error::NotAnObject(kind(&other))),
    };
    merge_object(current, patch, Some(node)).map(Value::Object)
}

/// The schema and strategy of the field `name`; no schema where nothing is known below.
fn field<'a>(
    node: Option<&'a Node>,
    name: &str,
) -> Result<(Option<&'a Node>, Option<&'a PatchStrategy>), Error> {
    let Some(node) = node else { return Ok((None, None)) };
    match &node.shape {
        Shape::Map { values, .. } => Ok((Some(values.node()), None)),
        Shape::Struct { preserve_unknown, .. } => match node.field(name) {
            Some(field) => Ok((Some(field.node.node()), Some(&field.patch))),
            None if *preserve_unknown => Ok((None, None)),
            None => Err(Error::UnknownField(name.to_owned())),
        },
        _ => Ok((None, None)),
    }
}

/// The schema of the elements of a list.
fn items(node: Option<&Node>) -> Option<&Node> {
    match node.map(|node| &node.shape) {
        Some(Shape::List { items, .. }) => Some(items.node()),
        _ => None,
    }
}

/// Merges `patch` into `original`.
fn merge_object(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    node: Option<&Node>,
) -> Result<Map<String, Value>, Error> {
    if let Some(directive) = patch.remove(PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(plain_object(patch)),
            Some("delete") => Ok(Map::new()),
            _ => Err(Error::PatchType(directive.to_string())),
        };
    }
    if let Some(keys) = patch.remove(RETAIN_KEYS) {
        retain_keys(&mut original, &patch, keys)?;
    }
    let orders: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for order in orders {
        merge_in_order(&mut original, &mut patch, &order, node)?;
    }
    for (key, value) in patch {
        match key.strip_prefix(DELETE_FROM) {
            Some(list) => delete_from(&mut original, list, value, node)?,
            None => merge_field(&mut original, key, value, node)?,
        }
    }
    Ok(original)
}

fn merge_field(
    original: &mut Map<String, Value>,
    key: String,
    patch: Value,
    node: Option<&Node>,
) -> Result<(), Error> {
    let merged = match (original.remove(&key), patch) {
        (_, Value::Null) => None,
        (Some(Value::Object(old)), Value::Object(new)) => {
            Some(Value::Object(merge_object(old, new, field(node, &key)?.0)?))
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let (list, strategy) = field(node, &key)?;
            let merged = match strategy.filter(|strategy| strategy.merge) {
                Some(strategy) => {
                    let elements = Elements { list: &key, merge_key: strategy.merge_key.as_deref() };
                    merge_list(&elements, old, new, items(list))?.list
                }
                // A list that is replaced keeps what the patch says, but for directives and nulls.
                None => plain_list(new),
            };
            Some(Value::Array(merged))
        }
        (_, new) => without_directives(new),
    };
    if let Some(merged) = merged {
        original.insert(key, merged);
    }
    Ok(())
}

/// `$deleteFromPrimitiveList/<list>`: takes these values out of a list of scalars.
fn delete_from(
    original: &mut Map<String, Value>,
    key: &str,
    unwanted: Value,
    node: Option<&Node>,
) -> Result<(), Error> {
    let unwanted = match unwanted {
        Value::Null => {
            original.remove(key);
            return Ok(());
        }
        Value::Array(unwanted) => unwanted,
        _ => return Err(Error::Directive("primitive list")),
    };
    field(node, key)?;
    if let Some(Value::Array(list)) = original.get_mut(key) {
        list::delete_scalars(key, list, &unwanted)?;
    }
    Ok(())
}

/// `$retainKeys`: clears the fields that the directive does not list. What the patch sets, it must list.
fn retain_keys(
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    keys: Value,
) -> Result<(), Error> {
    let Value::Array(keys) = keys else { return Err(Error::Directive("retainKeys")) };
    let keys: std::collections::HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let listed = |(key, value): (&String, &Value)| {
        value.is_null()
            || key.starts_with(DELETE_FROM)
            || key.starts_with(SET_ORDER)
            || keys.contains(key.as_str())
    };
    if !patch.iter().all(listed) {
        return Err(Error::Directive("retainKeys"));
    }
    original.retain(|key, _| keys.contains(key.as_str()));
    Ok(())
}

/// `$setElementOrder/<list>`: merges the list, then puts its elements in the order of the directive.
fn merge_in_order(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    directive: &str,
    node: Option<&Node>,
) -> Result<(), Error> {
    let order = match patch.remove(directive) {
        Some(Value::Array(order)) => order,
        _ => return Err(Error::Directive("setElementOrder list")),
    };
    let key = directive.strip_prefix(SET_ORDER).unwrap_or(directive);
    let array = |value: Option<Value>| match value {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(other) => Err(Error::Type { field: key.to_owned(), expected: "a list", received: kind(&other) }),
    };
    let (list, strategy) = field(node, key)?;
    let old = array(original.get(key).cloned())?;
    let new = array(patch.remove(key))?;
    let elements =
        Elements { list: key, merge_key: strategy.and_then(|strategy| strategy.merge_key.as_deref()) };
    elements.check_order(new.as_deref().unwrap_or_default(), &order)?;
    let places = |list: &[Value]| elements.places(list);
    let (merged, server) = match (old, new) {
        (None, None) => return Ok(()),
        (Some(old), None) => {
            let server = places(&old)?;
            (old, server)
        }
        (None, Some(new)) => match without_directives(Value::Array(new)) {
            Some(Value::Array(new)) => (new, Places::new()),
            _ => return Ok(()),
        },
        (Some(old), Some(new)) if strategy.is_some_and(|strategy| strategy.merge) => {
            let merged = merge_list(&elements, old, new, items(list))?;
            (merged.list, merged.server)
        }
        (Some(old), Some(new)) => (plain_list(new), places(&old)?),
    };
    let arranged = elements.arrange(merged, &places(&order)?, &server)?;
    original.insert(key.to_owned(), Value::Array(arranged));
    Ok(())
}

/// The value that a patch sets where there is nothing to merge with: objects that hold `$patch` are gone, and so are nulls
/// and all directives. Nothing where the value itself holds `$patch`.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(PATCH) => None,
        Value::Object(fields) => Some(Value::Object(
            fields
                .into_iter()
                .filter(|(key, value)| !value.is_null() && !is_directive(key))
                .filter_map(|(key, value)| Some((key, without_directives(value)?)))
                .collect(),
        )),
        Value::Array(items) => Some(items.into_iter().filter_map(without_directives).collect()),
        scalar => Some(scalar),
    }
}

/// The value that a patch sets as it stands: only the directives themselves and nulls are gone.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(plain_object(fields)),
        Value::Array(items) => Value::Array(plain_list(items)),
        scalar => scalar,
    }
}

fn plain_object(fields: Map<String, Value>) -> Map<String, Value> {
    fields
        .into_iter()
        .filter(|(key, value)| !value.is_null() && !is_directive(key))
        .map(|(key, value)| (key, plain(value)))
        .collect()
}

fn plain_list(items: Vec<Value>) -> Vec<Value> {
    items.into_iter().map(plain).collect()
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_FROM)
}
