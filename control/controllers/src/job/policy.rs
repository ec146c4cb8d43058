//! A Job's rules about failed pods and about when enough has succeeded.

use k8s_openapi::api::batch::v1::{
    Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use super::indexes::Indexes;

/// What a failed pod means for its Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It counts.
    Count,
    /// It does not count, and its pod is made again.
    Ignore,
    /// Its index has failed and is not tried again.
    FailIndex,
    /// The whole Job has failed.
    FailJob {
        /// Why, in words.
        message: String,
    },
}

/// Judges a failed pod by the first rule that speaks of it.
pub fn failure(job: &Job, pod: &Pod) -> Failure {
    let rules = job.spec.as_ref().and_then(|spec| spec.pod_failure_policy.as_ref());
    for (at, rule) in rules.iter().flat_map(|policy| policy.rules.iter().enumerate()) {
        let Some(why) = why(rule, pod, at) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Failure::Ignore,
            "FailIndex" => Failure::FailIndex,
            "FailJob" => Failure::FailJob { message: why },
            _ => Failure::Count,
        };
    }
    Failure::Count
}

/// Why a rule speaks of a pod, in words.
fn why(rule: &PodFailurePolicyRule, pod: &Pod, at: usize) -> Option<String> {
    let (namespace, name, action) = (pod.namespace().unwrap_or_default(), pod.name_any(), &rule.action);
    if let Some(codes) = &rule.on_exit_codes {
        let status = pod.status.as_ref()?;
        let all =
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
        let (container, code) = all.filter_map(|container| matching_code(codes, container)).next()?;
        return Some(format!(
            "Container {container} for pod {namespace}/{name} failed with exit code {code} matching {action} rule at \
             index {at}"
        ));
    }
    let patterns = rule.on_pod_conditions.iter().flatten();
    let kind = patterns.filter_map(|pattern| matching_condition(pattern, pod)).next()?;
    Some(format!("Pod {namespace}/{name} has condition {kind} matching {action} rule at index {at}"))
}

fn matching_code<'a>(
    wanted: &PodFailurePolicyOnExitCodesRequirement,
    container: &'a ContainerStatus,
) -> Option<(&'a str, i32)> {
    if wanted.container_name.as_ref().is_some_and(|name| *name != container.name) {
        return None;
    }
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let listed = wanted.values.contains(&code);
    let matches = code != 0 && if wanted.operator == "NotIn" { !listed } else { listed };
    matches.then_some((container.name.as_str(), code))
}

fn matching_condition(wanted: &PodFailurePolicyOnPodConditionsPattern, pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let status = wanted.status.as_deref().unwrap_or("True");
    let found = conditions.iter().find(|own| own.type_ == wanted.type_ && own.status == status);
    found.map(|found| found.type_.clone())
}

/// Which rule says that enough indexes have succeeded, in words.
pub fn success(job: &Job, completed: &Indexes) -> Option<String> {
    let spec = job.spec.as_ref()?;
    let completions = u32::try_from(spec.completions?).ok()?;
    let rules = spec.success_policy.as_ref()?.rules.iter().enumerate();
    for (at, rule) in rules {
        let done = match &rule.succeeded_indexes {
            None => completed.count(),
            Some(indexes) => {
                let wanted = Indexes::parse(indexes, completions);
                let done = completed.common(&wanted);
                if rule.succeeded_count.is_none() && done < wanted.count() {
                    continue;
                }
                done
            }
        };
        if rule
            .succeeded_count
            .is_none_or(|count| i64::try_from(done).unwrap_or(i64::MAX) >= i64::from(count))
        {
            return Some(format!("Matched rules at index {at}"));
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(rules: Value) -> Job {
        serde_json::from_value(json!({"spec": {"template": {}, "podFailurePolicy": {"rules": rules}}}))
            .unwrap()
    }

    fn pod(code: i32, condition: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "b"},
            "status": {
                "conditions": [{"type": condition, "status": "True"}],
                "containerStatuses": [{
                    "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": code}},
                }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_judges() {
        let rules = json!([
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}},
        ]);
        let job = job(rules);
        assert_eq!(failure(&job, &pod(42, "DisruptionTarget")), Failure::Ignore);
        let text = "Container main for pod b/a failed with exit code 42 matching FailJob rule at index 1";
        assert_eq!(failure(&job, &pod(42, "Ready")), Failure::FailJob { message: text.to_owned() });
        assert_eq!(failure(&job, &pod(7, "Ready")), Failure::FailIndex);
        assert_eq!(failure(&job, &pod(2, "Ready")), Failure::Count);
        assert_eq!(failure(&job, &pod(0, "Ready")), Failure::Count, "a success matches no exit code");
    }

    #[test]
    fn enough_succeeded_when_a_rule_says_so() {
        let job = |rules: Value| -> Job {
            let spec = json!({"template": {}, "completions": 10, "successPolicy": {"rules": rules}});
            serde_json::from_value(json!({"spec": spec})).unwrap()
        };
        let done = Indexes::parse("0,2-4", 10);
        let met = |rules: Value| success(&job(rules), &done);
        let matched = |at: usize| Some(format!("Matched rules at index {at}"));
        assert_eq!(met(json!([{"succeededIndexes": "2-4"}])), matched(0));
        assert_eq!(met(json!([{"succeededIndexes": "1-4"}])), None);
        assert_eq!(met(json!([{"succeededIndexes": "1-4", "succeededCount": 3}])), matched(0));
        assert_eq!(met(json!([{"succeededCount": 5}, {"succeededCount": 4}])), matched(1));
    }
}
