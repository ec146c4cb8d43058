//! Pods that wait to be counted by a Job that is gone: nobody will count them, so they are let go.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{iter, select};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt as _};
use serde_json::json;

use super::FINALIZER;
use crate::Error;
use crate::drive::wait;
use crate::informer::Informer;
use crate::outline::Outline;
use crate::owner::{changing, controller, unless_gone};
use crate::run::World;

/// How many pods are seen to at a time.
const AT_ONCE: usize = 16;

/// Runs until the world ends.
pub(super) async fn run(world: Arc<World>) {
    let jobs = world.jobs.clone();
    let known = world.pods.clone();
    let of_gone = jobs.changes().flat_map(move |change| {
        let gone =
            change.departed().map(|job| (job.namespace().unwrap_or_default(), job.uid().unwrap_or_default()));
        let pods = gone.map(|(namespace, uid)| {
            let names = known.controlled_by(&namespace, &uid);
            names.into_iter().map(|name| (namespace.clone(), name)).collect::<Vec<_>>()
        });
        iter(pods.unwrap_or_default())
    });
    let tracked = world.pods.changes().filter_map(|change| async move {
        let pod = change.states().last()?;
        is_tracked(pod).then(|| (pod.namespace().unwrap_or_default(), pod.name_any()))
    });
    let known = jobs.clone();
    let seeing = select(of_gone, tracked).for_each_concurrent(AT_ONCE, |(namespace, name)| {
        let (world, jobs) = (world.clone(), known.clone());
        async move { see_to(&world, &jobs, &namespace, &name).await }
    });
    world.clone().until_end(seeing).await;
}

fn is_tracked(pod: &Outline<Pod>) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Looks at one pod until that went well.
async fn see_to(world: &World, jobs: &Informer<Job>, namespace: &str, name: &str) {
    for failures in 0.. {
        let Some(pod) = world.pods.get(namespace, name) else { return };
        if !is_tracked(&pod) || has_job(jobs, &*pod) {
            return;
        }
        match check(world, namespace, name).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(name, %error, "a pod of a Job that is gone cannot be let go yet"),
        }
        tokio::time::sleep(wait(failures).min(Duration::from_secs(5))).await;
    }
}

/// Whether the Job of a pod is known to be there.
fn has_job(jobs: &Informer<Job>, pod: &impl Resource) -> bool {
    let Some(job) = controller::<Job>(pod) else { return false };
    let uid =
        pod.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|owner| &owner.uid);
    let known = jobs.get(&job.namespace.unwrap_or_default(), &job.name);
    known.is_some_and(|known| known.uid().as_ref() == uid)
}

async fn check(world: &World, namespace: &str, name: &str) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), namespace);
    let Some(pod) = pods.get_opt(name).await? else { return Ok(()) };
    if let Some(ObjectRef { name, .. }) = controller::<Job>(&pod) {
        let jobs: Api<Job> = Api::namespaced(world.client.clone(), namespace);
        let there = jobs.get_opt(&name).await?.and_then(|job| job.uid());
        let owned = |uid: &String| pod.owner_references().iter().any(|owner| owner.uid == *uid);
        if there.as_ref().is_some_and(owned) {
            return Ok(());
        }
    }
    release(&pods, &pod).await
}

/// Takes the finalizer off a pod, if it is still as it was seen.
pub(super) async fn release(pods: &Api<Pod>, pod: &Pod) -> Result<(), Error> {
    let rest: Vec<&String> = pod.finalizers().iter().filter(|own| *own != FINALIZER).collect();
    if rest.len() == pod.finalizers().len() {
        return Ok(());
    }
    let patch = json!({"metadata": {
        "uid": pod.uid(),
        "resourceVersion": pod.resource_version(),
        "finalizers": rest,
    }});
    let patched = pods.patch(&pod.name_any(), &changing(), &kube::api::Patch::Merge(patch)).await;
    unless_gone(patched).map(drop)
}
