//! Volumes and their classes.

use serde_json::Value;

use super::container::no_back_steps;
use super::{IMMUTABLE, given, invalid, list, names, one_of, required, text};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

pub(super) const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// What a volume can be, in the order in which upstream looks at them.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// How a claim or a volume may be used.
pub(super) fn access_modes(spec: &Value, missing: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let modes = list(spec, "accessModes");
    let path = path.child("accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required(&path, missing));
    }
    for mode in modes.iter().filter_map(Value::as_str).filter(|mode| !MODES.contains(mode)) {
        errors.push(FieldError::not_supported(&path, mode, &MODES));
    }
    let alone = |mode: &&Value| **mode == "ReadWriteOncePod";
    let known = |mode: &&Value| mode.as_str().is_some_and(|mode| MODES.contains(&mode));
    if modes.iter().any(|mode| alone(&mode)) && modes.iter().filter(known).any(|mode| !alone(&mode)) {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(&path, why));
    }
}

/// A PersistentVolume.
pub(super) fn volume(volume: &Value, errors: &mut Vec<FieldError>) {
    let spec = volume.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    access_modes(spec, "", &path, errors);
    capacity(spec, &path, errors);
    let policies = ["Delete", "Recycle", "Retain"];
    one_of(spec, "persistentVolumeReclaimPolicy", &policies, &path, errors);
    let affinity = given(spec, "nodeAffinity");
    if let Some(affinity) = affinity {
        let path = path.child("nodeAffinity");
        let inner = path.child("required");
        match given(affinity, "required") {
            None => errors.push(FieldError::required(&inner, "must specify required node constraints")),
            Some(required) if list(required, "nodeSelectorTerms").is_empty() => {
                let why = "must have at least one node selector term";
                errors.push(FieldError::required(&inner.child("nodeSelectorTerms"), why));
            }
            Some(_) => {}
        }
    }
    let found: Vec<&str> = SOURCES.into_iter().filter(|kind| given(spec, kind).is_some()).collect();
    for second in found.iter().skip(1) {
        errors.push(FieldError::forbidden(&path.child(second), "may not specify more than 1 volume type"));
    }
    let source = found.first().and_then(|kind| Some((*kind, given(spec, kind)?)));
    match source {
        None => errors.push(FieldError::required(&path, "must specify a volume type")),
        Some((kind @ ("hostPath" | "local"), source)) => {
            let inner = path.child(kind);
            if required(source, "path", &inner, errors) {
                no_back_steps(text(source, "path"), &inner.child("path"), errors);
            }
            if kind == "local" && affinity.is_none() {
                let why = "Local volume requires node affinity";
                errors.push(FieldError::required(&path.child("nodeAffinity"), why));
            }
            let recycles = text(spec, "persistentVolumeReclaimPolicy") == "Recycle";
            if kind == "hostPath" && recycles && text(source, "path").split('/').all(str::is_empty) {
                let why = "may not be 'recycle' for a hostPath mount of '/'";
                errors.push(FieldError::forbidden(&path.child("persistentVolumeReclaimPolicy"), why));
            }
        }
        Some((kind @ "csi", source)) => {
            let inner = path.child(kind);
            required(source, "driver", &inner, errors);
            required(source, "volumeHandle", &inner, errors);
        }
        Some(_) => {}
    }
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        invalid(&path.child("storageClassName"), class, names::subdomain(class), errors);
    }
    one_of(spec, "volumeMode", &["Block", "Filesystem"], &path, errors);
}

fn capacity(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("capacity");
    let amounts = given(spec, "capacity").and_then(Value::as_object);
    let Some(amounts) = amounts.filter(|amounts| !amounts.is_empty()) else {
        errors.push(FieldError::required(&path, ""));
        errors.push(FieldError::not_supported(&path, Value::Null, &["storage"]));
        return;
    };
    if !amounts.contains_key("storage") || amounts.len() > 1 {
        errors.push(FieldError::not_supported(
            &path,
            given(spec, "capacity").cloned().unwrap_or_default(),
            &["storage"],
        ));
    }
    for (name, value) in amounts {
        let amount = value.as_str().and_then(|text| Quantity::parse(text).ok());
        if amount.is_some_and(|amount| amount.nanos() <= 0) {
            errors.push(FieldError::invalid(&path.key(name), value.clone(), "must be greater than zero"));
        }
    }
}

