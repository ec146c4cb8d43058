//! Jobs and CronJobs.

use jiff::tz::TimeZone;
use serde_json::Value;

use super::job_policy::{failure, replacement, success};
use super::workload::{fixed, mismatch, part, template};
use super::{IMMUTABLE, given, names, not_negative, number, one_of, required, selector, text};
use crate::field::{FieldError, Path};

/// The numbers of an indexed Job that upstream bounds.
const PARALLEL_MAX: i64 = 100_000;
const FAILED_MAX: i64 = 100_000;
const MANY: i64 = 100_000;
const PARALLEL_MAX_OF_MANY: i64 = 10_000;
const FAILED_MAX_OF_MANY: i64 = 10_000;
const MANAGER_MAX: usize = 63;
const OWN_LABELS: [&str; 2] = ["controller-uid", "job-name"];

fn is_indexed(spec: &Value) -> bool {
    text(spec, "completionMode") == "Indexed"
}

/// A Job.
pub(super) fn job(job: &Value, errors: &mut Vec<FieldError>) {
    let spec = part(job, "spec");
    let path = Path::ROOT.child("spec");
    generated(job, spec, errors);
    spec_with_selector(spec, &path, errors);
    let metadata = part(job, "metadata");
    if let Some(count) = number(spec, "completions").filter(|count| is_indexed(spec) && *count > 0) {
        let name = text(metadata, "name");
        let host = format!("{name}-{}", count - 1);
        if !names::label(&host).is_empty() {
            let path = Path::ROOT.child("metadata");
            let why = format!("will not able to create pod with invalid DNS label: {host}");
            errors.push(FieldError::invalid(&path.child("name"), name, why));
        }
    }
}

/// The selector and labels that whoever stores a Job gives it, where nobody chose others.
fn generated(job: &Value, spec: &Value, errors: &mut Vec<FieldError>) {
    let manual = spec.get("manualSelector").and_then(Value::as_bool).unwrap_or_default();
    let Some(own) = given(spec, "selector").filter(|_| !manual) else { return };
    let metadata = part(job, "metadata");
    let (uid, name) = (text(metadata, "uid"), text(metadata, "name"));
    if uid.is_empty() {
        errors.push(FieldError::required(&Path::ROOT.child("metadata").child("uid"), ""));
    }
    let labels = part(part(part(spec, "template"), "metadata"), "labels");
    let path = Path::ROOT.child("spec");
    let path = path.child("template");
    let path = path.child("metadata");
    let path = path.child("labels");
    let mut expected = serde_json::Map::new();
    for domain in ["", "batch.kubernetes.io/"] {
        for (key, wanted) in OWN_LABELS.into_iter().zip([uid, name]) {
            let key = format!("{domain}{key}");
            match labels.get(&key).and_then(Value::as_str) {
                None => {
                    errors.push(FieldError::required(&path.key(&key), format!("must be '{wanted}'")));
                }
                Some(found) if found != wanted => {
                    let why = format!("must be '{wanted}'");
                    errors.push(FieldError::invalid(&path.key(&key), labels.clone(), why));
                }
                Some(_) => {}
            }
            expected.insert(key, wanted.into());
        }
    }
    if selector::is_sound(own) && !selector::matches(own, &Value::Object(expected)) {
        let path = Path::ROOT.child("spec");
        errors.push(FieldError::invalid(
            &path.child("selector"),
            own.clone(),
            "`selector` not auto-generated",
        ));
    }
}

