//! HorizontalPodAutoscalers of `autoscaling/v1` and `autoscaling/v2`.
//!
//! The first version knows the use of the processor alone; all else stands in annotations, as JSON in the words of that
//! version. Autoscalers rest in the second one.

use serde_json::{Map, Value, json};
use xebec_machinery::defaults;

use crate::object;

/// The group, and the version that is not the stored one.
pub(super) const GROUP: &str = "autoscaling";
pub(super) const FIRST: &str = "v1";

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const PROCESSOR: &str = "targetCPUUtilizationPercentage";
const CURRENT_PROCESSOR: &str = "currentCPUUtilizationPercentage";

/// From the first version to the second.
pub(super) fn to_second(scaler: &mut Value) {
    let mut told = |name: &str| -> Option<Value> {
        let annotations = object::meta_mut(scaler).get_mut("annotations")?.as_object_mut()?;
        let text = annotations.remove(name)?;
        // What is no JSON is refused as what it is, where all is checked: a text.
        Some(text.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(text))
    };
    let (metrics, current) = (told(METRICS), told(CURRENT));
    let (conditions, behavior) = (told(CONDITIONS), told(BEHAVIOR));
    if object::meta_mut(scaler).get("annotations").is_some_and(|all| *all == json!({})) {
        object::meta_mut(scaler).remove("annotations");
    }
    let spec = object::section_mut(scaler, "spec");
    let processor = spec.remove(PROCESSOR).filter(|percentage| !percentage.is_null());
    let processor = processor.map(|percentage| {
        json!({
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percentage}},
        })
    });
    if let Some(metrics) = all(metrics, "target", processor) {
        spec.insert("metrics".to_owned(), metrics);
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".to_owned(), behavior);
    }
    if let Some(status) = scaler.get_mut("status").and_then(Value::as_object_mut) {
        let processor = status.remove(CURRENT_PROCESSOR).map(|percentage| {
            json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percentage}}})
        });
        if let Some(current) = all(current, "current", processor) {
            status.insert("currentMetrics".to_owned(), current);
        }
        if let Some(conditions) = conditions {
            status.insert("conditions".to_owned(), conditions);
        }
    }
    defaults::apply(GROUP, "v2", "HorizontalPodAutoscaler", scaler);
}

/// From the second version to the first.
pub(super) fn to_first(scaler: &mut Value) {
    let mut annotations = Vec::new();
    let spec = object::section_mut(scaler, "spec");
    let mut metrics = list(spec.remove("metrics"));
    let wanted = metrics.iter().position(|metric| utilization(metric, "target").is_some());
    let wanted = wanted.and_then(|at| utilization(&metrics.remove(at), "target"));
    if let Some(percentage) = wanted {
        spec.insert(PROCESSOR.to_owned(), percentage);
    }
    annotations.push((METRICS, renamed(metrics, "target", flat).into()));
    annotations.extend(spec.remove("behavior").map(|behavior| (BEHAVIOR, behavior)));
    if let Some(status) = scaler.get_mut("status").and_then(Value::as_object_mut) {
        let mut current = list(status.remove("currentMetrics"));
        let found = current.iter().position(|metric| utilization(metric, "current").is_some());
        if let Some(percentage) = found.and_then(|at| utilization(&current.remove(at), "current")) {
            status.insert(CURRENT_PROCESSOR.to_owned(), percentage);
        }
        annotations.push((CURRENT, renamed(current, "current", flat).into()));
        annotations.extend(status.remove("conditions").map(|conditions| (CONDITIONS, conditions)));
    }
    annotations.retain(|(_, value)| !value.as_array().is_some_and(Vec::is_empty) && !value.is_null());
    if annotations.is_empty() {
        return;
    }
    let own = object::section_mut(&mut scaler["metadata"], "annotations");
    own.extend(annotations.into_iter().map(|(name, value)| (name.to_owned(), value.to_string().into())));
}

