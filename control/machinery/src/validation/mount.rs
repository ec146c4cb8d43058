//! Where a container sees the volumes of its pod.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{given, list, required, text};
use crate::field::{FieldError, Path};

type Volumes<'a> = HashMap<&'a str, &'a Value>;

/// Where each volume is, by its name; a later place stands for an earlier one.
fn places<'a>(container: &'a Value, of: &str, place: &str) -> HashMap<&'a str, &'a str> {
    list(container, of).iter().map(|part| (text(part, "name"), text(part, place))).collect()
}

/// `volumeMounts`
pub(super) fn mounts(
    container: &Value,
    volumes: &Volumes<'_>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let all = path.child("volumeMounts");
    let mut seen = HashSet::new();
    let devices = places(container, "volumeDevices", "devicePath");
    for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
        let path = all.index(at);
        let (name, target) = (text(mount, "name"), text(mount, "mountPath"));
        required(mount, "name", &path, errors);
        if !volumes.contains_key(name) {
            errors.push(FieldError::not_found(&path.child("name"), name));
        }
        required(mount, "mountPath", &path, errors);
        if !seen.insert(target) {
            errors.push(FieldError::invalid(&path.child("mountPath"), target, "must be unique"));
        }
        if devices.contains_key(name) {
            let why = "must not already exist in volumeDevices";
            errors.push(FieldError::invalid(&path.child("name"), name, why));
        }
        if devices.values().any(|device| *device == target) {
            let why = "must not already exist as a path in volumeDevices";
            errors.push(FieldError::invalid(&path.child("mountPath"), target, why));
        }
        let (part, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        if !part.is_empty() {
            relative(part, &all.child("subPath"), errors);
        }
        if !expression.is_empty() {
            if !part.is_empty() {
                let why = "subPathExpr and subPath are mutually exclusive";
                errors.push(FieldError::invalid(&path.child("subPathExpr"), expression, why));
            }
            relative(expression, &all.child("subPathExpr"), errors);
        }
        propagation(mount, container, &all.child("mountPropagation"), errors);
        recursion(mount, &all.child("recursiveReadOnly"), errors);
    }
}

fn propagation(mount: &Value, container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const KNOWN: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];
    let Some(way) = mount.get("mountPropagation").and_then(Value::as_str) else { return };
    if !KNOWN.contains(&way) {
        errors.push(FieldError::not_supported(path, way, &KNOWN));
    }
    let privileged = container.pointer("/securityContext/privileged") == Some(&Value::Bool(true));
    if way == "Bidirectional" && !privileged {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(FieldError::forbidden(path, why));
    }
}

fn recursion(mount: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const KNOWN: [&str; 3] = ["Disabled", "Enabled", "IfPossible"];
    match mount.get("recursiveReadOnly").and_then(Value::as_str) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.get("readOnly") != Some(&Value::Bool(true)) {
                errors.push(FieldError::forbidden(path, "may only be specified when readOnly is true"));
            }
            if mount.get("mountPropagation").and_then(Value::as_str).is_some_and(|way| way != "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                errors.push(FieldError::forbidden(path, why));
            }
        }
        Some(other) => errors.push(FieldError::not_supported(path, other, &KNOWN)),
    }
}

/// `volumeDevices`
pub(super) fn devices(
    container: &Value,
    volumes: &Volumes<'_>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let all = path.child("volumeDevices");
    let mounts = places(container, "volumeMounts", "mountPath");
    let (mut paths, mut names) = (HashSet::new(), HashSet::new());
    for (at, device) in list(container, "volumeDevices").iter().enumerate() {
        let path = all.index(at);
        let (name, target) = (text(device, "name"), text(device, "devicePath"));
        let (name_path, target_path) = (path.child("name"), path.child("devicePath"));
        required(device, "name", &path, errors);
        if names.contains(name) {
            errors.push(FieldError::invalid(&name_path, name, "must be unique"));
        }
        match volumes.get(name) {
            None => errors.push(FieldError::not_found(&name_path, name)),
            Some(volume) => {
                let is_claim =
                    ["persistentVolumeClaim", "ephemeral"].iter().any(|kind| given(volume, kind).is_some());
                if !is_claim {
                    let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                    errors.push(FieldError::invalid(&name_path, name, why));
                }
            }
        }
        required(device, "devicePath", &path, errors);
        if paths.contains(target) {
            errors.push(FieldError::invalid(&target_path, target, "must be unique"));
        }
        if target.split('/').any(|step| step == "..") {
            let why = "can not contain backsteps ('..')";
            errors.push(FieldError::invalid(&target_path, target, why));
        } else {
            paths.insert(target);
        }
        if mounts.contains_key(name) {
            let why = "must not already exist in volumeMounts";
            errors.push(FieldError::invalid(&name_path, name, why));
        }
        if mounts.values().any(|mount| *mount == target) {
            let why = "must not already exist as a path in volumeMounts";
            errors.push(FieldError::invalid(&target_path, target, why));
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}

/// A path within a volume: relative, and it stays there.
pub(super) fn relative(value: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if value.starts_with('/') {
        errors.push(FieldError::invalid(path, value, "must be a relative path"));
    }
    no_back_steps(value, path, errors);
}

/// A path with no `..` among its steps.
pub(super) fn no_back_steps(value: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if value.split('/').any(|step| step == "..") {
        errors.push(FieldError::invalid(path, value, "must not contain '..'"));
    }
}

/// The name of a file that is written into a volume.
pub(super) fn file(value: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    relative(value, path, errors);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.push(FieldError::invalid(path, value, "must not start with '..'"));
    }
}
