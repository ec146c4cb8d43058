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
        serde_json::from_str(annotations.remove(name)?.as_str()?).ok()
    };
    let (metrics, current) = (told(METRICS), told(CURRENT));
    let (conditions, behavior) = (told(CONDITIONS), told(BEHAVIOR));
    if object::meta_mut(scaler).get("annotations").is_some_and(|all| *all == json!({})) {
        object::meta_mut(scaler).remove("annotations");
    }
    let spec = object::section_mut(scaler, "spec");
    let processor = spec.remove(PROCESSOR).filter(|percentage| !percentage.is_null());
    let mut metrics = renamed(metrics, "target", deep);
    metrics.extend(processor.map(|percentage| {
        json!({
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percentage}},
        })
    }));
    if !metrics.is_empty() {
        spec.insert("metrics".to_owned(), metrics.into());
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".to_owned(), behavior);
    }
    let mut current = renamed(current, "current", deep);
    if let Some(status) = scaler.get_mut("status").and_then(Value::as_object_mut) {
        current.extend(status.remove(CURRENT_PROCESSOR).map(|percentage| {
            json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percentage}}})
        }));
        if !current.is_empty() {
            status.insert("currentMetrics".to_owned(), current.into());
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
    annotations.push((METRICS, renamed(Some(metrics.into()), "target", flat).into()));
    annotations.extend(spec.remove("behavior").map(|behavior| (BEHAVIOR, behavior)));
    if let Some(status) = scaler.get_mut("status").and_then(Value::as_object_mut) {
        let mut current = list(status.remove("currentMetrics"));
        let found = current.iter().position(|metric| utilization(metric, "current").is_some());
        if let Some(percentage) = found.and_then(|at| utilization(&current.remove(at), "current")) {
            status.insert(CURRENT_PROCESSOR.to_owned(), percentage);
        }
        annotations.push((CURRENT, renamed(Some(current.into()), "current", flat).into()));
        annotations.extend(status.remove("conditions").map(|conditions| (CONDITIONS, conditions)));
    }
    annotations.retain(|(_, value)| !value.as_array().is_some_and(Vec::is_empty) && !value.is_null());
    if annotations.is_empty() {
        return;
    }
    let own = object::meta_mut(scaler).entry("annotations").or_insert_with(|| json!({}));
    for (name, value) in annotations {
        own[name] = value.to_string().into();
    }
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

/// Metrics, each rewritten.
fn renamed(
    metrics: Option<Value>,
    word: &str,
    rewrite: fn(&Value, &[(String, String)]) -> Value,
) -> Vec<Value> {
    let rewritten = list(metrics).into_iter().filter_map(|metric| {
        let kind = metric.get("type")?.as_str()?.to_owned();
        let (key, fields) = fields(&kind, word)?;
        let mut body = rewrite(metric.get(key)?, &fields);
        if let Some(target) =
            body.get_mut("target").filter(|target| target.get("averageUtilization").is_some())
        {
            target["type"] = "Utilization".into();
        } else if let Some(target) =
            body.get_mut("target").filter(|target| target.get("averageValue").is_some())
        {
            target["type"] = "AverageValue".into();
        } else if let Some(target) = body.get_mut("target").filter(|target| target.get("value").is_some()) {
            target["type"] = "Value".into();
        }
        Some(json!({"type": kind, key: body}))
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
