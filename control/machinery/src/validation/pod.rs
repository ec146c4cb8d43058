//! Pods, and the pods of templates.

use serde_json::{Value, json};

use super::container::Containers;
use super::{
    container, entries, given, invalid, list, names, number, one_of, required, resources, scheduling,
    security, selector, text, volume,
};
use crate::address::loose_ip_problems;
use crate::field::{FieldError, Path};
use crate::metadata::dns_label;

const POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const FIXED: &str = "pod updates may not change fields other than \
                     `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                     `spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
                     (allow it to be set to 1 if it was previously negative)";
const MIRROR: &str = "kubernetes.io/config.mirror";
const SECONDS_MAX: i64 = i32::MAX as i64;
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES: usize = 2048;
const HOSTNAME_MAX: usize = 64;

/// A pod.
pub(super) fn pod(pod: &Value, errors: &mut Vec<FieldError>) {
    let of = pod.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("metadata");
    annotations(pod, &path.child("annotations"), errors);
    let path = Path::ROOT.child("spec");
    let name = pod.get("metadata").map(|metadata| text(metadata, "name")).unwrap_or_default();
    spec_of(of, Some(name), &path, errors);
    if text(of, "serviceAccountName").is_empty() {
        let path = path.child("volumes");
        for (at, volume) in list(of, "volumes").iter().enumerate() {
            let path = path.index(at);
            let path = path.child("projected");
            let path = path.child("sources");
            let sources = given(volume, "projected").map(|of| list(of, "sources")).unwrap_or_default();
            for (at, _) in sources
                .iter()
                .enumerate()
                .filter(|(_, source)| given(source, "serviceAccountToken").is_some())
            {
                let why = "must not be specified when serviceAccountName is not set";
                errors.push(FieldError::forbidden(&path.index(at).child("serviceAccountToken"), why));
            }
        }
    }
    for kind in ["containers", "initContainers"] {
        let path = path.child(kind);
        for (at, of) in list(of, kind).iter().enumerate() {
            container::trimmed_image(of, &path.index(at), errors);
        }
    }
}

/// What annotations say of a pod, or of those of a template.
pub(super) fn annotations(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let metadata = of.get("metadata").unwrap_or(&Value::Null);
    let spec = of.get("spec").unwrap_or(&Value::Null);
    for (key, value) in entries(metadata, "annotations") {
        if key == MIRROR && text(spec, "nodeName").is_empty() {
            let why = "must set spec.nodeName if mirror pod annotation is set";
            errors.push(FieldError::invalid(&path.key(MIRROR), value.clone(), why));
        }
        let key = key.as_str();
        if let Some(profile) = value.as_str() {
            security::annotation(key, profile, spec, path, errors);
        }
    }
}

/// The pods of a template.
pub(super) fn spec(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    spec_of(spec, None, path, errors);
}

/// What a pod should be; one of a template has no name yet.
fn spec_of(spec: &Value, name: Option<&str>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let volumes = volume::volumes(spec, name, path, errors);
    claims(spec, path, errors);
    Containers::new(spec, volumes).check(path, errors);
    resources::of_whole_pod(spec, path, errors);
    host_ports(spec, name.is_some(), path, errors);
    one_of(spec, "restartPolicy", &POLICIES, path, errors);
    one_of(spec, "dnsPolicy", &DNS_POLICIES, path, errors);
    selector::labels(entries(spec, "nodeSelector"), &path.child("nodeSelector"), errors);
    security::of_pod(spec, &path.child("securityContext"), errors);
    scheduling::affinity(spec, path, errors);
    dns(spec, path, errors);
    let gates = path.child("readinessGates");
    for (at, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        invalid(&gates.index(at).child("conditionType"), kind, names::qualified(kind), errors);
    }
    scheduling_gates(spec, path, errors);
    scheduling::spread(spec, path, errors);
    security::host_processes(spec, path, errors);
    security::own_users(spec, path, errors);
    hostname_override(spec, path, errors);
    for key in ["serviceAccountName", "nodeName"] {
        long_name(spec, key, path, errors);
    }
    if let Some(seconds) = number(spec, "activeDeadlineSeconds").filter(|s| !(1..=SECONDS_MAX).contains(s)) {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(&path.child("activeDeadlineSeconds"), seconds, why));
    }
    for key in ["hostname", "subdomain"] {
        let name = text(spec, key);
        if !name.is_empty() {
            invalid(&path.child(key), name, dns_label(name), errors);
        }
    }
    scheduling::tolerations(spec, path, errors);
    let aliases = path.child("hostAliases");
    for (at, alias) in list(spec, "hostAliases").iter().enumerate() {
        let path = aliases.index(at);
        let ip = text(alias, "ip");
        invalid(&path.child("ip"), ip, loose_ip_problems(ip), errors);
        let path = path.child("hostnames");
        for (at, name) in list(alias, "hostnames").iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            invalid(&path.index(at), name, names::subdomain(name), errors);
        }
    }
    for key in ["priorityClassName", "runtimeClassName"] {
        long_name(spec, key, path, errors);
    }
    one_of(spec, "preemptionPolicy", &["PreemptLowerPriority", "Never"], path, errors);
    resources::overhead(spec, "overhead", &path.child("overhead"), errors);
    if let Some(system) = given(spec, "os") {
        security::of_system(spec, system, path, errors);
    }
    volume::of_variables(spec, path, errors);
}

