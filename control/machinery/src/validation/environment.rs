//! What a container finds in its environment.

use serde_json::Value;

use super::{given, invalid, list, names, required, text};
use crate::field::{FieldError, Path};

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
    if let Some(reference) = given(from, "fieldRef") {
        field(reference, &FIELDS, &path.child("fieldRef"), errors);
    }
    if let Some(reference) = given(from, "resourceFieldRef") {
        resource(reference, &path.child("resourceFieldRef"), errors);
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
    if !required(reference, "fieldPath", path, errors) {
        return;
    }
    let path = path.child("fieldPath");
    let value = text(reference, "fieldPath");
    let map =
        value.strip_prefix("metadata.labels['").or_else(|| value.strip_prefix("metadata.annotations['"));
    if let Some(key) = map.and_then(|rest| rest.strip_suffix("']")) {
        invalid(&path, key, names::qualified(&key.to_lowercase()), errors);
    } else if !supported.contains(&value) {
        let known =
            value.starts_with("spec.restartPolicy") || value == "status.phase" || FIELDS.contains(&value);
        errors.push(if known {
            FieldError::not_supported(&path, value, supported)
        } else {
            FieldError::invalid(
                &path,
                value,
                format!("error converting fieldPath: field label not supported: {value}"),
            )
        });
    }
}

/// An amount of a resource of a container.
pub(super) fn resource(reference: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if required(reference, "resource", path, errors) {
        let name = text(reference, "resource");
        let huge = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
        if !RESOURCES.contains(&name) && !huge {
            errors.push(FieldError::not_supported(&path.child("resource"), name, &RESOURCES));
        }
    }
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
