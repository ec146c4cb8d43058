//! Whether a DaemonSet's pod may run on a node, and how a pod is bound to one.

use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec,
    Taint, Toleration,
};
use kube::ResourceExt as _;

use crate::pod::node_of;

const NAME_FIELD: &str = "metadata.name";

/// What a node is to a DaemonSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// A pod is to run there.
    pub run: bool,
    /// A pod that runs there may stay.
    pub stay: bool,
}

/// Judges a node by its name, labels and taints.
pub fn fit(spec: &PodSpec, node: &Node) -> Fit {
    const NEVER: Fit = Fit { run: false, stay: false };
    if spec.node_name.as_ref().is_some_and(|name| !name.is_empty() && *name != node.name_any()) {
        return NEVER;
    }
    let labels = node.labels();
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    if !selected || !required(spec).is_none_or(|wanted| matches(wanted, node)) {
        return NEVER;
    }
    let tolerations = all_tolerations(spec);
    let bars = |effects: &[&str]| {
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let mut bars = taints.filter(|taint| effects.contains(&taint.effect.as_str()));
        bars.any(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
    };
    Fit { run: !bars(&["NoSchedule", "NoExecute"]), stay: !bars(&["NoExecute"]) }
}

fn required(spec: &PodSpec) -> Option<&NodeSelector> {
    spec.affinity
        .as_ref()?
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}

/// Whether one of the terms holds. A term without requirements holds nowhere.
fn matches(selector: &NodeSelector, node: &Node) -> bool {
    let labels = node.labels();
    selector.node_selector_terms.iter().any(|term| {
        let expressions = term.match_expressions.iter().flatten();
        let fields = term.match_fields.iter().flatten();
        let some = expressions.clone().next().is_some() || fields.clone().next().is_some();
        some && expressions
            .into_iter()
            .all(|wanted| holds(wanted, labels.get(&wanted.key).map(String::as_str)))
            && fields
                .into_iter()
                .all(|wanted| wanted.key == NAME_FIELD && holds(wanted, node.metadata.name.as_deref()))
    })
}

fn holds(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|own| own == value));
    let compared = || {
        let bound = values.first().and_then(|bound| bound.parse::<i64>().ok())?;
        Some(value?.parse::<i64>().ok()?.cmp(&bound))
    };
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compared().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect =
        toleration.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == taint.effect);
    let key = toleration.key.as_deref().unwrap_or_default();
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        _ => toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default(),
    };
    let every = key.is_empty() && toleration.operator.as_deref() == Some("Exists");
    effect && (every || key == taint.key && value)
}

/// What a DaemonSet's pods tolerate beside what their template says: a node's troubles are no reason to be without them.
fn own_tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let of = |key: &str, effect: &str| Toleration {
        key: Some(format!("node.kubernetes.io/{key}")),
        operator: Some("Exists".to_owned()),
        effect: Some(effect.to_owned()),
        ..Toleration::default()
    };
    let mut own = vec![
        of("not-ready", "NoExecute"),
        of("unreachable", "NoExecute"),
        of("disk-pressure", "NoSchedule"),
        of("memory-pressure", "NoSchedule"),
        of("pid-pressure", "NoSchedule"),
        of("unschedulable", "NoSchedule"),
    ];
    if spec.host_network == Some(true) {
        own.push(of("network-unavailable", "NoSchedule"));
    }
    own
}

fn all_tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone().unwrap_or_default();
    for own in own_tolerations(spec) {
        if !all.contains(&own) {
            all.push(own);
        }
    }
    all
}

/// Makes a pod one for this node alone: whoever places pods puts it there.
pub fn bind(spec: &mut PodSpec, node: &str) {
    spec.tolerations = Some(all_tolerations(spec));
    let field = NodeSelectorRequirement {
        key: NAME_FIELD.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let only = NodeSelectorTerm { match_fields: Some(vec![field]), match_expressions: None };
    let affinity = spec.affinity.get_or_insert_with(Affinity::default);
    let affinity = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    // Whether the node has the labels that the template wants was judged already.
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![only] });
}

