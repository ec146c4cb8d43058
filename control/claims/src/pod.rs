//! The claims that a pod uses.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use kube::ResourceExt as _;

/// The name of the claim of a volume, and whether it is the pod's own, as that of an ephemeral volume is.
pub fn claim_of(pod: &Pod, volume: &Volume) -> Option<(String, bool)> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some((source.claim_name.clone(), false));
    }
    volume.ephemeral.as_ref().map(|_| (format!("{}-{}", pod.name_any(), volume.name), true))
}

/// The claims of all volumes of a pod, as [`claim_of`] tells of each.
pub fn claims(pod: &Pod) -> impl Iterator<Item = (String, bool)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| claim_of(pod, volume))
}

/// Whether a claim is a pod's own.
pub fn owns(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    claim.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// What is said where the claim of an ephemeral volume is another's.
pub fn disowned(pod: &Pod, claim: &str) -> String {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    format!("PVC {namespace}/{claim} was not created for pod {namespace}/{name} (pod is not owner)")
}

/// Whether a pod uses a claim.
pub fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let own = claim.name_any();
    pod.metadata.namespace == claim.metadata.namespace
        && claims(pod).any(|(name, is_own)| name == own && (!is_own || owns(pod, claim)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_pod_uses_the_claims_that_it_names_and_those_that_are_its_own() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "a", "name": "web", "uid": "p"},
            "spec": {"containers": [], "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "stays"}},
                {"name": "tmp", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                {"name": "none", "emptyDir": {}},
            ]},
        }))
        .unwrap();
        let named = |name: &str, owners: Value| -> PersistentVolumeClaim {
            let meta = json!({"namespace": "a", "name": name, "ownerReferences": owners});
            serde_json::from_value(json!({"metadata": meta})).unwrap()
        };
        let owner = |uid: &str| json!([{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": uid, "controller": true}]);
        for (claim, expected) in [
            (named("stays", json!([])), true),
            (named("web-tmp", owner("p")), true),
            (named("web-tmp", owner("other")), false),
            (named("web-tmp", json!([])), false),
            (named("web-data", owner("p")), false),
            (named("web-none", owner("p")), false),
        ] {
            assert_eq!(uses(&pod, &claim), expected, "{claim:?}");
        }
        let mut elsewhere = named("stays", json!([]));
        elsewhere.metadata.namespace = Some("b".to_owned());
        assert!(!uses(&pod, &elsewhere));
    }
}
