//! The loop of StatefulSets.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::select_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::Patch;
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::decision::{Snapshot, Step, decide};
use super::identity::{self, ordinal};
use crate::Error;
use crate::drive::{AGAIN, drive};
use crate::events::Voice;
use crate::owner::{
    changing, claim_all, controlled_by, controller_reference, delete, is_ending, suitors, write_status,
    writing,
};
use crate::pod::is_active;
use crate::revision::{self, HASH_LABEL, template};
use crate::rights::{KEEP, OWN, READ, Right};
use crate::run::World;

const MANAGER: &str = "statefulset-controller";
/// How many pods are made or deleted in one pass.
const BURST: usize = 500;

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "apps", &["statefulsets"]),
    Right::to(&["patch"], "apps", &["statefulsets/status"]),
    Right::to(OWN, "apps", &["statefulsets/finalizers"]),
    Right::to(KEEP, "apps", &["controllerrevisions"]),
    Right::to(KEEP, "", &["pods"]),
    Right::to(&["get", "create", "patch"], "", &["persistentvolumeclaims"]),
    // A claim that goes with its pod refers to it.
    Right::to(OWN, "", &["pods/finalizers"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let (pods, revisions) = (world.pods.clone(), world.revisions.clone());
    drive(
        world,
        move |sets: Store<StatefulSet>| {
            let orphans = pods.triggers(move |pod| {
                suitors(pod, &sets, |set: &StatefulSet| Some(set.spec.selector.clone()))
            });
            select_all([orphans.boxed(), pods.controllers().boxed(), revisions.controllers().boxed()])
        },
        reconcile,
    )
    .await;
}

async fn reconcile(set: Arc<StatefulSet>, world: Arc<World>) -> Result<Action, Error> {
    let namespace = set.namespace().ok_or(Error::Incomplete { kind: "StatefulSet", field: "namespace" })?;
    let sets: Api<StatefulSet> = Api::namespaced(world.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    let revisions: Api<ControllerRevision> = Api::namespaced(world.client.clone(), &namespace);
    let Some(set) = sets.get_opt(&set.name_any()).await? else { return Ok(Action::await_change()) };
    if is_ending(&set) {
        return Ok(Action::await_change());
    }
    let spec = set.spec.clone();
    let known = world.pods.controlled_by(&namespace, &set.uid().unwrap_or_default());
    let adoptable = |pod: &Pod| is_active(pod) && ordinal(&set, pod).is_some();
    let owned = claim_all(&pods, &set, &spec.selector, known, adoptable).await?;

    let before = set.status.clone().unwrap_or_default();
    let collisions = before.collision_count.unwrap_or(0);
    let found = revision::sync(&revisions, &set, &spec.selector, &spec.template, collisions).await?;
    let named = |name: &Option<String>| found.all.iter().find(|revision| Some(revision.name_any()) == *name);
    let current = named(&before.current_revision).unwrap_or(&found.update).clone();
    let (old, new) = (current.name_any(), found.update.name_any());
    let now = Timestamp::now();
    let decision =
        decide(Snapshot { set: &set, pods: &owned, current: &old, update: &new, burst: BURST, now });
    let busy = decision.steps.len() == BURST;

    let mut status = decision.status;
    status.update_revision = Some(new.clone());
    status.collision_count =
        (found.collisions > 0 || before.collision_count.is_some()).then_some(found.collisions);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), &namespace);
    if before.observed_generation != set.metadata.generation {
        keep_claims(&claims, &set, &owned).await?;
    }
    write_status(&sets, &set, set.status.as_ref(), &status).await?;

    let voice = world.events.about(MANAGER, &set);
    for step in decision.steps {
        match step {
            Step::Create { ordinal, updated } => {
                let revision = if updated { &found.update } else { &current };
                let template = template(revision).unwrap_or_else(|| spec.template.clone());
                let pod = identity::pod(&set, ordinal, &template, &revision.name_any());
                make_claims(&claims, &set, &spec, ordinal, &voice).await?;
                make(&pods, &set, &pod, &voice).await?;
            }
            Step::Delete { name, ended } => {
                let Some(pod) = owned.iter().find(|pod| pod.name_any() == name) else { continue };
                if ended {
                    let text =
                        format!("StatefulSet {namespace}/{} is recreating failed Pod {name}", set.name_any());
                    voice.warning("RecreatingFailedPod", text);
                }
                let scaled = !ended && is_condemned(&set, &spec, pod);
                if scaled && retention(&spec, |policy| policy.when_scaled.as_deref()) == Some("Delete") {
                    hand_over(&claims, &set, pod).await?;
                }
                delete(&pods, pod).await?;
                let text = format!("delete Pod {name} in StatefulSet {} successful", set.name_any());
                voice.normal("SuccessfulDelete", text);
            }
        }
    }
    let in_use = |revision: &ControllerRevision| {
        let name = revision.name_any();
        name == old || name == new || owned.iter().any(|pod| pod.labels().get(HASH_LABEL) == Some(&name))
    };
    revision::clean(&revisions, &found.all, in_use, spec.revision_history_limit).await?;
    let again = if busy { Duration::ZERO } else { decision.again.unwrap_or(AGAIN).min(AGAIN) };
    Ok(Action::requeue(again))
}