fn long_name(of: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let name = text(of, key);
    if !name.is_empty() {
        invalid(&path.child(key), name, names::subdomain(name), errors);
    }
}

/// The claims of devices that a pod has.
fn claims(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("resourceClaims");
    let all = list(spec, "resourceClaims");
    for (at, claim) in all.iter().enumerate() {
        let path = path.index(at);
        if required(claim, "name", &path, errors) {
            let name = text(claim, "name");
            if all[..at].iter().any(|other| text(other, "name") == name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            } else {
                invalid(&path.child("name"), name, dns_label(name), errors);
            }
        }
        let keys = ["resourceClaimName", "resourceClaimTemplateName"];
        let why = match keys.map(|key| given(claim, key).is_some()) {
            [true, true] => {
                Some("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
            }
            [false, false] => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            _ => None,
        };
        errors.extend(why.map(|why| FieldError::invalid(&path, claim.clone(), why)));
        for key in keys {
            if let Some(name) = claim.get(key).and_then(Value::as_str) {
                invalid(&path.child(key), name, names::subdomain(name), errors);
            }
        }
    }
}

/// In the machine's own network, a port is the machine's. One of a template may not be told yet.
fn host_ports(spec: &Value, is_pod: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if spec.get("hostNetwork") != Some(&Value::Bool(true)) {
        return;
    }
    let path = path.child("containers");
    for (at, container) in list(spec, "containers").iter().enumerate() {
        let path = path.index(at);
        let path = path.child("ports");
        for (at, port) in list(container, "ports").iter().enumerate() {
            let [own, host] = ["containerPort", "hostPort"].map(|key| number(port, key).unwrap_or_default());
            if (is_pod || host != 0) && host != own {
                let why = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(&path.index(at).child("hostPort"), host, why));
            }
        }
    }
}

fn scheduling_gates(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("schedulingGates");
    let all = list(spec, "schedulingGates");
    for (at, gate) in all.iter().enumerate() {
        let (name, path) = (text(gate, "name"), path.index(at));
        invalid(&path, name, names::qualified(name), errors);
        if all[..at].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path, name));
        }
    }
}

fn hostname_override(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(name) = spec.get("hostnameOverride").and_then(Value::as_str) else { return };
    let path = path.child("hostnameOverride");
    for key in ["setHostnameAsFQDN", "hostNetwork"] {
        if spec.get(key) == Some(&Value::Bool(true)) {
            let why = format!("may not be specified when {key} is true");
            errors.push(FieldError::forbidden(&path, why));
        }
    }
    if name.len() > HOSTNAME_MAX {
        errors.push(FieldError::too_long(&path, HOSTNAME_MAX));
    }
    invalid(&path, name, names::subdomain(name), errors);
}

fn dns(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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
        return;
    }
    if servers.len() > 3 {
        let why = "must not have more than 3 nameservers";
        errors.push(FieldError::invalid(&inner, servers.to_vec(), why));
    }
    for (at, server) in servers.iter().enumerate() {
        let server = server.as_str().unwrap_or_default();
        invalid(&inner.index(at), server, loose_ip_problems(server), errors);
    }
    let inner = path.child("searches");
    let searches: Vec<&str> = list(config, "searches").iter().filter_map(Value::as_str).collect();
    if searches.len() > SEARCHES_MAX {
        let why = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(FieldError::invalid(&inner, searches.clone(), why));
    }
    if searches.join(" ").len() > SEARCH_BYTES {
        let why = format!(
            "must not have more than {SEARCH_BYTES} characters (including spaces) in the search list"
        );
        errors.push(FieldError::invalid(&inner, searches.clone(), why));
    }
    for (at, search) in searches.into_iter().enumerate().filter(|(_, search)| *search != ".") {
        let bare = search.strip_suffix('.').unwrap_or(search);
        invalid(&inner.index(at), bare, names::search_path(bare), errors);
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
    let path = Path::ROOT.child("spec");
    if !list(spec, "ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    if !text(spec, "nodeName").is_empty() && !list(spec, "schedulingGates").is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(&path.child("nodeName"), why));
    }
}

