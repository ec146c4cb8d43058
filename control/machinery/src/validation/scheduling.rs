//! Where a pod may run.

use serde_json::Value;

use super::{given, invalid, list, names, number, one_of, selector, text};
use crate::field::{FieldError, Path};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `tolerations`
pub(super) fn tolerations(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("tolerations");
    for (at, toleration) in list(spec, "tolerations").iter().enumerate() {
        let path = path.index(at);
        let part = |key| text(toleration, key);
        let (key, operator, value, effect) = (part("key"), part("operator"), part("value"), part("effect"));
        if !key.is_empty() {
            invalid(&path.child("key"), key, names::qualified(key), errors);
        }
        let operator_path = path.child("operator");
        if key.is_empty() && operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&operator_path, operator, why));
        }
        if number(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&path.child("effect"), effect, why));
        }
        match operator {
            "Equal" | "" => invalid(&operator_path, value, names::label_value(value), errors),
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(&operator_path, value, why));
            }
            "Exists" => {}
            _ => errors.push(FieldError::not_supported(&operator_path, operator, &["Equal", "Exists"])),
        }
        one_of(toleration, "effect", &EFFECTS, &path, errors);
    }
}

/// `affinity`
pub(super) fn affinity(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(affinity) = given(spec, "affinity") else { return };
    let path = path.child("affinity");
    if let Some(required) = given(affinity, "nodeAffinity")
        .and_then(|node| given(node, "requiredDuringSchedulingIgnoredDuringExecution"))
        && list(required, "nodeSelectorTerms").is_empty()
    {
        let path = path.child("nodeAffinity");
        let path = path.child("requiredDuringSchedulingIgnoredDuringExecution");
        let why = "must have at least one node selector term";
        errors.push(FieldError::required(&path.child("nodeSelectorTerms"), why));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(rules) = given(affinity, kind) else { continue };
        let path = path.child(kind);
        let name = "requiredDuringSchedulingIgnoredDuringExecution";
        let inner = path.child(name);
        for (at, term) in list(rules, name).iter().enumerate() {
            pod_term(term, &inner.index(at), errors);
        }
        let name = "preferredDuringSchedulingIgnoredDuringExecution";
        let inner = path.child(name);
        for (at, preferred) in list(rules, name).iter().enumerate() {
            let path = inner.index(at);
            let weight = number(preferred, "weight").unwrap_or_default();
            if !(1..=100).contains(&weight) {
                errors.push(FieldError::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
            }
            pod_term(
                preferred.get("podAffinityTerm").unwrap_or(&Value::Null),
                &path.child("podAffinityTerm"),
                errors,
            );
        }
    }
}

fn pod_term(term: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(of) = given(term, "labelSelector") {
        selector::selector(of, &path.child("labelSelector"), errors);
    }
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
    }
    invalid(&path.child("topologyKey"), key, names::qualified(key), errors);
}

/// `topologySpreadConstraints`
pub(super) fn spread(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("topologySpreadConstraints");
    let all = list(spec, "topologySpreadConstraints");
    let pair = |of| (text(of, "topologyKey"), text(of, "whenUnsatisfiable"));
    for (at, constraint) in all.iter().enumerate() {
        let path = path.index(at);
        let skew = number(constraint, "maxSkew").unwrap_or_default();
        if skew <= 0 {
            errors.push(FieldError::invalid(&path.child("maxSkew"), skew, "must be greater than zero"));
        }
        let (key, otherwise) = pair(constraint);
        if key.is_empty() {
            errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
        }
        let supported = ["DoNotSchedule", "ScheduleAnyway"];
        if !supported.contains(&otherwise) {
            let path = path.child("whenUnsatisfiable");
            errors.push(FieldError::not_supported(&path, otherwise, &supported));
        }
        if all.iter().skip(at + 1).any(|later| pair(later) == (key, otherwise)) {
            let path = path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(&path, format!("{{{key}, {otherwise}}}")));
        }
        if let Some(of) = given(constraint, "labelSelector") {
            selector::selector(of, &path.child("labelSelector"), errors);
        }
    }
}
