//! HorizontalPodAutoscalers.

use serde_json::Value;

use super::{given, invalid, list, names, number, one_of, resources, text};
use crate::field::{FieldError, Path};
use crate::metadata::path_segment;
use crate::quantity::Quantity;

const SELECTS: [&str; 3] = ["Disabled", "Max", "Min"];
const WINDOW_MAX: i64 = 3_600;
const PERIOD_MAX: i64 = 1_800;
/// The kinds of metrics with the fields that say more of them, in the order in which upstream looks at them.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
const VALUE_OR_UTILIZATION: &str = "must set either a target raw value or a target utilization";
const NOT_BOTH: &str = "may not set both a target raw value and a target utilization";

/// A HorizontalPodAutoscaler.
pub(super) fn autoscaler(autoscaler: &Value, errors: &mut Vec<FieldError>) {
    let spec = autoscaler.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let (least, most) = (number(spec, "minReplicas"), number(spec, "maxReplicas").unwrap_or_default());
    if let Some(least) = least.filter(|least| *least < 1) {
        let why = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(&path.child("minReplicas"), least, why));
    }
    let place = path.child("maxReplicas");
    match most {
        0 => errors.push(FieldError::required(&place, "must be set and greater than 0")),
        ..0 => errors.push(FieldError::invalid(&place, most, "must be greater than or equal to 1")),
        _ => {}
    }
    if least.is_some_and(|least| most < least) {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(&place, most, why));
    }
    let target = spec.get("scaleTargetRef").unwrap_or(&Value::Null);
    let needs_group = text(target, "kind") != "ReplicationController";
    reference(target, needs_group, &path.child("scaleTargetRef"), errors);
    let inner = path.child("metrics");
    for (at, of) in list(spec, "metrics").iter().enumerate() {
        metric(of, &inner.index(at), errors);
    }
    let from_outside = |of: &Value| matches!(text(of, "type"), "Object" | "External");
    if least == Some(0) && !list(spec, "metrics").iter().any(from_outside) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden(&inner, why));
    }
    if let Some(behavior) = given(spec, "behavior") {
        let path = path.child("behavior");
        for key in ["scaleUp", "scaleDown"] {
            if let Some(of) = given(behavior, key) {
                rules(of, &path.child(key), errors);
            }
        }
    }
}

/// What was let in before is not judged again: that it scaled to zero, and the version of what it scales.
pub(super) fn update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let spec = |of: &Value| of.get("spec").cloned().unwrap_or_default();
    let (old, new) = (spec(old), spec(new));
    if number(&old, "minReplicas") == Some(0) {
        errors.retain(|error| error.field != "spec.minReplicas");
    }
    let target = |of: &Value| {
        let target = of.get("scaleTargetRef").cloned().unwrap_or_default();
        [text(&target, "apiVersion").to_owned(), text(&target, "kind").to_owned()]
    };
    if target(&old) == target(&new) {
        errors.retain(|error| error.field != "spec.scaleTargetRef.apiVersion");
    }
}

/// What is scaled, or what a metric is of.
fn reference(of: &Value, needs_group: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for key in ["kind", "name"] {
        let value = text(of, key);
        if value.is_empty() {
            errors.push(FieldError::required(&path.child(key), ""));
        }
        invalid(&path.child(key), value, path_segment(value, false), errors);
    }
    let version = text(of, "apiVersion");
    let why = match version.matches('/').count() {
        0 | 1 if needs_group && version.split_once('/').is_none_or(|(group, _)| group.is_empty()) => {
            "apiVersion must specify API group".to_owned()
        }
        0 | 1 => return,
        _ => format!("unexpected GroupVersion string: {version}"),
    };
    errors.push(FieldError::invalid(&path.child("apiVersion"), version, why));
}

fn metric(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let kind = text(of, "type");
    let place = path.child("type");
    let is_known = TYPES.contains(&kind);
    if kind.is_empty() {
        errors.push(FieldError::required(&place, "must specify a metric source type"));
    }
    if !is_known {
        errors.push(FieldError::not_supported(&place, kind, &TYPES));
    }
    let found: Vec<&str> =
        SOURCES.into_iter().map(|(_, key)| key).filter(|key| given(of, key).is_some()).collect();
    if let Some((key, source)) = found.first().and_then(|key| Some((*key, given(of, key)?))) {
        self::source(key, source, &path.child(key), errors);
    }
    let wanted = SOURCES.into_iter().find(|(own, _)| *own == kind).map(|(_, key)| key);
    match wanted {
        Some(key) if given(of, key).is_none() => {
            let why = "must populate information for the given metric source";
            errors.push(FieldError::required(&path.child(key), why));
        }
        Some(_) => {}
        None => errors.push(FieldError::not_supported(&place, kind, &TYPES)),
    }
    if found.len() > 1 {
        let why = "must populate the given metric source only";
        let others = found.into_iter().filter(|key| Some(*key) != wanted);
        errors.extend(others.map(|key| FieldError::forbidden(&path.child(key), why)));
    }
}

