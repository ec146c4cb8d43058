//! Events, of both API groups: the older one asks for little, the newer for all that tells who did what.

use serde_json::Value;

use super::{IMMUTABLE, given, invalid, names as forms, number, text};
use crate::field::{FieldError, Path};
use crate::timestamp::Timestamp;

const WORD_MAX: usize = 128;
const NOTE_MAX: usize = 1024;
const ELSEWHERE: &str = "does not match event.namespace";

/// The names that a field has in the two groups.
struct Names {
    is_new: bool,
}

impl Names {
    fn of(&self, old: &'static str, new: &'static str) -> &'static str {
        if self.is_new { new } else { old }
    }
}

/// A point in time that somebody has set.
fn is_set(event: &Value, key: &str) -> bool {
    Timestamp::parse(text(event, key)).is_some_and(|time| !time.is_zero())
}

/// A new Event of this group.
pub(super) fn create(group: &str, event: &Value, errors: &mut Vec<FieldError>) {
    let names = Names { is_new: !group.is_empty() };
    always(&names, event, errors);
    if !names.is_new {
        return;
    }
    series(event, errors);
    let root = Path::ROOT;
    if !is_set(event, "eventTime") {
        errors.push(FieldError::required(&root.child("eventTime"), ""));
    }
    let kind = text(event, "type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(FieldError::invalid(&root.child("type"), "", format!("has invalid value: {kind}")));
    }
    let old = ["deprecatedFirstTimestamp", "deprecatedLastTimestamp"];
    for (key, told) in old.into_iter().zip(["firstTimestamp", "lastTimestamp"]) {
        if is_set(event, key) {
            errors.push(FieldError::invalid(&root.child(told), "", "needs to be unset"));
        }
    }
    let has_source = given(event, "deprecatedSource")
        .is_some_and(|source| !text(source, "component").is_empty() || !text(source, "host").is_empty());
    for (key, is_there) in
        [("count", number(event, "deprecatedCount").unwrap_or_default() != 0), ("source", has_source)]
    {
        if is_there {
            errors.push(FieldError::invalid(&root.child(key), "", "needs to be unset"));
        }
    }
}

/// What holds for all events.
fn always(names: &Names, event: &Value, errors: &mut Vec<FieldError>) {
    let root = Path::ROOT;
    let namespace = event.get("metadata").map(|metadata| text(metadata, "namespace")).unwrap_or_default();
    let about = event.get(names.of("involvedObject", "regarding")).unwrap_or(&Value::Null);
    let other = text(about, "namespace");
    let is_new = is_set(event, "eventTime");
    let fits = match (other, is_new) {
        ("", false) => matches!(namespace, "" | "default"),
        ("", true) => matches!(namespace, "default" | "kube-system"),
        (other, false) => other == namespace,
        (_, true) => true,
    };
    if !fits {
        let path = root.child("involvedObject");
        errors.push(FieldError::invalid(&path.child("namespace"), other, ELSEWHERE));
    }
    if is_new {
        let controller = text(event, names.of("reportingComponent", "reportingController"));
        let path = root.child(names.of("reportingComponent", "reportingController"));
        if controller.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        invalid(&path, controller, forms::qualified(controller), errors);
        for key in ["reportingInstance", "action", "reason"] {
            let path = root.child(key);
            let value = text(event, key);
            if value.is_empty() {
                errors.push(FieldError::required(&path, ""));
            }
            if value.len() > WORD_MAX {
                let why = format!("can have at most {WORD_MAX} characters");
                errors.push(FieldError::invalid(&path, "", why));
            }
        }
        if text(event, names.of("message", "note")).len() > NOTE_MAX {
            let why = format!("can have at most {NOTE_MAX} characters");
            errors.push(FieldError::invalid(&root.child("message"), "", why));
        }
    }
    invalid(&root.child("namespace"), namespace, forms::subdomain(namespace), errors);
}

fn series(event: &Value, errors: &mut Vec<FieldError>) {
    let Some(series) = given(event, "series") else { return };
    if number(series, "count").unwrap_or_default() < 2 {
        errors.push(FieldError::invalid(&Path::ROOT.child("series.count"), "", "should be at least 2"));
    }
    if !is_set(series, "lastObservedTime") {
        errors.push(FieldError::required(&Path::ROOT.child("series.lastObservedTime"), ""));
    }
}

/// What may change of an Event: in the newer group, its series alone.
pub(super) fn update(group: &str, old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let names = Names { is_new: !group.is_empty() };
    always(&names, new, errors);
    if !names.is_new {
        return;
    }
    if given(old, "series") != given(new, "series") {
        series(new, errors);
    }
    let fixed = [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("reason", "reason"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    for (key, told) in fixed {
        if given(old, key) != given(new, key) {
            let value = given(new, key).cloned().unwrap_or_default();
            errors.push(FieldError::invalid(&Path::ROOT.child(told), value, IMMUTABLE));
        }
    }
}
