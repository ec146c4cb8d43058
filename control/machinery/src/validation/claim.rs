//! Claims of storage, and the classes of priority.

use serde_json::Value;

use super::{IMMUTABLE, given, invalid, names, number, one_of, resources, selector, storage, text};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

const FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                     claims";
/// Above this, priorities are the platform's own.
const PRIORITY_MAX: i64 = 1_000_000_000;

fn size(spec: &Value) -> Option<&Value> {
    spec.get("resources")?.get("requests")?.get("storage")
}

/// A PersistentVolumeClaim.
pub(super) fn claim(claim: &Value, errors: &mut Vec<FieldError>) {
    spec(claim.get("spec").unwrap_or(&Value::Null), &Path::ROOT.child("spec"), errors);
}

/// What a claim asks for.
pub(super) fn spec(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    storage::access_modes(spec, "at least 1 access mode is required", path, errors);
    if let Some(of) = given(spec, "selector") {
        selector::selector(of, &path.child("selector"), errors);
    }
    let inner = path.child("resources");
    let inner = inner.key("storage");
    match size(spec) {
        None => errors.push(FieldError::required(&inner, "")),
        Some(value) => {
            let amount = value.as_str().and_then(|text| Quantity::parse(text).ok());
            if amount.is_some_and(|amount| amount.nanos() <= 0) {
                errors.push(FieldError::invalid(&inner, value.clone(), "must be greater than zero"));
            } else {
                resources::quantity("storage", value, &inner, errors);
            }
        }
    }
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        invalid(&path.child("storageClassName"), class, names::subdomain(class), errors);
    }
    one_of(spec, "volumeMode", &["Block", "Filesystem"], path, errors);
}

/// What may change of a claim: the volume and the class, once; and how much, once it is bound.
pub(super) fn update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("spec");
    let spec = |claim: &Value| claim.get("spec").cloned().unwrap_or_default();
    let (mut before, mut after) = (spec(old), spec(new));
    let bound = new.get("status").is_some_and(|status| text(status, "phase") == "Bound");
    let unnamed = text(&before, "volumeName").is_empty();
    let unclassed =
        given(&before, "storageClassName").is_none() && given(&after, "storageClassName").is_some();
    for spec in [&mut before, &mut after].into_iter().filter_map(Value::as_object_mut) {
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
}

/// A PriorityClass.
pub(super) fn priority(class: &Value, errors: &mut Vec<FieldError>) {
    let name = class.get("metadata").map(|metadata| text(metadata, "name")).unwrap_or_default();
    let value = number(class, "value").unwrap_or_default();
    if !name.starts_with("system-") && value > PRIORITY_MAX {
        let why = format!("maximum allowed value of a user defined priority is {PRIORITY_MAX}");
        errors.push(FieldError::forbidden(&Path::ROOT.child("value"), why));
    }
    one_of(class, "preemptionPolicy", &["PreemptLowerPriority", "Never"], &Path::ROOT, errors);
}

/// A PriorityClass keeps its value.
pub(super) fn update_priority(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    if number(old, "value") != number(new, "value") {
        errors.push(FieldError::forbidden(&Path::ROOT.child("value"), "may not be changed in an update."));
    }
    if text(old, "preemptionPolicy") != text(new, "preemptionPolicy") {
        let value = text(new, "preemptionPolicy");
        errors.push(FieldError::invalid(&Path::ROOT.child("preemptionPolicy"), value, IMMUTABLE));
    }
}
