//! What pods that claim devices wait for: which of their claims have none yet, and what is to be given to them. The words
//! are those of Kubernetes' own scheduler.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceClass, DeviceRequest, ResourceClaim, ResourceSlice,
};
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};
use serde_json::json;
use uuid::Uuid;
use xebec_claims::allocation::{self, Failure, Offer, Place};
use xebec_claims::device::{self, FINALIZER, Named, RESERVED_MAX, is_allocated, is_reserved, reserved_for};
use xebec_follow::{Follower, Known};

use super::{Refusal, affinity};
use crate::agent::Node;

const ELSEWHERE: &str = "resourceclaim not available on the node";
const NOT_ALL: &str = "cannot allocate all claims";
const GROUP: &str = "resource.k8s.io";

/// What is known of claims of devices, of their classes and of what drivers offer.
pub(crate) struct Devices {
    claims: Known<ResourceClaim>,
    classes: Known<DeviceClass>,
    slices: Known<ResourceSlice>,
    /// Claims as they were written here, until that is heard of.
    written: Mutex<HashMap<String, Arc<ResourceClaim>>>,
}

/// Something to be done before a pod can have its place.
#[derive(Debug, Clone, PartialEq)]
struct Grant {
    claim: Arc<ResourceClaim>,
    /// The devices that the claim is given, if it has none yet.
    devices: Option<AllocationResult>,
}

