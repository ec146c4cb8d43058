//! The loop of CronJobs.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::ListParams;
use kube::runtime::controller::Action;
use kube::{Api, Resource as _, ResourceExt as _};

use super::decision::decide;
use crate::Error;
use crate::drive::{AGAIN, drive};
use crate::events::Voice;
use crate::owner::{controlled_by, delete, write_status, writing};
use crate::rights::{OWN, READ, Right};
use crate::run::World;

const MANAGER: &str = "cronjob-controller";

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "batch", &["cronjobs"]),
    Right::to(&["patch"], "batch", &["cronjobs/status"]),
    Right::to(OWN, "batch", &["cronjobs/finalizers"]),
    Right::to(&["get", "list", "create", "delete"], "batch", &["jobs"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let jobs = world.jobs.clone();
    drive(world, move |_| jobs.controllers(), reconcile).await;
}

async fn reconcile(cron: Arc<CronJob>, world: Arc<World>) -> Result<Action, Error> {
    let namespace = cron.namespace().ok_or(Error::Incomplete { kind: "CronJob", field: "namespace" })?;
    let crons: Api<CronJob> = Api::namespaced(world.client.clone(), &namespace);
    let jobs: Api<Job> = Api::namespaced(world.client.clone(), &namespace);
    let Some(cron) = crons.get_opt(&cron.name_any()).await? else { return Ok(Action::await_change()) };
    let uid = cron.uid().unwrap_or_default();
    let mut owned = jobs.list(&ListParams::default()).await?.items;
    owned.retain(|job| controlled_by(job, &uid));

    let decision = decide(&cron, &owned, Timestamp::now());
    let voice = world.events.about(MANAGER, &cron);
    for remark in &decision.remarks {
        let say = if remark.warning { Voice::warning } else { Voice::normal };
        say(&voice, &remark.reason, remark.note.clone());
    }
    for job in owned.iter().filter(|job| decision.delete.contains(&job.name_any())) {
        delete(&jobs, job).await?;
        voice.normal("SuccessfulDelete", format!("Deleted job {}", job.name_any()));
    }
    let mut status = decision.status;
    if let Some(job) = decision.create {
        match create(&jobs, &job, &uid, &voice).await {
            Ok(made) => take_up(&mut status, &made),
            Err(error) if error.namespace_ends() => return Ok(Action::await_change()),
            Err(error) => {
                voice.warning("FailedCreate", format!("Error creating job: {}", error.text()));
                return Err(error);
            }
        }
    }
    write_status(&crons, &cron, cron.status.as_ref(), &status).await?;
    Ok(Action::requeue(decision.again.unwrap_or(AGAIN).min(AGAIN)))
}

/// Makes a Job; one of its name that is the CronJob's own was made by an earlier pass.
async fn create(jobs: &Api<Job>, job: &Job, uid: &str, voice: &Voice<'_>) -> Result<Job, Error> {
    match jobs.create(&writing(), job).await.map_err(Error::from) {
        Err(error) if error.already_exists() => {
            let there = jobs.get_opt(&job.name_any()).await?;
            there.filter(|there| controlled_by(there, uid)).ok_or(error)
        }
        outcome => {
            let made = outcome?;
            voice.normal("SuccessfulCreate", format!("Created job {}", made.name_any()));
            Ok(made)
        }
    }
}

fn take_up(status: &mut CronJobStatus, job: &Job) {
    let active = status.active.get_or_insert_default();
    active.retain(|reference| reference.uid != job.uid());
    active.push(ObjectReference { resource_version: None, ..job.object_ref(&()) });
}