fn spec_with_selector(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    job_spec(spec, path, errors);
    let of = given(spec, "selector");
    let inner = path.child("selector");
    match of {
        Some(of) => selector::selector(of, &inner, errors),
        None => errors.push(FieldError::required(&inner, "")),
    }
    let labels = part(part(part(spec, "template"), "metadata"), "labels");
    if of.is_none_or(selector::is_sound) {
        mismatch(of.is_some_and(|of| selector::matches(of, labels)), labels, path, errors);
    }
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
    if number(spec, "maxFailedIndexes").is_some() && number(spec, "backoffLimitPerIndex").is_none() {
        let path = path.child("backoffLimitPerIndex");
        errors.push(FieldError::required(&path, "when maxFailedIndexes is specified"));
    }
    if let Some(manager) = given(spec, "managedBy").and_then(Value::as_str) {
        let path = path.child("managedBy");
        domain_path(manager, &path, errors);
        if manager.len() > MANAGER_MAX {
            errors.push(FieldError::too_long(&path, MANAGER_MAX));
        }
    }
    one_of(spec, "completionMode", &["NonIndexed", "Indexed"], path, errors);
    if is_indexed(spec) {
        indexed(spec, path, errors);
    }
    if matches!(text(spec, "completionMode"), "" | "NonIndexed") {
        for key in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(value) = number(spec, key) {
                errors.push(FieldError::invalid(&path.child(key), value, "requires indexed completion mode"));
            }
        }
    }
    if let Some(policy) = given(spec, "podFailurePolicy") {
        failure(spec, policy, &path.child("podFailurePolicy"), errors);
    }
    if let Some(policy) = given(spec, "successPolicy") {
        let path = path.child("successPolicy");
        if is_indexed(spec) {
            success(spec, policy, &path, errors);
        } else {
            errors.push(FieldError::invalid(&path, policy.clone(), "requires indexed completion mode"));
        }
    }
    replacement(spec, path, errors);
    let inner = path.child("template");
    template(part(spec, "template"), &inner, errors);
    let inner = inner.child("spec");
    let place = inner.child("restartPolicy");
    match text(part(part(spec, "template"), "spec"), "restartPolicy") {
        "Always" | "" => {
            errors.push(FieldError::required(&place, "valid values: \"OnFailure\", \"Never\""));
        }
        "OnFailure" if given(spec, "podFailurePolicy").is_some() => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(&place, "OnFailure", why));
        }
        "OnFailure" | "Never" => {}
        other => errors.push(FieldError::not_supported(&place, other, &["OnFailure", "Never"])),
    }
}

/// A path that begins with a domain.
pub(super) fn domain_path(value: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let faults = names::domain_path(value);
    errors.extend(faults.into_iter().map(|(part, why)| FieldError::invalid(path, part, why)));
}

/// A Job each of whose pods has a number.
fn indexed(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let completions = number(spec, "completions");
    let parallelism = number(spec, "parallelism");
    let failed = number(spec, "maxFailedIndexes");
    let (parallel_path, failed_path) = (path.child("parallelism"), path.child("maxFailedIndexes"));
    if completions.is_none() {
        errors.push(FieldError::required(&path.child("completions"), "when completion mode is Indexed"));
    }
    if let Some(count) = parallelism.filter(|count| *count > PARALLEL_MAX) {
        let why = format!("must be less than or equal to {PARALLEL_MAX} when completion mode is Indexed");
        errors.push(FieldError::invalid(&parallel_path, count, why));
    }
    if let Some(failed) = failed {
        if completions.is_some_and(|completions| failed > completions) {
            let why = "must be less than or equal to completions";
            errors.push(FieldError::invalid(&failed_path, failed, why));
        }
        if failed > FAILED_MAX {
            let why = format!("must be less than or equal to {FAILED_MAX}");
            errors.push(FieldError::invalid(&failed_path, failed, why));
        }
    }
    let is_many = completions.is_some_and(|count| count > MANY);
    if !is_many || number(spec, "backoffLimitPerIndex").is_none() {
        return;
    }
    if failed.is_none() {
        let why = format!("must be specified when completions is above {MANY}");
        errors.push(FieldError::required(&failed_path, why));
    }
    let bounds =
        [(&parallel_path, parallelism, PARALLEL_MAX_OF_MANY), (&failed_path, failed, FAILED_MAX_OF_MANY)];
    for (path, value, most) in bounds {
        if let Some(value) = value.filter(|value| *value > most) {
            let why = format!(
                "must be less than or equal to {most} when completions are above {MANY} and used with backoff limit \
                 per index"
            );
            errors.push(FieldError::invalid(path, value, why));
        }
    }
}