/// The metrics of an annotation and the one that has a field of its own, as the second version lists them. What is no list
/// is the first of them, to be refused as that.
fn all(told: Option<Value>, word: &str, processor: Option<Value>) -> Option<Value> {
    let mut metrics = match told {
        None => Vec::new(),
        Some(Value::Array(told)) => renamed(told, word, deep),
        Some(other) => vec![other],
    };
    metrics.extend(processor);
    (!metrics.is_empty()).then(|| metrics.into())
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// The use of the processor, if the metric is that.
fn utilization(metric: &Value, word: &str) -> Option<Value> {
    let resource = metric.get("resource").filter(|resource| resource["name"] == "cpu")?;
    resource.get(word)?.get("averageUtilization").filter(|percentage| !percentage.is_null()).cloned()
}

/// Metrics, each rewritten; what is none stays what it is.
fn renamed(metrics: Vec<Value>, word: &str, rewrite: fn(&Value, &[(String, String)]) -> Value) -> Vec<Value> {
    let rewritten = metrics.into_iter().map(|metric| {
        let kind = metric.get("type").and_then(Value::as_str).unwrap_or_default();
        let known = fields(kind, word).and_then(|(key, fields)| Some((key, fields, metric.get(key)?)));
        let Some((key, fields, body)) = known else { return metric };
        let mut body = rewrite(body, &fields);
        if let Some(target) = body.get_mut("target").and_then(Value::as_object_mut) {
            let types =
                [("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value")];
            if let Some((_, type_)) = types.into_iter().find(|(field, _)| target.contains_key(*field)) {
                target.insert("type".to_owned(), type_.into());
            }
        }
        json!({"type": kind, key: body})
    });
    rewritten.collect()
}

/// The key of a kind of metric, and where each of its fields is in the second version and how the first one calls it.
/// `word` is `target` for what is wanted and `current` for what is.
fn fields(kind: &str, word: &str) -> Option<(&'static str, Vec<(String, String)>)> {
    let inner = |field: &str, own: &str| (format!(".{word}.{field}"), own.replace('*', word));
    let plain = |path: &str, own: &str| (path.to_owned(), own.to_owned());
    let (utilization, average) =
        (inner("averageUtilization", "*AverageUtilization"), inner("averageValue", "*AverageValue"));
    let (metric, value) = (plain(".metric.name", "metricName"), inner("value", "*Value"));
    Some(match kind {
        "Resource" => ("resource", vec![plain(".name", "name"), utilization, average]),
        "ContainerResource" => {
            let container = plain(".container", "container");
            ("containerResource", vec![plain(".name", "name"), container, utilization, average])
        }
        "Pods" => ("pods", vec![metric, plain(".metric.selector", "selector"), average]),
        "Object" => {
            let (described, selector) =
                (plain(".describedObject", "target"), plain(".metric.selector", "selector"));
            ("object", vec![described, metric, selector, value, inner("averageValue", "averageValue")])
        }
        "External" => ("external", vec![metric, plain(".metric.selector", "metricSelector"), value, average]),
        _ => return None,
    })
}

fn flat(metric: &Value, fields: &[(String, String)]) -> Value {
    let found =
        fields.iter().filter_map(|(path, own)| Some((own.clone(), object::at_path(metric, path)?.clone())));
    Value::Object(found.collect::<Map<_, _>>())
}

fn deep(metric: &Value, fields: &[(String, String)]) -> Value {
    let mut second = json!({});
    for (path, own) in fields {
        if let Some(value) = metric.get(own) {
            object::set_path(&mut second, path, value.clone());
        }
    }
    second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoscaler_comes_back_from_the_first_version_as_it_went() {
        let target = |kind: &str, field: &str, value: Value| json!({"type": kind, field: value});
        let metric = json!({"name": "requests", "selector": {"matchLabels": {"a": "b"}}});
        let described = json!({"kind": "Ingress", "name": "main", "apiVersion": "networking.k8s.io/v1"});
        let mut scaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {
                "minReplicas": 1, "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "a"},
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
                "metrics": [
                    {"type": "Resource", "resource": {"name": "memory", "target": target("AverageValue", "averageValue", json!("1Gi"))}},
                    {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "x", "target": target("Utilization", "averageUtilization", json!(5))}},
                    {"type": "Pods", "pods": {"metric": metric, "target": target("AverageValue", "averageValue", json!("7"))}},
                    {"type": "Object", "object": {"metric": metric, "describedObject": described, "target": target("Value", "value", json!("2k"))}},
                    {"type": "External", "external": {"metric": metric, "target": target("Value", "value", json!("3"))}},
                    {"type": "Resource", "resource": {"name": "cpu", "target": target("Utilization", "averageUtilization", json!(60))}},
                ],
            },
            "status": {
                "currentReplicas": 1,
                "conditions": [{"type": "AbleToScale", "status": "True"}],
                "currentMetrics": [
                    {"type": "Resource", "resource": {"name": "memory", "current": {"averageValue": "5Mi"}}},
                    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12}}},
                ],
            },
        });
        defaults::apply(GROUP, "v2", "HorizontalPodAutoscaler", &mut scaler);
        let before = scaler.clone();
        to_first(&mut scaler);
        assert_eq!(scaler["spec"][PROCESSOR], 60);
        assert_eq!(scaler["status"][CURRENT_PROCESSOR], 12);
        let told: Value =
            serde_json::from_str(scaler["metadata"]["annotations"][METRICS].as_str().unwrap()).unwrap();
        assert_eq!(
            told[0],
            json!({"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}})
        );
        assert!(scaler["spec"].get("metrics").is_none() && scaler["spec"].get("behavior").is_none());
        to_second(&mut scaler);
        assert_eq!(scaler, before);
    }

    #[test]
    fn a_scaler_of_the_first_version_that_says_nothing_more_watches_the_processor() {
        let mut scaler = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, PROCESSOR: 70}});
        to_second(&mut scaler);
        assert_eq!(scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
        assert_eq!(scaler["spec"]["minReplicas"], 1);
    }
}
