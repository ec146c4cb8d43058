//! What runs pods from a template: Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and CronJobs.

use serde_json::Value;

use super::{
    IMMUTABLE, entries, given, invalid, list, names, not_negative, number, one_of, pod, required, selector,
    text,
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

fn part<'a>(of: &'a Value, key: &str) -> &'a Value {
    of.get(key).unwrap_or(&Value::Null)
}

/// A workload of `apps/v1`.
pub(super) fn workload(kind: &str, object: &Value, errors: &mut Vec<FieldError>) {
    let spec = part(object, "spec");
    let path = Path::ROOT.child("spec");
    let name = match kind {
        // Upstream shares the text of Deployments.
        "Deployment" | "ReplicaSet" => "deployment",
        "StatefulSet" => "statefulset",
        "DaemonSet" => "daemonset",
        _ => return,
    };
    not_negative(spec, &["replicas", "minReadySeconds"], &path, errors);
    if kind != "StatefulSet" {
        not_negative(spec, &["revisionHistoryLimit"], &path, errors);
    }
    selects_its_own(spec, name, &path, errors);
    // A StatefulSet's claims become volumes of its pods.
    let claims = if kind == "StatefulSet" { list(spec, "volumeClaimTemplates") } else { &[] };
    template(part(spec, "template"), claims, &path.child("template"), errors);
    only_always(kind, spec, &path, errors);
    match kind {
        "Deployment" => deployment(spec, &path, errors),
        "StatefulSet" => stateful_set(spec, &path, errors),
        "DaemonSet" => daemon_set(spec, &path, errors),
        _ => {}
    }
}

/// There is a selector, it selects something, and it selects the pods of the template.
fn selects_its_own(spec: &Value, name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let labels = part(part(part(spec, "template"), "metadata"), "labels");
    let inner = path.child("selector");
    let matches = match given(spec, "selector") {
        Some(of) => {
            let before = errors.len();
            selector::selector(of, &inner, errors);
            if selector::is_empty(of) {
                let why = format!("empty selector is invalid for {name}");
                errors.push(FieldError::invalid(&inner, of.clone(), why));
            }
            if errors.iter().skip(before).any(|error| error.field != "spec.selector") {
                errors.push(FieldError::invalid(&inner, of.clone(), "invalid label selector"));
                return;
            }
            selector::is_empty(of) || selector::matches(of, labels)
        }
        None => {
            if name != "daemonset" {
                errors.push(FieldError::required(&inner, ""));
            }
            false
        }
    };
    mismatch(matches, labels, path, errors);
}

fn mismatch(matches: bool, labels: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !matches {
        let path = path.child("template");
        let path = path.child("metadata");
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&path.child("labels"), labels.clone(), why));
    }
}

fn template(template: &Value, claims: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let metadata = part(template, "metadata");
    // Upstream leaves `metadata` out of these two paths.
    selector::labels(entries(metadata, "labels"), &path.child("labels"), errors);
    for (key, _) in entries(metadata, "annotations") {
        invalid(&path.child("annotations"), key, names::qualified(&key.to_lowercase()), errors);
    }
    let spec = part(template, "spec");
    pod::spec_with_claims(spec, claims, &path.child("spec"), errors);
    let containers = list(spec, "ephemeralContainers");
    if !containers.is_empty() {
        let inner = path.child("spec");
        let why = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(&inner.child("ephemeralContainers"), why));
    }
}

/// These workloads keep their pods running.
fn only_always(kind: &str, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let spec = part(part(spec, "template"), "spec");
    let path = path.child("template");
    let path = path.child("spec");
    let policy = text(spec, "restartPolicy");
    if policy != "Always" {
        let path = path.child("restartPolicy");
        // One that is no policy at all was told of already, with the list of those that are.
        errors.push(FieldError::not_supported(&path, policy, &["Always"]));
    }
    if number(spec, "activeDeadlineSeconds").is_some() {
        let name = if kind == "Deployment" { "ReplicaSet" } else { kind };
        let why = format!("activeDeadlineSeconds in {name} is not Supported");
        errors.push(FieldError::forbidden(&path.child("activeDeadlineSeconds"), why));
    }
}

