//! Where a pod may run.

use serde_json::Value;

use super::{given, invalid, list, names, number, one_of, selector, text};
use crate::field::{FieldError, Path};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const NO_OPERATOR: &str = "not a valid selector operator";
const ADDITIONS: &str = "only additions are allowed (no mutations or deletions)";

/// The effect of a taint.
pub(super) fn effect(effect: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !EFFECTS.contains(&effect) {
        errors.push(FieldError::not_supported(path, effect, &EFFECTS));
    }
}

/// `tolerations`
pub(super) fn tolerations(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("tolerations");
    for (at, toleration) in list(spec, "tolerations").iter().enumerate() {
        let path = path.index(at);
        let part = |key| text(toleration, key);
        let (key, operator, value, own) = (part("key"), part("operator"), part("value"), part("effect"));
        if !key.is_empty() {
            invalid(&path.child("key"), key, names::qualified(key), errors);
        }
        let place = path.child("operator");
        if key.is_empty() && operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&place, operator, why));
        }
        if number(toleration, "tolerationSeconds").is_some() && own != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&path.child("effect"), own, why));
        }
        match operator {
            "Equal" | "" => {
                let faults = names::label_value(value);
                if !faults.is_empty() {
                    errors.push(FieldError::invalid(&place, value, faults.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(&place, value, why));
            }
            "Exists" => {}
            "Lt" | "Gt" => {
                errors.push(FieldError::not_supported(&place, operator, &["Equal", "Exists", "Lt", "Gt"]));
            }
            _ => errors.push(FieldError::not_supported(&place, operator, &["Equal", "Exists"])),
        }
        if !own.is_empty() {
            effect(own, &path.child("effect"), errors);
        }
    }
}

/// `affinity`
pub(super) fn affinity(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(affinity) = given(spec, "affinity") else { return };
    let path = path.child("affinity");
    if let Some(node) = given(affinity, "nodeAffinity") {
        let path = path.child("nodeAffinity");
        if let Some(required) = given(node, REQUIRED) {
            node_selector(required, &path.child(REQUIRED), errors);
        }
        let inner = path.child(PREFERRED);
        for (at, preferred) in list(node, PREFERRED).iter().enumerate() {
            let path = inner.index(at);
            weight(preferred, &path, errors);
            let term = preferred.get("preference").unwrap_or(&Value::Null);
            node_term(term, true, &path.child("preference"), errors);
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(rules) = given(affinity, kind) else { continue };
        let path = path.child(kind);
        let inner = path.child(REQUIRED);
        for (at, term) in list(rules, REQUIRED).iter().enumerate() {
            pod_term(term, &inner.index(at), errors);
        }
        let inner = path.child(PREFERRED);
        for (at, preferred) in list(rules, PREFERRED).iter().enumerate() {
            let path = inner.index(at);
            weight(preferred, &path, errors);
            let term = preferred.get("podAffinityTerm").unwrap_or(&Value::Null);
            pod_term(term, &path.child("podAffinityTerm"), errors);
        }
    }
}

fn weight(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let weight = number(of, "weight").unwrap_or_default();
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
    }
}

/// Which nodes: those that fit one of these terms.
pub(super) fn node_selector(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let terms = list(of, "nodeSelectorTerms");
    let path = path.child("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(FieldError::required(&path, "must have at least one node selector term"));
    }
    for (at, term) in terms.iter().enumerate() {
        node_term(term, false, &path.index(at), errors);
    }
}

