//! What the server fills in and restores before an object is looked at further.

use serde_json::{Map, Value};

use super::{name, text};
use crate::decoding;
use crate::status::Status;

/// What a creation is made with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The namespace of the request; `None` for kinds that live beside the namespaces.
    pub namespace: Option<&'a str>,
    /// The name of the request, where it has one.
    pub name: Option<&'a str>,
    /// The time, as RFC 3339 in whole seconds and UTC.
    pub now: &'a str,
    /// A uid that nobody else has.
    pub uid: &'a str,
    /// Chance, for names from `generateName`.
    pub random: u64,
    /// Whether the kind counts generations.
    pub generation: bool,
}

/// Readies an object for its creation: its place is that of the request, its name is made where it asks for one, and what
/// only the server may say is said by it.
///
/// # Errors
/// A bad request, where the object contradicts it or its metadata can not be read.
pub fn prepare_create(object: &mut Value, context: &Context<'_>) -> Result<(), Status> {
    normalize(object)?;
    match_request(object, context.namespace, context.name)?;
    if !text(object, "resourceVersion").is_empty() {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let name = match (text(object, "name"), text(object, "generateName")) {
        ("", "") => None,
        ("", prefix) => Some(name::generate_name(prefix, context.random)),
        _ => None,
    };
    let metadata = metadata_mut(object)?;
    if let Some(name) = name {
        metadata.insert("name".into(), name.into());
    }
    for name in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.remove(name);
    }
    metadata.insert("uid".into(), context.uid.into());
    metadata.insert("creationTimestamp".into(), context.now.into());
    if context.generation {
        metadata.insert("generation".into(), 1.into());
    } else if metadata.get("generation") == Some(&Value::from(0)) {
        // What a client says counts where nobody counts.
        metadata.remove("generation");
    }
    Ok(())
}

/// Readies `new` to take the place of `old`: what it leaves out of what never changes comes from there, and what
/// clients have no say in does always.
///
/// # Errors
/// A bad request, where the metadata can not be read.
pub fn prepare_update(old: &Value, new: &mut Value) -> Result<(), Status> {
    normalize(new)?;
    let metadata = metadata_mut(new)?;
    metadata.remove("selfLink");
    let before = super::of(old);
    let of_old = |name: &str| before.and_then(|before| before.get(name)).filter(|value| !value.is_null());
    for name in ["uid", "name", "namespace", "deletionGracePeriodSeconds"] {
        if let (false, Some(value)) = (metadata.contains_key(name), of_old(name)) {
            metadata.insert(name.into(), value.clone());
        }
    }
    for name in ["creationTimestamp", "deletionTimestamp", "generation"] {
        match of_old(name) {
            Some(value) => {
                metadata.insert(name.into(), value.clone());
            }
            // A deletion that a client asks for so is told as an error later.
            None if name == "deletionTimestamp" => {}
            None => {
                metadata.remove(name);
            }
        }
    }
    Ok(())
}

/// Counts one generation more where a field that `counts` has changed; `apiVersion`, `kind` and `metadata` never count.
/// The caller leaves out `status` where that is a subresource.
pub fn bump_generation(old: &Value, new: &mut Value, counts: impl Fn(&str) -> bool) -> bool {
    let (Some(after), Some(before)) = (new.as_object(), old.as_object()) else { return false };
    let matters =
        |name: &&String| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") && counts(name);
    let changed =
        after.keys().chain(before.keys()).filter(matters).any(|name| after.get(name) != before.get(name));
    let generation = old.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or_default();
    if let (true, Ok(metadata)) = (changed, metadata_mut(new)) {
        metadata.insert("generation".into(), generation.saturating_add(1).into());
    }
    changed
}

/// The object belongs where the request says; what it leaves out it takes from there.
///
/// # Errors
/// A bad request, where the two contradict each other.
pub fn match_request(object: &mut Value, namespace: Option<&str>, name: Option<&str>) -> Result<(), Status> {
    let own = text(object, "namespace");
    if namespace.is_some_and(|asked| !own.is_empty() && own != asked) {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let own = text(object, "name");
    if let Some(asked) = name.filter(|asked| !own.is_empty() && own != *asked) {
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({asked})"
        )));
    }
    let metadata = metadata_mut(object)?;
    match namespace {
        Some(namespace) => metadata.insert("namespace".into(), namespace.into()),
        None => metadata.remove("namespace"),
    };
    if let Some(name) = name {
        metadata.insert("name".into(), name.into());
    }
    Ok(())
}

fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, Status> {
    let object =
        object.as_object_mut().ok_or_else(|| Status::bad_request("the object must be a JSON object"))?;
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().ok_or_else(|| Status::bad_request("metadata must be a JSON object"))
}

/// Checks the types of the metadata, and leaves out what says nothing: nulls, and empty texts, lists and maps.
fn normalize(object: &mut Value) -> Result<(), Status> {
    decoding::check_metadata(object).map_err(Status::bad_request)?;
    let metadata = metadata_mut(object)?;
    for name in ["labels", "annotations"] {
        for value in
            metadata.get_mut(name).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
        {
            if value.is_null() {
                *value = "".into();
            }
        }
    }
    metadata.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    });
    Ok(())
}