/// Where a metric comes from, and what it should be.
fn source(key: &str, of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let none = Value::Null;
    let aim = of.get("target").unwrap_or(&none);
    let has = |key: &str| given(aim, key).is_some();
    let inner = path.child("target");
    match key {
        "object" | "external" | "pods" => {
            if key == "object" {
                let described = of.get("describedObject").unwrap_or(&none);
                reference(described, false, &path.child("describedObject"), errors);
            }
            identifier(of.get("metric").unwrap_or(&none), &path.child("metric"), errors);
            target(aim, &inner, errors);
            let missing = match key {
                "pods" if !has("averageValue") => Some("must specify a positive target averageValue"),
                "object" if !has("value") && !has("averageValue") => {
                    Some("must set either a target value or averageValue")
                }
                "external" if !has("value") && !has("averageValue") => {
                    Some("must set either a target value for metric or a per-pod target")
                }
                _ => None,
            };
            errors.extend(missing.map(|why| FieldError::required(&inner.child("averageValue"), why)));
            if key == "external" && has("value") && has("averageValue") {
                let why = "may not set both a target value for metric and a per-pod target";
                errors.push(FieldError::forbidden(&inner.child("value"), why));
            }
        }
        _ => {
            let name = text(of, "name");
            if name.is_empty() {
                errors.push(FieldError::required(&path.child("name"), "must specify a resource name"));
            } else if key == "containerResource" {
                resources::of_container(name, &path.child("name"), errors);
            }
            if key == "containerResource" {
                let (container, path) = (text(of, "container"), path.child("container"));
                if container.is_empty() {
                    errors.push(FieldError::required(&path, "must specify a container"));
                } else {
                    invalid(&path, container, names::label(container), errors);
                }
            }
            target(aim, &inner, errors);
            match (has("averageUtilization"), has("averageValue")) {
                (false, false) => {
                    let place = inner.child("averageUtilization");
                    errors.push(FieldError::required(&place, VALUE_OR_UTILIZATION));
                }
                (true, true) => errors.push(FieldError::forbidden(&inner.child("averageValue"), NOT_BOTH)),
                _ => {}
            }
        }
    }
}

fn identifier(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (name, path) = (text(of, "name"), path.child("name"));
    if name.is_empty() {
        errors.push(FieldError::required(&path, "must specify a metric name"));
    }
    invalid(&path, name, path_segment(name, false), errors);
}

fn target(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (kind, place) = (text(of, "type"), path.child("type"));
    if kind.is_empty() {
        errors.push(FieldError::required(&place, "must specify a metric target type"));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(&place, kind, why));
    }
    for key in ["value", "averageValue"] {
        let value = text(of, key);
        if Quantity::parse(value).is_ok_and(|amount| amount.nanos() <= 0) {
            errors.push(FieldError::invalid(&path.child(key), value, "must be positive"));
        }
    }
    if let Some(share) = number(of, "averageUtilization").filter(|share| *share < 1) {
        let path = path.child("averageUtilization");
        errors.push(FieldError::invalid(&path, share, "must be greater than 0"));
    }
}

/// How fast it goes in one direction.
fn rules(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let key = "stabilizationWindowSeconds";
    if let Some(seconds) = number(of, key) {
        let path = path.child(key);
        if seconds < 0 {
            errors.push(FieldError::invalid(&path, seconds, "must be greater than or equal to zero"));
        }
        if seconds > WINDOW_MAX {
            let why = format!("must be less than or equal to {WINDOW_MAX}");
            errors.push(FieldError::invalid(&path, seconds, why));
        }
    }
    one_of(of, "selectPolicy", &SELECTS, path, errors);
    let policies = list(of, "policies");
    let inner = path.child("policies");
    if policies.is_empty() {
        errors.push(FieldError::required(&inner, "must specify at least one Policy"));
    }
    for (at, policy) in policies.iter().enumerate() {
        let path = inner.index(at);
        let kind = text(policy, "type");
        let kinds = ["Percent", "Pods"];
        if !kinds.contains(&kind) {
            errors.push(FieldError::not_supported(&path.child("type"), kind, &kinds));
        }
        for key in ["value", "periodSeconds"] {
            let value = number(policy, key).unwrap_or_default();
            if value <= 0 {
                errors.push(FieldError::invalid(&path.child(key), value, "must be greater than zero"));
            }
            if key == "periodSeconds" && value > PERIOD_MAX {
                let why = format!("must be less than or equal to {PERIOD_MAX}");
                errors.push(FieldError::invalid(&path.child(key), value, why));
            }
        }
    }
    let tolerance = text(of, "tolerance");
    if Quantity::parse(tolerance).is_ok_and(|amount| amount.nanos() < 0) {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&path.child("tolerance"), tolerance, why));
    }
}