/// What may not change of a Job.
pub(super) fn update_job(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let (old_spec, new_spec, path) = (part(old, "spec"), part(new, "spec"), Path::ROOT.child("spec"));
    // Upstream judges the new spec once more.
    spec_with_selector(new_spec, &path, errors);
    let completions = number(new_spec, "completions");
    if !is_indexed(new_spec) {
        fixed(old_spec, new_spec, &["completions"], &path, errors);
    } else if let Some(count) = completions.filter(|_| completions != number(old_spec, "completions"))
        && number(new_spec, "parallelism") != Some(count)
    {
        let why = "can only be modified in tandem with spec.parallelism";
        errors.push(FieldError::invalid(&path.child("completions"), count, why));
    }
    fixed(old_spec, new_spec, &["selector"], &path, errors);
    update_template(old, new, &path, errors);
    let keys = ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"];
    fixed(old_spec, new_spec, &keys, &path, errors);
}

/// The pods of a Job are as they are, but for what they ask for and where they may run while it has not begun.
fn update_template(old: &Value, new: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (mut before, after) =
        (part(part(old, "spec"), "template").clone(), part(part(new, "spec"), "template"));
    let suspended = part(part(old, "spec"), "suspend") == &Value::Bool(true);
    let status = part(old, "status");
    let is_stopped = super::list(status, "conditions")
        .iter()
        .any(|condition| text(condition, "type") == "Suspended" && text(condition, "status") == "True");
    let open = suspended
        && (given(status, "startTime").is_none() || is_stopped)
        && number(status, "active").unwrap_or_default() == 0;
    if open {
        take_over_placement(&mut before, after);
    }
    if !open {
        if before != *after {
            errors.push(FieldError::invalid(&path.child("template"), after.clone(), IMMUTABLE));
        }
        return;
    }
    for kind in ["containers", "initContainers"] {
        let theirs = super::list(part(after, "spec"), kind);
        let own = before.get_mut("spec").and_then(|spec| spec.get_mut(kind)).and_then(Value::as_array_mut);
        let Some(own) = own.filter(|own| own.len() == theirs.len()) else { continue };
        for (own, theirs) in own.iter_mut().zip(theirs) {
            if let (true, Some(own)) = (text(own, "name") == text(theirs, "name"), own.as_object_mut()) {
                match theirs.get("resources") {
                    Some(resources) => own.insert("resources".into(), resources.clone()),
                    None => own.remove("resources"),
                };
            }
        }
    }
    if part(&before, "spec") != part(after, "spec") {
        let value = part(after, "spec").clone();
        errors.push(FieldError::invalid(&path.child("template.spec"), value, IMMUTABLE));
    }
}

fn take_over_placement(before: &mut Value, after: &Value) {
    let take = |into: &mut Value, from: &Value, key: &str| {
        let Some(into) = into.as_object_mut() else { return };
        match from.get(key) {
            Some(value) => into.insert(key.to_owned(), value.clone()),
            None => into.remove(key),
        };
    };
    if let Some(spec) = before.get_mut("spec") {
        let theirs = part(after, "spec");
        for key in ["nodeSelector", "tolerations", "schedulingGates"] {
            take(spec, theirs, key);
        }
        let affinity = part(theirs, "affinity");
        let mut own = given(spec, "affinity").cloned().unwrap_or_else(|| serde_json::json!({}));
        take(&mut own, affinity, "nodeAffinity");
        let is_empty = own.as_object().is_none_or(serde_json::Map::is_empty);
        let none = Value::Null;
        let own = if is_empty && affinity.is_null() { &none } else { &own };
        if let Some(spec) = spec.as_object_mut() {
            match own {
                Value::Null => spec.remove("affinity"),
                own => spec.insert("affinity".into(), own.clone()),
            };
        }
    }
    if let Some(metadata) = before.get_mut("metadata") {
        for key in ["annotations", "labels"] {
            take(metadata, part(after, "metadata"), key);
        }
    }
}