fn version(claim: &ResourceClaim) -> u64 {
    claim.resource_version().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Whether the devices of a claim are at other nodes.
fn is_far(claim: &ResourceClaim, node: &NodeObject) -> bool {
    let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
    let selector = allocation.and_then(|allocation| allocation.node_selector.as_ref());
    selector.is_some_and(|selector| !affinity::selects(selector, node))
}

impl Devices {
    /// Follows all of them by this follower.
    pub(crate) fn follow(follower: &mut Follower) -> Self {
        Self {
            claims: follower.follow(watcher::Config::default(), |_| {}),
            classes: follower.follow(watcher::Config::default(), |_| {}),
            slices: follower.follow(watcher::Config::default(), |_| {}),
            written: Mutex::default(),
        }
    }

    fn is_ready(&self) -> bool {
        let is_ready = |waited: Option<bool>| waited == Some(true);
        is_ready(self.claims.listed().now_or_never().map(|waited| waited.is_ok()))
            && is_ready(self.classes.listed().now_or_never().map(|waited| waited.is_ok()))
            && is_ready(self.slices.listed().now_or_never().map(|waited| waited.is_ok()))
    }

    /// A claim as it is now, as far as is known.
    fn newest(&self, claim: Arc<ResourceClaim>) -> Arc<ResourceClaim> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = claim.uid().unwrap_or_default();
        match written.get(&uid) {
            Some(own) if version(own) > version(&claim) => own.clone(),
            Some(_) => {
                written.remove(&uid);
                claim
            }
            None => claim,
        }
    }

    /// Whether the claims of a pod have the devices that they ask for. What they lack they are given, which is seen later.
    pub(crate) async fn settle(&self, node: &Node, pod: &Pod, object: &NodeObject) -> Result<bool, Refusal> {
        let planned = match self.plan(pod, object) {
            Err(_) if self.free(node, pod, object).await => {
                return Err(Refusal::of_devices(ELSEWHERE, "deallocation of ResourceClaim completed"));
            }
            planned => planned?,
        };
        let Some(grants) = planned else { return Ok(false) };
        for grant in &grants {
            if let Err(error) = self.give(node, pod, grant).await {
                tracing::warn!(pod = pod.name_any(), %error, "cannot get a pod its devices");
            }
        }
        Ok(grants.is_empty())
    }

    /// Takes the devices of another node from a claim that nobody else uses. Tells whether there was one.
    async fn free(&self, node: &Node, pod: &Pod, object: &NodeObject) -> bool {
        let Ok(claims) = self.usable(pod) else { return false };
        let is_alone = |claim: &ResourceClaim| {
            reserved_for(claim).is_empty() || reserved_for(claim).len() == 1 && is_reserved(pod, claim)
        };
        let Some(claim) = claims.iter().find(|claim| is_far(claim, object) && is_alone(claim)) else {
            return false;
        };
        let meta = json!({"uid": claim.uid(), "resourceVersion": claim.resource_version()});
        let status = json!({"allocation": null, "reservedFor": null, "devices": null});
        let patch = Patch::Merge(json!({"metadata": meta, "status": status}));
        let claims: Api<ResourceClaim> =
            Api::namespaced(node.client.clone(), &claim.namespace().unwrap_or_default());
        let freed = claims.patch_status(&claim.name_any(), &PatchParams::default(), &patch).await;
        freed.inspect_err(|error| tracing::warn!(%error, "cannot free a claim of devices")).is_ok()
    }

    /// What is to be given to the claims of a pod before it comes here; nothing is said before everything was seen.
    fn plan(&self, pod: &Pod, node: &NodeObject) -> Result<Option<Vec<Grant>>, Refusal> {
        if device::claims(pod).is_empty() {
            return Ok(Some(Vec::new()));
        }
        // What is still to be made for a pod is waited for without a word, as upstream does; who makes it says why not.
        let waits = |claim| device::named(pod, claim) == Named::Waited;
        if !self.is_ready() || device::claims(pod).iter().any(waits) {
            return Ok(None);
        }
        let claims = self.usable(pod).map_err(|why| Refusal::of_claims(&why))?;
        self.grants(pod, &claims, node).map(Some)
    }

    /// The claims of a pod, or why it can be nowhere.
    fn usable(&self, pod: &Pod) -> Result<Vec<Arc<ResourceClaim>>, String> {
        let namespace = pod.namespace().unwrap_or_default();
        let mut claims: Vec<Arc<ResourceClaim>> = Vec::new();
        for claim in device::claims(pod) {
            let (name, is_own) = match device::named(pod, claim) {
                Named::Claim { name, is_own } => (name, is_own),
                Named::Unneeded => continue,
                Named::Waited => return Err(device::waited(pod)),
            };
            let Some(found) = self.claims.get(&ObjectRef::new(&name).within(&namespace)) else {
                return Err(format!("resourceclaim.{GROUP} {name:?} not found"));
            };
            let found = self.newest(found);
            if found.metadata.deletion_timestamp.is_some() {
                return Err(format!("resourceclaim {name:?} is being deleted"));
            }
            if is_own && !device::owns(pod, &found) {
                return Err(device::disowned(pod, &name));
            }
            if !claims.iter().any(|other| other.metadata.name == found.metadata.name) {
                claims.push(found);
            }
        }
        for claim in claims.iter().filter(|claim| !is_allocated(claim)) {
            let devices = claim.spec.as_ref().and_then(|spec| spec.devices.as_ref());
            for request in devices.into_iter().flat_map(|devices| devices.requests.iter().flatten()) {
                self.check_classes(request)?;
            }
        }
        Ok(claims)
    }

    fn check_classes(&self, request: &DeviceRequest) -> Result<(), String> {
        let own = request.exactly.as_ref().map(|own| (request.name.clone(), own.device_class_name.as_str()));
        let others = request.first_available.iter().flatten();
        let others =
            others.map(|own| (format!("{}/{}", request.name, own.name), own.device_class_name.as_str()));
        for (name, class) in own.into_iter().chain(others) {
            if self.classes.get(&ObjectRef::new(class)).is_none() {
                return Err(format!("request {name}: device class {class} does not exist"));
            }
        }
        Ok(())
    }

    fn grants(
        &self,
        pod: &Pod,
        claims: &[Arc<ResourceClaim>],
        node: &NodeObject,
    ) -> Result<Vec<Grant>, Refusal> {
        let refuse = |why: &str| Refusal::of_devices(why, "still not schedulable");
        let admits = |selector: &k8s_openapi::api::core::v1::NodeSelector| affinity::selects(selector, node);
        let (given, open): (Vec<_>, Vec<_>) = claims.iter().cloned().partition(|claim| is_allocated(claim));
        if given.iter().any(|claim| is_far(claim, node)) {
            return Err(refuse(ELSEWHERE));
        }
        let lacking = given.into_iter().filter(|claim| !is_reserved(pod, claim));
        let mut grants: Vec<Grant> = lacking.map(|claim| Grant { claim, devices: None }).collect();
        if grants.iter().any(|grant| reserved_for(&grant.claim).len() >= RESERVED_MAX) {
            return Err(Refusal::of_claims("resourceclaim in use"));
        }
        if open.is_empty() {
            return Ok(grants);
        }
        let all: Vec<_> = self.claims.all().into_iter().map(|claim| self.newest(claim)).collect();
        let (classes, slices) = (self.classes.all(), self.slices.all());
        let offer = Offer { classes: &classes, slices: &slices, claims: &all };
        let name = node.name_any();
        let place = Place { name: &name, admits: &admits };
        match allocation::allocate(&offer, &place, &open, &mut || Uuid::new_v4().to_string()) {
            Ok(Some(devices)) => {
                let devices = open.into_iter().zip(devices);
                grants.extend(devices.map(|(claim, devices)| Grant { claim, devices: Some(devices) }));
                Ok(grants)
            }
            Ok(None) => Err(refuse(NOT_ALL)),
            Err(Failure::Node(why)) => Err(refuse(&why)),
            Err(Failure::Claim(why)) => {
                Err(Refusal::of_failure(&format!("running \"DynamicResources\" filter plugin: {why}")))
            }
        }
    }

    /// Gives a claim its devices, if it has none, and to the pod. What somebody else wrote in between leads to another
    /// plan later.
    async fn give(&self, node: &Node, pod: &Pod, grant: &Grant) -> Result<(), kube::Error> {
        match self.write(node, pod, grant).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            written => written,
        }
    }

    async fn write(&self, node: &Node, pod: &Pod, grant: &Grant) -> Result<(), kube::Error> {
        let mut claim = ResourceClaim::clone(&grant.claim);
        let (name, namespace) = (claim.name_any(), claim.namespace().unwrap_or_default());
        let claims: Api<ResourceClaim> = Api::namespaced(node.client.clone(), &namespace);
        let seen =
            |claim: &ResourceClaim| json!({"uid": claim.uid(), "resourceVersion": claim.resource_version()});
        if grant.devices.is_some() && !claim.finalizers().iter().any(|own| own == FINALIZER) {
            let mut meta = seen(&claim);
            let finalizers = claim.finalizers().iter().map(String::as_str).chain([FINALIZER]);
            meta["finalizers"] = finalizers.collect();
            let patch = Patch::Merge(json!({"metadata": meta}));
            claim = claims.patch(&name, &PatchParams::default(), &patch).await?;
        }
        let mut users = reserved_for(&claim).to_vec();
        users.push(device::user(pod));
        let mut status = json!({"reservedFor": users});
        if let Some(devices) = &grant.devices {
            status["allocation"] = json!(devices);
        }
        let patch = Patch::Merge(json!({"metadata": seen(&claim), "status": status}));
        let claim = claims.patch_status(&name, &PatchParams::default(), &patch).await?;
        let is_awaited = |own: &Arc<ResourceClaim>| {
            let known = self.claims.get(&ObjectRef::from_obj(&**own));
            known.is_some_and(|known| known.uid() == own.uid() && version(&known) < version(own))
        };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.retain(|_, own| is_awaited(own));
        written.insert(claim.uid().unwrap_or_default(), Arc::new(claim));
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::Value;

    fn known<K>(objects: Vec<Value>) -> Known<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + 'static,
    {
        objects.into_iter().map(|object| serde_json::from_value(object).unwrap()).collect()
    }

    fn devices(claims: Vec<Value>, classes: Vec<Value>, slices: Vec<Value>) -> Devices {
        Devices {
            claims: known(claims),
            classes: known(classes),
            slices: known(slices),
            written: Mutex::default(),
        }
    }

    fn claim(status: Value) -> Value {
        let requests = json!([{"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}}]);
        json!({
            "metadata": {"namespace": "a", "name": "own", "uid": "c", "resourceVersion": "5"},
            "spec": {"devices": {"requests": requests}}, "status": status,
        })
    }

    fn class(expression: &str) -> Value {
        json!({"metadata": {"name": "gpu"}, "spec": {"selectors": [{"cel": {"expression": expression}}]}})
    }

    fn slice(node: &str) -> Value {
        json!({"metadata": {"name": "s"}, "spec": {
            "driver": "gpu.com", "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "d0"}],
        }})
    }

    fn pod(claims: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "a", "name": "web", "uid": "p"},
            "spec": {"containers": [], "resourceClaims": claims},
        }))
        .unwrap()
    }

    fn node() -> NodeObject {
        serde_json::from_value(json!({"metadata": {"name": "edge"}})).unwrap()
    }

    fn plan(devices: &Devices, pod: &Pod) -> Result<Vec<Grant>, String> {
        let claims = devices.usable(pod)?;
        devices.grants(pod, &claims, &node()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn a_pod_whose_claims_nothing_can_satisfy_waits_and_says_why() {
        let own = pod(json!([{"name": "gpu", "resourceClaimName": "own"}]));
        let made = pod(json!([{"name": "gpu", "resourceClaimTemplateName": "t"}]));
        let none = devices(Vec::new(), Vec::new(), Vec::new());
        assert_eq!(plan(&none, &own).unwrap_err(), "resourceclaim.resource.k8s.io \"own\" not found");
        assert_eq!(plan(&none, &made).unwrap_err(), "pod \"a/web\": ResourceClaim not created yet");
        let unclassed = devices(vec![claim(json!({}))], Vec::new(), Vec::new());
        assert_eq!(plan(&unclassed, &own).unwrap_err(), "request r: device class gpu does not exist");
        let empty = devices(vec![claim(json!({}))], vec![class("true")], vec![slice("other")]);
        assert_eq!(
            plan(&empty, &own).unwrap_err(),
            "0/1 nodes are available: 1 cannot allocate all claims. still not schedulable, preemption: 0/1 nodes are \
             available: 1 Preemption is not helpful for scheduling."
        );
        let wrong = devices(
            vec![claim(json!({}))],
            vec![class("device.attributes['gpu.com'].none")],
            vec![slice("edge")],
        );
        assert_eq!(
            plan(&wrong, &own).unwrap_err(),
            "running \"DynamicResources\" filter plugin: class gpu: selector #0: CEL runtime error: no such key: none"
        );
    }

    #[test]
    fn a_claim_is_given_devices_and_then_to_its_pod() {
        let own = pod(json!([{"name": "gpu", "resourceClaimName": "own"}]));
        let free =
            devices(vec![claim(json!({}))], vec![class("device.driver == 'gpu.com'")], vec![slice("edge")]);
        let grants = plan(&free, &own).unwrap();
        let given = grants[0].devices.clone().unwrap();
        assert_eq!(given.devices.as_ref().unwrap().results.as_ref().unwrap()[0].device, "d0");
        let user = json!({"resource": "pods", "name": "web", "uid": "p"});
        let taken = |users: Value| json!({"allocation": given, "reservedFor": users});
        let allocated = devices(vec![claim(taken(json!([])))], Vec::new(), Vec::new());
        assert!(plan(&allocated, &own).unwrap()[0].devices.is_none());
        let ready = devices(vec![claim(taken(json!([user])))], Vec::new(), Vec::new());
        assert_eq!(plan(&ready, &own).unwrap(), []);
        // What was written here counts before it is heard of.
        let mut newer: ResourceClaim = serde_json::from_value(claim(taken(json!([user])))).unwrap();
        newer.metadata.resource_version = Some("6".to_owned());
        free.written.lock().unwrap().insert("c".to_owned(), Arc::new(newer));
        assert_eq!(plan(&free, &own).unwrap(), []);
    }
}
