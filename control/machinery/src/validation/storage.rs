//! Volumes and their classes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::mount::no_back_steps;
use super::{
    IMMUTABLE, claim, driver, given, invalid, list, names, one_of, remote, required, resources, scheduling,
    text,
};
use crate::field::{FieldError, Path};

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
pub(super) fn access_modes(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let modes = list(spec, "accessModes");
    let path = path.child("accessModes");
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
    let name = volume.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let path = Path::ROOT.child("spec");
    if list(spec, "accessModes").is_empty() {
        errors.push(FieldError::required(&path.child("accessModes"), ""));
    }
    access_modes(spec, &path, errors);
    capacity(spec, &path, errors);
    let policies = ["Delete", "Recycle", "Retain"];
    one_of(spec, "persistentVolumeReclaimPolicy", &policies, &path, errors);
    let affinity = given(spec, "nodeAffinity");
    if let Some(affinity) = affinity {
        let path = path.child("nodeAffinity");
        let inner = path.child("required");
        match given(affinity, "required") {
            None => errors.push(FieldError::required(&inner, "must specify required node constraints")),
            Some(required) => scheduling::node_selector(required, &inner, errors),
        }
    }
    let mut found = 0;
    for kind in SOURCES {
        let Some(source) = given(spec, kind) else { continue };
        found += 1;
        // Upstream spells two of them in two ways.
        let inner = path.child(if found > 1 && kind == "cephfs" { "cephFS" } else { kind });
        if found > 1 && kind != "flexVolume" {
            errors.push(FieldError::forbidden(&inner, "may not specify more than 1 volume type"));
            continue;
        }
        let inner = if kind == "gcePersistentDisk" { path.child("persistentDisk") } else { inner };
        self::source(kind, source, name, &inner, errors);
        if kind == "local" && affinity.is_none() {
            let why = "Local volume requires node affinity";
            errors.push(FieldError::required(&path.child("nodeAffinity"), why));
        }
    }
    if found == 0 {
        errors.push(FieldError::required(&path, "must specify a volume type"));
    }
    let recycles = text(spec, "persistentVolumeReclaimPolicy") == "Recycle";
    let host = given(spec, "hostPath").map(|host| text(host, "path"));
    if recycles && host.is_some_and(is_root) {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(FieldError::forbidden(&path.child("persistentVolumeReclaimPolicy"), why));
    }
    claim::class_name(spec, "storageClassName", &path, errors);
    one_of(spec, "volumeMode", &["Block", "Filesystem"], &path, errors);
    if let Some(class) = spec.get("volumeAttributesClassName").and_then(Value::as_str) {
        if class.is_empty() {
            let path = path.child("volumeAttributesClassName");
            errors.push(FieldError::required(&path, "an empty string is disallowed"));
        }
        claim::class_name(spec, "volumeAttributesClassName", &path, errors);
        if given(spec, "csi").is_none() {
            let why = "has to be specified when using volumeAttributesClassName";
            errors.push(FieldError::required(&path.child("csi"), why));
        }
    }
}

/// Whether a path is that of all.
fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|step| matches!(step, "" | "." | ".."))
}

