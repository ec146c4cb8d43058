//! Drivers of storage: what they are, on which nodes, with how much room, and what is attached where.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    IMMUTABLE, entries, given, invalid, list, names, not_negative, number, one_of, required, selector, text,
};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

const POLICIES: [&str; 3] = ["File", "None", "ReadWriteOnceWithFSType"];
const MODES: [&str; 2] = ["Persistent", "Ephemeral"];
const TOKEN_MIN: i64 = 600;
const TOKEN_MAX: i64 = 1 << 32;
const NAME_MAX: usize = 63;
const NODE_ID_MAX: usize = 256;
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES: usize = 256 * 1024;

/// The name of a driver.
pub(super) fn name(of: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !required(of, key, path, errors) {
        return;
    }
    named(text(of, key), &path.child(key), errors);
}

/// The same of a name that stands there.
pub(super) fn named(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if name.len() > NAME_MAX {
        errors.push(FieldError::too_long(path, NAME_MAX));
    }
    invalid(path, name, names::subdomain(&name.to_lowercase()), errors);
}

/// What is said to a driver of what it makes.
pub(super) fn parameters(of: &Value, is_needed: bool, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("parameters");
    let count = entries(of, "parameters").count();
    if count > PARAMETERS_MAX {
        errors.push(FieldError::too_long(&path, PARAMETERS_MAX));
        return;
    }
    let mut bytes = 0;
    for (key, value) in entries(of, "parameters") {
        if key.is_empty() {
            errors.push(FieldError::invalid(&path, "", "field can not be empty."));
        }
        bytes += key.len() + value.as_str().unwrap_or_default().len();
    }
    if bytes > PARAMETERS_BYTES {
        errors.push(FieldError::too_long(&path, PARAMETERS_BYTES));
    }
    if is_needed && count == 0 {
        errors.push(FieldError::required(&path, "must contain at least one key/value pair"));
    }
}

/// A CSIDriver.
pub(super) fn driver(driver: &Value, errors: &mut Vec<FieldError>) {
    let spec = driver.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let needed = [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ];
    for (key, told) in needed {
        if given(spec, key).is_none() {
            errors.push(FieldError::required(&path.child(told), ""));
        }
    }
    one_of(spec, "fsGroupPolicy", &POLICIES, &path, errors);
    tokens(spec, &path, errors);
    let modes = path.child("volumeLifecycleModes");
    let wrong = list(spec, "volumeLifecycleModes").iter().filter_map(Value::as_str);
    let wrong = wrong.filter(|mode| !MODES.contains(mode));
    errors.extend(wrong.map(|mode| FieldError::not_supported(&modes, mode, &MODES)));
    if given(spec, "seLinuxMount").is_none() {
        errors.push(FieldError::required(&path.child("seLinuxMount"), ""));
    }
    let period = "nodeAllocatableUpdatePeriodSeconds";
    if let Some(seconds) = number(spec, period).filter(|seconds| *seconds < 10) {
        let why = "must be greater than or equal to 10 seconds";
        errors.push(FieldError::invalid(&path.child(period), seconds, why));
    }
    let in_secrets = "serviceAccountTokenInSecrets";
    if let Some(value) = given(spec, in_secrets)
        && list(spec, "tokenRequests").is_empty()
    {
        let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.push(FieldError::invalid(&path.child(in_secrets), value.clone(), why));
    }
}

fn tokens(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("tokenRequests");
    let mut seen = HashSet::new();
    for (at, token) in list(spec, "tokenRequests").iter().enumerate() {
        let path = path.index(at);
        let audience = text(token, "audience");
        if !seen.insert(audience) {
            errors.push(FieldError::duplicate(&path.child("audience"), audience));
            continue;
        }
        let Some(seconds) = number(token, "expirationSeconds") else { continue };
        lifetime(seconds, &path.child("expirationSeconds"), errors);
    }
}

/// How long a token lives.
pub(super) fn lifetime(seconds: i64, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if seconds < TOKEN_MIN {
        let why = "may not specify a duration less than 10 minutes";
        errors.push(FieldError::invalid(path, seconds, why));
    }
    if seconds > TOKEN_MAX {
        let why = "may not specify a duration larger than 2^32 seconds";
        errors.push(FieldError::invalid(path, seconds, why));
    }
}

