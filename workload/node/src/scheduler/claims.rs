//! What pods with claims wait for: which of their claims have no volume, and what is to be done about those that waited for
//! a pod. The words are those of Kubernetes' own scheduler.

use std::sync::Arc;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Node as NodeObject, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use xebec_claims::{BY_CONTROLLER, COMPLETED, ONE_POD, SELECTED_NODE, class, matching, pod as of_pod};
use xebec_follow::{Follower, Known};

use super::load::Load;
use super::{Devices, Refusal, affinity};
use crate::agent::Node;

const CONFLICT: &str = "node(s) didn't match PersistentVolume's node affinity";
const NOTHING: &str = "node(s) didn't find available persistent volumes to bind";
const GONE: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
const TAKEN: &str = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by \
                     another pod";
/// The provisioner of classes whose volumes are made by hand.
const BY_HAND: &str = "kubernetes.io/no-provisioner";

/// What is known of claims, volumes and classes.
pub(crate) struct Storage {
    claims: Known<PersistentVolumeClaim>,
    volumes: Known<PersistentVolume>,
    classes: Known<StorageClass>,
}

/// Something to be done before a pod can have its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// A free volume is kept for a claim.
    Keep(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>),
    /// A volume is to be made on this node for a claim.
    Select(Arc<PersistentVolumeClaim>),
}

/// What a pod's claims say to its coming here.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    /// All have their volumes.
    Ready,
    /// It waits until this is done and has come of it what should.
    Wait(Vec<Step>),
    /// It cannot come, for these reasons of the node.
    Refuse(&'static str),
}

/// Follows claims, volumes and classes, and claims of devices, as long as the follower is there.
pub(crate) fn follow(client: Client) -> (Storage, Devices, Follower) {
    let mut follower = Follower::new(client);
    let storage = Storage {
        claims: follower.follow(watcher::Config::default(), |_| {}),
        volumes: follower.follow(watcher::Config::default(), |_| {}),
        classes: follower.follow(watcher::Config::default(), |_| {}),
    };
    let devices = Devices::follow(&mut follower);
    (storage, devices, follower)
}

fn named(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    !named(claim).is_empty() && claim.annotations().contains_key(COMPLETED)
}

impl Storage {
    /// Whether everything was seen once, so that what is not known is not there.
    fn is_ready(&self) -> bool {
        let is_ready = |waited: Option<bool>| waited == Some(true);
        is_ready(self.claims.listed().now_or_never().map(|waited| waited.is_ok()))
            && is_ready(self.volumes.listed().now_or_never().map(|waited| waited.is_ok()))
            && is_ready(self.classes.listed().now_or_never().map(|waited| waited.is_ok()))
    }

    fn class(&self, claim: &PersistentVolumeClaim) -> Option<Arc<StorageClass>> {
        self.classes.get(&ObjectRef::new(class::of_claim(claim)?))
    }

    /// Whether a claim waits for its pod, and nobody gave it a volume.
    fn waits(&self, claim: &PersistentVolumeClaim) -> bool {
        named(claim).is_empty() && self.class(claim).is_some_and(|class| class::waits(&class))
    }

    /// The claims of a pod, or why it can be nowhere. Nothing is said before everything was seen.
    pub(crate) fn claims(&self, pod: &Pod) -> Result<Option<Vec<Arc<PersistentVolumeClaim>>>, Refusal> {
        if of_pod::claims(pod).next().is_none() {
            return Ok(Some(Vec::new()));
        }
        if !self.is_ready() {
            return Ok(None);
        }
        self.usable(pod).map(Some).map_err(|why| Refusal::of_pod(&why))
    }

