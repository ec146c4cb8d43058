//! The classes of claims and volumes.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;

/// Names the class of a claim or volume, from before there was a field for it.
const ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// The class that a claim names; empty where it wants none, nothing where it says nothing.
pub fn of_claim(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotated = claim.annotations().get(ANNOTATION).map(String::as_str);
    annotated.or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref())
}

/// The class of a volume; empty where it has none.
pub fn of_volume(volume: &PersistentVolume) -> &str {
    let annotated = volume.annotations().get(ANNOTATION).map(String::as_str);
    let named = || volume.spec.as_ref()?.storage_class_name.as_deref();
    annotated.or_else(named).unwrap_or_default()
}

/// The class of claims that say nothing: the newest of those that say so of themselves, and of those the first by name.
pub fn default(classes: &[StorageClass]) -> Option<&StorageClass> {
    let says_so = |class: &&StorageClass| {
        DEFAULT.iter().any(|key| class.annotations().get(*key).is_some_and(|value| value == "true"))
    };
    classes.iter().filter(says_so).min_by(|one, other| {
        let born = |class: &StorageClass| class.creation_timestamp();
        born(other).cmp(&born(one)).then_with(|| one.name_any().cmp(&other.name_any()))
    })
}

/// The class of this name.
pub fn named<'a>(classes: &'a [StorageClass], name: &str) -> Option<&'a StorageClass> {
    classes.iter().find(|class| class.metadata.name.as_deref() == Some(name))
}

/// Whether claims of the class wait until a pod wants them.
pub fn waits(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_newest_class_that_is_the_default_counts() {
        let class = |name: &str, born: &str, default: &str| -> StorageClass {
            serde_json::from_value(json!({"provisioner": "a", "metadata": {
                "name": name, "creationTimestamp": born, "annotations": {DEFAULT[0]: default},
            }}))
            .unwrap()
        };
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        let classes = [
            class("old", old, "true"),
            class("z", new, "true"),
            class("b", new, "true"),
            class("a", new, "false"),
        ];
        assert_eq!(default(&classes).unwrap().name_any(), "b");
        assert!(default(&classes[3..]).is_none());
    }
}