fn is_condemned(set: &StatefulSet, spec: &StatefulSetSpec, pod: &Pod) -> bool {
    let begin = identity::first(set);
    let end = begin.saturating_add(spec.replicas.unwrap_or(1));
    ordinal(set, pod).is_some_and(|ordinal| ordinal < begin || ordinal >= end)
}

fn retention<'a>(
    spec: &'a StatefulSetSpec,
    of: impl Fn(
        &'a k8s_openapi::api::apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy,
    ) -> Option<&'a str>,
) -> Option<&'a str> {
    spec.persistent_volume_claim_retention_policy.as_ref().and_then(of)
}

async fn make(pods: &Api<Pod>, set: &StatefulSet, pod: &Pod, voice: &Voice<'_>) -> Result<(), Error> {
    let (name, owner) = (pod.name_any(), set.name_any());
    match pods.create(&writing(), pod).await.map_err(Error::from) {
        Ok(_) => {
            voice.normal("SuccessfulCreate", format!("create Pod {name} in StatefulSet {owner} successful"));
            Ok(())
        }
        Err(error) if error.already_exists() => {
            let there = pods.get_opt(&name).await?;
            let mine = there.is_some_and(|there| controlled_by(&there, &set.uid().unwrap_or_default()));
            if mine { Ok(()) } else { Err(failed(voice, "Pod", &name, &owner, error)) }
        }
        Err(error) if error.namespace_ends() => Ok(()),
        Err(error) => Err(failed(voice, "Pod", &name, &owner, error)),
    }
}

fn failed(voice: &Voice<'_>, what: &str, name: &str, set: &str, error: Error) -> Error {
    let text = format!("create {what} {name} in StatefulSet {set} failed error: {}", error.text());
    voice.warning("FailedCreate", text);
    error
}

/// Makes the claims that are missing, and gives those that are there the owner that the set's policy says.
async fn make_claims(
    claims: &Api<PersistentVolumeClaim>,
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    ordinal: i32,
    voice: &Voice<'_>,
) -> Result<(), Error> {
    let with_set = owner_of_claims(set, spec);
    let (pod, owner) = (identity::name(set, ordinal), set.name_any());
    for mut claim in identity::claims(set, ordinal) {
        let name = claim.name_any();
        if let Some(there) = claims.get_opt(&name).await? {
            // A pod that is to be made again needs its claim: it no longer goes with the pod that was.
            set_owners(claims, &there, &owners(&there, set, &pod, with_set.clone())).await?;
            continue;
        }
        claim.metadata.owner_references = with_set.clone().map(|owner| vec![owner]);
        match claims.create(&writing(), &claim).await.map_err(Error::from) {
            Ok(_) => {
                let text = format!("create Claim {name} Pod {pod} in StatefulSet {owner} success");
                voice.normal("SuccessfulCreate", text);
            }
            Err(error) if error.already_exists() => {}
            Err(error) => return Err(failed(voice, "Claim", &name, &owner, error)),
        }
    }
    Ok(())
}

/// Lets the claims of a pod that is scaled away go with it.
async fn hand_over(claims: &Api<PersistentVolumeClaim>, set: &StatefulSet, pod: &Pod) -> Result<(), Error> {
    let Some(ordinal) = ordinal(set, pod) else { return Ok(()) };
    let owner = controller_reference(pod);
    for claim in identity::claims(set, ordinal) {
        if let Some(there) = claims.get_opt(&claim.name_any()).await? {
            set_owners(claims, &there, &owners(&there, set, &pod.name_any(), Some(owner.clone()))).await?;
        }
    }
    Ok(())
}

