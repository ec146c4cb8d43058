//! Volumes that other systems have.

use serde_json::Value;

use super::mount::relative;
use super::{entries, given, invalid, list, names, number, one_of, required, text};
use crate::field::{FieldError, Path};

/// What must be told of each kind.
const NEEDED: [(&str, &[&str]); 12] = [
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("glusterfs", &["endpoints", "path"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
];
const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
const FORM: &str = "must be valid format";

/// A volume of one of these kinds: one of a pod, or the persistent one of this name.
pub(super) fn source(
    kind: &str,
    source: &Value,
    volume: Option<&str>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let needed = NEEDED.into_iter().find(|(own, _)| *own == kind).map(|(_, keys)| keys);
    for key in needed.unwrap_or_default() {
        required(source, key, path, errors);
    }
    match kind {
        "gitRepo" => relative(text(source, "directory"), &path.child("directory"), errors),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            let why = "must be between 1 and 255, inclusive";
            byte(source, "partition", why, path, errors);
        }
        "glusterfs" => endpoints(source, volume.is_some(), path, errors),
        "flocker" => flocker(source, path, errors),
        "rbd" | "cephfs" => {
            some(source, "monitors", path, errors);
            if kind == "rbd" {
                required(source, "image", path, errors);
            }
        }
        "cinder" => secret(source, volume.is_some(), path, errors),
        "quobyte" => quobyte(source, path, errors),
        "iscsi" => iscsi(source, volume, path, errors),
        "fc" => fibre(source, path, errors),
        "flexVolume" => flexible(source, path, errors),
        "azureFile"
            if volume.is_some() && given(source, "secretNamespace").is_some_and(|name| name == "") =>
        {
            errors.push(FieldError::required(&path.child("secretNamespace"), ""));
        }
        "azureDisk" => azure_disk(source, path, errors),
        "storageos" => {
            if required(source, "volumeName", path, errors) {
                label(source, "volumeName", path, errors);
            }
            label(source, "volumeNamespace", path, errors);
            secret(source, volume.is_some(), path, errors);
        }
        _ => {}
    }
}

fn byte(source: &Value, key: &str, why: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let value = number(source, key).unwrap_or_default();
    if !(0..=255).contains(&value) {
        errors.push(FieldError::invalid(&path.child(key), value, why));
    }
}

fn lun(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    byte(source, "lun", "must be between 0 and 255, inclusive", path, errors);
}

fn some(source: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if list(source, key).is_empty() {
        errors.push(FieldError::required(&path.child(key), ""));
    }
}

/// A name, where there is one.
fn label(source: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let name = text(source, key);
    if !name.is_empty() {
        invalid(&path.child(key), name, names::label(name), errors);
    }
}

/// The name of a secret, and where it is.
fn secret(source: &Value, has_namespace: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(secret) = given(source, "secretRef") else { return };
    let path = path.child("secretRef");
    required(secret, "name", &path, errors);
    if has_namespace {
        required(secret, "namespace", &path, errors);
    }
}

fn endpoints(source: &Value, persistent: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let key = "endpointsNamespace";
    match source.get(key).and_then(Value::as_str).filter(|_| persistent) {
        Some("") => {
            let why = "if the endpointnamespace is set, it must be a valid namespace name";
            errors.push(FieldError::invalid(&path.child(key), "", why));
        }
        Some(_) => label(source, key, path, errors),
        None => {}
    }
}

fn flocker(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (name, uuid) = (text(source, "datasetName"), text(source, "datasetUUID"));
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => {
            errors.push(FieldError::required(path, "one of datasetName and datasetUUID is required"));
        }
        (false, false) => {
            let why = "datasetName and datasetUUID can not be specified simultaneously";
            errors.push(FieldError::invalid(path, "resource", why));
        }
        _ => {}
    }
    if name.contains('/') {
        errors.push(FieldError::invalid(&path.child("datasetName"), name, "must not contain '/'"));
    }
}

fn quobyte(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (registry, place) = (text(source, "registry"), path.child("registry"));
    if registry.is_empty() {
        errors.push(FieldError::required(&place, PAIRS));
    } else if text(source, "tenant").len() > 64 {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(FieldError::required(&path.child("tenant"), why));
    } else {
        let wrong = registry.split(',').filter(|pair| !is_pair(pair));
        errors.extend(wrong.map(|_| FieldError::invalid(&place, registry, PAIRS)));
    }
    required(source, "volume", path, errors);
}

/// Whether a text is a host and a port.
fn is_pair(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let strange = |part: &str| part.contains([':', '[', ']']);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').map(|rest| !rest.contains(['[', ']'])),
        None => Some(!strange(host)),
    };
    host.unwrap_or_default() && !strange(port)
}

