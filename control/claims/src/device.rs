//! The claims of devices that a pod uses.

use k8s_openapi::api::core::v1::{Pod, PodResourceClaim};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference};
use kube::ResourceExt as _;

/// What keeps a claim that has devices.
pub const FINALIZER: &str = "resource.kubernetes.io/delete-protection";
/// For which of a pod's claims a claim was made.
pub const MADE_FOR: &str = "resource.kubernetes.io/pod-claim-name";
/// For how many one claim may be reserved.
pub const RESERVED_MAX: usize = 256;

/// A claim of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// There is one of this name; it must be the pod's own, if it was made by a template.
    Claim {
        /// The name.
        name: String,
        /// Whether it was made for the pod.
        is_own: bool,
    },
    /// It was found that the pod needs none.
    Unneeded,
    /// It is still to be made.
    Waited,
}

/// What the pod's list of claims says.
pub fn claims(pod: &Pod) -> &[PodResourceClaim] {
    pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_deref()).unwrap_or_default()
}

/// Which claim is meant.
pub fn named(pod: &Pod, claim: &PodResourceClaim) -> Named {
    if let Some(name) = &claim.resource_claim_name {
        return Named::Claim { name: name.clone(), is_own: false };
    }
    let mut told = pod.status.iter().flat_map(|status| status.resource_claim_statuses.iter().flatten());
    match told.find(|told| told.name == claim.name).map(|told| &told.resource_claim_name) {
        Some(Some(name)) => Named::Claim { name: name.clone(), is_own: true },
        Some(None) => Named::Unneeded,
        None => Named::Waited,
    }
}

/// What is said where a claim is still to be made.
pub fn waited(pod: &Pod) -> String {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    format!("pod \"{namespace}/{name}\": ResourceClaim not created yet")
}

/// Whether a claim was made for a pod.
pub fn owns(pod: &Pod, claim: &ResourceClaim) -> bool {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    claim.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// What is said where a claim was made for another.
pub fn disowned(pod: &Pod, claim: &str) -> String {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    format!("ResourceClaim {namespace}/{claim} was not created for Pod {namespace}/{name} (Pod is not owner)")
}

/// For whom a claim is reserved.
pub fn reserved_for(claim: &ResourceClaim) -> &[ResourceClaimConsumerReference] {
    claim.status.as_ref().and_then(|status| status.reserved_for.as_deref()).unwrap_or_default()
}

/// Whether a claim is reserved for a pod.
pub fn is_reserved(pod: &Pod, claim: &ResourceClaim) -> bool {
    reserved_for(claim).iter().any(|own| Some(&own.uid) == pod.metadata.uid.as_ref())
}

/// A pod as one for whom a claim is reserved.
pub fn user(pod: &Pod) -> ResourceClaimConsumerReference {
    ResourceClaimConsumerReference {
        api_group: None,
        resource: "pods".to_owned(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
    }
}

/// Whether a claim has its devices.
pub fn is_allocated(claim: &ResourceClaim) -> bool {
    claim.status.as_ref().is_some_and(|status| status.allocation.is_some())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_names_its_claims_or_is_told_them() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "a", "name": "web", "uid": "p"},
            "spec": {"containers": [], "resourceClaims": [
                {"name": "one", "resourceClaimName": "shared"}, {"name": "two", "resourceClaimTemplateName": "t"},
                {"name": "three", "resourceClaimTemplateName": "t"}, {"name": "four", "resourceClaimTemplateName": "t"},
            ]},
            "status": {"resourceClaimStatuses": [{"name": "two", "resourceClaimName": "web-two-x"}, {"name": "three"}]},
        }))
        .unwrap();
        let all: Vec<Named> = claims(&pod).iter().map(|claim| named(&pod, claim)).collect();
        let claim = |name: &str, is_own: bool| Named::Claim { name: name.to_owned(), is_own };
        assert_eq!(all, [claim("shared", false), claim("web-two-x", true), Named::Unneeded, Named::Waited]);
        assert_eq!(waited(&pod), "pod \"a/web\": ResourceClaim not created yet");
    }
}
