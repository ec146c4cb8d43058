//! What a container finds in its environment.

use serde_json::Value;

use super::mount::no_back_steps;
use super::{given, invalid, list, names, required, text};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
const MORE_THAN_ONE: &str = "may not have more than one field specified at a time";

/// The fields of a pod that a variable may be taken from.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields that have names, and that nothing is taken from here.
const OTHER_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// `env`
pub(super) fn env(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("env");
    for (at, variable) in list(container, "env").iter().enumerate() {
        let path = path.index(at);
        if required(variable, "name", &path, errors) {
            let name = text(variable, "name");
            invalid(&path.child("name"), name, names::env_name(name), errors);
        }
        if let Some(from) = given(variable, "valueFrom") {
            source(from, !text(variable, "value").is_empty(), &path.child("valueFrom"), errors);
        }
    }
}

fn source(from: &Value, has_value: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let sources = SOURCES.iter().filter(|key| given(from, key).is_some()).count();
    if let Some(reference) = given(from, "fieldRef") {
        field(reference, &FIELDS, &path.child("fieldRef"), errors);
    }
    if let Some(reference) = given(from, "resourceFieldRef") {
        resource(reference, false, &path.child("resourceFieldRef"), errors);
    }
    for key in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = given(from, key) {
            let path = path.child(key);
            let name = text(reference, "name");
            invalid(&path.child("name"), name, names::subdomain(name), errors);
            if required(reference, "key", &path, errors) {
                let key = text(reference, "key");
                invalid(&path.child("key"), key, names::config_key(key), errors);
            }
        }
    }
    if let Some(reference) = given(from, "fileKeyRef") {
        let path = path.child("fileKeyRef");
        if required(reference, "key", &path, errors) {
            let key = text(reference, "key");
            invalid(&path.child("key"), key, names::env_name(key), errors);
        }
        if required(reference, "volumeName", &path, errors) {
            let name = text(reference, "volumeName");
            invalid(&path.child("volumeName"), name, names::label(name), errors);
        }
        if required(reference, "path", &path, errors) {
            no_back_steps(text(reference, "path"), &path.child("path"), errors);
        }
    }
    let why = match sources {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if has_value => "may not be specified when `value` is not empty",
        1 => return,
        _ => MORE_THAN_ONE,
    };
    errors.push(FieldError::invalid(path, "", why));
}

/// A field of the pod itself.
pub(super) fn field(reference: &Value, supported: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !required(reference, "apiVersion", path, errors) || !required(reference, "fieldPath", path, errors) {
        return;
    }
    let place = path.child("fieldPath");
    let (version, value) = (text(reference, "apiVersion"), text(reference, "fieldPath"));
    let subscript =
        value.strip_suffix("']").and_then(|rest| rest.split_once("['")).filter(|(base, _)| !base.is_empty());
    let why = match subscript {
        _ if version != "v1" => format!("unsupported pod version: {version}"),
        Some(("metadata.annotations", key)) => {
            let key = key.to_lowercase();
            invalid(path, &key, names::qualified(&key), errors);
            return;
        }
        Some(("metadata.labels", key)) => {
            invalid(path, key, names::qualified(key), errors);
            return;
        }
        Some(_) => format!("field label does not support subscript: {value}"),
        None if supported.contains(&value)
            || (value == "spec.host" && supported.contains(&"spec.nodeName")) =>
        {
            return;
        }
        None if FIELDS.contains(&value) || OTHER_FIELDS.contains(&value) => {
            errors.push(FieldError::not_supported(&place, value, supported));
            return;
        }
        None => format!("field label not supported: {value}"),
    };
    errors.push(FieldError::invalid(&place, value, format!("error converting fieldPath: {why}")));
}

/// An amount of a resource of a container, which is named where it is not the one that asks.
pub(super) fn resource(reference: &Value, is_named: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let name = text(reference, "resource");
    let pages = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    if is_named && text(reference, "containerName").is_empty() {
        errors.push(FieldError::required(&path.child("containerName"), ""));
    } else if required(reference, "resource", path, errors) && !RESOURCES.contains(&name) && !pages {
        errors.push(FieldError::not_supported(&path.child("resource"), name, &RESOURCES));
    }
    let divisor = Quantity::parse(text(reference, "divisor")).ok().filter(|divisor| divisor.nanos() != 0);
    let Some(divisor) = divisor.map(|divisor| divisor.to_string()) else { return };
    let sizes = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let is_size = || sizes.split(", ").any(|size| size == divisor);
    let why = match name.split_once('.').map(|(_, of)| of) {
        Some("cpu") if !matches!(divisor.as_str(), "1m" | "1") => {
            "only divisor's values 1m and 1 are supported with the cpu resource".to_owned()
        }
        Some(of @ ("memory" | "ephemeral-storage")) if !is_size() => {
            let of = if of == "memory" { of } else { "local ephemeral storage" };
            format!("only divisor's values {sizes} are supported with the {of} resource")
        }
        _ if pages && !is_size() => {
            format!("only divisor's values {sizes} are supported with the hugepages resource")
        }
        _ => return,
    };
    errors.push(FieldError::invalid(&path.child("divisor"), name, why));
}

/// `envFrom`
pub(super) fn env_from(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("envFrom");
    for (at, from) in list(container, "envFrom").iter().enumerate() {
        let inner = path.index(at);
        let prefix = text(from, "prefix");
        invalid(&inner.child("prefix"), prefix, names::env_name(prefix), errors);
        let mut sources = 0;
        for key in ["configMapRef", "secretRef"] {
            if let Some(reference) = given(from, key) {
                sources += 1;
                let inner = inner.child(key);
                if required(reference, "name", &inner, errors) {
                    let name = text(reference, "name");
                    invalid(&inner.child("name"), name, names::subdomain(name), errors);
                }
            }
        }
        match sources {
            0 => errors.push(FieldError::invalid(
                &path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            1 => {}
            _ => errors.push(FieldError::invalid(&path, "", MORE_THAN_ONE)),
        }
    }
}
