//! Volumes of a pod.

use std::collections::HashSet;

use serde_json::Value;

use super::container::{no_back_steps, relative};
use super::{claim, environment, given, invalid, list, names, number, one_of, required, text};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
/// The fields of a pod that a file may be taken from.
const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// In the order in which upstream looks at them; of two kinds, the later is one too many.
const KINDS: [&str; 11] = [
    "emptyDir",
    "hostPath",
    "secret",
    "nfs",
    "persistentVolumeClaim",
    "configMap",
    "downwardAPI",
    "csi",
    "projected",
    "ephemeral",
    "image",
];

/// All volumes of the pod.
pub(super) fn volumes(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("volumes");
    let mut seen = HashSet::new();
    for (at, volume) in list(spec, "volumes").iter().enumerate() {
        let path = path.index(at);
        let name = text(volume, "name");
        if required(volume, "name", &path, errors) {
            invalid(&path.child("name"), name, names::label(name), errors);
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
        let mut found = 0;
        for kind in KINDS {
            let Some(source) = given(volume, kind) else { continue };
            found += 1;
            let path = path.child(kind);
            if found > 1 {
                errors.push(FieldError::forbidden(&path, "may not specify more than 1 volume type"));
            } else {
                check(kind, source, &path, errors);
            }
        }
    }
}

fn check(kind: &str, source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match kind {
        "emptyDir" => {
            let limit = source.get("sizeLimit").and_then(Value::as_str).map(Quantity::parse);
            if limit.is_some_and(|limit| limit.is_ok_and(|limit| limit.nanos() < 0)) {
                let why = "SizeLimit field must be a valid resource quantity";
                errors.push(FieldError::forbidden(&path.child("sizeLimit"), why));
            }
        }
        "hostPath" => {
            if required(source, "path", path, errors) {
                no_back_steps(text(source, "path"), &path.child("path"), errors);
            }
            one_of(source, "type", &HOST_PATH_TYPES, path, errors);
        }
        "secret" => {
            required(source, "secretName", path, errors);
            modes_and_items(source, path, errors);
        }
        "configMap" => {
            required(source, "name", path, errors);
            modes_and_items(source, path, errors);
        }
        "persistentVolumeClaim" => {
            required(source, "claimName", path, errors);
        }
        "nfs" => {
            required(source, "server", path, errors);
            required(source, "path", path, errors);
            let target = text(source, "path");
            if !target.is_empty() && !target.starts_with('/') {
                errors.push(FieldError::invalid(&path.child("path"), target, "must be an absolute path"));
            }
        }
        "downwardAPI" => {
            mode(source, "defaultMode", path, errors);
            downward(source, path, errors);
        }
        "projected" => projected(source, path, errors),
        "csi" => {
            required(source, "driver", path, errors);
        }
        "ephemeral" => {
            let path = path.child("volumeClaimTemplate");
            match given(source, "volumeClaimTemplate") {
                None => errors.push(FieldError::required(&path, "")),
                Some(template) => {
                    claim::spec(template.get("spec").unwrap_or(&Value::Null), &path.child("spec"), errors);
                }
            }
        }
        _ => {}
    }
}

fn mode(of: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(mode) = number(of, key).filter(|mode| !(0..=0o777).contains(mode)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(&path.child(key), mode, why));
    }
}

fn modes_and_items(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    mode(source, "defaultMode", path, errors);
    let path = path.child("items");
    for (at, item) in list(source, "items").iter().enumerate() {
        let path = path.index(at);
        required(item, "key", &path, errors);
        if required(item, "path", &path, errors) {
            file(text(item, "path"), &path.child("path"), errors);
        }
        mode(item, "mode", &path, errors);
    }
}

/// The name of a file that is written into the volume.
fn file(value: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    relative(value, path, errors);
    if value.starts_with("..") && !value.starts_with("../") && value != ".." {
        errors.push(FieldError::invalid(path, value, "must not start with '..'"));
    }
}

fn downward(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for item in list(source, "items") {
        if required(item, "path", path, errors) {
            file(text(item, "path"), &path.child("path"), errors);
        }
        match (given(item, "fieldRef"), given(item, "resourceFieldRef")) {
            (Some(field), None) => environment::field(field, &FIELDS, &path.child("fieldRef"), errors),
            (None, Some(resource)) => {
                environment::resource(resource, &path.child("resourceFieldRef"), errors)
            }
            (None, None) => {
                errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
            }
            (Some(_), Some(_)) => {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", why));
            }
        }
        mode(item, "mode", path, errors);
    }
}

fn projected(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    mode(source, "defaultMode", path, errors);
    let path = path.child("sources");
    for (at, source) in list(source, "sources").iter().enumerate() {
        let path = path.index(at);
        let kinds = ["secret", "configMap", "downwardAPI", "serviceAccountToken"];
        let mut found = 0;
        for kind in kinds {
            let Some(inner) = given(source, kind) else { continue };
            found += 1;
            let inner_path = path.child(kind);
            match kind {
                _ if found > 1 => {
                    let why = "may not specify more than 1 volume type per source";
                    errors.push(FieldError::forbidden(&path, why));
                }
                "secret" | "configMap" => {
                    required(inner, "name", &inner_path, errors);
                    modes_and_items(inner, &inner_path, errors);
                }
                "downwardAPI" => downward(inner, &inner_path, errors),
                _ => {
                    if let Some(seconds) = number(inner, "expirationSeconds").filter(|seconds| *seconds < 600)
                    {
                        let why = "may not specify a duration less than 10 minutes";
                        errors.push(FieldError::invalid(
                            &inner_path.child("expirationSeconds"),
                            seconds,
                            why,
                        ));
                    }
                    required(inner, "path", &inner_path, errors);
                }
            }
        }
    }
}
