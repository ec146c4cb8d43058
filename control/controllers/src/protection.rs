//! What keeps claims and volumes that are in use from going: a finalizer, which is taken away once they are not.
//!
//! Admission gives it to each when it is made; one that lacks it, since it was made elsewhere, is given it here.

use std::fmt::Debug;
use std::sync::Arc;

use futures::future::join;
use futures::stream;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{ListParams, Patch};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;
use xebec_claims::pod::{owns, uses};

use crate::Error;
use crate::drive::{AGAIN, drive};
use crate::owner::{changing, is_ending, unless_gone};
use crate::rights::{READ, Right};
use crate::run::World;

const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "", &["persistentvolumeclaims", "persistentvolumes"]),
    Right::to(&["patch"], "", &["persistentvolumeclaims", "persistentvolumes"]),
    Right::to(&["list"], "", &["pods"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let pods = world.pods.clone();
    let of_claims = drive(
        world.clone(),
        move |claims: Store<PersistentVolumeClaim>| {
            pods.triggers(move |pod| {
                let waits = |claim: &&Arc<PersistentVolumeClaim>| {
                    is_ending(&***claim) && claim.metadata.namespace == pod.metadata.namespace
                };
                let all = claims.state();
                all.iter().filter(waits).map(|claim| ObjectRef::from_obj(&**claim)).collect::<Vec<_>>()
            })
        },
        tend_claim,
    );
    join(of_claims, drive(world, |_| stream::pending(), tend_volume)).await;
}

/// What is to become of the finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Give,
    Take,
    Leave,
}

fn step<K: Resource>(object: &K, finalizer: &str, is_used: impl FnOnce() -> bool) -> Step {
    let has = object.finalizers().iter().any(|own| own == finalizer);
    match (is_ending(object), has) {
        (false, false) => Step::Give,
        (true, true) if !is_used() => Step::Take,
        _ => Step::Leave,
    }
}

async fn take<K>(api: &Api<K>, object: &K, finalizer: &str, step: Step) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let mut finalizers = object.finalizers().to_vec();
    match step {
        Step::Leave => return Ok(()),
        Step::Give => finalizers.push(finalizer.to_owned()),
        Step::Take => finalizers.retain(|own| own != finalizer),
    }
    let meta = json!({
        "uid": object.meta().uid, "resourceVersion": object.meta().resource_version, "finalizers": finalizers,
    });
    let patch = Patch::Merge(json!({"metadata": meta}));
    unless_gone(api.patch(&object.name_any(), &changing(), &patch).await).map(drop)
}

async fn tend_claim(claim: Arc<PersistentVolumeClaim>, world: Arc<World>) -> Result<Action, Error> {
    let namespace =
        claim.namespace().ok_or(Error::Incomplete { kind: "PersistentVolumeClaim", field: "namespace" })?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), &namespace);
    let Some(claim) = claims.get_opt(&claim.name_any()).await? else { return Ok(Action::await_change()) };
    let mut pods = Vec::new();
    if is_ending(&claim) {
        let all: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
        pods = all.list(&ListParams::default()).await?.items;
    }
    let step = step(&claim, OF_CLAIMS, || pods.iter().any(|pod| holds(pod, &claim)));
    take(&claims, &claim, OF_CLAIMS, step).await?;
    Ok(Action::requeue(AGAIN))
}

/// Whether a pod that has a node uses the claim: one without waits as well for a claim that is gone. The claim of an
/// ephemeral volume goes with its pod, which is about to be gone once it has no time left.
fn holds(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let has_node =
        pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref().is_some_and(|own| !own.is_empty()));
    let is_shut_down = is_ending(pod) && pod.metadata.deletion_grace_period_seconds == Some(0);
    has_node && uses(pod, claim) && !(is_shut_down && owns(pod, claim))
}

async fn tend_volume(volume: Arc<PersistentVolume>, world: Arc<World>) -> Result<Action, Error> {
    let volumes: Api<PersistentVolume> = Api::all(world.client.clone());
    let Some(volume) = volumes.get_opt(&volume.name_any()).await? else { return Ok(Action::await_change()) };
    let is_bound = || volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    take(&volumes, &volume, OF_VOLUMES, step(&volume, OF_VOLUMES, is_bound)).await?;
    Ok(Action::requeue(AGAIN))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::Value;

    fn claim(meta: Value) -> PersistentVolumeClaim {
        let mut whole = json!({"namespace": "a", "name": "data"});
        whole.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": whole})).unwrap()
    }

    #[test]
    fn the_finalizer_is_given_to_what_stays_and_taken_from_what_goes_and_nobody_uses() {
        let going = json!("2026-01-01T00:00:00Z");
        let own = json!([OF_CLAIMS, "other"]);
        for (ends, finalizers, is_used, wanted) in [
            (json!(null), json!([]), false, Step::Give),
            (json!(null), own.clone(), false, Step::Leave),
            (going.clone(), own.clone(), true, Step::Leave),
            (going.clone(), own, false, Step::Take),
            (going, json!(["other"]), false, Step::Leave),
        ] {
            let object = claim(json!({"deletionTimestamp": ends, "finalizers": finalizers}));
            assert_eq!(step(&object, OF_CLAIMS, || is_used), wanted, "{ends} {finalizers} {is_used}");
        }
    }

    #[test]
    fn a_pod_with_a_node_holds_its_claims_even_when_it_has_ended() {
        let pod = |node: &str, volume: Value, meta: Value| -> Pod {
            let mut whole = json!({"namespace": "a", "name": "web", "uid": "p"});
            whole.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
            serde_json::from_value(json!({
                "metadata": whole, "spec": {"nodeName": node, "containers": [], "volumes": [volume]},
                "status": {"phase": "Succeeded"},
            }))
            .unwrap()
        };
        let by_name = json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
        let data = claim(json!({}));
        assert!(holds(&pod("edge", by_name.clone(), json!({})), &data));
        assert!(!holds(&pod("", by_name.clone(), json!({})), &data));
        let last = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0});
        assert!(holds(&pod("edge", by_name, last.clone()), &data));
        let owner =
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "p", "controller": true}]);
        let own = claim(json!({"name": "web-v", "ownerReferences": owner}));
        let ephemeral = json!({"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}});
        assert!(holds(&pod("edge", ephemeral.clone(), json!({})), &own));
        assert!(!holds(&pod("edge", ephemeral, last), &own));
    }
}