/// A driver stays what it is to the volumes that it has.
pub(super) fn update_driver(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let part = |of: &Value, key: &str| of.get("spec").and_then(|spec| given(spec, key)).cloned();
    let path = Path::ROOT.child("spec");
    let fixed = [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")];
    for (key, told) in fixed {
        if part(old, key) != part(new, key) {
            let value = part(new, key).unwrap_or_default();
            errors.push(FieldError::invalid(&path.child(told), value, IMMUTABLE));
        }
    }
}

/// A CSINode.
pub(super) fn node(node: &Value, errors: &mut Vec<FieldError>) {
    let spec = node.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let path = path.child("drivers");
    let mut seen = HashSet::new();
    for (at, driver) in list(spec, "drivers").iter().enumerate() {
        let path = path.index(at);
        name(driver, "name", &path, errors);
        required(driver, "nodeID", &path, errors);
        let id = text(driver, "nodeID");
        if id.len() > NODE_ID_MAX {
            let why = format!("must be {NODE_ID_MAX} characters or less");
            errors.push(FieldError::invalid(&path.child("nodeID"), id, why));
        }
        if let Some(room) = given(driver, "allocatable") {
            not_negative(room, &["count"], &path.child("allocatable"), errors);
        }
        let own = text(driver, "name");
        if !seen.insert(own) {
            errors.push(FieldError::duplicate(&path.child("name"), own));
        }
        let mut keys = HashSet::new();
        for key in list(driver, "topologyKeys").iter().filter_map(Value::as_str) {
            if key.is_empty() {
                errors.push(FieldError::required(&path, ""));
            }
            if !keys.insert(key) {
                errors.push(FieldError::duplicate(&path, key));
            }
            invalid(&path, key, names::qualified(key), errors);
        }
    }
}

/// A driver on a node changes in how much it can attach alone.
pub(super) fn update_node(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let drivers = |of: &Value| -> Vec<Value> {
        let mut all = of.get("spec").map(|spec| list(spec, "drivers").to_vec()).unwrap_or_default();
        for driver in all.iter_mut().filter_map(Value::as_object_mut) {
            driver.remove("allocatable");
        }
        all
    };
    let path = Path::ROOT.child("spec");
    let path = path.child("drivers");
    let (before, after) = (drivers(old), drivers(new));
    for was in &before {
        for is in after.iter().filter(|is| text(is, "name") == text(was, "name") && *is != was) {
            errors.push(FieldError::invalid(&path, is.clone(), IMMUTABLE));
        }
    }
}

/// A VolumeAttachment.
pub(super) fn attachment(attachment: &Value, errors: &mut Vec<FieldError>) {
    let spec = attachment.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    name(spec, "attacher", &path, errors);
    let source = spec.get("source").unwrap_or(&Value::Null);
    let inner = path.child("source");
    let volume = source.get("persistentVolumeName").and_then(Value::as_str);
    let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (given(source, "inlineVolumeSpec"), volume) {
        (None, None) => errors.push(FieldError::required(&inner, why)),
        (Some(_), Some(_)) => errors.push(FieldError::forbidden(&inner, why)),
        (None, Some("")) => {
            let why = "must specify non empty persistentVolumeName";
            errors.push(FieldError::required(&inner.child("persistentVolumeName"), why));
        }
        _ => {}
    }
    let node = text(spec, "nodeName");
    invalid(&path.child("nodeName"), node, names::subdomain(node), errors);
    if let Some(volume) = volume {
        let path = Path::ROOT.child("spec.source.persistentVolumeName");
        invalid(&path, volume, names::subdomain(volume), errors);
    }
}

/// What is attached, and where to, stays.
pub(super) fn update_attachment(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    if given(old, "spec") != given(new, "spec") {
        let value = given(new, "spec").cloned().unwrap_or_default();
        errors.push(FieldError::invalid(&Path::ROOT.child("spec"), value, IMMUTABLE));
    }
}

/// A CSIStorageCapacity.
pub(super) fn capacity(capacity: &Value, errors: &mut Vec<FieldError>) {
    if let Some(of) = given(capacity, "nodeTopology") {
        selector::selector(of, &Path::ROOT.child("nodeTopology"), errors);
    }
    let class = text(capacity, "storageClassName");
    invalid(&Path::ROOT.child("storageClassName"), class, names::subdomain(class), errors);
    let amount = text(capacity, "capacity");
    if Quantity::parse(amount).is_ok_and(|amount| amount.nanos() < 0) {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&Path::ROOT.child("capacity"), amount, why));
    }
}

/// What the room is for stays.
pub(super) fn update_capacity(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    for key in ["nodeTopology", "storageClassName"] {
        if given(old, key) != given(new, key) {
            let value = given(new, key).cloned().unwrap_or_default();
            errors.push(FieldError::invalid(&Path::ROOT.child(key), value, IMMUTABLE));
        }
    }
}

/// A VolumeAttributesClass.
pub(super) fn attributes(class: &Value, errors: &mut Vec<FieldError>) {
    if required(class, "driverName", &Path::ROOT, errors) {
        let driver = text(class, "driverName").to_lowercase();
        invalid(&Path::ROOT.child("driverName"), &driver, names::qualified(&driver), errors);
    }
    parameters(class, true, errors);
}

/// A class of attributes stays what it is.
pub(super) fn update_attributes(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    for key in ["driverName", "parameters"] {
        if given(old, key) != given(new, key) {
            let why = format!("updates to {key} are forbidden.");
            errors.push(FieldError::forbidden(&Path::ROOT.child(key), why));
        }
    }
}