fn iscsi(source: &Value, volume: Option<&str>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let portal = text(source, "targetPortal");
    required(source, "targetPortal", path, errors);
    let initiator = source.get("initiatorName").and_then(Value::as_str);
    if volume.is_some_and(|name| name.len() + 1 + portal.len() > 64) && initiator.is_some() {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                   iscsi.initiatorName is specified.";
        errors.push(FieldError::invalid(&path.child("targetportal"), portal, why));
    }
    let persistent = volume.is_some();
    let name = text(source, "iqn");
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("iqn"), ""));
    } else {
        node(name, persistent, &path.child("iqn"), errors);
    }
    lun(source, path, errors);
    let asked = ["chapAuthDiscovery", "chapAuthSession"];
    let secret = given(source, "secretRef");
    if asked.iter().any(|key| source.get(key) == Some(&Value::Bool(true))) && secret.is_none() {
        errors.push(FieldError::required(&path.child("secretRef"), ""));
    }
    if let Some(secret) = secret.filter(|_| persistent) {
        required(secret, "name", &path.child("secretRef"), errors);
    }
    if let Some(initiator) = initiator {
        node(initiator, persistent, &path.child("initiatorname"), errors);
    }
}

/// The name of one end of an iSCSI session.
fn node(name: &str, persistent: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let is_number = |rest: &str, length: usize| {
        let mut letters = rest.chars();
        letters.next().is_some_and(|letter| letter != '\n')
            && letters.as_str().len() == length
            && letters.all(|letter| letter.is_ascii_alphanumeric())
    };
    let (fits, why) = match (name.get(..3), name.get(3..)) {
        (Some("iqn"), _) => (is_qualified(name), FORM),
        (Some("eui"), Some(rest)) => (is_number(rest, 16), FORM),
        (Some("naa"), Some(rest)) => (is_number(rest, 32), FORM),
        _ => (false, if persistent { FORM } else { "must be valid format starting with iqn, eui, or naa" }),
    };
    if !fits {
        errors.push(FieldError::invalid(path, name, why));
    }
}

/// Whether a name ends as `iqn.2001-04.com.example:more` does: with a month, a domain, and something after a colon.
fn is_qualified(name: &str) -> bool {
    let fits = |rest: &str| {
        let (Some(month), Some(rest)) = (rest.get(..8), rest.get(8..)) else { return false };
        let is_month = month.bytes().enumerate().all(|(at, byte)| match at {
            4 => byte == b'-',
            7 => byte == b'.',
            _ => byte.is_ascii_digit(),
        });
        let is_strange =
            |letter: char| ",;*&$|".contains(letter) || matches!(letter, ' ' | '\t' | '\n' | '\r' | '\u{c}');
        rest.split_once(':').is_some_and(|(domain, more)| {
            is_month
                && !domain.is_empty()
                && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
                && !more.is_empty()
                && !more.contains(is_strange)
        })
    };
    name.match_indices("iqn.").any(|(at, found)| fits(&name[at + found.len()..]))
}

fn fibre(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (targets, ids) = (list(source, "targetWWNs"), list(source, "wwids"));
    let place = path.child("targetWWNs");
    if targets.is_empty() && ids.is_empty() {
        errors.push(FieldError::required(&place, "must specify either targetWWNs or wwids, but not both"));
    }
    if !targets.is_empty() && !ids.is_empty() {
        let why = "targetWWNs and wwids can not be specified simultaneously";
        errors.push(FieldError::invalid(&place, targets.to_vec(), why));
    }
    if targets.is_empty() {
        return;
    }
    if given(source, "lun").is_none() {
        let why = "lun is required if targetWWNs is specified";
        errors.push(FieldError::required(&path.child("lun"), why));
    }
    lun(source, path, errors);
}

fn flexible(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("options");
    for (key, _) in entries(source, "options") {
        let domain = key.split_once('/').map_or(key.as_str(), |(domain, _)| domain);
        let domain = format!(".{}", domain.to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(&path.key(key), key.as_str(), why));
        }
    }
}

fn azure_disk(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    one_of(source, "cachingMode", &["None", "ReadOnly", "ReadWrite"], path, errors);
    one_of(source, "kind", &["Dedicated", "Managed", "Shared"], path, errors);
    let (kind, place) = (text(source, "kind"), text(source, "diskURI"));
    let (start, form) = if kind == "Managed" { ("/subscriptions/", MANAGED) } else { ("https://", BLOB) };
    if given(source, "kind").is_some() && !place.starts_with(start) {
        errors.push(FieldError::not_supported(&path.child("diskURI"), place, &[form]));
    }
}
