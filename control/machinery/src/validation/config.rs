//! ConfigMaps, Secrets and Namespaces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{IMMUTABLE, entries, given, invalid, list, names, text};
use crate::decoding;
use crate::field::{FieldError, Path};

/// What the values of one ConfigMap or Secret may weigh together.
const BYTES_MAX: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";

fn decoded_length(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count().min(text.len() / 4 * 3)
}

/// A ConfigMap.
pub(super) fn config_map(map: &Value, errors: &mut Vec<FieldError>) {
    let mut bytes = 0;
    for field in ["data", "binaryData"] {
        let path = Path::ROOT.child(field);
        for (key, value) in entries(map, field) {
            let path = path.key(key);
            invalid(&path, key, names::config_key(key), errors);
            if field == "data" && map.get("binaryData").is_some_and(|other| other.get(key).is_some()) {
                errors.push(FieldError::invalid(
                    &path,
                    key.as_str(),
                    "duplicate of key present in binaryData",
                ));
            }
            bytes += if field == "data" {
                value.as_str().unwrap_or_default().len()
            } else {
                decoded_length(value)
            };
        }
    }
    if bytes > BYTES_MAX {
        // Upstream names the whole object by a path of one nameless step.
        errors.push(FieldError::too_long(&Path::ROOT.key(""), BYTES_MAX));
    }
}

/// A Secret.
pub(super) fn secret(secret: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("data");
    let mut bytes = 0;
    for (key, value) in entries(secret, "data") {
        invalid(&path.key(key), key, names::config_key(key), errors);
        bytes += decoded_length(value);
    }
    if bytes > BYTES_MAX {
        errors.push(FieldError::too_long(&path, BYTES_MAX));
    }
    let has = |key: &str| secret.get("data").is_some_and(|data| data.get(key).is_some());
    let mut require = |keys: &[&str]| {
        errors
            .extend(keys.iter().filter(|key| !has(key)).map(|key| FieldError::required(&path.key(key), "")));
    };
    match text(secret, "type") {
        "kubernetes.io/tls" => require(&["tls.crt", "tls.key"]),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            require(&["username", "password"])
        }
        "kubernetes.io/ssh-auth"
            if secret.get("data").is_none_or(|data| text(data, "ssh-privatekey").is_empty()) =>
        {
            errors.push(FieldError::required(&path.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/dockercfg" => docker(secret, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => docker(secret, ".dockerconfigjson", errors),
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            let annotations = secret.get("metadata").and_then(|metadata| metadata.get("annotations"));
            if annotations.is_none_or(|annotations| text(annotations, key).is_empty()) {
                let (metadata, root) = (Path::ROOT.child("metadata"), "annotations");
                errors.push(FieldError::required(&metadata.child(root).key(key), ""));
            }
        }
        _ => {}
    }
}

/// The credentials of registries are JSON.
fn docker(secret: &Value, key: &str, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("data");
    let Some(value) = secret.get("data").and_then(|data| given(data, key)).and_then(Value::as_str) else {
        errors.push(FieldError::required(&path.key(key), ""));
        return;
    };
    let json = STANDARD.decode(value).unwrap_or_default();
    let why = decoding::json_fault(&json, decoding::DEPTH_MAX).or_else(|| {
        let kind = match serde_json::from_slice::<Value>(&json).ok()? {
            Value::Object(_) | Value::Null => return None,
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            Value::Array(_) => "array",
        };
        Some(format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"))
    });
    errors.extend(why.map(|why| FieldError::invalid(&path.key(key), "<secret contents redacted>", why)));
}

/// An immutable ConfigMap or Secret stays as it is.
pub(super) fn update(old: &Value, new: &Value, data: &[&str], errors: &mut Vec<FieldError>) {
    let frozen = |of: &Value| of.get("immutable").and_then(Value::as_bool).unwrap_or_default();
    if !frozen(old) {
        return;
    }
    if !frozen(new) {
        errors.push(FieldError::forbidden(&Path::ROOT.child("immutable"), FROZEN));
    }
    for field in data {
        if given(old, field) != given(new, field) {
            errors.push(FieldError::forbidden(&Path::ROOT.child(field), FROZEN));
        }
    }
}

/// A Secret keeps its type.
pub(super) fn update_secret(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    if text(old, "type") != text(new, "type") {
        errors.push(FieldError::invalid(&Path::ROOT.child("type"), text(new, "type"), IMMUTABLE));
    }
    update(old, new, &["data"], errors);
}

/// The finalizers of built-in kinds have a domain, or are the platform's own.
pub(super) fn finalizers(metadata: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("metadata");
    let path = path.child("finalizers");
    for (index, finalizer) in list(metadata, "finalizers").iter().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        if !is_finalizer(name) {
            errors.push(FieldError::invalid(&path.index(index), name, NO_FINALIZER));
        }
    }
}

const NO_FINALIZER: &str = "name is neither a standard finalizer name nor is it fully qualified";

fn is_finalizer(name: &str) -> bool {
    name.contains('/') || matches!(name, "kubernetes" | "orphan" | "foregroundDeletion")
}

/// A Namespace: who holds it back has a domain, or is one of the platform's own.
pub(super) fn namespace(namespace: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("spec");
    let path = path.child("finalizers");
    for finalizer in namespace.get("spec").map(|spec| list(spec, "finalizers")).unwrap_or_default() {
        let name = finalizer.as_str().unwrap_or_default();
        invalid(&path, name, names::qualified(name), errors);
        if !is_finalizer(name) {
            errors.push(FieldError::invalid(&path, name, NO_FINALIZER));
        }
    }
}
