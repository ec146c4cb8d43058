//! Nodes, and the classes of what runs containers on them.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    IMMUTABLE, entries, given, invalid, list, names, number, required, resources, scheduling, selector, text,
};
use crate::address::{cidr, loose_cidr_problems};
use crate::field::{FieldError, Path};

const RANGES_FIXED: &str = "node updates may not change podCIDR except from \"\" to valid";

/// A Node.
pub(super) fn node(node: &Value, errors: &mut Vec<FieldError>) {
    let spec = node.get("spec").unwrap_or(&Value::Null);
    taints(spec, errors);
    status(node, errors);
    let path = Path::ROOT.child("spec");
    let path = path.child("podCIDRs");
    let ranges: Vec<&str> = ranges(spec);
    for (at, range) in ranges.iter().enumerate() {
        invalid(&path.index(at), range, loose_cidr_problems(range), errors);
    }
    if ranges.len() > 1 {
        let families: Vec<_> = ranges.iter().map(|range| Some(cidr(range)?.0.is_ipv4())).collect();
        if families.contains(&None) {
            let wrong = ranges.iter().find(|range| cidr(range).is_none()).copied().unwrap_or_default();
            let why = format!(
                "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR address: {wrong}"
            );
            errors.push(FieldError::internal(&path, why));
        }
        let both = families.contains(&Some(true)) && families.contains(&Some(false));
        if !both || families.contains(&None) || ranges.len() > 2 {
            let why = "may specify no more than one CIDR for each IP family";
            errors.push(FieldError::invalid(&path, ranges, why));
        }
    }
}

/// The ranges of a node; objects that were never completed have the one range alone.
fn ranges(spec: &Value) -> Vec<&str> {
    let all: Vec<&str> = list(spec, "podCIDRs").iter().filter_map(Value::as_str).collect();
    match text(spec, "podCIDR") {
        one if all.is_empty() && !one.is_empty() => vec![one],
        _ => all,
    }
}

fn taints(spec: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("metadata");
    let path = path.child("taints");
    let mut seen = HashSet::new();
    for (at, taint) in list(spec, "taints").iter().enumerate() {
        let path = path.index(at);
        let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
        invalid(&path.child("key"), key, names::qualified(key), errors);
        let faults = names::label_value(value);
        if !faults.is_empty() {
            errors.push(FieldError::invalid(&path.child("value"), value, faults.join(";")));
        }
        if required(taint, "effect", &path, errors) {
            scheduling::effect(effect, &path.child("effect"), errors);
        }
        if !seen.insert((effect, key)) {
            let why = "taints must be unique by key and effect pair";
            errors.push(FieldError::duplicate(&path, taint.clone()).because(why));
        }
    }
}

/// What a node tells of itself from the beginning.
fn status(node: &Value, errors: &mut Vec<FieldError>) {
    let status = node.get("status").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("status");
    for part in ["capacity", "allocatable"] {
        let path = path.child(part);
        for (name, value) in entries(status, part) {
            resources::quantity(name, value, &path.child(name), errors);
        }
    }
}

/// What a node is told once stays.
pub(super) fn update_node(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    status(new, errors);
    let (old, new) = (old.get("spec").unwrap_or(&Value::Null), new.get("spec").unwrap_or(&Value::Null));
    let path = Path::ROOT.child("spec");
    let (before, after) = (ranges(old), ranges(new));
    let changes = match before.len() {
        0 => 0,
        count if count != after.len() => 1,
        _ => before.iter().zip(&after).filter(|(was, is)| was != is).count(),
    };
    errors.extend((0..changes).map(|_| FieldError::forbidden(&path.child("podCIDRs"), RANGES_FIXED)));
    let had = text(old, "providerID");
    if !had.is_empty() && had != text(new, "providerID") {
        let why = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden(&path.child("providerID"), why));
    }
    taints(new, errors);
    if text(old, "externalID") != text(new, "externalID") {
        errors.push(FieldError::forbidden(&path.child("externalID"), "may not be updated"));
    }
}

/// A RuntimeClass.
pub(super) fn runtime_class(class: &Value, errors: &mut Vec<FieldError>) {
    if required(class, "handler", &Path::ROOT, errors) {
        let handler = text(class, "handler");
        invalid(&Path::ROOT.child("handler"), handler, names::label(handler), errors);
    }
    if let Some(overhead) = given(class, "overhead") {
        resources::overhead(overhead, "podFixed", &Path::ROOT.child("overhead"), errors);
    }
    let Some(rules) = given(class, "scheduling") else { return };
    let path = Path::ROOT.child("scheduling");
    selector::labels(entries(rules, "nodeSelector"), &path.child("nodeSelector"), errors);
    scheduling::tolerations(rules, &path, errors);
    let path = path.child("tolerations");
    let mut seen = HashSet::new();
    for (at, toleration) in list(rules, "tolerations").iter().enumerate() {
        let part = |key| text(toleration, key);
        if !seen.insert([part("key"), part("operator"), part("value"), part("effect")]) {
            errors.push(FieldError::duplicate(&path.index(at), toleration.clone()));
        }
    }
}

/// A class keeps its handler.
pub(super) fn update_runtime_class(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    if text(old, "handler") != text(new, "handler") {
        errors.push(FieldError::invalid(&Path::ROOT.child("handler"), text(new, "handler"), IMMUTABLE));
    }
}

const SYSTEM: &str = "system-";
/// The classes that every cluster has, and their values.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
/// Above this, priorities are the platform's own.
const PRIORITY_MAX: i64 = 1_000_000_000;

/// A PriorityClass.
pub(super) fn priority(class: &Value, errors: &mut Vec<FieldError>) {
    let name = class.get("metadata").map(|metadata| text(metadata, "name")).unwrap_or_default();
    let value = number(class, "value").unwrap_or_default();
    if name.starts_with(SYSTEM) {
        let is_default = class.get("globalDefault") == Some(&Value::Bool(true));
        let why = match SYSTEM_CLASSES.iter().find(|(own, _)| *own == name) {
            None => format!("{name} is not a known system priority class"),
            Some((_, own)) if *own != value => format!("value of {name} PriorityClass must be {own}"),
            Some(_) if is_default => format!("globalDefault of {name} PriorityClass must be false"),
            Some(_) => String::new(),
        };
        if !why.is_empty() {
            let path = Path::ROOT.child("metadata");
            let why = format!(
                "priority class names with '{SYSTEM}' prefix are reserved for system use only. error: {why}"
            );
            errors.push(FieldError::forbidden(&path.child("name"), why));
        }
    } else if value > PRIORITY_MAX {
        let why = format!("maximum allowed value of a user defined priority is {PRIORITY_MAX}");
        errors.push(FieldError::forbidden(&Path::ROOT.child("value"), why));
    }
    super::one_of(class, "preemptionPolicy", &["PreemptLowerPriority", "Never"], &Path::ROOT, errors);
}

/// A PriorityClass keeps its value.
pub(super) fn update_priority(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let value = |of: &Value| number(of, "value").unwrap_or_default();
    if value(old) != value(new) {
        errors.push(FieldError::forbidden(&Path::ROOT.child("value"), "may not be changed in an update."));
    }
    if text(old, "preemptionPolicy") != text(new, "preemptionPolicy") {
        let value = text(new, "preemptionPolicy");
        errors.push(FieldError::invalid(&Path::ROOT.child("preemptionPolicy"), value, IMMUTABLE));
    }
}
