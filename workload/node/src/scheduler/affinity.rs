//! Whether a node has the labels that a pod asks for: `nodeSelector` and required node affinity; and whether a volume can be
//! reached from there.

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, Pod,
};
use kube::ResourceExt as _;

pub(super) fn matches(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let labels = node.labels();
    if !spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|selector| selector.node_selector_terms.iter().any(|term| fits(term, node)))
}

/// Whether a volume can be reached from a node.
pub(crate) fn admits(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|selector| selects(selector, node))
}

/// Whether a selector takes a node.
pub(super) fn selects(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| fits(term, node))
}

/// A term that asks for nothing fits nothing (core/v1 NodeSelectorTerm).
fn fits(term: &NodeSelectorTerm, node: &Node) -> bool {
    let (expressions, fields) = (term.match_expressions.as_deref(), term.match_fields.as_deref());
    let (expressions, fields) = (expressions.unwrap_or_default(), fields.unwrap_or_default());
    let name = node.name_any();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|own| holds(own, node.labels().get(&own.key).map(String::as_str)))
        && fields.iter().all(|own| holds(own, (own.key == "metadata.name").then_some(name.as_str())))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_in = value.is_some_and(|value| values.iter().any(|own| own == value));
    let numbers = || {
        let bound: i64 = values.first()?.parse().ok()?;
        Some((value?.parse::<i64>().ok()?, bound))
    };
    match requirement.operator.as_str() {
        "In" => is_in,
        "NotIn" => !is_in,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, bound)| value > bound),
        "Lt" => numbers().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_are_asked_for_in_all_ways() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "edge", "labels": {"disk": "fast", "cores": "8"}},
        }))
        .unwrap_or_default();
        let fits = |spec: serde_json::Value| {
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap_or_default();
            matches(&pod, &node)
        };
        assert!(fits(json!({"containers": [], "nodeSelector": {"disk": "fast"}})));
        assert!(!fits(json!({"containers": [], "nodeSelector": {"disk": "slow"}})));
        let term = |term: serde_json::Value| {
            fits(json!({"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
            }}}))
        };
        for (operator, key, values, expected) in [
            ("In", "disk", json!(["slow", "fast"]), true),
            ("NotIn", "disk", json!(["fast"]), false),
            ("Exists", "cores", json!(null), true),
            ("DoesNotExist", "gpu", json!(null), true),
            ("Gt", "cores", json!(["4"]), true),
            ("Lt", "cores", json!(["4"]), false),
        ] {
            let expression = json!({"key": key, "operator": operator, "values": values});
            assert_eq!(term(json!({"matchExpressions": [expression]})), expected, "{operator} {key}");
        }
        assert!(term(
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["edge"]}]})
        ));
        assert!(!term(json!({})));
    }
}