/// Which nodes, by their labels and their name. What is only preferred may have values that no label has.
fn node_term(term: &Value, any_value: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let inner = path.child("matchExpressions");
    for (at, of) in list(term, "matchExpressions").iter().enumerate() {
        let path = inner.index(at);
        let values = list(of, "values");
        let place = path.child("values");
        match text(of, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(&place, why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(&place, why));
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(FieldError::required(&place, why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.push(FieldError::invalid(&path.child("operator"), other, NO_OPERATOR)),
        }
        let key = text(of, "key");
        invalid(&path.child("key"), key, names::qualified(key), errors);
        for (at, value) in values.iter().filter_map(Value::as_str).enumerate().filter(|_| !any_value) {
            invalid(&place.index(at), value, names::label_value(value), errors);
        }
    }
    let inner = path.child("matchFields");
    for (at, of) in list(term, "matchFields").iter().enumerate() {
        let path = inner.index(at);
        let values = list(of, "values");
        let place = path.child("values");
        match text(of, "operator") {
            "In" | "NotIn" if values.len() != 1 => {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(FieldError::required(&place, why));
            }
            "In" | "NotIn" => {}
            other => errors.push(FieldError::invalid(&path.child("operator"), other, NO_OPERATOR)),
        }
        match text(of, "key") {
            "metadata.name" => {
                for (at, value) in values.iter().filter_map(Value::as_str).enumerate() {
                    invalid(&place.index(at), value, names::subdomain(value), errors);
                }
            }
            key => {
                let why = "not a valid field selector key";
                errors.push(FieldError::invalid(&path.child("key"), key, why));
            }
        }
    }
}

fn pod_term(term: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for key in ["labelSelector", "namespaceSelector"] {
        if let Some(of) = given(term, key) {
            selector::selector(of, &path.child(key), errors);
        }
    }
    for name in list(term, "namespaces").iter().filter_map(Value::as_str) {
        invalid(&path.child("namespace"), name, names::label(name), errors);
    }
    label_keys(term, path, errors);
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
    }
    invalid(&path.child("topologyKey"), key, names::qualified(key), errors);
}

/// The labels of a pod whose own values select beside a selector.
fn label_keys(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let own = given(of, "labelSelector");
    let keys = |key: &str| -> Vec<String> {
        list(of, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (same, other) = (keys("matchLabelKeys"), keys("mismatchLabelKeys"));
    for (key, all) in [("matchLabelKeys", &same), ("mismatchLabelKeys", &other)] {
        let path = path.child(key);
        if !all.is_empty() && own.is_none() {
            let why = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(&path, why));
            continue;
        }
        for (at, key) in all.iter().enumerate() {
            invalid(&path.index(at), key, names::qualified(key), errors);
        }
    }
    if let Some(own) = own {
        // The keys have become expressions of the selector by now, so what is there twice was there before.
        let mut seen: Vec<&str> = super::entries(own, "matchLabels").map(|(key, _)| key.as_str()).collect();
        for key in list(own, "matchExpressions").iter().map(|expression| text(expression, "key")) {
            if let Some(at) = same.iter().rposition(|same| same == key).filter(|_| seen.contains(&key)) {
                let why = "exists in both matchLabelKeys and labelSelector";
                errors.push(FieldError::invalid(&path.index(at), key, why));
            }
            seen.push(key);
        }
    }
    let place = path.child("matchLabelKeys");
    for (at, key) in same.iter().enumerate().filter(|(_, key)| other.contains(key)) {
        let why = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.push(FieldError::invalid(&place.index(at), key.as_str(), why));
    }
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
        if let Some(least) = number(constraint, "minDomains") {
            let path = path.child("minDomains");
            if least <= 0 {
                errors.push(FieldError::invalid(&path, least, "must be greater than zero"));
            }
            if otherwise != "DoNotSchedule" {
                let why =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {otherwise}");
                errors.push(FieldError::invalid(&path, least, why));
            }
        }
        for key in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one_of(constraint, key, &["Honor", "Ignore"], &path, errors);
        }
        label_keys(constraint, &path, errors);
        if let Some(of) = given(constraint, "labelSelector") {
            selector::selector(of, &path.child("labelSelector"), errors);
        }
    }
}

/// Where a pod that is still held back may run becomes less, never other.
pub(super) fn narrowed(old: &Value, new: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let labels = |of: &Value, key: &str| of.get("nodeSelector").and_then(|all| all.get(key)).cloned();
    if super::entries(old, "nodeSelector").any(|(key, value)| labels(new, key).as_ref() != Some(value)) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        let value = new.get("nodeSelector").cloned().unwrap_or_default();
        errors.push(FieldError::invalid(&path.child("nodeSelector"), value, why));
    }
    let terms = |of: &Value| {
        let affinity = given(of, "affinity").and_then(|affinity| given(affinity, "nodeAffinity"));
        let required = affinity.and_then(|affinity| given(affinity, REQUIRED));
        required.map(|required| list(required, "nodeSelectorTerms").to_vec()).unwrap_or_default()
    };
    let (before, after) = (terms(old), terms(new));
    let path = path.child("affinity");
    let path = path.child("nodeAffinity");
    let path = path.child(REQUIRED);
    let path = path.child("nodeSelectorTerms");
    if before.is_empty() {
        return;
    }
    if before.len() != after.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(FieldError::invalid(&path, after, why));
        return;
    }
    for (at, (was, is)) in before.iter().zip(after).enumerate() {
        let parts = ["matchExpressions", "matchFields"];
        let was_empty = parts.iter().all(|part| list(was, part).is_empty());
        let is_empty = parts.iter().all(|part| list(&is, part).is_empty());
        let grew = parts.iter().all(|part| list(&is, part).starts_with(list(was, part)));
        if !grew || was_empty && !is_empty {
            errors.push(FieldError::invalid(&path.index(at), is, ADDITIONS));
        }
    }
}

/// Gives a pod's spec where another may run, as far as that may change while a pod is held back.
pub(super) fn take_over(spec: &mut Value, other: &Value) {
    let Some(map) = spec.as_object_mut() else { return };
    match given(other, "nodeSelector") {
        Some(labels) => map.insert("nodeSelector".into(), labels.clone()),
        None => map.remove("nodeSelector"),
    };
    let mut affinity = map.remove("affinity").and_then(|own| own.as_object().cloned()).unwrap_or_default();
    let had_own = !affinity.is_empty();
    let theirs = given(other, "affinity");
    match theirs.and_then(|theirs| given(theirs, "nodeAffinity")) {
        Some(node) => affinity.insert("nodeAffinity".into(), node.clone()),
        None => affinity.remove("nodeAffinity"),
    };
    if !affinity.is_empty() || had_own && theirs.is_some() {
        map.insert("affinity".into(), Value::Object(affinity));
    }
}