/// The node that a pod is on, or is for.
pub fn node_for(pod: &Pod) -> Option<String> {
    if let Some(node) = node_of(pod) {
        return Some(node.to_owned());
    }
    let terms = &required(pod.spec.as_ref()?)?.node_selector_terms;
    let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let named = fields.filter(|field| field.key == NAME_FIELD && field.operator == "In");
    named.filter_map(|field| field.values.as_ref()?.first().cloned()).next()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(taints: Value) -> Node {
        let labels = json!({"disk": "ssd", "cores": "8"});
        serde_json::from_value(
            json!({"metadata": {"name": "one", "labels": labels}, "spec": {"taints": taints}}),
        )
        .unwrap()
    }

    fn spec(mut value: Value) -> PodSpec {
        value["containers"] = json!([]);
        serde_json::from_value(value).unwrap()
    }

    fn fits(of: Value, taints: Value) -> (bool, bool) {
        let fit = fit(&spec(of), &node(taints));
        (fit.run, fit.stay)
    }

    fn affinity(terms: Value) -> Value {
        let required = json!({"nodeSelectorTerms": terms});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
    }

    #[test]
    fn names_labels_and_expressions_choose_nodes() {
        let (yes, no) = ((true, true), (false, false));
        let expression = |key: &str, operator: &str, values: Value| {
            affinity(json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]))
        };
        for (of, expected) in [
            (json!({}), yes),
            (json!({"nodeName": "one"}), yes),
            (json!({"nodeName": "two"}), no),
            (json!({"nodeSelector": {"disk": "ssd"}}), yes),
            (json!({"nodeSelector": {"disk": "tape"}}), no),
            (expression("disk", "In", json!(["tape", "ssd"])), yes),
            (expression("disk", "NotIn", json!(["ssd"])), no),
            (expression("gpu", "NotIn", json!(["x"])), yes),
            (expression("gpu", "Exists", json!([])), no),
            (expression("gpu", "DoesNotExist", json!([])), yes),
            (expression("cores", "Gt", json!(["4"])), yes),
            (expression("cores", "Lt", json!(["4"])), no),
            (affinity(json!([{}])), no),
            (
                affinity(
                    json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["one"]}]}]),
                ),
                yes,
            ),
        ] {
            assert_eq!(fits(of.clone(), json!([])), expected, "{of}");
        }
    }

    #[test]
    fn taints_bar_unless_they_are_tolerated() {
        let taint = |key: &str, effect: &str| json!([{"key": key, "value": "x", "effect": effect}]);
        assert_eq!(fits(json!({}), taint("team", "NoSchedule")), (false, true));
        assert_eq!(fits(json!({}), taint("team", "NoExecute")), (false, false));
        assert_eq!(fits(json!({}), taint("team", "PreferNoSchedule")), (true, true));
        let tolerates = |toleration: Value| json!({"tolerations": [toleration]});
        assert_eq!(
            fits(tolerates(json!({"key": "team", "value": "x"})), taint("team", "NoSchedule")),
            (true, true)
        );
        assert_eq!(
            fits(tolerates(json!({"key": "team", "value": "y"})), taint("team", "NoSchedule")),
            (false, true)
        );
        assert_eq!(fits(tolerates(json!({"operator": "Exists"})), taint("team", "NoExecute")), (true, true));
        // A node in trouble keeps its daemons.
        assert_eq!(fits(json!({}), taint("node.kubernetes.io/unschedulable", "NoSchedule")), (true, true));
        assert_eq!(fits(json!({}), taint("node.kubernetes.io/not-ready", "NoExecute")), (true, true));
    }

    #[test]
    fn a_pod_is_for_the_node_that_it_was_made_for() {
        let mut bound =
            spec(affinity(json!([{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}])));
        bind(&mut bound, "one");
        let pod = Pod { spec: Some(bound), ..Pod::default() };
        assert_eq!(node_for(&pod).as_deref(), Some("one"));
        assert!(fit(pod.spec.as_ref().unwrap(), &node(json!([]))).run);
        let mut placed = pod;
        placed.spec.as_mut().unwrap().node_name = Some("two".to_owned());
        assert_eq!(node_for(&placed).as_deref(), Some("two"));
    }
}