/// A new CronJob.
pub(super) fn create_cron_job(job: &Value, errors: &mut Vec<FieldError>) {
    const NAME_MAX: usize = 52;
    cron_job(None, job, errors);
    let name = text(part(job, "metadata"), "name");
    if name.len() > NAME_MAX {
        // The time of each run is appended to the name.
        let path = Path::ROOT.child("metadata");
        errors.push(FieldError::invalid(&path.child("name"), name, "must be no more than 52 characters"));
    }
}

/// A CronJob, in the place of another or not.
pub(super) fn cron_job(old: Option<&Value>, job: &Value, errors: &mut Vec<FieldError>) {
    let spec = part(job, "spec");
    let before = old.map(|old| part(old, "spec"));
    let path = Path::ROOT.child("spec");
    if required(spec, "schedule", &path, errors) {
        let schedule = text(spec, "schedule");
        let place = path.child("schedule");
        let bare = match schedule.split_once(' ') {
            Some((zone, rest)) if zone.starts_with("TZ=") || zone.starts_with("CRON_TZ=") => rest.trim(),
            _ => schedule,
        };
        let why = super::schedule::fault(bare);
        errors.extend(why.map(|why| FieldError::invalid(&place, schedule, why)));
        let had_zone = before.is_some_and(|before| text(before, "schedule").contains("TZ"));
        if schedule.contains("TZ") {
            let why = match (had_zone, given(spec, "timeZone")) {
                (true, Some(_)) => "cannot use both timeZone field and TZ or CRON_TZ in schedule",
                (true, None) => "",
                (false, _) => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            };
            if !why.is_empty() {
                errors.push(FieldError::invalid(&place, schedule, why));
            }
        }
    }
    not_negative(spec, &["startingDeadlineSeconds"], &path, errors);
    let zone = spec.get("timeZone").and_then(Value::as_str);
    if before.is_none_or(|before| before.get("timeZone").and_then(Value::as_str) != zone)
        && let Some(zone) = zone
    {
        time_zone(zone, &path.child("timeZone"), errors);
    }
    if required(spec, "concurrencyPolicy", &path, errors) {
        one_of(spec, "concurrencyPolicy", &["Allow", "Forbid", "Replace"], &path, errors);
    }
    let inner = path.child("jobTemplate");
    let inner = inner.child("spec");
    let of = part(part(spec, "jobTemplate"), "spec");
    job_spec(of, &inner, errors);
    if let Some(own) = given(of, "selector") {
        let why = "`selector` will be auto-generated";
        errors.push(FieldError::invalid(&inner.child("selector"), own.clone(), why));
    }
    if of.get("manualSelector") == Some(&Value::Bool(true)) {
        errors.push(FieldError::not_supported(&inner.child("manualSelector"), true, &["nil", "false"]));
    }
    not_negative(spec, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"], &path, errors);
}

/// A time zone of the IANA's database.
fn time_zone(zone: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const PART_MAX: usize = 14;
    if zone.is_empty() {
        errors.push(FieldError::invalid(path, zone, "timeZone must be nil or non-empty string"));
        return;
    }
    let unknown = || FieldError::invalid(path, zone, format!("unknown time zone {zone}"));
    let is_part = |part: &str| {
        (1..=PART_MAX).contains(&part.len())
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte))
    };
    if !zone.split('/').all(is_part) {
        errors.push(unknown());
        return;
    }
    if zone.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(FieldError::invalid(path, zone, why));
        if zone == "Local" {
            return;
        }
    }
    let known = TimeZone::get(zone).is_ok_and(|found| found.iana_name() == Some(zone));
    if !known {
        errors.push(unknown());
    }
}
