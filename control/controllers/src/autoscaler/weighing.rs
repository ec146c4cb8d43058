//! What an autoscaler's metrics say together.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, HPAScalingRules, HorizontalPodAutoscaler, MetricSpec, MetricStatus,
    MetricTarget, MetricValueStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use xebec_machinery::quantity::Quantity;

use super::metrics::{self, PodMetrics};
use super::proposal::{Metric, Proposal, Target, Tolerance, propose};

/// By how much a metric may be off where the user does not say.
const TOLERANCE: f64 = 0.1;

/// What came of the metrics.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Weighed {
    /// How many pods they propose.
    pub(super) replicas: Option<i32>,
    /// The `ScalingActive` condition: whether it holds, a reason and a text.
    pub(super) active: Option<(bool, &'static str, String)>,
    /// What each metric says.
    pub(super) told: Vec<MetricStatus>,
    /// Which metrics say nothing, and why.
    pub(super) warnings: Vec<(&'static str, String)>,
}

/// Takes the largest number that the metrics propose. Where one says nothing, pods may come because of the others, and
/// none goes.
pub(super) fn weigh(
    scaler: &HorizontalPodAutoscaler,
    pods: &[Pod],
    all: &Result<Vec<PodMetrics>, String>,
    current: i32,
    now: Timestamp,
) -> Weighed {
    let mut best: Option<(i32, &str)> = None;
    let mut weighed = Weighed::default();
    for spec in scaler.spec.metrics.iter().flatten() {
        let Some(metric) = metric_of(scaler, spec) else {
            let text = format!(
                "metrics of type {} are not served here; use Resource or ContainerResource",
                spec.type_
            );
            weighed.warnings.push(("InvalidMetricSourceType", text));
            continue;
        };
        let proposal = match all {
            Ok(all) => {
                let samples = metrics::samples(all, metric.resource, metric.container, now);
                propose(metric, pods, &samples, current, now).map_err(|silence| silence.to_string())
            }
            Err(error) => Err(format!("unable to fetch metrics from resource metrics API: {error}")),
        };
        match proposal {
            Ok(proposal) => {
                weighed.told.push(metric_status(spec, &proposal));
                if best.is_none_or(|(replicas, _)| replicas < proposal.replicas) {
                    best = Some((proposal.replicas, metric.resource));
                }
            }
            Err(why) => {
                let one = spec.container_resource.is_some();
                let reason = if one { "FailedGetContainerResourceMetric" } else { "FailedGetResourceMetric" };
                weighed
                    .warnings
                    .push((reason, format!("failed to get {} utilization: {why}", metric.resource)));
            }
        }
    }
    let silent = weighed.warnings.first();
    let failed = |(reason, text): &(&'static str, String)| {
        (false, *reason, format!("the HPA was unable to compute the replica count: {text}"))
    };
    match best {
        Some((replicas, by)) if silent.is_none() || replicas >= current => {
            let text =
                format!("the HPA was able to successfully calculate a replica count from {by} resource");
            weighed.active = Some((true, "ValidMetricFound", text));
            weighed.replicas = Some(replicas);
        }
        _ => weighed.active = silent.map(failed),
    }
    weighed
}

/// The resource metric that a specification names. Others come from APIs that are not served here.
fn metric_of<'a>(scaler: &HorizontalPodAutoscaler, spec: &'a MetricSpec) -> Option<Metric<'a>> {
    let (resource, container, target) = match (&spec.resource, &spec.container_resource) {
        (Some(resource), _) => (resource.name.as_str(), None, &resource.target),
        (_, Some(resource)) => (resource.name.as_str(), Some(resource.container.as_str()), &resource.target),
        _ => return None,
    };
    let behavior = scaler.spec.behavior.as_ref();
    let up = behavior.and_then(|behavior| behavior.scale_up.as_ref());
    let down = behavior.and_then(|behavior| behavior.scale_down.as_ref());
    let tolerance = Tolerance { up: tolerance(up), down: tolerance(down) };
    Some(Metric { resource, container, target: target_of(target)?, tolerance })
}

#[allow(clippy::cast_precision_loss, reason = "a tolerance needs no more than a double has")]
fn tolerance(rules: Option<&HPAScalingRules>) -> f64 {
    let own = rules.and_then(|rules| rules.tolerance.as_ref()).and_then(|text| Quantity::parse(&text.0).ok());
    own.map_or(TOLERANCE, |own| own.nanos() as f64 / 1e9)
}

fn target_of(target: &MetricTarget) -> Option<Target> {
    if let Some(percent) = target.average_utilization {
        return Some(Target::Utilization(percent));
    }
    let amount = Quantity::parse(&target.average_value.as_ref()?.0).ok()?;
    Some(Target::Average(amount.nanos()))
}

fn metric_status(spec: &MetricSpec, proposal: &Proposal) -> MetricStatus {
    let thousandths = proposal.average / 1_000_000;
    let amount =
        Quantity::parse(&format!("{thousandths}m")).map_or_else(|_| "0".to_owned(), |own| own.to_string());
    let current = MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(Written(amount)),
        value: None,
    };
    let mut status = MetricStatus { type_: spec.type_.clone(), ..MetricStatus::default() };
    if let Some(resource) = &spec.resource {
        status.resource = Some(ResourceMetricStatus { name: resource.name.clone(), current });
    } else if let Some(resource) = &spec.container_resource {
        let (name, container) = (resource.name.clone(), resource.container.clone());
        status.container_resource = Some(ContainerResourceMetricStatus { name, container, current });
    }
    status
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    fn scaler(metrics: serde_json::Value) -> HorizontalPodAutoscaler {
        let target = json!({"kind": "Deployment", "name": "web"});
        let spec = json!({"maxReplicas": 9, "scaleTargetRef": target, "metrics": metrics});
        serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap()
    }

    fn weighed(metrics: serde_json::Value, memory: &str) -> Weighed {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "resources": {"requests": {"memory": "100Mi"}}}]},
            "status": {"phase": "Running"},
        }));
        let used =
            json!({"metadata": {"name": "a"}, "containers": [{"name": "c", "usage": {"memory": memory}}]});
        let all = Ok(vec![serde_json::from_value(used).unwrap()]);
        weigh(&scaler(metrics), &[pod.unwrap()], &all, 2, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_largest_proposal_counts_and_a_silent_metric_lets_no_pod_go() {
        let resource = |name: &str, percent: i32| json!({"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}}});
        let (memory, cpu) = (|percent| resource("memory", percent), resource("cpu", 50));
        let both = weighed(json!([memory(50), memory(25)]), "100Mi");
        assert_eq!((both.replicas, both.told.len(), both.warnings.len()), (Some(4), 2, 0));
        let more = weighed(json!([memory(25), cpu]), "100Mi");
        assert_eq!((more.replicas, more.warnings.len()), (Some(4), 1));
        let fewer = weighed(json!([memory(50), cpu]), "10Mi");
        assert_eq!((fewer.replicas, fewer.active.unwrap().1), (None, "FailedGetResourceMetric"));
        let foreign = weighed(json!([{"type": "Pods"}]), "1Mi");
        assert_eq!((foreign.replicas, foreign.active.unwrap().1), (None, "InvalidMetricSourceType"));
    }
}
