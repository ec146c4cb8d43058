//! What runs pods from a template: Deployments, ReplicaSets, StatefulSets, DaemonSets and ReplicationControllers.

use serde_json::{Value, json};

use super::{
    IMMUTABLE, claim, entries, given, invalid, list, names, not_negative, number, one_of, pod, selector, text,
};
use crate::field::{FieldError, Path};

const FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                     'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                     'minReadySeconds' are forbidden";
/// What may change of a StatefulSet.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn part<'a>(of: &'a Value, key: &str) -> &'a Value {
    of.get(key).unwrap_or(&Value::Null)
}

/// A workload of `apps/v1`.
pub(super) fn workload(kind: &str, object: &Value, errors: &mut Vec<FieldError>) {
    let spec = part(object, "spec");
    let path = Path::ROOT.child("spec");
    match kind {
        "Deployment" => deployment(spec, &path, errors),
        "ReplicaSet" => {
            not_negative(spec, &["replicas", "minReadySeconds"], &path, errors);
            if selector(spec, "deployment", "invalid label selector", &path, errors) {
                replicas_of(kind, spec, &path, errors);
            }
        }
        "StatefulSet" => stateful_set(spec, false, &path, errors),
        "DaemonSet" => daemon_set(spec, &path, errors),
        "ControllerRevision" => revision(object, errors),
        _ => {}
    }
}

/// There is a selector, and it selects something. Gives whether anything more can be said of it.
fn selector(spec: &Value, name: &str, why: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) -> bool {
    let path = path.child("selector");
    let Some(of) = given(spec, "selector") else {
        errors.push(FieldError::required(&path, ""));
        return true;
    };
    selector::selector(of, &path, errors);
    if selector::is_empty(of) {
        let why = format!("empty selector is invalid for {name}");
        errors.push(FieldError::invalid(&path, of.clone(), why));
    }
    let is_sound = selector::is_sound(of);
    if !is_sound {
        errors.push(FieldError::invalid(&path, of.clone(), why));
    }
    is_sound
}

/// Whether the selector, where it selects something, selects the pods of the template.
fn selects_its_own(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let labels = part(part(part(spec, "template"), "metadata"), "labels");
    let matches =
        given(spec, "selector").is_some_and(|of| selector::is_empty(of) || selector::matches(of, labels));
    mismatch(matches, labels, path, errors);
}

/// The template of a workload that keeps so many alike pods.
fn replicas_of(kind: &str, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    selects_its_own(spec, path, errors);
    template(part(spec, "template"), &path.child("template"), errors);
    only_always(kind, spec, path, errors);
}

pub(super) fn mismatch(matches: bool, labels: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !matches {
        let path = path.child("template");
        let path = path.child("metadata");
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&path.child("labels"), labels.clone(), why));
    }
}

/// The labels and annotations of a template. Upstream leaves `metadata` out of their paths.
fn template_metadata(template: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let metadata = part(template, "metadata");
    selector::labels(entries(metadata, "labels"), &path.child("labels"), errors);
    let path = path.child("annotations");
    for (key, _) in entries(metadata, "annotations") {
        invalid(&path, key, names::qualified(&key.to_lowercase()), errors);
    }
    pod::annotations(template, &path, errors);
}

/// The pods that a workload makes.
pub(super) fn template(template: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    template_metadata(template, path, errors);
    let spec = part(template, "spec");
    pod::spec(spec, &path.child("spec"), errors);
    let containers = list(spec, "ephemeralContainers");
    if !containers.is_empty() {
        let inner = path.child("spec");
        let why = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(&inner.child("ephemeralContainers"), why));
    }
}

