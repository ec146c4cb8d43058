use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::super::pods::{INDEX, INDEX_FAILURES, index};
use super::super::{FINALIZER, conditions};
use super::{Decision, Snapshot, decide};

fn now() -> Timestamp {
    Timestamp::from_second(1000).unwrap()
}

fn job(spec: Value, status: Value) -> Job {
    let mut job = json!({
        "metadata": {"name": "sum", "namespace": "a", "uid": "u"},
        "spec": {"parallelism": 2, "completions": 3, "backoffLimit": 2, "template": {}}, "status": status,
    });
    for (key, value) in spec.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    serde_json::from_value(job).unwrap()
}

/// A pod of this phase, which was not counted yet. An index follows a dot: `Failed.3`.
fn pod(name: &str, phase: &str) -> Pod {
    let (phase, index) = phase.split_once('.').map_or((phase, None), |(phase, index)| (phase, Some(index)));
    let annotations = index.map(|index| json!({INDEX: index}));
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "uid": format!("{name}-uid"), "finalizers": [FINALIZER], "annotations": annotations,
            "creationTimestamp": "1970-01-01T00:00:10Z",
        },
        "status": {"phase": phase},
    }))
    .unwrap()
}

fn ending(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp = Some(crate::time::time(now()));
    pod
}

fn decided(job: &Job, pods: &[Pod]) -> Decision {
    decide(Snapshot { job, pods, first_wait: Duration::from_secs(10), burst: 500, now: now() })
}

/// Takes all steps, with the world as it then is, until there are none: the status at the end and how often pods were made.
fn settled(mut job: Job, mut pods: Vec<Pod>) -> (JobStatus, usize) {
    let mut made = 0;
    for _ in 0..50 {
        let decision = decided(&job, &pods);
        let before = (job.status.clone(), pods.len());
        job.status = Some(decision.status.clone());
        for pod in
            pods.iter_mut().filter(|pod| decision.release.contains(pod.metadata.name.as_ref().unwrap()))
        {
            pod.metadata.finalizers = None;
        }
        pods.retain(|pod| !decision.delete.contains(pod.metadata.name.as_ref().unwrap()));
        made += decision.create.len();
        for mut new in decision.create {
            new.metadata.name = Some(format!("made-{}", pods.len()));
            new.metadata.uid = new.metadata.name.clone();
            new.status = Some(serde_json::from_value(json!({"phase": "Running"})).unwrap());
            pods.push(new);
        }
        if before == (job.status.clone(), pods.len()) && decision.release.is_empty() {
            return (job.status.unwrap(), made);
        }
    }
    panic!("it never settled: {:?}", job.status);
}

fn reason(status: &JobStatus, kind: &str) -> Option<String> {
    conditions::find(status, kind).and_then(|condition| condition.reason.clone())
}

#[test]
fn as_many_pods_work_as_may_and_as_are_still_needed() {
    let count = |spec: Value, pods: &[Pod]| decided(&job(spec, json!({})), pods).create.len();
    assert_eq!(count(json!({}), &[]), 2);
    assert_eq!(count(json!({"parallelism": 9}), &[]), 3);
    assert_eq!(count(json!({}), &[pod("a", "Running")]), 1);
    assert_eq!(count(json!({}), &[pod("a", "Succeeded"), pod("b", "Succeeded")]), 1);
    assert_eq!(count(json!({"completions": null}), &[]), 2);
    assert_eq!(count(json!({"completions": null}), &[pod("a", "Succeeded"), pod("b", "Running")]), 0);
    assert_eq!(count(json!({"suspend": true}), &[]), 0);
}

#[test]
fn each_pod_is_remembered_before_it_is_let_go_and_counted_after() {
    let running = job(json!({}), json!({}));
    let first = decided(&running, &[pod("a", "Succeeded"), pod("b", "Failed")]);
    let uncounted = first.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!(
        (uncounted.succeeded.unwrap(), uncounted.failed.unwrap()),
        (vec!["a-uid".into()], vec!["b-uid".into()])
    );
    assert_eq!((first.status.succeeded, first.status.failed), (None, None));
    assert_eq!(first.release, ["a", "b"]);

    // The status was written, and one of the pods was let go before the controller was stopped.
    let mut remembered = running;
    remembered.status = Some(first.status);
    let mut released = pod("a", "Succeeded");
    released.metadata.finalizers = None;
    let second = decided(&remembered, &[released.clone(), pod("b", "Failed")]);
    assert_eq!((second.status.succeeded, second.status.failed), (Some(1), None));
    assert_eq!(second.release, ["b"]);
    // A pod that was counted and deleted since counts no more and no less.
    remembered.status = Some(second.status);
    let third = decided(&remembered, &[]);
    assert_eq!((third.status.succeeded, third.status.failed), (Some(1), Some(1)));
}