/// The annotations of a pod that stay as they are.
fn annotations_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let all = |pod: &Value| pod.pointer("/metadata/annotations").cloned().unwrap_or_default();
    let (before, after) = (all(old), all(new));
    let path = Path::ROOT.child("metadata");
    let path = path.child("annotations");
    let objects = [&before, &after].map(|of| of.as_object().into_iter().flatten());
    let [before_all, after_all] = objects;
    let changed =
        before_all.filter(|(key, value)| after.get(*key) != Some(value)).map(|(key, _)| (key, false));
    let added = after_all.filter(|(key, _)| before.get(*key).is_none()).map(|(key, _)| (key, true));
    for (key, is_new) in changed.chain(added) {
        let did = if is_new { "add" } else { "remove or update" };
        if key.starts_with(security::APP_ARMOR) {
            errors.push(FieldError::forbidden(&path.key(key), format!("may not {did} AppArmor annotations")));
        }
        if key == MIRROR {
            errors
                .push(FieldError::forbidden(&path.key(key), format!("may not {did} mirror pod annotation")));
        }
    }
    annotations(new, &path, errors);
}

/// What may change of a pod: its images, an earlier deadline, more tolerations, fewer gates; and of one that is held back
/// by gates, more of where it may run.
pub(super) fn update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("spec");
    annotations_update(old, new, errors);
    let (old, new) = (old.get("spec").unwrap_or(&Value::Null), new.get("spec").unwrap_or(&Value::Null));
    for kind in ["containers", "initContainers"] {
        let path = path.child(kind);
        if list(old, kind).len() != list(new, kind).len() {
            let why = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(&path, why));
            return;
        }
        for (at, of) in list(new, kind).iter().enumerate() {
            if text(of, "image").is_empty() {
                errors.push(FieldError::required(&path.index(at).child("image"), ""));
            }
            container::trimmed_image(of, &path.index(at), errors);
        }
    }
    let place = path.child("activeDeadlineSeconds");
    match (number(old, "activeDeadlineSeconds"), number(new, "activeDeadlineSeconds")) {
        (_, Some(after)) if !(0..=SECONDS_MAX).contains(&after) => {
            let why = "must be between 0 and 2147483647, inclusive";
            errors.push(FieldError::invalid(&place, after, why));
            return;
        }
        (Some(before), Some(after)) if after > before => {
            let why = "must be less than or equal to previous value";
            errors.push(FieldError::invalid(&place, after, why));
            return;
        }
        (Some(_), None) => {
            let why = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(&place, Value::Null, why));
        }
        _ => {}
    }
    added_tolerations(old, new, &path, errors);
    let gates = path.child("schedulingGates");
    for (at, gate) in list(new, "schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        if !list(old, "schedulingGates").iter().any(|own| text(own, "name") == name) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(FieldError::forbidden(&gates.index(at).child("name"), why));
        }
    }
    let mut munged = unchangeable(old, new);
    if !list(old, "schedulingGates").is_empty() {
        scheduling::narrowed(old, new, &path, errors);
        scheduling::take_over(&mut munged, new);
    }
    if munged != unchangeable(new, new) {
        errors.push(FieldError::forbidden(&path, FIXED));
    }
}

fn added_tolerations(old: &Value, new: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let bare = |toleration: &Value| {
        let mut bare = toleration.clone();
        if let Some(map) = bare.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        bare
    };
    let kept: Vec<Value> = list(new, "tolerations").iter().map(bare).collect();
    if list(old, "tolerations").iter().all(|toleration| kept.contains(&bare(toleration))) {
        scheduling::tolerations(new, path, errors);
    } else {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(&path.child("tolerations"), why));
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
        for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
            map.remove(key);
        }
        if shortened {
            map.insert("terminationGracePeriodSeconds".into(), json!(1));
        }
    }
    spec
}
