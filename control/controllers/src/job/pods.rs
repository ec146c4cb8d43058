//! The pods of a Job: how they are made, and what is read off them.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use kube::ResourceExt as _;

use super::FINALIZER;
use crate::pod::{from_template, phase};

/// Where a pod says which index it does.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// How often an index had failed when this pod of it was made.
pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// The longest wait between a failure and the next try.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Whether each pod of a Job does an index.
pub fn is_indexed(job: &Job) -> bool {
    job.spec.as_ref().is_some_and(|spec| spec.completion_mode.as_deref() == Some("Indexed"))
}

/// Whether a pod was not counted yet.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// The index that a pod does.
pub fn index(pod: &Pod) -> Option<u32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

/// How often an index had failed when a pod was made for it.
pub fn failures_before(pod: &Pod) -> u32 {
    pod.annotations().get(INDEX_FAILURES).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// When a pod ended, as far as anybody wrote it down.
pub fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let ends =
        containers.filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.clone());
    let last = ends.map(|end| end.0).max();
    last.or_else(|| pod.metadata.deletion_timestamp.as_ref().map(|time| time.0))
        .or_else(|| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// How long no new pod is to be made: longer with each failure since the last success.
pub fn back_off<'a>(
    pods: impl Iterator<Item = &'a Pod> + Clone,
    first: Duration,
    now: Timestamp,
) -> Duration {
    let succeeded = pods.clone().filter(|pod| phase(pod) == "Succeeded").filter_map(ended_at).max();
    let failed = pods.filter(|pod| phase(pod) == "Failed").filter_map(ended_at);
    let failed: Vec<Timestamp> = failed.filter(|at| succeeded.is_none_or(|success| *at > success)).collect();
    let (Some(last), Ok(count)) = (failed.iter().max(), u32::try_from(failed.len())) else {
        return Duration::ZERO;
    };
    wait(*last, count, first, now)
}

/// What is left of the wait after so many failures, the last of them at a moment.
pub fn wait(last: Timestamp, failures: u32, first: Duration, now: Timestamp) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let whole = first.saturating_mul(1 << doublings.min(16)).min(LONGEST_WAIT);
    let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    whole.saturating_sub(passed)
}

/// A new pod of a Job. One of an indexed Job does this index, which had failed so often.
pub fn new(job: &Job, index: Option<(u32, u32)>) -> Pod {
    let spec = job.spec.clone().unwrap_or_default();
    let mut pod = from_template(job, &spec.template);
    pod.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
    let labels = pod.metadata.labels.get_or_insert_default();
    if spec.manual_selector != Some(true) {
        for (key, value) in own_labels(job) {
            labels.entry(key).or_insert(value);
        }
    }
    let Some((index, failures)) = index else { return pod };
    labels.insert(INDEX.to_owned(), index.to_string());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index.to_string());
    if spec.backoff_limit_per_index.is_some() {
        annotations.insert(INDEX_FAILURES.to_owned(), failures.to_string());
    }
    let name = job.name_any();
    pod.metadata.generate_name = Some(format!("{name}-{index}-"));
    let inner = pod.spec.get_or_insert_default();
    inner.hostname = Some(format!("{name}-{index}"));
    inner.containers.iter_mut().chain(inner.init_containers.iter_mut().flatten()).for_each(tell_index);
    pod
}

/// The labels by which a Job finds its pods, where its author does not choose others.
pub fn own_labels(job: &Job) -> [(String, String); 4] {
    let (uid, name) = (job.uid().unwrap_or_default(), job.name_any());
    [
        ("batch.kubernetes.io/controller-uid".to_owned(), uid.clone()),
        ("batch.kubernetes.io/job-name".to_owned(), name.clone()),
        ("controller-uid".to_owned(), uid),
        ("job-name".to_owned(), name),
    ]
}

fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    variables.push(EnvVar { name: INDEX_VARIABLE.to_owned(), value: None, value_from: Some(source) });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_indexed_pod_knows_its_index() {
        let job: Job = serde_json::from_value(json!({
            "metadata": {"name": "sum", "uid": "u"},
            "spec": {
                "completionMode": "Indexed", "backoffLimitPerIndex": 2,
                "template": {"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "b"}]}},
            },
        }))
        .unwrap();
        let pod = new(&job, Some((3, 1)));
        assert_eq!((index(&pod), failures_before(&pod)), (Some(3), 1));
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("sum-3-"));
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("sum-3"));
        let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        assert!(all.into_iter().all(|one| one.env.as_ref().unwrap()[0].name == INDEX_VARIABLE));
        assert!(is_tracked(&pod));
        assert_eq!(pod.labels()["batch.kubernetes.io/controller-uid"], "u");
        assert_eq!(pod.owner_references()[0].uid, "u");
    }

    #[test]
    fn each_failure_since_the_last_success_doubles_the_wait() {
        let pod = |phase: &str, second: i64| -> Pod {
            let at = Timestamp::from_second(second).unwrap().to_string();
            serde_json::from_value(json!({"status": {"phase": phase, "containerStatuses": [{
                "name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 1, "finishedAt": at}},
            }]}}))
            .unwrap()
        };
        let now = Timestamp::from_second(105).unwrap();
        let first = Duration::from_secs(10);
        let left = |pods: &[Pod]| back_off(pods.iter(), first, now).as_secs();
        assert_eq!(left(&[]), 0);
        assert_eq!(left(&[pod("Failed", 100)]), 5);
        assert_eq!(left(&[pod("Failed", 90), pod("Failed", 100)]), 15);
        assert_eq!(left(&[pod("Failed", 80), pod("Succeeded", 95), pod("Failed", 100)]), 5);
        let many: Vec<Pod> = (0..40).map(|at| pod("Failed", at)).collect();
        assert_eq!(left(&many), 600 - 105 + 39);
    }
}