#[test]
fn a_job_is_complete_once_enough_succeeded_and_nothing_runs() {
    let all = vec![pod("a", "Succeeded"), pod("b", "Succeeded"), pod("c", "Succeeded")];
    let (status, made) = settled(job(json!({}), json!({})), all.clone());
    assert_eq!((status.succeeded, made), (Some(3), 0));
    assert_eq!(reason(&status, "Complete").as_deref(), Some("CompletionsReached"));
    assert!(status.completion_time.is_some() && status.uncounted_terminated_pods.is_none());
    let mut more = all;
    more.push(ending(pod("d", "Running")));
    let waiting = decided(&job(json!({}), json!({})), &more).status;
    assert!(conditions::end(&waiting).is_none(), "a pod is still ending");
}

#[test]
fn too_many_failures_end_the_job_after_its_pods() {
    let failed = [pod("a", "Failed"), pod("b", "Failed"), pod("c", "Failed"), pod("d", "Running")];
    let first = decided(&job(json!({}), json!({})), &failed);
    assert_eq!(reason(&first.status, "FailureTarget").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(first.delete, ["d"]);
    assert!(conditions::end(&first.status).is_none());
    let (status, made) = settled(job(json!({}), json!({})), failed.to_vec());
    assert_eq!(reason(&status, "Failed").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!((status.failed, made), (Some(3), 0));
}

#[test]
fn a_deadline_ends_the_job_and_is_waited_for() {
    let spec = json!({"activeDeadlineSeconds": 60});
    let started = |second: i64| json!({"startTime": Timestamp::from_second(second).unwrap().to_string()});
    let early = decided(&job(spec.clone(), started(950)), &[pod("a", "Running"), pod("b", "Running")]);
    assert_eq!(early.again, Some(Duration::from_secs(10)));
    let late = decided(&job(spec, started(940)), &[pod("a", "Running")]);
    assert_eq!(reason(&late.status, "FailureTarget").as_deref(), Some("DeadlineExceeded"));
}

#[test]
fn a_failed_pod_is_replaced_after_a_wait_that_grows() {
    let mut failed = pod("a", "Failed");
    failed.metadata.creation_timestamp = Some(crate::time::time(Timestamp::from_second(995).unwrap()));
    let waiting = decided(&job(json!({}), json!({})), &[failed]);
    assert_eq!((waiting.create.len(), waiting.again), (0, Some(Duration::from_secs(5))));
}

#[test]
fn a_suspended_job_runs_nothing_and_begins_anew_when_resumed() {
    let running = json!({"startTime": "1970-01-01T00:00:00Z"});
    let suspended = decided(&job(json!({"suspend": true}), running), &[pod("a", "Running")]);
    assert_eq!(suspended.delete, ["a"]);
    assert_eq!((suspended.status.start_time.clone(), &*suspended.remarks[0].reason), (None, "Suspended"));
    // The pod that goes because of it is no failure.
    let status = serde_json::to_value(&suspended.status).unwrap();
    let gone = decided(&job(json!({"suspend": true}), status.clone()), &[ending(pod("a", "Running"))]);
    assert_eq!(gone.release, ["a"]);
    assert_eq!(gone.status.uncounted_terminated_pods.unwrap().failed, None);
    let resumed = decided(&job(json!({}), status), &[]);
    assert_eq!((resumed.create.len(), &*resumed.remarks[0].reason), (2, "Resumed"));
    assert!(resumed.status.start_time.is_some());
}

fn indexed(more: Value) -> Value {
    let mut spec = json!({"completionMode": "Indexed", "parallelism": 3});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

#[test]
fn an_indexed_job_does_each_index_once() {
    let first = decided(&job(indexed(json!({})), json!({})), &[pod("a", "Running.1")]);
    assert_eq!(first.create.iter().filter_map(index).collect::<Vec<_>>(), [0, 2]);
    let doubled = [pod("a", "Running.1"), pod("b", "Pending.1"), pod("c", "Running.9")];
    let mut gone = decided(&job(indexed(json!({})), json!({})), &doubled).delete;
    gone.sort();
    assert_eq!(gone, ["b", "c"]);
    let done = vec![pod("a", "Succeeded.0"), pod("b", "Succeeded.2"), pod("c", "Succeeded.0")];
    let status = decided(&job(indexed(json!({})), json!({})), &done).status;
    assert_eq!((status.completed_indexes.as_deref(), status.succeeded), (Some("0,2"), Some(2)));
}

#[test]
fn an_index_fails_for_good_at_its_own_limit() {
    let spec = indexed(json!({"backoffLimitPerIndex": 1, "backoffLimit": 100}));
    let mut again = pod("a", "Failed.0");
    again.metadata.annotations.as_mut().unwrap().insert(INDEX_FAILURES.into(), "1".into());
    let pods = vec![again, pod("b", "Succeeded.1"), pod("c", "Succeeded.2")];
    let (status, _) = settled(job(spec.clone(), json!({})), pods.clone());
    assert_eq!(status.failed_indexes.as_deref(), Some("0"));
    assert_eq!(reason(&status, "Failed").as_deref(), Some("FailedIndexes"));
    let once = decided(&job(spec, json!({})), &[pod("a", "Failed.0"), pods[1].clone(), pods[2].clone()]);
    assert_eq!(once.create[0].metadata.annotations.as_ref().unwrap()[INDEX_FAILURES], "1");
}

#[test]
fn policies_end_a_job_early() {
    let rules = json!([{"action": "FailJob", "onPodConditions": [{"type": "Bad", "status": "True"}]}]);
    let mut bad = pod("a", "Failed");
    bad.status.as_mut().unwrap().conditions =
        Some(vec![serde_json::from_value(json!({"type": "Bad", "status": "True"})).unwrap()]);
    let spec = json!({"podFailurePolicy": {"rules": rules}});
    let (status, _) = settled(job(spec, json!({})), vec![bad, pod("b", "Running")]);
    assert_eq!(reason(&status, "Failed").as_deref(), Some("PodFailurePolicy"));

    let spec = indexed(json!({"successPolicy": {"rules": [{"succeededIndexes": "1"}]}}));
    let (status, _) = settled(job(spec, json!({})), vec![pod("a", "Running.0"), pod("b", "Succeeded.1")]);
    assert_eq!(reason(&status, "Complete").as_deref(), Some("SuccessPolicy"));
    assert_eq!((status.succeeded, status.failed), (Some(1), None));
}

#[test]
fn an_ended_job_expires() {
    let ended = json!({"conditions": [{
        "type": "Complete", "status": "True", "lastTransitionTime": Timestamp::from_second(990).unwrap().to_string(),
    }]});
    let at = |ttl: i32| decided(&job(json!({"ttlSecondsAfterFinished": ttl}), ended.clone()), &[]);
    assert_eq!((at(30).expired, at(30).again), (false, Some(Duration::from_secs(20))));
    assert!(at(10).expired && !decided(&job(json!({}), ended.clone()), &[]).expired);
}

#[test]
fn a_job_that_asks_for_more_pods_than_memory_holds_gets_one_burst_at_a_time() {
    let huge = json!({"parallelism": 2_000_000_000, "completions": 2_000_000_000});
    assert_eq!(decided(&job(huge.clone(), json!({})), &[]).create.len(), 500);
    let mut indexed = huge;
    indexed["completionMode"] = json!("Indexed");
    let done = json!({"startTime": "1970-01-01T00:00:10Z", "completedIndexes": "0-1999999990"});
    let made = decided(&job(indexed.clone(), json!({})), &[pod("a", "Running.1")]).create;
    let indexes: Vec<Option<u32>> = made.iter().take(2).map(index).collect();
    assert_eq!((made.len(), indexes), (500, vec![Some(0), Some(2)]));
    let last = decided(&job(indexed, done), &[]).create;
    assert_eq!(
        last.iter().filter_map(index).collect::<Vec<_>>(),
        (1_999_999_991..2_000_000_000).collect::<Vec<_>>()
    );
}