/// These workloads keep their pods running.
fn only_always(kind: &str, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let pod = part(part(spec, "template"), "spec");
    let path = path.child("template");
    let path = path.child("spec");
    let policy = text(pod, "restartPolicy");
    if policy != "Always" {
        errors.push(FieldError::not_supported(&path.child("restartPolicy"), policy, &["Always"]));
    }
    if number(pod, "activeDeadlineSeconds").is_some() {
        // Upstream calls those of Deployments so too.
        let kind = if kind == "Deployment" { "ReplicaSet" } else { kind };
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(&path.child("activeDeadlineSeconds"), why));
    }
}

fn deployment(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    not_negative(spec, &["replicas"], path, errors);
    if selector(spec, "deployment", "invalid label selector", path, errors) {
        replicas_of("Deployment", spec, path, errors);
    }
    let strategy = part(spec, "strategy");
    let inner = path.child("strategy");
    match (text(strategy, "type"), given(strategy, "rollingUpdate")) {
        ("Recreate", Some(_)) => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(&inner.child("rollingUpdate"), why));
        }
        ("Recreate", None) => {}
        ("RollingUpdate", None) => {
            errors.push(FieldError::required(
                &inner.child("rollingUpdate"),
                "this should be defaulted and never be nil",
            ));
        }
        ("RollingUpdate", Some(rolling)) => {
            let inner = inner.child("rollingUpdate");
            share(part(rolling, "maxUnavailable"), &inner.child("maxUnavailable"), errors);
            share(part(rolling, "maxSurge"), &inner.child("maxSurge"), errors);
            if is_none(part(rolling, "maxUnavailable")) && is_none(part(rolling, "maxSurge")) {
                let value = part(rolling, "maxUnavailable").clone();
                let why = "may not be 0 when `maxSurge` is 0";
                errors.push(FieldError::invalid(&inner.child("maxUnavailable"), value, why));
            }
            at_most_all(part(rolling, "maxUnavailable"), &inner.child("maxUnavailable"), errors);
        }
        _ => errors.push(FieldError::not_supported(&inner, strategy.clone(), &["Recreate", "RollingUpdate"])),
    }
    not_negative(spec, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"], path, errors);
    if let Some(deadline) = number(spec, "progressDeadlineSeconds")
        && deadline <= number(spec, "minReadySeconds").unwrap_or_default()
    {
        let why = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid(&path.child("progressDeadlineSeconds"), deadline, why));
    }
}

/// A number that is not below zero, or a percentage.
pub(super) fn share(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(text) => invalid(path, text, names::percent(text), errors),
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            errors.push(FieldError::invalid(path, value.clone(), "must be greater than or equal to 0"));
        }
        _ => {}
    }
}

/// No more than 100 %.
pub(super) fn at_most_all(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let percent =
        value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|digits| digits.parse::<i64>().ok());
    if percent.is_some_and(|percent| percent > 100) {
        errors.push(FieldError::invalid(path, value.clone(), "must not be greater than 100%"));
    }
}

/// Nothing, or text that is no share at all.
fn is_none(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let share =
                text.strip_suffix('%').filter(|share| share.bytes().all(|byte| byte.is_ascii_digit()));
            share.unwrap_or(text).parse::<i64>().unwrap_or_default() == 0
        }
        other => other.as_i64() == Some(0),
    }
}

