//! What is to be done about a volume.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt as _;
use xebec_claims::{BY_CONTROLLER, PROVISIONED_BY, matching};

use super::{BUILT_IN, Told};

/// The next step of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is in this phase.
    Phase(&'static str),
    /// Its claim is gone: it is released, and then this becomes of it.
    Reclaim(Reclaim),
    /// It is no longer the claim's, which has another.
    Unbind {
        /// Whether it was chosen for the claim here; else its user wants it kept for a claim of that name.
        whole: bool,
    },
    /// It cannot be what the claim wants: said of both.
    Mismatch {
        /// Of the volume.
        volume: Told,
        /// Of the claim.
        claim: Told,
    },
    /// Somebody else has the next step.
    Nothing,
}

/// What becomes of a released volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reclaim {
    /// Others take care of it, or nobody does.
    Leave,
    /// It cannot be done here.
    Fail(Told),
}

/// Says what is to be done about a volume and the claim of the name that it refers to.
pub fn decide(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Step {
    let Some(spec) = &volume.spec else { return Step::Nothing };
    let uid = spec.claim_ref.as_ref().and_then(|reference| reference.uid.as_deref()).unwrap_or_default();
    if uid.is_empty() {
        return Step::Phase("Available");
    }
    // Another claim of the name is another claim.
    let Some(claim) = claim.filter(|claim| claim.metadata.uid.as_deref() == Some(uid)) else {
        return Step::Reclaim(reclaim(volume));
    };
    let asked = claim.spec.clone().unwrap_or_default();
    match asked.volume_name.as_deref().unwrap_or_default() {
        "" if matching::differ_in_mode(&asked, spec) => Step::Mismatch {
            volume: Told::warning(
                "VolumeMismatch",
                format!(
                    "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to incompatible volumeMode.",
                    claim.name_any()
                ),
            ),
            claim: Told::warning(
                "VolumeMismatch",
                format!(
                    "Cannot bind PersistentVolume {:?} to requested PersistentVolumeClaim due to incompatible volumeMode.",
                    volume.name_any()
                ),
            ),
        },
        // The claim's own pass has the next step.
        "" => Step::Nothing,
        name if name == volume.name_any() => Step::Phase("Bound"),
        _ => {
            let deletes = spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
            if deletes && volume.annotations().contains_key(PROVISIONED_BY) {
                return Step::Reclaim(reclaim(volume));
            }
            Step::Unbind { whole: volume.annotations().contains_key(BY_CONTROLLER) }
        }
    }
}

fn reclaim(volume: &PersistentVolume) -> Reclaim {
    let spec = volume.spec.clone().unwrap_or_default();
    let fail = |reason, why: String| Reclaim::Fail(Told::warning(reason, why));
    match spec.persistent_volume_reclaim_policy.as_deref() {
        None | Some("Retain") => Reclaim::Leave,
        Some("Recycle") => fail("VolumeFailedRecycle", "No recycler plugin found for the volume!".to_owned()),
        Some("Delete") => {
            let maker = volume.annotations().get(PROVISIONED_BY).map(String::as_str).unwrap_or_default();
            let has_deleter = !maker.is_empty() && !maker.starts_with(BUILT_IN);
            if has_deleter || spec.csi.is_some() {
                return Reclaim::Leave;
            }
            let why = format!(
                "error getting deleter volume plugin for volume {:?}: no deletable volume plugin matched",
                volume.name_any()
            );
            fail("VolumeFailedDelete", why)
        }
        Some(_) => fail(
            "VolumeUnknownReclaimPolicy",
            "Volume has unrecognized PersistentVolumeReclaimPolicy".to_owned(),
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn volume(reference: Value, policy: &str, annotations: Value) -> PersistentVolume {
        serde_json::from_value(json!({
            "metadata": {"name": "one", "annotations": annotations},
            "spec": {"claimRef": reference, "persistentVolumeReclaimPolicy": policy},
        }))
        .unwrap()
    }

    fn claim(uid: &str, spec: Value) -> PersistentVolumeClaim {
        let meta = json!({"namespace": "a", "name": "data", "uid": uid});
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
    }

    fn reference(uid: &str) -> Value {
        json!({"namespace": "a", "name": "data", "uid": uid})
    }

    #[test]
    fn a_volume_is_free_until_a_claim_has_it() {
        let own = claim("u", json!({"volumeName": "one"}));
        for kept in [json!(null), json!({"namespace": "a", "name": "data"})] {
            let free = volume(kept, "Retain", json!({}));
            assert_eq!(decide(&free, Some(&own)), Step::Phase("Available"));
        }
        let bound = volume(reference("u"), "Retain", json!({}));
        assert_eq!(decide(&bound, Some(&own)), Step::Phase("Bound"));
        assert_eq!(decide(&bound, Some(&claim("u", json!({})))), Step::Nothing, "the claim takes the step");
        let block = claim("u", json!({"volumeMode": "Block"}));
        assert!(matches!(decide(&bound, Some(&block)), Step::Mismatch { .. }));
    }

    #[test]
    fn what_becomes_of_a_volume_without_its_claim_is_its_policys_to_say() {
        let by = |maker: &str| json!({PROVISIONED_BY: maker});
        for (policy, annotations, reason) in [
            ("Retain", json!({}), None),
            ("Delete", by("example.com/local"), None),
            ("Delete", by("kubernetes.io/gce-pd"), Some("VolumeFailedDelete")),
            ("Delete", json!({}), Some("VolumeFailedDelete")),
            ("Recycle", json!({}), Some("VolumeFailedRecycle")),
            ("Sell", json!({}), Some("VolumeUnknownReclaimPolicy")),
        ] {
            let left = volume(reference("u"), policy, annotations.clone());
            let other = claim("newer", json!({"volumeName": "one"}));
            for there in [None, Some(&other)] {
                let found = match decide(&left, there) {
                    Step::Reclaim(Reclaim::Leave) => None,
                    Step::Reclaim(Reclaim::Fail(told)) => Some(told.reason),
                    other => panic!("{policy} {annotations}: {other:?}"),
                };
                assert_eq!(found, reason, "{policy} {annotations}");
            }
        }
    }

    #[test]
    fn a_volume_whose_claim_has_another_is_free_again_or_goes_if_it_was_made_for_that_claim() {
        let elsewhere = claim("u", json!({"volumeName": "two"}));
        let step = |policy: &str, annotations: Value| {
            decide(&volume(reference("u"), policy, annotations), Some(&elsewhere))
        };
        assert_eq!(step("Delete", json!({BY_CONTROLLER: "yes"})), Step::Unbind { whole: true });
        assert_eq!(step("Retain", json!({})), Step::Unbind { whole: false });
        let made = json!({PROVISIONED_BY: "example.com/local"});
        assert_eq!(step("Delete", made.clone()), Step::Reclaim(Reclaim::Leave));
        assert_eq!(step("Retain", made), Step::Unbind { whole: false });
    }
}
