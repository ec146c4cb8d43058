//! The volume of a claim, and what is to be done about claims and volumes.

use std::path::Path;

use k8s_openapi::api::core::v1::{
    LocalVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Resource as _;
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use xebec_claims::{PROVISIONED_BY, PROVISIONER as ASKED, SELECTED_NODE};

use crate::{Error, PROVISIONER};

/// Keeps a volume from going before its directory. Its name is that of all external provisioners.
pub(crate) const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";
const HOST_NAME: &str = "kubernetes.io/hostname";
/// How long the name of a directory may be, in bytes (NAME_MAX).
const LONGEST: usize = 255;

/// Whether a claim wants a volume on this node.
pub(crate) fn is_wanted(claim: &PersistentVolumeClaim, node: &str) -> bool {
    let notes = claim.annotations();
    let asks = ASKED.iter().any(|key| notes.get(*key).is_some_and(|own| own == PROVISIONER));
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    asks && named.is_empty()
        && claim.metadata.deletion_timestamp.is_none()
        && notes.get(SELECTED_NODE).is_none_or(|selected| selected == node)
}

/// The name of the volume of a claim: no two claims ever have the same.
pub(crate) fn name(uid: &str) -> String {
    format!("pvc-{uid}")
}

/// The name of the directory of the volume of a claim.
pub(crate) fn directory(claim: &ObjectReference) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let mut whole = format!("{}_{}_{}", name(&text(&claim.uid)), text(&claim.namespace), text(&claim.name));
    // Names of objects are ASCII, but a volume that somebody wrote by hand may refer to anything.
    whole.truncate(whole.floor_char_boundary(LONGEST));
    whole
}

/// How a volume refers to its claim.
pub(crate) fn reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    claim.object_ref(&())
}

/// Why a directory cannot be what a claim asks for.
pub(crate) fn unserved(claim: &PersistentVolumeClaim) -> Option<Error> {
    let spec = claim.spec.as_ref()?;
    let why = if spec.volume_mode.as_deref() == Some("Block") {
        "volumeMode Block is not served: a directory is no device; use volumeMode Filesystem"
    } else if spec.selector.is_some() {
        "claim.Spec.Selector is not supported: a volume that is made has no labels"
    } else if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        "claim.Spec.DataSource is not supported: a volume that is made is empty"
    } else {
        return None;
    };
    Some(Error::Unserved(why.to_owned()))
}

/// The volume of a claim, at a path of a node.
pub(crate) fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    path: &Path,
    node: &str,
) -> PersistentVolume {
    let spec = claim.spec.clone().unwrap_or_default();
    let policy = class.reclaim_policy.clone().unwrap_or_else(|| "Delete".to_owned());
    let here = NodeSelectorRequirement {
        key: HOST_NAME.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![here]), match_fields: None };
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name(&claim.uid().unwrap_or_default())),
            annotations: Some([(PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())].into()),
            finalizers: (policy == "Delete").then(|| vec![FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: spec.resources.and_then(|own| own.requests),
            claim_ref: Some(reference(claim)),
            local: Some(LocalVolumeSource { path: path.to_string_lossy().into_owned(), fs_type: None }),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector { node_selector_terms: vec![term] }),
            }),
            persistent_volume_reclaim_policy: Some(policy),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

/// The next step of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is others', or in use, or stays.
    Leave,
    /// Its directory is to go with it from now on, or no longer.
    Hold(bool),
    /// Nobody needs it: it is deleted. Its directory stays until it is, since that alone cannot be taken back.
    Delete,
    /// It was deleted: its directory goes, and then it does.
    Remove(String),
    /// It is to go, and where it is is no place of ours.
    Refuse(String),
}

