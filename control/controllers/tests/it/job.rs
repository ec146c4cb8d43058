//! Jobs in a storm: each pod counts once, whatever is lost, and no work is done twice.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::faults::STORM;
use crate::node::ENDS;
use crate::seeds;

fn job(name: &str, ends: &str, spec: Value) -> Value {
    let annotations = (!ends.is_empty()).then(|| json!({ENDS: ends}));
    let mut job = json!({
        "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": annotations},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "work", "image": "work:1"}]},
        }},
    });
    for (key, value) in spec.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    job
}

fn has(status: &JobStatus, kind: &str) -> bool {
    let conditions = status.conditions.iter().flatten();
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

async fn ended(cluster: &Cluster, name: &str, kind: &str) -> JobStatus {
    let found =
        cluster.until::<Job>(name, |job| job.status.as_ref().is_some_and(|status| has(status, kind))).await;
    found.status.unwrap()
}

async fn pods_of(cluster: &Cluster, name: &str) -> Vec<Pod> {
    cluster.list::<Pod>(&format!("batch.kubernetes.io/job-name={name}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_as_many_pods_as_asked_and_counts_each_once() {
    for seed in seeds() {
        let mut cluster = Cluster::in_storm(seed, STORM).await;
        cluster.create::<Job>(job("sum", "well", json!({"completions": 7, "parallelism": 3}))).await;
        for round in 0..3_u64 {
            tokio::time::sleep(Duration::from_millis(50 + 60 * round)).await;
            if round == 1 {
                cluster.kill_controllers().await;
            } else {
                cluster.stop_controllers().await;
            }
            cluster.start_controllers();
        }
        let status = ended(&cluster, "sum", "Complete").await;
        assert_eq!((status.succeeded, status.failed, status.active), (Some(7), None, None));
        let pods = pods_of(&cluster, "sum").await;
        assert_eq!(pods.len(), 7, "no more were made than needed");
        assert!(pods.iter().all(|pod| pod.finalizers().is_empty()), "all were counted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexed_job_does_each_index_once() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        let spec = json!({"completions": 5, "parallelism": 3, "completionMode": "Indexed"});
        cluster.create::<Job>(job("parts", "well", spec)).await;
        let status = ended(&cluster, "parts", "Complete").await;
        assert_eq!((status.completed_indexes.as_deref(), status.succeeded), (Some("0-4"), Some(5)));
        let pods = pods_of(&cluster, "parts").await;
        let indexes: BTreeSet<String> =
            pods.iter().map(|pod| pod.labels()["batch.kubernetes.io/job-completion-index"].clone()).collect();
        assert_eq!((pods.len(), indexes.len()), (5, 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_up_to_the_limit_and_a_policy_may_end_it_at_once() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        cluster.create::<Job>(job("bad", "3", json!({"backoffLimit": 2}))).await;
        let rules = json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]);
        let spec = json!({"backoffLimit": 6, "podFailurePolicy": {"rules": rules}});
        cluster.create::<Job>(job("worse", "42", spec)).await;
        let status = ended(&cluster, "bad", "Failed").await;
        assert_eq!((status.failed, status.succeeded), (Some(3), None));
        assert_eq!(pods_of(&cluster, "bad").await.len(), 3);
        let status = ended(&cluster, "worse", "Failed").await;
        assert_eq!(status.failed, Some(1));
        let conditions = status.conditions.unwrap();
        let failed = conditions.iter().find(|condition| condition.type_ == "Failed").unwrap();
        assert_eq!(failed.reason.as_deref(), Some("PodFailurePolicy"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_suspended_expire_and_are_deleted_with_their_pods() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        cluster.create::<Job>(job("long", "", json!({"parallelism": 2, "completions": 2}))).await;
        let running = |count: usize| move |pods: &[Pod]| pods.len() == count;
        cluster.until_all::<Pod>(running(2)).await;
        cluster.change::<Job>("long", json!({"spec": {"suspend": true}})).await;
        cluster.until_all::<Pod>(running(0)).await;
        let suspended = cluster.api::<Job>().get("long").await.unwrap().status.unwrap();
        assert!(has(&suspended, "Suspended") && suspended.failed.is_none(), "{suspended:?}");
        cluster.change::<Job>("long", json!({"spec": {"suspend": false}})).await;
        cluster.until_all::<Pod>(running(2)).await;
        cluster.api::<Job>().delete("long", &DeleteParams::background()).await.unwrap();
        cluster.until_all::<Pod>(running(0)).await;

        cluster.create::<Job>(job("short", "well", json!({"ttlSecondsAfterFinished": 1}))).await;
        cluster.until_all::<Pod>(running(1)).await;
        cluster.until_all::<Job>(<[Job]>::is_empty).await;
        cluster.until_all::<Pod>(running(0)).await;
    }
}
