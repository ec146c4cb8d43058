//! Claims of storage.

use serde_json::Value;

use super::{IMMUTABLE, given, invalid, list, names, one_of, required, resources, selector, storage, text};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

const FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                     claims";
/// The older place of a claim's class.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

fn size(spec: &Value) -> Option<&Value> {
    spec.get("resources")?.get("requests")?.get("storage")
}

/// A PersistentVolumeClaim.
pub(super) fn claim(claim: &Value, errors: &mut Vec<FieldError>) {
    spec(claim.get("spec").unwrap_or(&Value::Null), &Path::ROOT.child("spec"), errors);
}

/// What a claim asks for.
pub(super) fn spec(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if list(spec, "accessModes").is_empty() {
        errors.push(FieldError::required(&path.child("accessModes"), "at least 1 access mode is required"));
    }
    if let Some(of) = given(spec, "selector") {
        selector::selector(of, &path.child("selector"), errors);
    }
    storage::access_modes(spec, path, errors);
    let inner = path.child("resources");
    let inner = inner.key("storage");
    match size(spec) {
        None => errors.push(FieldError::required(&inner, "")),
        Some(value) => {
            if resources::positive(value, &inner, errors) {
                resources::quantity("storage", value, &inner, errors);
            }
        }
    }
    class_name(spec, "storageClassName", path, errors);
    one_of(spec, "volumeMode", &["Block", "Filesystem"], path, errors);
    let (source, reference) = (given(spec, "dataSource"), given(spec, "dataSourceRef"));
    for (key, of) in [("dataSource", source), ("dataSourceRef", reference)] {
        if let Some(of) = of {
            data_source(of, &path.child(key), errors);
        }
    }
    // Upstream tells its own path type, which is empty.
    let refused = |why: &str| FieldError::invalid(path, serde_json::json!({}), why);
    match (source, reference) {
        (Some(_), Some(reference)) if !text(reference, "namespace").is_empty() => {
            errors.push(refused("may not be specified when dataSourceRef.namespace is specified"));
        }
        (Some(source), Some(reference))
            if ["apiGroup", "kind", "name"].iter().any(|key| given(source, key) != given(reference, key)) =>
        {
            errors.push(refused("must match dataSourceRef"));
        }
        _ => {}
    }
    class_name(spec, "volumeAttributesClassName", path, errors);
}

/// The name of a class, where there is one.
pub(super) fn class_name(of: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let class = text(of, key);
    if !class.is_empty() {
        invalid(&path.child(key), class, names::subdomain(class), errors);
    }
}

/// What a new volume begins with.
fn data_source(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(of, "name", path, errors);
    required(of, "kind", path, errors);
    let (group, kind) = (text(of, "apiGroup"), text(of, "kind"));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(FieldError::invalid(path, kind, why));
    }
    if !group.is_empty() {
        invalid(&path.child("apiGroup"), group, names::subdomain(group), errors);
    }
    let namespace = text(of, "namespace");
    if !namespace.is_empty() {
        invalid(&path.child("namespace"), namespace, names::label(namespace), errors);
    }
}

/// What may change of a claim: the volume and the class, once; and how much, once it is bound.
pub(super) fn update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("spec");
    let spec = |claim: &Value| claim.get("spec").cloned().unwrap_or_default();
    let (mut before, mut after) = (spec(old), spec(new));
    let annotated = |claim: &Value| {
        let all = claim.pointer("/metadata/annotations").and_then(|all| all.get(CLASS)?.as_str());
        all.map(str::to_owned)
    };
    let (had, has) = (annotated(old), annotated(new));
    let named = given(&after, "storageClassName").and_then(Value::as_str).map(str::to_owned);
    let is_first = given(&before, "storageClassName").is_none() && named.is_some();
    let moved =
        is_first && had.is_some() && named == had && has.as_ref().is_none_or(|has| had.as_ref() == Some(has));
    if !moved && had.clone().unwrap_or_default() != has.clone().unwrap_or_default() {
        let path = Path::ROOT.child("metadata");
        let path = path.child("annotations");
        errors.push(FieldError::invalid(&path.child(CLASS), has.unwrap_or_default(), IMMUTABLE));
    }
    let unclassed = is_first && had.is_none_or(|had| named == Some(had));
    let bound = new.get("status").is_some_and(|status| text(status, "phase") == "Bound");
    let unnamed = text(&before, "volumeName").is_empty();
    for spec in [&mut before, &mut after].into_iter().filter_map(Value::as_object_mut) {
        spec.retain(|_, value| !value.is_null());
        if unnamed {
            spec.remove("volumeName");
        }
        if unclassed {
            spec.remove("storageClassName");
        }
        if bound {
            spec.remove("volumeAttributesClassName");
            let requests = spec.get_mut("resources").and_then(|all| all.get_mut("requests"));
            if let Some(requests) = requests.and_then(Value::as_object_mut) {
                requests.remove("storage");
            }
        }
    }
    if before != after {
        errors.push(FieldError::forbidden(&path, FIXED));
    }
    let nanos = |value: Option<&Value>| {
        value
            .and_then(Value::as_str)
            .and_then(|text| Quantity::parse(text).ok())
            .map_or(0, |amount| amount.nanos())
    };
    let has = old.get("status").and_then(|status| status.get("capacity")?.get("storage"));
    let asked = |claim: &Value| nanos(claim.get("spec").and_then(size));
    if asked(new) < asked(old) && asked(new) <= nanos(has) {
        let path = path.child("resources");
        let path = path.child("requests");
        errors.push(FieldError::forbidden(
            &path.child("storage"),
            "field can not be less than status.capacity",
        ));
    }
    let mode = |claim: &Value| claim.get("spec").and_then(|spec| spec.get("volumeMode")).cloned();
    if mode(old) != mode(new) {
        let value = mode(new).unwrap_or_default();
        errors.push(FieldError::invalid(&Path::ROOT.child("volumeMode"), value, IMMUTABLE));
    }
    let key = "volumeAttributesClassName";
    let class = |claim: &Value| claim.get("spec").and_then(|spec| given(spec, key)).cloned();
    let current = old.get("status").and_then(|status| given(status, "currentVolumeAttributesClassName"));
    if current.is_some() && class(old) != class(new) {
        let to = match class(new) {
            None => "nil",
            Some(class) if class == "" => "empty string",
            Some(_) => return,
        };
        let why =
            format!("update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil");
        errors.push(FieldError::forbidden(&path.child(key), why));
    }
}
