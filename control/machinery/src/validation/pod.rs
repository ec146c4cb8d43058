//! Pods, and the pods of templates.

use serde_json::{Value, json};

use super::container::{Containers, identities};
use super::{
    entries, given, invalid, list, names, number, one_of, required, scheduling, selector, text, volume,
};
use crate::field::{FieldError, Path};

const POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const FIXED: &str = "pod updates may not change fields other than \
                     `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                     `spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
                     (allow it to be set to 1 if it was previously negative)";

/// A pod.
pub(super) fn pod(pod: &Value, errors: &mut Vec<FieldError>) {
    let of = pod.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    spec(of, &path, errors);
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        let path = path.child(kind);
        for (at, container) in list(of, kind).iter().enumerate() {
            let image = text(container, "image");
            if image.trim() != image {
                let why = "must not have leading or trailing whitespace";
                errors.push(FieldError::invalid(&path.index(at).child("image"), image, why));
            }
        }
    }
}

/// What a pod should be.
pub(super) fn spec(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    spec_with_claims(spec, &[], path, errors);
}

/// The same of a pod that gets further volumes, each named as one of these templates of claims.
pub(super) fn spec_with_claims(
    spec: &Value,
    claims: &[Value],
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    volume::volumes(spec, path, errors);
    let mut containers = Containers::new(spec);
    let names = claims.iter().map(|claim| claim.pointer("/metadata/name").and_then(Value::as_str));
    containers.volumes.extend(names.flatten());
    containers.check(spec, path, errors);
    one_of(spec, "restartPolicy", &POLICIES, path, errors);
    dns(spec, path, errors);
    selector::labels(entries(spec, "nodeSelector"), &path.child("nodeSelector"), errors);
    if let Some(context) = given(spec, "securityContext") {
        let keys = ["fsGroup", "runAsUser", "runAsGroup"];
        let path = path.child("securityContext");
        identities(context, &keys, &path, errors);
        sysctls(context, &path, errors);
    }
    for key in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let name = text(spec, key);
        if !name.is_empty() {
            invalid(&path.child(key), name, names::subdomain(name), errors);
        }
    }
    for key in ["hostname", "subdomain"] {
        let name = text(spec, key);
        if !name.is_empty() {
            let dotted = key == "subdomain" && name.contains('.');
            let faults = if dotted { vec!["must not contain dots".to_owned()] } else { names::label(name) };
            invalid(&path.child(key), name, faults, errors);
        }
    }
    let longest = i64::from(i32::MAX);
    if let Some(seconds) = number(spec, "activeDeadlineSeconds").filter(|s| !(1..=longest).contains(s)) {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(&path.child("activeDeadlineSeconds"), seconds, why));
    }
    one_of(spec, "preemptionPolicy", &["PreemptLowerPriority", "Never"], path, errors);
    scheduling::tolerations(spec, path, errors);
    scheduling::affinity(spec, path, errors);
    scheduling::spread(spec, path, errors);
    let aliases = path.child("hostAliases");
    for (at, alias) in list(spec, "hostAliases").iter().enumerate() {
        let path = aliases.index(at);
        invalid(&path.child("ip"), text(alias, "ip"), names::ip(text(alias, "ip")), errors);
        let path = path.child("hostnames");
        for (at, name) in list(alias, "hostnames").iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            invalid(&path.index(at), name, names::subdomain(name), errors);
        }
    }
    let gates = path.child("readinessGates");
    for (at, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        invalid(&gates.index(at).child("conditionType"), kind, names::qualified(kind), errors);
    }
}

/// The parameters of the kernel that a pod sets for itself.
fn sysctls(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("sysctls");
    let all = list(context, "sysctls");
    for (at, own) in all.iter().enumerate() {
        let (path, name) = (path.index(at), text(own, "name"));
        if !required(own, "name", &path, errors) {
            continue;
        }
        let path = path.child("name");
        let faults = names::sysctl(name);
        if faults.is_empty() && all[..at].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path, name));
        }
        invalid(&path, name, faults, errors);
    }
}

