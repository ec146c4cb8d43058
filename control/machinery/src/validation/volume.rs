//! Volumes of a pod.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::mount::{file, no_back_steps};
use super::{
    claim, driver, entries, environment, given, invalid, list, names, number, one_of, remote, required,
    selector, text,
};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
/// The fields of a pod that a file may be taken from.
const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// In the order in which upstream looks at them; of two kinds, the later is one too many.
const KINDS: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];

/// All volumes of a pod, which is named unless it is one of a template. Gives those that are sound.
pub(super) fn volumes<'a>(
    spec: &'a Value,
    pod: Option<&str>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) -> HashMap<&'a str, &'a Value> {
    let path = path.child("volumes");
    let mut sound = HashMap::new();
    let all = list(spec, "volumes");
    let pod = pod.filter(|name| !name.is_empty());
    for (at, volume) in all.iter().enumerate() {
        let path = path.index(at);
        let (name, before) = (text(volume, "name"), errors.len());
        source(volume, pod, &path, errors);
        if required(volume, "name", &path, errors) {
            invalid(&path.child("name"), name, names::label(name), errors);
        }
        if sound.contains_key(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        if errors.len() == before {
            sound.insert(name, volume);
        }
        let claimed = given(volume, "persistentVolumeClaim").map(|claim| text(claim, "claimName"));
        let made = |claim: &str| {
            let ephemeral = all.iter().filter(|volume| given(volume, "ephemeral").is_some());
            pod.is_some_and(|pod| {
                ephemeral.map(|volume| format!("{pod}-{}", text(volume, "name"))).any(|made| made == claim)
            })
        };
        if let Some(claim) = claimed.filter(|claim| made(claim)) {
            let path = path.child("persistentVolumeClaim");
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(FieldError::invalid(&path.child("claimName"), claim, why));
        }
    }
    sound
}

fn source(volume: &Value, pod: Option<&str>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut found = 0;
    for kind in KINDS {
        let Some(source) = given(volume, kind) else { continue };
        found += 1;
        let inner = path.child(kind);
        if found > 1 {
            errors.push(FieldError::forbidden(&inner, "may not specify more than 1 volume type"));
            continue;
        }
        check(kind, source, pod.is_some(), &inner, errors);
        let name = text(volume, "name");
        if let (Some(pod), "ephemeral", false) = (pod, kind, name.is_empty()) {
            let claim = format!("{pod}-{name}");
            let faults = names::subdomain(&claim).into_iter().map(|why| format!("PVC name {claim:?}: {why}"));
            invalid(&path.child("name"), name, faults.collect(), errors);
        }
    }
    if found == 0 {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
}

fn check(kind: &str, source: &Value, is_pod: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match kind {
        "emptyDir" => {
            let limit = source.get("sizeLimit").and_then(Value::as_str).map(Quantity::parse);
            if limit.is_some_and(|limit| limit.is_ok_and(|limit| limit.nanos() < 0)) {
                let why = "SizeLimit field must be a valid resource quantity";
                errors.push(FieldError::forbidden(&path.child("sizeLimit"), why));
            }
        }
        "hostPath" => host_path(source, path, errors),
        "secret" => {
            required(source, "secretName", path, errors);
            modes_and_items(source, path, errors);
        }
        "configMap" => {
            required(source, "name", path, errors);
            modes_and_items(source, path, errors);
        }
        "nfs" => nfs(source, path, errors),
        "downwardAPI" => {
            mode(source, "defaultMode", path, errors);
            list(source, "items").iter().for_each(|item| downward(item, path, errors));
        }
        "projected" => projected(source, path, errors),
        "csi" => {
            driver::name(source, "driver", path, errors);
            if let Some(secret) = given(source, "nodePublishSecretRef") {
                let name = text(secret, "name");
                if name.is_empty() {
                    let path = path.child("nodePublishSecretRef");
                    errors.push(FieldError::required(&path.child("name"), ""));
                } else {
                    invalid(&path.child("name"), name, names::subdomain(name), errors);
                }
            }
        }
        "ephemeral" => {
            let path = path.child("volumeClaimTemplate");
            match given(source, "volumeClaimTemplate") {
                None => errors.push(FieldError::required(&path, "")),
                Some(template) => claim_template(template, &path, errors),
            }
        }
        "image" => {
            if is_pod {
                required(source, "reference", path, errors);
            }
            one_of(source, "pullPolicy", &["Always", "IfNotPresent", "Never"], path, errors);
        }
        "persistentVolumeClaim" => {
            required(source, "claimName", path, errors);
        }
        kind => remote::source(kind, source, None, path, errors),
    }
}

/// A directory of the machine.
pub(super) fn host_path(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if required(source, "path", path, errors) {
        no_back_steps(text(source, "path"), &path.child("path"), errors);
        one_of(source, "type", &HOST_PATH_TYPES, path, errors);
    }
}

/// A directory that another machine shows.
pub(super) fn nfs(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(source, "server", path, errors);
    required(source, "path", path, errors);
    let target = text(source, "path");
    if !target.starts_with('/') {
        errors.push(FieldError::invalid(&path.child("path"), target, "must be an absolute path"));
    }
}

/// A claim that is made with its pod.
fn claim_template(template: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    made_metadata(template, path, errors);
    claim::spec(template.get("spec").unwrap_or(&Value::Null), &path.child("spec"), errors);
}

/// What is made by a template has labels and annotations, and nothing else of its own.
pub(super) fn made_metadata(template: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const FIXED: [&str; 9] = [
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "resourceVersion",
        "generation",
        "deletionGracePeriodSeconds",
        "ownerReferences",
        "finalizers",
    ];
    let metadata = template.get("metadata").unwrap_or(&Value::Null);
    let inner = path.child("metadata");
    for (key, _) in entries(metadata, "annotations") {
        invalid(&inner.child("annotations"), key, names::qualified(&key.to_lowercase()), errors);
    }
    selector::labels(entries(metadata, "labels"), &inner.child("labels"), errors);
    for key in FIXED.into_iter().filter(|key| given(metadata, key).is_some()) {
        errors.push(FieldError::forbidden(&inner.child(key), "cannot be set"));
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
    for (at, of) in list(source, "items").iter().enumerate() {
        item(of, &path.index(at), errors);
    }
}

/// A key that becomes a file.
fn item(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(of, "key", path, errors);
    if required(of, "path", path, errors) {
        file(text(of, "path"), &path.child("path"), errors);
    }
    mode(of, "mode", path, errors);
}

fn downward(item: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if required(item, "path", path, errors) {
        file(text(item, "path"), &path.child("path"), errors);
    }
    match (given(item, "fieldRef"), given(item, "resourceFieldRef")) {
        (Some(field), other) => {
            environment::field(field, &FIELDS, &path.child("fieldRef"), errors);
            if other.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", why));
            }
        }
        (None, Some(resource)) => {
            environment::resource(resource, true, &path.child("resourceFieldRef"), errors);
        }
        (None, None) => {
            errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
        }
    }
    mode(item, "mode", path, errors);
}

fn projected(projection: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    mode(projection, "defaultMode", path, errors);
    let sources = path.child("sources");
    let mut files = HashSet::new();
    for (at, source) in list(projection, "sources").iter().enumerate() {
        let source_path = sources.index(at);
        let kinds = [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ];
        let mut found = 0;
        for kind in kinds {
            let Some(of) = given(source, kind) else { continue };
            found += 1;
            let inner = source_path.child(kind);
            match kind {
                "secret" | "configMap" => {
                    required(of, "name", &inner, errors);
                    let items = inner.child("items");
                    for (at, own) in list(of, "items").iter().enumerate() {
                        item(own, &items.index(at), errors);
                        once(text(own, "path"), text(of, "name"), &mut files, path, errors);
                    }
                }
                "downwardAPI" => {
                    for own in list(of, "items") {
                        downward(own, &inner, errors);
                        once(text(own, "path"), text(own, "path"), &mut files, path, errors);
                    }
                }
                "serviceAccountToken" => {
                    let seconds = number(of, "expirationSeconds").unwrap_or_default();
                    driver::lifetime(seconds, &inner.child("expirationSeconds"), errors);
                    if required(of, "path", path, errors) {
                        file(text(of, "path"), &path.child("path"), errors);
                    }
                }
                "podCertificate" => {
                    let kind = text(of, "keyType");
                    if !KEY_TYPES.contains(&kind) {
                        errors.push(FieldError::not_supported(&inner.child("keyType"), kind, &KEY_TYPES));
                    }
                }
                _ => {
                    if required(of, "path", &inner, errors) {
                        file(text(of, "path"), &inner.child("path"), errors);
                    }
                }
            }
        }
        if found > 1 {
            let why = "may not specify more than 1 volume type per source";
            errors.push(FieldError::forbidden(&source_path, why));
        }
    }
}

/// Each file is written once.
fn once<'a>(
    own: &'a str,
    told: &str,
    files: &mut HashSet<&'a str>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    if !own.is_empty() && !files.insert(own) {
        errors.push(FieldError::invalid(path, told, "conflicting duplicate paths"));
    }
}

/// Variables that are taken from files are taken from empty directories.
pub(super) fn of_variables(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        let path = path.child(kind);
        for (at, container) in list(spec, kind).iter().enumerate() {
            let path = path.index(at);
            let path = path.child("env");
            for (at, variable) in list(container, "env").iter().enumerate() {
                let from = given(variable, "valueFrom").and_then(|from| given(from, "fileKeyRef"));
                let Some(name) = from.map(|from| text(from, "volumeName")) else { continue };
                let path = path.index(at);
                let path = path.child("valueFrom");
                let path = path.child("fileKeyRef");
                let path = path.child("volumeName");
                match list(spec, "volumes").iter().rfind(|volume| text(volume, "name") == name) {
                    None => errors.push(FieldError::not_found(&path, name)),
                    Some(volume) if given(volume, "emptyDir").is_none() => {
                        let why = "referenced volume must be of type emptyDir";
                        errors.push(FieldError::invalid(&path, name, why));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}