fn stateful_set(spec: &Value, is_update: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match text(spec, "podManagementPolicy") {
        "" => errors.push(FieldError::required(&path.child("podManagementPolicy"), "")),
        "OrderedReady" | "Parallel" => {}
        other => {
            let why = "must be 'OrderedReady' or 'Parallel'";
            errors.push(FieldError::invalid(&path.child("podManagementPolicy"), other, why));
        }
    }
    let strategy = part(spec, "updateStrategy");
    let inner = path.child("updateStrategy");
    match (text(strategy, "type"), given(strategy, "rollingUpdate")) {
        ("OnDelete", Some(rolling)) => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid(&inner.child("rollingUpdate"), rolling.clone(), why));
        }
        ("RollingUpdate", Some(rolling)) => {
            not_negative(rolling, &["partition"], &inner.child("rollingUpdate"), errors);
        }
        ("RollingUpdate" | "OnDelete", None) => {}
        ("", _) => errors.push(FieldError::required(&inner, "")),
        _ => errors.push(FieldError::invalid(
            &inner,
            strategy.clone(),
            "must be 'RollingUpdate' or 'OnDelete'",
        )),
    }
    if let Some(policy) = given(spec, "persistentVolumeClaimRetentionPolicy") {
        let path = path.child("persistentVolumeClaimRetentionPolicy");
        for key in ["whenDeleted", "whenScaled"] {
            one_of(policy, key, &["Retain", "Delete"], &path, errors);
        }
    }
    // A set's claims become volumes of its pods.
    let claims = list(spec, "volumeClaimTemplates");
    if !is_update {
        let path = path.child("volumeClaimTemplates");
        for (at, of) in claims.iter().enumerate() {
            claim::spec(part(of, "spec"), &path.index(at).child("spec"), errors);
        }
    }
    not_negative(spec, &["replicas", "minReadySeconds"], path, errors);
    if let Some(ordinals) = given(spec, "ordinals") {
        not_negative(ordinals, &["start"], &path.child("ordinals"), errors);
    }
    let service = text(spec, "serviceName");
    if !is_update && !service.is_empty() {
        invalid(&path.child("serviceName"), service, names::label(service), errors);
    }
    if selector(spec, "statefulset", "", path, errors) {
        selects_its_own(spec, path, errors);
        let own = as_made(part(spec, "template"), claims);
        let path = path.child("template");
        template(&own, &path, errors);
        template_metadata(&own, &path, errors);
    }
    only_always("StatefulSet", spec, path, errors);
}

/// The template of a set as its controller completes it: it names its pods and their domain itself, and each has the set's
/// claims among its volumes.
fn as_made(template: &Value, claims: &[Value]) -> Value {
    let mut own = template.clone();
    let Some(pod) = own.get_mut("spec").and_then(Value::as_object_mut) else { return own };
    pod.remove("subdomain");
    pod.remove("hostname");
    let mut volumes: Vec<Value> = Vec::new();
    let names: Vec<&str> = claims.iter().map(|claim| text(part(claim, "metadata"), "name")).collect();
    for (_, name) in names.iter().enumerate().filter(|(at, name)| !names[..*at].contains(name)) {
        volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    }
    let others = pod.get("volumes").and_then(Value::as_array).into_iter().flatten();
    volumes.extend(others.filter(|volume| !names.contains(&text(volume, "name"))).cloned());
    if !volumes.is_empty() {
        pod.insert("volumes".into(), Value::Array(volumes));
    }
    own
}

fn daemon_set(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let labels = part(part(part(spec, "template"), "metadata"), "labels");
    let of = given(spec, "selector");
    let place = path.child("selector");
    if let Some(of) = of {
        selector::selector(of, &place, errors);
    }
    if of.is_none_or(selector::is_sound) {
        mismatch(of.is_some_and(|of| selector::matches(of, labels)), labels, path, errors);
    }
    if let Some(of) = of.filter(|of| selector::is_empty(of)) {
        errors.push(FieldError::invalid(&place, of.clone(), "empty selector is invalid for daemonset"));
    }
    template(part(spec, "template"), &path.child("template"), errors);
    only_always("DaemonSet", spec, path, errors);
    not_negative(spec, &["minReadySeconds"], path, errors);
    daemon_strategy(part(spec, "updateStrategy"), &path.child("updateStrategy"), errors);
    not_negative(spec, &["revisionHistoryLimit"], path, errors);
}

