//! Which objects a quota is for.

use serde_json::Value;

use super::usage::Measure;
use crate::object;

/// Whether an object is in all scopes of a quota.
pub(super) fn matches(quota: &Value, measure: &Measure<'_>, object: &Value) -> bool {
    let named = object::list(quota, &["spec", "scopes"]);
    let required = object::list(quota, &["spec", "scopeSelector", "matchExpressions"]);
    let exists = named.iter().filter_map(Value::as_str).map(|scope| (scope, "Exists", &[][..]));
    let asked = required.iter().map(|term| {
        let text = |field: &str| object::text(term, &[field]);
        (text("scopeName"), text("operator"), object::list(term, &["values"]))
    });
    exists.chain(asked).all(|(scope, operator, values)| is_in(scope, operator, values, measure, object))
}

fn is_in(scope: &str, operator: &str, values: &[Value], measure: &Measure<'_>, object: &Value) -> bool {
    match (measure, scope) {
        (Measure::Claim, "VolumeAttributesClass") => {
            let class = object::text(object, &["spec", "volumeAttributesClassName"]);
            is_named(class, operator, values)
        }
        (Measure::Pod, "PriorityClass") => {
            is_named(object::text(object, &["spec", "priorityClassName"]), operator, values)
        }
        (Measure::Pod, "Terminating") => ends(object),
        (Measure::Pod, "NotTerminating") => !ends(object),
        (Measure::Pod, "BestEffort") => is_best_effort(object),
        (Measure::Pod, "NotBestEffort") => !is_best_effort(object),
        (Measure::Pod, "CrossNamespacePodAffinity") => crosses_namespaces(object),
        _ => false,
    }
}

fn is_named(name: &str, operator: &str, values: &[Value]) -> bool {
    let is_listed = !name.is_empty() && values.iter().any(|value| value == name);
    match operator {
        "In" => is_listed,
        "NotIn" => !is_listed,
        "DoesNotExist" => name.is_empty(),
        _ => !name.is_empty(),
    }
}

/// Whether a pod is to end after some time.
pub(super) fn ends(pod: &Value) -> bool {
    object::at(pod, &["spec", "activeDeadlineSeconds"])
        .and_then(Value::as_i64)
        .is_some_and(|seconds| seconds >= 0)
}

/// Whether a pod asks for nothing.
fn is_best_effort(pod: &Value) -> bool {
    let asks = |of: &Value| {
        ["requests", "limits"].iter().any(|side| {
            object::entries(of, &["resources", side])
                .any(|(name, amount)| matches!(name, "cpu" | "memory") && *amount != "0")
        })
    };
    let containers = object::list(pod, &["spec", "containers"]).iter();
    let before = object::list(pod, &["spec", "initContainers"]).iter();
    !containers.chain(before).any(asks) && !pod.get("spec").is_some_and(asks)
}

fn crosses_namespaces(pod: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let terms = |when: &str| object::list(pod, &["spec", "affinity", kind, when]).iter();
        let weighted = terms("preferredDuringSchedulingIgnoredDuringExecution")
            .filter_map(|own| object::at(own, &["podAffinityTerm"]));
        terms("requiredDuringSchedulingIgnoredDuringExecution").chain(weighted).any(|term| {
            !object::list(term, &["namespaces"]).is_empty()
                || object::at(term, &["namespaceSelector"]).is_some()
        })
    })
}
