//! The loop of DaemonSets.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::join;
use futures::stream::select_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, ResourceExt as _};

use super::decision::{Snapshot, decide};
use crate::Error;
use crate::drive::{AGAIN, drive};
use crate::informer::Informer;
use crate::owner::{claim_all, is_ending, suitors, write_status};
use crate::pod::{create_all, delete_all, is_active};
use crate::revision::{self, HASH_LABEL, label};
use crate::rights::{KEEP, MIND, OWN, READ, Right};
use crate::run::World;

const MANAGER: &str = "daemonset-controller";

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "apps", &["daemonsets"]),
    Right::to(&["patch"], "apps", &["daemonsets/status"]),
    Right::to(OWN, "apps", &["daemonsets/finalizers"]),
    Right::to(KEEP, "apps", &["controllerrevisions"]),
    Right::to(KEEP, "", &["pods"]),
    Right::to(MIND, "", &["nodes"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let nodes = Informer::<Node>::new();
    let follow_nodes = world.clone().until_end(nodes.clone().follow(world.client.clone()));
    let (pods, revisions) = (world.pods.clone(), world.revisions.clone());
    let sets = drive(
        world,
        move |sets: Store<DaemonSet>| {
            let all = sets.clone();
            let orphans = pods
                .triggers(move |pod| suitors(pod, &sets, |set: &DaemonSet| Some(set.spec.selector.clone())));
            let of_nodes = nodes.triggers(move |_| {
                all.state().iter().map(|set| ObjectRef::from_obj(&**set)).collect::<Vec<_>>()
            });
            let owned = select_all([pods.controllers().boxed(), revisions.controllers().boxed()]);
            select_all([orphans.boxed(), of_nodes.boxed(), owned.boxed()])
        },
        reconcile,
    );
    join(sets, follow_nodes).await;
}

async fn reconcile(set: Arc<DaemonSet>, world: Arc<World>) -> Result<Action, Error> {
    let namespace = set.namespace().ok_or(Error::Incomplete { kind: "DaemonSet", field: "namespace" })?;
    let sets: Api<DaemonSet> = Api::namespaced(world.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    let revisions: Api<ControllerRevision> = Api::namespaced(world.client.clone(), &namespace);
    let Some(set) = sets.get_opt(&set.name_any()).await? else { return Ok(Action::await_change()) };
    if is_ending(&set) {
        return Ok(Action::await_change());
    }
    let known = world.pods.controlled_by(&namespace, &set.uid().unwrap_or_default());
    let owned = claim_all(&pods, &set, &set.spec.selector, known, is_active).await?;
    let nodes = Api::<Node>::all(world.client.clone()).list(&ListParams::default()).await?.items;
    let before = set.status.clone().unwrap_or_default();
    let collisions = before.collision_count.unwrap_or(0);
    let spec = &set.spec;
    let found = revision::sync(&revisions, &set, &spec.selector, &spec.template, collisions).await?;
    let update = label(&found.update);

    let decision = decide(Snapshot {
        set: &set,
        nodes: &nodes,
        pods: &owned,
        update: &update,
        failure_wait: world.settings.pod_failure_wait,
        now: Timestamp::now(),
    });
    let mut status = decision.status;
    status.collision_count =
        (found.collisions > 0 || before.collision_count.is_some()).then_some(found.collisions);
    write_status(&sets, &set, set.status.as_ref(), &status).await?;
    let voice = world.events.about(MANAGER, &set);
    for (pod, node) in &decision.failed {
        let text = format!("Found failed daemon pod {namespace}/{pod} on node {node}, will try to kill it");
        voice.warning("FailedDaemonPod", text);
    }
    let going: Vec<&Pod> = owned.iter().filter(|pod| decision.delete.contains(&pod.name_any())).collect();
    let deleted = delete_all(&pods, &going, &voice).await;
    let (_, created) = create_all(&pods, decision.create, &voice).await;
    deleted?;
    match created {
        Err(error) if error.namespace_ends() => {}
        created => created?,
    }
    let in_use = |revision: &ControllerRevision| {
        let hash = label(revision);
        hash == update || owned.iter().any(|pod| pod.labels().get(HASH_LABEL) == Some(&hash))
    };
    revision::clean(&revisions, &found.all, in_use, spec.revision_history_limit).await?;
    Ok(Action::requeue(decision.again.unwrap_or(AGAIN).min(AGAIN)))
}
