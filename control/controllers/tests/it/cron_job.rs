//! CronJobs in a storm: a Job at each time, each once.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;

use crate::cluster::Cluster;
use crate::faults::STORM;
use crate::node::ENDS;
use crate::seeds;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_made_at_each_time_and_history_is_kept_short() {
    for seed in seeds().into_iter().take(2) {
        let mut cluster = Cluster::in_storm(seed, STORM).await;
        cluster
            .create::<CronJob>(json!({
                "metadata": {"name": "tick"},
                "spec": {
                    "schedule": "@every 1s", "successfulJobsHistoryLimit": 2,
                    "jobTemplate": {"spec": {"template": {
                        "metadata": {"annotations": {ENDS: "well"}},
                        "spec": {"restartPolicy": "Never", "containers": [{"name": "work", "image": "work:1"}]},
                    }}},
                },
            }))
            .await;
        // The name of a Job has its minute; within one minute there is one.
        let jobs = cluster.until_all::<Job>(|jobs| jobs.iter().any(is_complete)).await;
        assert!(jobs.len() <= 2, "{jobs:#?}");
        cluster.stop_controllers().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        cluster.start_controllers();
        let cron = cluster
            .until::<CronJob>("tick", |cron| {
                let status = cron.status.as_ref();
                status.is_some_and(|status| status.last_successful_time.is_some() && status.active.is_none())
            })
            .await;
        assert!(cron.status.unwrap().last_schedule_time.is_some());
        let jobs = cluster.list::<Job>("").await;
        let names: BTreeSet<String> = jobs.iter().map(|job| job.name_any()).collect();
        assert_eq!(names.len(), jobs.len());
        assert!(jobs.iter().all(|job| job.owner_references()[0].name == "tick"));
        cluster.api::<CronJob>().delete("tick", &DeleteParams::background()).await.unwrap();
        cluster.until_all::<Job>(<[Job]>::is_empty).await;
    }
}

fn is_complete(job: &Job) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Complete" && condition.status == "True")
}