fn dns(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    one_of(spec, "dnsPolicy", &DNS_POLICIES, path, errors);
    let none = text(spec, "dnsPolicy") == "None";
    let path = path.child("dnsConfig");
    let Some(config) = given(spec, "dnsConfig") else {
        if none {
            errors.push(FieldError::required(&path, "must provide `dnsConfig` when `dnsPolicy` is None"));
        }
        return;
    };
    let servers = list(config, "nameservers");
    let inner = path.child("nameservers");
    if none && servers.is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(&inner, why));
    }
    if servers.len() > 3 {
        let why = "must not have more than 3 nameservers";
        errors.push(FieldError::invalid(&inner, servers.to_vec(), why));
    }
    for (at, server) in servers.iter().enumerate() {
        let server = server.as_str().unwrap_or_default();
        invalid(&inner.index(at), server, names::ip(server), errors);
    }
    let inner = path.child("searches");
    for (at, search) in list(config, "searches").iter().enumerate() {
        let search = search.as_str().unwrap_or_default();
        let bare = search.strip_suffix('.').unwrap_or(search);
        invalid(&inner.index(at), search, names::search_path(bare), errors);
    }
    let inner = path.child("options");
    for (at, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.push(FieldError::required(&inner.index(at), "must not be empty"));
        }
    }
}

/// What a new pod may not have yet (ValidatePodCreate).
pub(super) fn create(pod: &Value, errors: &mut Vec<FieldError>) {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    if !list(spec, "ephemeralContainers").is_empty() {
        let path = Path::ROOT.child("spec");
        errors.push(FieldError::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
}

/// What may change of a pod: its images, an earlier deadline, more tolerations.
pub(super) fn update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("spec");
    let (old, new) = (old.get("spec").unwrap_or(&Value::Null), new.get("spec").unwrap_or(&Value::Null));
    for kind in ["containers", "initContainers"] {
        let path = path.child(kind);
        if list(old, kind).len() != list(new, kind).len() {
            let why = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(&path, why));
            return;
        }
        for (at, container) in list(new, kind).iter().enumerate() {
            if text(container, "image").is_empty() {
                errors.push(FieldError::required(&path.index(at).child("image"), ""));
            }
        }
    }
    let deadline = path.child("activeDeadlineSeconds");
    match (number(old, "activeDeadlineSeconds"), number(new, "activeDeadlineSeconds")) {
        (Some(before), Some(after)) if after > before => {
            errors.push(FieldError::invalid(
                &deadline,
                after,
                "must be less than or equal to previous value",
            ));
            return;
        }
        (Some(_), None) => {
            let why = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(&deadline, Value::Null, why));
            return;
        }
        _ => {}
    }
    let bare = |toleration: &Value| {
        let mut bare = toleration.clone();
        if let Some(map) = bare.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        bare
    };
    let kept: Vec<Value> = list(new, "tolerations").iter().map(bare).collect();
    if !list(old, "tolerations").iter().all(|toleration| kept.contains(&bare(toleration))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(&path.child("tolerations"), why));
    }
    if unchangeable(old, new) != unchangeable(new, new) {
        errors.push(FieldError::forbidden(&path, FIXED));
    }
}

/// The pod's spec with the changeable fields of another.
fn unchangeable(spec: &Value, changes: &Value) -> Value {
    let mut spec = spec.clone();
    for kind in ["containers", "initContainers"] {
        for (at, other) in list(changes, kind).iter().enumerate() {
            if let Some(container) = spec.get_mut(kind).and_then(|all| all.get_mut(at)) {
                container["image"] = other.get("image").cloned().unwrap_or_default();
            }
        }
    }
    let grace = |of: &Value| number(of, "terminationGracePeriodSeconds");
    let shortened = grace(&spec).is_some_and(|seconds| seconds < 0) && grace(changes) == Some(1);
    if let Some(map) = spec.as_object_mut() {
        map.remove("activeDeadlineSeconds");
        map.remove("tolerations");
        if shortened {
            map.insert("terminationGracePeriodSeconds".into(), json!(1));
        }
    }
    spec
}