fn deployment(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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
    if let Some(deadline) = number(spec, "progressDeadlineSeconds") {
        not_negative(spec, &["progressDeadlineSeconds"], path, errors);
        if deadline <= number(spec, "minReadySeconds").unwrap_or_default() {
            let why = "must be greater than minReadySeconds";
            errors.push(FieldError::invalid(&path.child("progressDeadlineSeconds"), deadline, why));
        }
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

fn is_none(value: &Value) -> bool {
    value.as_i64() == Some(0) || value == "0%"
}

fn stateful_set(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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
            not_negative(rolling, &["partition"], &inner.child("rollingUpdate"), errors)
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
    if let Some(ordinals) = given(spec, "ordinals") {
        not_negative(ordinals, &["start"], &path.child("ordinals"), errors);
    }
}

fn daemon_set(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let strategy = part(spec, "updateStrategy");
    let path = path.child("updateStrategy");
    match (text(strategy, "type"), given(strategy, "rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.push(FieldError::required(&path.child("rollingUpdate"), "")),
        ("RollingUpdate", Some(rolling)) => {
            let path = path.child("rollingUpdate");
            let (unavailable, surge) = (part(rolling, "maxUnavailable"), part(rolling, "maxSurge"));
            for (key, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
                share(value, &path.child(key), errors);
                at_most_all(value, &path.child(key), errors);
            }
            let why = match (is_none(unavailable), is_none(surge)) {
                (true, true) => "cannot be 0 when maxSurge is 0",
                (false, false) => {
                    let why = "may not be set when maxUnavailable is non-zero";
                    errors.push(FieldError::invalid(&path.child("maxSurge"), surge.clone(), why));
                    return;
                }
                _ => return,
            };
            errors.push(FieldError::required(&path.child("maxUnavailable"), why));
        }
        _ => errors.push(FieldError::not_supported(&path, strategy.clone(), &["RollingUpdate", "OnDelete"])),
    }
}

/// What may not change of a workload of `apps/v1`.
pub(super) fn update(kind: &str, old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("spec");
    let (old, new) = (part(old, "spec"), part(new, "spec"));
    match kind {
        "Deployment" | "ReplicaSet" | "DaemonSet" => fixed(old, new, &["selector"], &path, errors),
        "StatefulSet" => {
            let rest = |spec: &Value| {
                let mut rest = spec.clone();
                if let Some(map) = rest.as_object_mut() {
                    map.retain(|key, value| !value.is_null() && !CHANGEABLE.contains(&key.as_str()));
                }
                rest
            };
            if rest(old) != rest(new) {
                errors.push(FieldError::forbidden(&path, FIXED));
            }
        }
        _ => {}
    }
}

fn fixed(old: &Value, new: &Value, keys: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for key in keys {
        if part(old, key) != part(new, key) {
            errors.push(FieldError::invalid(&path.child(key), part(new, key).clone(), IMMUTABLE));
        }
    }
}

/// A Job. Its selector, where nobody chose one, is made by whoever stores it.
pub(super) fn job(job: &Value, errors: &mut Vec<FieldError>) {
    let spec = part(job, "spec");
    let path = Path::ROOT.child("spec");
    let manual = spec.get("manualSelector").and_then(Value::as_bool).unwrap_or_default();
    let of = given(spec, "selector");
    if manual || of.is_some() {
        let inner = path.child("selector");
        match of {
            Some(of) => selector::selector(of, &inner, errors),
            None => errors.push(FieldError::required(&inner, "")),
        }
        let labels = part(part(part(spec, "template"), "metadata"), "labels");
        mismatch(of.is_some_and(|of| selector::matches(of, labels)), labels, &path, errors);
    }
    job_spec(spec, &path, errors);
}

fn job_spec(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let numbers = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    not_negative(spec, &numbers, path, errors);
    one_of(spec, "completionMode", &["NonIndexed", "Indexed"], path, errors);
    if text(spec, "completionMode") == "Indexed" {
        if number(spec, "completions").is_none() {
            errors.push(FieldError::required(&path.child("completions"), "when completion mode is Indexed"));
        }
    } else {
        for key in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(value) = number(spec, key) {
                errors.push(FieldError::invalid(&path.child(key), value, "requires indexed completion mode"));
            }
        }
    }
    let inner = path.child("template");
    template(part(spec, "template"), &[], &inner, errors);
    let inner = inner.child("spec");
    let policy_path = inner.child("restartPolicy");
    match text(part(part(spec, "template"), "spec"), "restartPolicy") {
        "Always" | "" => {
            errors.push(FieldError::required(&policy_path, "valid values: \"OnFailure\", \"Never\""));
        }
        "OnFailure" if given(spec, "podFailurePolicy").is_some() => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(&policy_path, "OnFailure", why));
        }
        "OnFailure" | "Never" => {}
        other => errors.push(FieldError::not_supported(&policy_path, other, &["OnFailure", "Never"])),
    }
}

/// What may not change of a Job.
pub(super) fn update_job(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let keys = [
        "selector",
        "template",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ];
    let (old, new, path) = (part(old, "spec"), part(new, "spec"), Path::ROOT.child("spec"));
    fixed(old, new, &keys, &path, errors);
    let completions = number(new, "completions");
    if text(new, "completionMode") != "Indexed" {
        fixed(old, new, &["completions"], &path, errors);
    } else if let Some(count) = completions.filter(|_| completions != number(old, "completions"))
        && number(new, "parallelism") != Some(count)
    {
        let why = "can only be modified in tandem with spec.parallelism";
        errors.push(FieldError::invalid(&path.child("completions"), count, why));
    }
}

/// A CronJob.
pub(super) fn cron_job(job: &Value, errors: &mut Vec<FieldError>) {
    const NAME_MAX: usize = 52;
    let spec = part(job, "spec");
    let path = Path::ROOT.child("spec");
    let name = text(part(job, "metadata"), "name");
    if name.len() > NAME_MAX {
        // The time of each run is appended to the name.
        let path = Path::ROOT.child("metadata");
        errors.push(FieldError::invalid(&path.child("name"), name, "must be no more than 52 characters"));
    }
    if required(spec, "schedule", &path, errors) {
        let schedule = text(spec, "schedule");
        let why = if schedule.contains("TZ") {
            Some("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned())
        } else {
            super::schedule::fault(schedule)
        };
        errors.extend(why.map(|why| FieldError::invalid(&path.child("schedule"), schedule, why)));
    }
    if given(spec, "timeZone").is_some() && text(spec, "timeZone").is_empty() {
        let why = "timeZone must be nil or non-empty string";
        errors.push(FieldError::invalid(&path.child("timeZone"), "", why));
    }
    let numbers = ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    not_negative(spec, &numbers, &path, errors);
    one_of(spec, "concurrencyPolicy", &["Allow", "Forbid", "Replace"], &path, errors);
    let path = path.child("jobTemplate");
    job_spec(part(part(spec, "jobTemplate"), "spec"), &path.child("spec"), errors);
}