/// A volume stays where and what it is.
pub(super) fn update_volume(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let spec = |volume: &Value| volume.get("spec").cloned().unwrap_or_default();
    let (before, after) = (spec(old), spec(new));
    if SOURCES.iter().any(|kind| given(&before, kind) != given(&after, kind)) {
        let path = Path::ROOT.child("spec");
        let why = "spec.persistentvolumesource is immutable after creation";
        errors.push(FieldError::forbidden(&path.child("persistentvolumesource"), why));
    }
    if text(&before, "volumeMode") != text(&after, "volumeMode") {
        let value = text(&after, "volumeMode");
        errors.push(FieldError::invalid(&Path::ROOT.child("volumeMode"), value, IMMUTABLE));
    }
    if given(&before, "nodeAffinity").is_some_and(|own| given(&after, "nodeAffinity") != Some(own)) {
        let value = after.get("nodeAffinity").cloned().unwrap_or_default();
        errors.push(FieldError::invalid(&Path::ROOT.child("nodeAffinity"), value, IMMUTABLE));
    }
}

/// A StorageClass.
pub(super) fn class(class: &Value, errors: &mut Vec<FieldError>) {
    if required(class, "provisioner", &Path::ROOT, errors) {
        let provisioner = text(class, "provisioner");
        let faults = names::qualified(&provisioner.to_lowercase());
        invalid(&Path::ROOT.child("provisioner"), provisioner, faults, errors);
    }
    one_of(class, "reclaimPolicy", &["Delete", "Retain"], &Path::ROOT, errors);
    one_of(class, "volumeBindingMode", &["Immediate", "WaitForFirstConsumer"], &Path::ROOT, errors);
}

/// A class stays what it is to the claims that were made by it.
pub(super) fn update_class(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    for key in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
        if given(old, key) != given(new, key) {
            let value = new.get(key).cloned().unwrap_or_default();
            errors.push(FieldError::invalid(&Path::ROOT.child(key), value, IMMUTABLE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(more: Value) -> Value {
        let mut spec = json!({
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/data"},
            "persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem",
        });
        for (key, value) in more.as_object().cloned().unwrap_or_default() {
            spec[key] = value;
        }
        json!({"metadata": {"name": "one"}, "spec": spec})
    }

    fn told(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_volume_is_one_thing_of_some_size_at_some_place() {
        let errors = |more: Value| {
            let mut errors = Vec::new();
            volume(&with(more), &mut errors);
            told(errors)
        };
        assert_eq!(errors(json!({})), [""; 0]);
        let terms = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": []}]}});
        assert_eq!(
            errors(json!({"hostPath": null, "local": {"path": "/a"}, "nodeAffinity": terms})),
            [""; 0]
        );
        for (more, wanted) in [
            (json!({"accessModes": []}), "spec.accessModes: Required value"),
            (json!({"capacity": {"storage": "0"}}), "spec.capacity[storage]: Invalid value: \"0\""),
            (json!({"hostPath": null}), "spec: Required value: must specify a volume type"),
            (json!({"hostPath": {"path": ""}}), "spec.hostPath.path: Required value"),
            (json!({"hostPath": {"path": "/a/../b"}}), "spec.hostPath.path: Invalid value"),
            (json!({"nfs": {}}), "spec.nfs: Forbidden: may not specify more than 1 volume type"),
            (
                json!({"hostPath": null, "local": {"path": "/a"}}),
                "spec.nodeAffinity: Required value: Local volume requires node affinity",
            ),
            (
                json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}),
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ),
            (
                json!({"persistentVolumeReclaimPolicy": "Sell"}),
                "spec.persistentVolumeReclaimPolicy: Unsupported value: \"Sell\"",
            ),
            (json!({"volumeMode": "Tape"}), "spec.volumeMode: Unsupported value: \"Tape\""),
        ] {
            let found = errors(more.clone());
            assert!(found.len() == 1 && found[0].starts_with(wanted), "{more}: {found:?}");
        }
    }

    #[test]
    fn a_volume_and_a_class_stay_what_they_are() {
        let mut errors = Vec::new();
        let moved = json!({"hostPath": {"path": "/other"}, "claimRef": {"name": "a"}});
        update_volume(&with(json!({})), &with(moved), &mut errors);
        assert_eq!(
            told(errors),
            [
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
            ]
        );
        let mut errors = Vec::new();
        let base =
            json!({"provisioner": "a.b/c", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"});
        let mut changed = base.clone();
        changed["reclaimPolicy"] = json!("Retain");
        changed["mountOptions"] = json!(["ro"]);
        update_class(&base, &changed, &mut errors);
        assert_eq!(told(errors), ["reclaimPolicy: Invalid value: \"Retain\": field is immutable"]);
    }
}