/// What is to be done about a volume.
pub(crate) fn decide(volume: &PersistentVolume, folder: &Path, node: &str) -> Step {
    let Some(spec) = &volume.spec else { return Step::Leave };
    let is_ours = volume.annotations().get(PROVISIONED_BY).is_some_and(|own| own == PROVISIONER);
    if !is_ours || !is_on(spec, node) {
        return Step::Leave;
    }
    let is_held = volume.finalizers().iter().any(|own| own == FINALIZER);
    let is_ending = volume.metadata.deletion_timestamp.is_some();
    if spec.persistent_volume_reclaim_policy.as_deref() != Some("Delete") {
        return if is_held { Step::Hold(false) } else { Step::Leave };
    }
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let goes = if is_ending { phase != "Bound" && is_held } else { phase == "Released" };
    if !goes {
        return if is_held || is_ending { Step::Leave } else { Step::Hold(true) };
    }
    let path = spec.local.as_ref().map(|local| local.path.clone()).unwrap_or_default();
    let claim = spec.claim_ref.clone().unwrap_or_default();
    let own = directory(&claim);
    // A volume that somebody wrote by hand does not lead to the directory of another.
    let is_made_here = volume.name_any() == name(claim.uid.as_deref().unwrap_or_default())
        && !own.contains('/')
        && Path::new(&path) == folder.join(&own);
    match (is_made_here, is_held, is_ending) {
        (false, ..) => Step::Refuse(path),
        (true, _, true) => Step::Remove(own),
        (true, false, false) => Step::Hold(true),
        (true, true, false) => Step::Delete,
    }
}