    fn usable(&self, pod: &Pod) -> Result<Vec<Arc<PersistentVolumeClaim>>, String> {
        let mut claims: Vec<Arc<PersistentVolumeClaim>> = Vec::new();
        let namespace = pod.namespace().unwrap_or_default();
        for (name, is_own) in of_pod::claims(pod) {
            let Some(claim) = self.claims.get(&ObjectRef::new(&name).within(&namespace)) else {
                return Err(if is_own {
                    format!(
                        "waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"
                    )
                } else {
                    format!("persistentvolumeclaim {name:?} not found")
                });
            };
            if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
                let volume = named(&claim);
                return Err(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
                ));
            }
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
            }
            if is_own && !of_pod::owns(pod, &claim) {
                return Err(of_pod::disowned(pod, &name));
            }
            if !claims.iter().any(|other| other.metadata.name == claim.metadata.name) {
                claims.push(claim);
            }
        }
        if claims.iter().any(|claim| !is_bound(claim) && !self.waits(claim)) {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
        Ok(claims)
    }

    /// What the claims of a pod say to its coming to a node that has `load` already.
    pub(crate) fn plan(&self, claims: &[Arc<PersistentVolumeClaim>], node: &NodeObject, load: &Load) -> Plan {
        let is_alone = |claim: &&Arc<PersistentVolumeClaim>| {
            claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten()).any(|mode| mode == ONE_POD)
        };
        if claims.iter().filter(is_alone).any(|claim| load.has_claim(claim)) {
            return Plan::Refuse(TAKEN);
        }
        let (bound, open): (Vec<_>, Vec<_>) = claims.iter().partition(|claim| is_bound(claim));
        for claim in bound {
            let Some(volume) = self.volumes.get(&ObjectRef::new(named(claim))) else {
                return Plan::Refuse(GONE);
            };
            if !affinity::admits(&volume, node) {
                return Plan::Refuse(CONFLICT);
            }
        }
        if open.is_empty() {
            return Plan::Ready;
        }
        let all = self.volumes.all();
        let mut steps: Vec<Step> = Vec::new();
        for claim in open {
            // What was begun goes on, though a volume may have become free meanwhile.
            if claim.annotations().get(SELECTED_NODE) == Some(&node.name_any()) {
                continue;
            }
            let is_given = |volume: &PersistentVolume| {
                steps.iter().any(|step| {
                    matches!(step, Step::Keep(other, _) if other.metadata.name == volume.metadata.name)
                })
            };
            let left = all.iter().map(|volume| &**volume).filter(|volume| !is_given(volume));
            match matching::best(claim, left, |volume| affinity::admits(volume, node)) {
                Some(volume) if !affinity::admits(volume, node) => return Plan::Refuse(NOTHING),
                // The binder sees by itself what is kept for a claim.
                Some(volume) if matching::is_kept_for(volume, claim) => {}
                Some(volume) => steps.push(Step::Keep(Arc::new(volume.clone()), claim.clone())),
                None if self.can_make(claim, node) => steps.push(Step::Select(claim.clone())),
                None => return Plan::Refuse(NOTHING),
            }
        }
        Plan::Wait(steps)
    }

    /// Whether somebody makes volumes for a claim on a node.
    fn can_make(&self, claim: &PersistentVolumeClaim, node: &NodeObject) -> bool {
        let Some(class) = self.class(claim) else { return false };
        let terms = class.allowed_topologies.as_deref().unwrap_or_default();
        let fits = |term: &k8s_openapi::api::core::v1::TopologySelectorTerm| {
            term.match_label_expressions
                .iter()
                .flatten()
                .all(|own| node.labels().get(&own.key).is_some_and(|value| own.values.contains(value)))
        };
        class.provisioner != BY_HAND && (terms.is_empty() || terms.iter().any(fits))
    }
}

/// Takes a step. What somebody else wrote in between leads to another step later.
pub(crate) async fn take(node: &Node, step: &Step) -> Result<(), kube::Error> {
    let client = &node.client;
    let written = match step {
        Step::Keep(volume, claim) => {
            let mut patch = json!({"spec": {"claimRef": claim.object_ref(&())}});
            patch["metadata"] = json!({
                "uid": volume.uid(), "resourceVersion": volume.resource_version(),
                "annotations": {BY_CONTROLLER: "yes"},
            });
            let volumes: Api<PersistentVolume> = Api::all(client.clone());
            let parameters = PatchParams::default();
            volumes.patch(&volume.name_any(), &parameters, &Patch::Merge(patch)).await.map(drop)
        }
        Step::Select(claim) => {
            let patch = json!({"metadata": {
                "uid": claim.uid(), "resourceVersion": claim.resource_version(),
                "annotations": {SELECTED_NODE: node.options.name},
            }});
            let namespace = claim.namespace().unwrap_or_default();
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
            let parameters = PatchParams::default();
            claims.patch(&claim.name_any(), &parameters, &Patch::Merge(patch)).await.map(drop)
        }
    };
    match written {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        written => written,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests;
