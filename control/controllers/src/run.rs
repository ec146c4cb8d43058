//! All controllers together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::{self, Events};
use crate::informer::Informer;
use crate::rights::Right;
use crate::{
    autoscaler, binder, certificates, cron_job, daemon_set, deployment, disruption, endpoints, ephemeral,
    garbage, job, namespace, node, protection, quota, replica_set, resource_claim, stateful_set,
};

macro_rules! controller {
    ($name:literal, $module:ident) => {
        Controller { name: $name, rights: $module::RIGHTS, run: |world| Box::pin($module::run(world)) }
    };
}

/// One of the controllers.
#[derive(Debug, Clone, Copy)]
pub struct Controller {
    name: &'static str,
    pub(crate) rights: &'static [Right],
    run: fn(Arc<World>) -> BoxFuture<'static, ()>,
}

impl Controller {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        controller!("autoscaler", autoscaler),
        controller!("certificates", certificates),
        controller!("cronjob", cron_job),
        controller!("daemonset", daemon_set),
        controller!("deployment", deployment),
        controller!("disruption", disruption),
        controller!("endpoints", endpoints),
        controller!("ephemeralvolume", ephemeral),
        controller!("garbage", garbage),
        controller!("job", job),
        controller!("namespace", namespace),
        controller!("node", node),
        controller!("quota", quota),
        controller!("replicaset", replica_set),
        controller!("resourceclaim", resource_claim),
        controller!("statefulset", stateful_set),
        controller!("volumebinder", binder),
        controller!("volumeprotection", protection),
    ];

    /// What users call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The one that users call so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|controller| controller.name == name).copied()
    }
}

/// What the controllers cannot find out from the API.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Those that run.
    pub controllers: Vec<Controller>,
    /// The certificates, in PEM, by which pods know the API server. Published in each namespace as `kube-root-ca.crt`.
    pub root_certificates: Option<String>,
    /// Who signs certificates; nobody, where others hold the key.
    pub issuer: Option<Arc<dyn certificates::Issuer>>,
    /// How long a Job waits after the first failure of a pod before it makes another; the wait doubles with each.
    pub pod_failure_wait: Duration,
    /// How often autoscalers look at what pods use.
    pub autoscaling_period: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            controllers: Controller::ALL.to_vec(),
            root_certificates: None,
            issuer: None,
            pod_failure_wait: Duration::from_secs(10),
            autoscaling_period: Duration::from_secs(15),
        }
    }
}

/// What every controller has.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) settings: Settings,
    pub(crate) events: Events,
    /// What several controllers mind, watched once for all of them.
    pub(crate) claims: Informer<PersistentVolumeClaim>,
    pub(crate) pods: Informer<Pod>,
    pub(crate) jobs: Informer<Job>,
    pub(crate) revisions: Informer<ControllerRevision>,
    pub(crate) services: Informer<Service>,
}

impl World {
    /// Does work until the world ends.
    pub(crate) async fn until_end(self: Arc<Self>, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = work => {}
        }
    }
}

/// Runs all controllers of the built-in kinds until `shutdown` is cancelled. Ends before that only by a defect, when one of
/// them can no longer work: whoever runs them is to know.
pub async fn run(client: Client, shutdown: CancellationToken) {
    run_with(client, Settings::default(), shutdown).await;
}

/// Runs the controllers that the settings name, as [`run`] does.
pub async fn run_with(client: Client, settings: Settings, shutdown: CancellationToken) {
    let (events, writer) = events::channel();
    let shutdown = shutdown.child_token();
    let end = shutdown.clone();
    let world = Arc::new(World {
        client: client.clone(),
        shutdown,
        settings,
        events,
        claims: Informer::new(),
        pods: Informer::new(),
        jobs: Informer::new(),
        revisions: Informer::new(),
        services: Informer::new(),
    });
    let mut running = JoinSet::new();
    running.spawn(world.clone().until_end(world.claims.clone().follow(client.clone())));
    running.spawn(world.clone().until_end(world.pods.clone().follow(client.clone())));
    running.spawn(world.clone().until_end(world.jobs.clone().follow(client.clone())));
    running.spawn(world.clone().until_end(world.revisions.clone().follow(client.clone())));
    running.spawn(world.clone().until_end(world.services.clone().follow(client.clone())));
    running.spawn(world.clone().until_end(writer.write(client)));
    for controller in world.settings.controllers.clone() {
        running.spawn((controller.run)(world.clone()));
    }
    drop(world);
    all_or_none(running, end).await;
}

/// Waits for all; one that ends before it was asked to asks the others to end.
async fn all_or_none(mut running: JoinSet<()>, end: CancellationToken) {
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller failed; all end");
        } else if !end.is_cancelled() {
            tracing::error!("a controller ended on its own; all end");
        }
        end.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_controllers_end_together_when_one_can_no_longer_work() {
        for broken in [true, false] {
            let end = CancellationToken::new();
            let mut running = JoinSet::new();
            let lasting = end.clone();
            running.spawn(async move { lasting.cancelled().await });
            running.spawn(async move { assert!(!broken, "a defect") });
            let all = tokio::time::timeout(Duration::from_secs(10), all_or_none(running, end.clone()));
            assert!(all.await.is_ok() && end.is_cancelled());
        }
    }
}