/// Gives the claims of the pods that stay the owner that the set's policy says now.
async fn keep_claims(
    claims: &Api<PersistentVolumeClaim>,
    set: &StatefulSet,
    pods: &[Pod],
) -> Result<(), Error> {
    let with_set = owner_of_claims(set, &set.spec);
    for pod in pods.iter().filter(|pod| !is_condemned(set, &set.spec, pod)) {
        let Some(ordinal) = ordinal(set, pod) else { continue };
        for claim in identity::claims(set, ordinal) {
            if let Some(there) = claims.get_opt(&claim.name_any()).await? {
                set_owners(claims, &there, &owners(&there, set, &pod.name_any(), with_set.clone())).await?;
            }
        }
    }
    Ok(())
}

/// The set as the owner of its claims, if they go with it.
fn owner_of_claims(set: &StatefulSet, spec: &StatefulSetSpec) -> Option<OwnerReference> {
    let with_set = retention(spec, |policy| policy.when_deleted.as_deref()) == Some("Delete");
    with_set.then(|| controller_reference(set))
}

/// The owners of a claim with this one in place of the set and its pod. Those that others gave it stay, and one that another
/// controls gets no second controller. What a set of the same name left is not touched.
fn owners(
    claim: &PersistentVolumeClaim,
    set: &StatefulSet,
    pod: &str,
    own: Option<OwnerReference>,
) -> Vec<OwnerReference> {
    let (uid, name) = (set.uid().unwrap_or_default(), set.name_any());
    let is_before =
        |owner: &OwnerReference| owner.kind == "StatefulSet" && owner.name == name && owner.uid != uid;
    if claim.owner_references().iter().any(is_before) {
        return claim.owner_references().to_vec();
    }
    let ours = |owner: &&OwnerReference| owner.uid == uid || owner.kind == "Pod" && owner.name == pod;
    let others = claim.owner_references().iter().filter(|owner| !ours(owner)).cloned();
    let others: Vec<OwnerReference> = others.collect();
    let is_free = others.iter().all(|owner| owner.controller != Some(true));
    others.into_iter().chain(own.filter(|_| is_free)).collect()
}

async fn set_owners(
    claims: &Api<PersistentVolumeClaim>,
    claim: &PersistentVolumeClaim,
    owners: &[OwnerReference],
) -> Result<(), Error> {
    if claim.owner_references() == owners {
        return Ok(());
    }
    let patch = json!({"metadata": {
        "uid": claim.uid(), "resourceVersion": claim.resource_version(), "ownerReferences": owners,
    }});
    claims.patch(&claim.name_any(), &changing(), &Patch::Merge(patch)).await?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_claim_goes_with_its_set_unless_another_controls_it() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "a", "uid": "s"},
            "spec": {"selector": {}, "template": {}},
        }))
        .unwrap();
        let owner = |kind: &str, name: &str, uid: &str, controller: bool| json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": controller});
        let after = |before: Value| -> Vec<String> {
            let claim =
                json!({"metadata": {"name": "data-db-0", "namespace": "a", "ownerReferences": before}});
            let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
            let owners = owners(&claim, &set, "db-0", Some(controller_reference(&set)));
            owners
                .into_iter()
                .map(|owner| format!("{}:{}", owner.uid, owner.controller == Some(true)))
                .collect()
        };
        assert_eq!(after(json!([])), ["s:true"]);
        assert_eq!(after(json!([owner("StatefulSet", "db", "s", false)])), ["s:true"]);
        assert_eq!(after(json!([owner("Pod", "db-0", "p", true)])), ["s:true"]);
        assert_eq!(after(json!([owner("ConfigMap", "c", "c", false)])), ["c:false", "s:true"]);
        assert_eq!(after(json!([owner("StatefulSet", "other", "o", true)])), ["o:true"]);
        let both = json!([owner("StatefulSet", "other", "o", true), owner("StatefulSet", "db", "s", false)]);
        assert_eq!(after(both), ["o:true"]);
        assert_eq!(after(json!([owner("StatefulSet", "db", "before", false)])), ["before:false"]);
    }
}