/// Options of mounting in an annotation are for some kinds alone.
pub(super) fn options(volume: &Value, errors: &mut Vec<FieldError>) {
    const OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
    const WITH_OPTIONS: [&str; 13] = [
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephfs",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    let spec = volume.get("spec").unwrap_or(&Value::Null);
    let has = volume.pointer("/metadata/annotations").is_some_and(|all| all.get(OPTIONS).is_some());
    if has && !WITH_OPTIONS.iter().any(|kind| given(spec, kind).is_some()) {
        let path = Path::ROOT.child("metadata");
        let path = path.child("annotations");
        let why = "may not specify mount options for this volume type";
        errors.push(FieldError::forbidden(&path.child(OPTIONS), why));
    }
}

fn source(kind: &str, source: &Value, volume: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match kind {
        "hostPath" => super::volume::host_path(source, path, errors),
        "nfs" => super::volume::nfs(source, path, errors),
        "local" => {
            required(source, "path", path, errors);
            no_back_steps(text(source, "path"), &path.child("path"), errors);
        }
        "csi" => {
            driver::name(source, "driver", path, errors);
            required(source, "volumeHandle", path, errors);
            let secrets = [
                "controllerPublishSecretRef",
                "controllerExpandSecretRef",
                "nodePublishSecretRef",
                "nodeExpandSecretRef",
            ];
            for key in secrets {
                let Some(secret) = given(source, key) else { continue };
                let path = path.child(key);
                if required(secret, "name", &path, errors) {
                    claim::class_name(secret, "name", &path, errors);
                }
                if required(secret, "namespace", &path, errors) {
                    let namespace = text(secret, "namespace");
                    invalid(&path.child("namespace"), namespace, names::label(namespace), errors);
                }
            }
        }
        kind => remote::source(kind, source, Some(volume), path, errors),
    }
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
        let path = path.key(name);
        let amount = resources::amount(value).filter(|amount| amount.nanos() < 0);
        if let Some(whole) = amount.and_then(|amount| i64::try_from(amount.nanos() / 1_000_000_000).ok())
            && whole < 0
        {
            errors.push(FieldError::invalid(&path, whole, "must be a valid resource quantity"));
        }
        resources::positive(value, &path, errors);
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
    if let Some(own) = given(&before, "nodeAffinity") {
        let now = given(&after, "nodeAffinity");
        if now.map(renewed) != Some(renewed(own)) && now != Some(own) {
            let value = now.cloned().unwrap_or_default();
            let why = format!("{IMMUTABLE}, except for updating from beta label to GA");
            errors.push(FieldError::invalid(&Path::ROOT.child("nodeAffinity"), value, why));
        }
    }
    let key = "volumeAttributesClassName";
    if given(&before, key).is_some() && given(&after, key).is_none() {
        let path = Path::ROOT.child("spec");
        errors.push(FieldError::forbidden(&path.child(key), "update from non-nil value to nil is forbidden"));
    }
}

/// A constraint of nodes with the names that its labels have today.
fn renewed(affinity: &Value) -> Value {
    const NAMES: [(&str, &str); 5] = [
        ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
        ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ];
    let mut renewed = affinity.clone();
    let terms = renewed.pointer_mut("/required/nodeSelectorTerms").and_then(Value::as_array_mut);
    for term in terms.into_iter().flatten() {
        let expressions = term.get_mut("matchExpressions").and_then(Value::as_array_mut);
        for expression in expressions.into_iter().flatten() {
            let key = text(expression, "key");
            if let Some((_, new)) = NAMES.iter().find(|(old, _)| *old == key) {
                expression["key"] = (*new).into();
            }
        }
    }
    renewed
}

/// A StorageClass.
pub(super) fn class(class: &Value, errors: &mut Vec<FieldError>) {
    if required(class, "provisioner", &Path::ROOT, errors) {
        let provisioner = text(class, "provisioner").to_lowercase();
        invalid(&Path::ROOT.child("provisioner"), &provisioner, names::qualified(&provisioner), errors);
    }
    driver::parameters(class, false, errors);
    one_of(class, "reclaimPolicy", &["Delete", "Retain"], &Path::ROOT, errors);
    one_of(class, "volumeBindingMode", &["Immediate", "WaitForFirstConsumer"], &Path::ROOT, errors);
    topologies(class, errors);
}

/// Where volumes of a class may be.
fn topologies(class: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("allowedTopologies");
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for (at, term) in list(class, "allowedTopologies").iter().enumerate() {
        let path = path.index(at);
        let path = path.child("matchLabelExpressions");
        let mut keys = BTreeMap::new();
        for (at, of) in list(term, "matchLabelExpressions").iter().enumerate() {
            let path = path.index(at);
            let place = path.child("values");
            let values: Vec<&str> = list(of, "values").iter().filter_map(Value::as_str).collect();
            if values.is_empty() {
                errors.push(FieldError::required(&place, ""));
            }
            for (at, value) in values.iter().enumerate().filter(|(at, value)| values[..*at].contains(value)) {
                errors.push(FieldError::duplicate(&place.index(at), *value));
            }
            let key = text(of, "key");
            invalid(&path.child("key"), key, names::qualified(key), errors);
            if keys.insert(key, values.into_iter().collect()).is_some() {
                errors.push(FieldError::duplicate(&path.child("key"), key));
            }
        }
        if seen.contains(&keys) {
            errors.push(FieldError::duplicate(&path, ""));
        }
        seen.push(keys);
    }
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