fn is_on(spec: &PersistentVolumeSpec, node: &str) -> bool {
    let required = spec.node_affinity.as_ref().and_then(|own| own.required.as_ref());
    let terms = required.map(|own| own.node_selector_terms.as_slice()).unwrap_or_default();
    let mut asked = terms.iter().flat_map(|term| term.match_expressions.iter().flatten());
    asked.any(|own| own.key == HOST_NAME && own.values.iter().flatten().any(|value| value == node))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claim(meta: Value, spec: Value) -> PersistentVolumeClaim {
        let mut whole = json!({"namespace": "a", "name": "data", "uid": "1"});
        whole.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": whole, "spec": spec})).unwrap()
    }

    fn made(policy: &str) -> PersistentVolume {
        let class: StorageClass = serde_json::from_value(
            json!({"metadata": {"name": "c"}, "provisioner": PROVISIONER, "reclaimPolicy": policy}),
        )
        .unwrap();
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        volume(&claim(json!({}), spec), &class, Path::new("/v/pvc-1_a_data"), "edge")
    }

    #[test]
    fn a_claim_is_served_once_its_pods_node_is_this_one() {
        let asks = |key: &str, more: Value, spec: Value| {
            let mut notes = json!({key: PROVISIONER});
            notes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            is_wanted(&claim(json!({"annotations": notes}), spec), "edge")
        };
        for key in ASKED {
            assert!(asks(key, json!({}), json!({})));
            assert!(asks(key, json!({SELECTED_NODE: "edge"}), json!({})));
            assert!(!asks(key, json!({SELECTED_NODE: "other"}), json!({})));
            assert!(!asks(key, json!({}), json!({"volumeName": "pvc-1"})));
        }
        assert!(!is_wanted(&claim(json!({}), json!({})), "edge"));
        let going =
            json!({"annotations": {ASKED[0]: PROVISIONER}, "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert!(!is_wanted(&claim(going, json!({})), "edge"));
    }

    #[test]
    fn what_a_directory_cannot_be_is_said() {
        for (spec, is_served) in [
            (json!({}), true),
            (json!({"volumeMode": "Filesystem"}), true),
            (json!({"volumeMode": "Block"}), false),
            (json!({"selector": {}}), false),
            (json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "b"}}), false),
        ] {
            assert_eq!(unserved(&claim(json!({}), spec.clone())).is_none(), is_served, "{spec}");
        }
    }

    #[test]
    fn a_directory_has_a_name_that_fits_however_long_that_of_the_claim_is() {
        let mut of = reference(&claim(json!({"name": "x".repeat(253)}), json!({})));
        of.uid = Some("0".repeat(36));
        let own = directory(&of);
        assert!(own.len() == 255 && own.starts_with(&name(&"0".repeat(36))), "{own}");
    }

    #[test]
    fn a_volume_that_refers_to_what_no_claim_is_called_is_refused() {
        let mut volume = made("Delete");
        volume.status = serde_json::from_value(json!({"phase": "Released"})).unwrap();
        for odd in ["é".repeat(200), format!("x{}", "é".repeat(200))] {
            volume.spec.as_mut().unwrap().claim_ref.as_mut().unwrap().name = Some(odd);
            assert!(matches!(decide(&volume, Path::new("/v"), "edge"), Step::Refuse(_)));
        }
    }

    #[test]
    fn a_volume_that_is_released_is_deleted_and_one_that_is_deleted_removed_and_only_from_its_own_place() {
        let folder = Path::new("/v");
        let step = |change: &dyn Fn(&mut Value)| {
            let mut value = serde_json::to_value(made("Delete")).unwrap();
            change(&mut value);
            decide(&serde_json::from_value(value).unwrap(), folder, "edge")
        };
        let phase = |phase: &str| {
            let status = json!({"phase": phase});
            move |value: &mut Value| value["status"] = status.clone()
        };
        let remove = Step::Remove("pvc-1_a_data".to_owned());
        assert_eq!(step(&phase("Bound")), Step::Leave);
        assert_eq!(step(&phase("Released")), Step::Delete);
        let unheld = |value: &mut Value| {
            value["status"] = json!({"phase": "Released"});
            value["metadata"]["finalizers"] = json!([]);
        };
        assert_eq!(step(&unheld), Step::Hold(true), "or its directory would stay");
        let ending = |phase: &'static str| {
            move |value: &mut Value| {
                value["status"] = json!({"phase": phase});
                value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
        };
        assert_eq!(step(&ending("Bound")), Step::Leave);
        assert_eq!(step(&ending("Available")), remove);
        for (field, pointer, other) in [
            ("path", "/spec/local/path", json!("/etc")),
            ("path", "/spec/local/path", json!("/v/pvc-1_a_data/..")),
            ("path", "/spec/local/path", json!("/v/pvc-2_a_data")),
            ("name", "/metadata/name", json!("pvc-2")),
            ("claim", "/spec/claimRef/name", json!("x/../../etc")),
            ("claim", "/spec/claimRef/uid", json!("2")),
        ] {
            let found = step(&|value: &mut Value| {
                phase("Released")(value);
                *value.pointer_mut(pointer).unwrap() = other.clone();
            });
            assert!(matches!(found, Step::Refuse(_)), "{field} {other}: {found:?}");
        }
        let others = step(&|value: &mut Value| {
            phase("Released")(value);
            value["metadata"]["annotations"][PROVISIONED_BY] = json!("other");
        });
        assert_eq!(others, Step::Leave);
        assert_eq!(decide(&made("Delete"), folder, "elsewhere"), Step::Leave);
    }

    #[test]
    fn the_directory_goes_with_the_volume_only_as_long_as_its_policy_says_so() {
        let folder = Path::new("/v");
        let mut volume = made("Delete");
        volume.spec.as_mut().unwrap().persistent_volume_reclaim_policy = Some("Retain".to_owned());
        assert_eq!(decide(&volume, folder, "edge"), Step::Hold(false));
        volume.metadata.finalizers = None;
        assert_eq!(decide(&volume, folder, "edge"), Step::Leave);
        volume.spec.as_mut().unwrap().persistent_volume_reclaim_policy = Some("Delete".to_owned());
        assert_eq!(decide(&volume, folder, "edge"), Step::Hold(true));
        assert!(made("Retain").metadata.finalizers.is_none());
    }
}
