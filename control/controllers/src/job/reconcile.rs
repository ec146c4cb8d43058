//! The loop of Jobs.

use std::sync::Arc;

use futures::future::{join, join_all};
use futures::stream::select;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::{Api, ResourceExt as _};

use super::decision::{Snapshot, decide};
use super::orphans;
use super::pods::own_labels;
use crate::Error;
use crate::drive::{AGAIN, drive};
use crate::owner::{claim_all, suitors, unless_gone, write_status};
use crate::pod::{create_all, delete_all, is_active};
use crate::rights::{KEEP, OWN, Right};
use crate::run::World;

const MANAGER: &str = "job-controller";
/// How many pods are made in one pass.
const BURST: usize = 500;

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(&["get", "list", "watch", "delete"], "batch", &["jobs"]),
    Right::to(&["patch"], "batch", &["jobs/status"]),
    Right::to(OWN, "batch", &["jobs/finalizers"]),
    Right::to(KEEP, "", &["pods"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let pods = world.pods.clone();
    let jobs = drive(
        world.clone(),
        move |jobs: Store<Job>| {
            let orphans = pods.triggers(move |pod| {
                suitors(pod, &jobs, |job: &Job| job.spec.as_ref().and_then(|spec| spec.selector.clone()))
            });
            select(pods.controllers(), orphans)
        },
        reconcile,
    );
    join(jobs, orphans::run(world)).await;
}

async fn reconcile(job: Arc<Job>, world: Arc<World>) -> Result<Action, Error> {
    let namespace = job.namespace().ok_or(Error::Incomplete { kind: "Job", field: "namespace" })?;
    let jobs: Api<Job> = Api::namespaced(world.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    let Some(job) = jobs.get_opt(&job.name_any()).await? else { return Ok(Action::await_change()) };
    if job
        .spec
        .as_ref()
        .is_some_and(|spec| spec.managed_by.as_deref().is_some_and(|by| by != "kubernetes.io/job-controller"))
    {
        return Ok(Action::await_change());
    }
    let selector = selector(&job);
    let known = world.pods.controlled_by(&namespace, &job.uid().unwrap_or_default());
    let owned = claim_all(&pods, &job, &selector, known, is_active).await?;

    let now = Timestamp::now();
    let first_wait = world.settings.pod_failure_wait;
    let decision = decide(Snapshot { job: &job, pods: &owned, first_wait, burst: BURST, now });
    write_status(&jobs, &job, job.status.as_ref(), &decision.status).await?;
    let voice = world.events.about(MANAGER, &job);
    for remark in &decision.remarks {
        let say = if remark.warning { crate::events::Voice::warning } else { crate::events::Voice::normal };
        say(&voice, &remark.reason, remark.note.clone());
    }
    if decision.expired {
        let preconditions = Preconditions { uid: job.uid(), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::foreground() };
        unless_gone(jobs.delete(&job.name_any(), &parameters).await)?;
        return Ok(Action::await_change());
    }
    let named = |names: &[String]| -> Vec<&Pod> {
        owned.iter().filter(|pod| names.contains(&pod.name_any())).collect()
    };
    let released =
        join_all(named(&decision.release).into_iter().map(|pod| orphans::release(&pods, pod))).await;
    let deleted = delete_all(&pods, &named(&decision.delete), &voice).await;
    let (_, created) = create_all(&pods, decision.create, &voice).await;
    released.into_iter().collect::<Result<Vec<()>, Error>>()?;
    deleted?;
    match created {
        Err(error) if error.namespace_ends() => {}
        created => created?,
    }
    Ok(Action::requeue(decision.again.unwrap_or(AGAIN).min(AGAIN)))
}

/// By what a Job finds its pods. The API server fills it in; one that does not leaves the uid.
fn selector(job: &Job) -> LabelSelector {
    let own = job.spec.as_ref().and_then(|spec| spec.selector.clone());
    own.unwrap_or_else(|| {
        let [uid, ..] = own_labels(job);
        LabelSelector { match_labels: Some([uid].into()), ..LabelSelector::default() }
    })
}