fn daemon_strategy(strategy: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match (text(strategy, "type"), given(strategy, "rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.push(FieldError::required(&path.child("rollingUpdate"), "")),
        ("RollingUpdate", Some(rolling)) => {
            let path = path.child("rollingUpdate");
            let (unavailable, surge) = (part(rolling, "maxUnavailable"), part(rolling, "maxSurge"));
            for check in [share, at_most_all] {
                check(unavailable, &path.child("maxUnavailable"), errors);
                check(surge, &path.child("maxSurge"), errors);
            }
            match (is_none(unavailable), is_none(surge)) {
                (true, true) => {
                    let why = "cannot be 0 when maxSurge is 0";
                    errors.push(FieldError::required(&path.child("maxUnavailable"), why));
                }
                (false, false) => {
                    let why = "may not be set when maxUnavailable is non-zero";
                    errors.push(FieldError::invalid(&path.child("maxSurge"), surge.clone(), why));
                }
                _ => {}
            }
        }
        _ => errors.push(FieldError::not_supported(path, strategy.clone(), &["RollingUpdate", "OnDelete"])),
    }
}

/// What was once the template of a set.
fn revision(object: &Value, errors: &mut Vec<FieldError>) {
    not_negative(object, &["revision"], &Path::ROOT, errors);
}

/// A new revision holds something.
pub(super) fn create_revision(object: &Value, errors: &mut Vec<FieldError>) {
    let why = match object.get("data") {
        None | Some(Value::Null) => "data is mandatory",
        Some(Value::Object(_)) => return,
        Some(_) => "data must be a valid JSON object",
    };
    errors.push(FieldError::required(&Path::ROOT.child("data"), why));
}

/// A ReplicationController.
pub(super) fn replication(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = part(object, "spec");
    let path = Path::ROOT.child("spec");
    not_negative(spec, &["minReadySeconds"], &path, errors);
    let selector = part(spec, "selector");
    let selects = entries(spec, "selector").next().is_some();
    if !selects {
        errors.push(FieldError::required(&path.child("selector"), ""));
    }
    not_negative(spec, &["replicas"], &path, errors);
    let inner = path.child("template");
    let Some(own) = given(spec, "template") else {
        errors.push(FieldError::required(&inner, ""));
        return;
    };
    let labels = part(part(own, "metadata"), "labels");
    let matches =
        selector.as_object().into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    mismatch(matches, labels, &path, errors);
    template(own, &inner, errors);
    only_always("ReplicationController", spec, &path, errors);
}

/// A PodTemplate.
pub(super) fn pod_template(object: &Value, errors: &mut Vec<FieldError>) {
    template(part(object, "template"), &Path::ROOT.child("template"), errors);
}

/// What is wrong with a workload of `apps/v1` that replaces another.
pub(super) fn update(kind: &str, old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("spec");
    let (before, after) = (part(old, "spec"), part(new, "spec"));
    match kind {
        "Deployment" | "ReplicaSet" => {
            workload(kind, new, errors);
            fixed(before, after, &["selector"], &path, errors);
        }
        "DaemonSet" => {
            fixed(before, after, &["selector"], &path, errors);
            workload(kind, new, errors);
        }
        "StatefulSet" => {
            stateful_set(after, true, &path, errors);
            let mut was = Vec::new();
            stateful_set(before, true, &path, &mut was);
            if !was.is_empty() {
                // A template that was let in before is not judged again.
                errors.retain(|error| !error.field.starts_with("spec.template.spec"));
            }
            let rest = |spec: &Value| {
                let mut rest = spec.clone();
                if let Some(map) = rest.as_object_mut() {
                    map.retain(|key, value| !value.is_null() && !CHANGEABLE.contains(&key.as_str()));
                }
                rest
            };
            if rest(before) != rest(after) {
                errors.push(FieldError::forbidden(&path, FIXED));
            }
        }
        "ControllerRevision" => {
            revision(new, errors);
            fixed(old, new, &["data"], &Path::ROOT, errors);
        }
        _ => {}
    }
}

/// These fields do not change.
pub(super) fn fixed(old: &Value, new: &Value, keys: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for key in keys {
        if part(old, key) != part(new, key) {
            errors.push(FieldError::invalid(&path.child(key), part(new, key).clone(), IMMUTABLE));
        }
    }
}
