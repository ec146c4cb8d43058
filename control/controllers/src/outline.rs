//! Objects as far as their metadata tell.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{Deserialize, Deserializer};

/// The metadata of an object of a kind, without the books of who owns which field.
///
/// It is asked for and read as metadata alone. Unlike kube's own type for that it is read in one pass, and what it leaves out
/// is not read at all: a collector that watches everything reads little else.
#[derive(Debug, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Outline<K> {
    #[serde(deserialize_with = "without_books")]
    pub(crate) metadata: ObjectMeta,
    #[serde(skip)]
    of: PhantomData<fn() -> K>,
}

// Not derived, which would ask the same of `K`.
impl<K> Clone for Outline<K> {
    fn clone(&self) -> Self {
        Self { metadata: self.metadata.clone(), of: PhantomData }
    }
}

fn without_books<'de, D: Deserializer<'de>>(source: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        annotations: Option<BTreeMap<String, String>>,
        creation_timestamp: Option<Time>,
        deletion_grace_period_seconds: Option<i64>,
        deletion_timestamp: Option<Time>,
        finalizers: Option<Vec<String>>,
        generate_name: Option<String>,
        generation: Option<i64>,
        labels: Option<BTreeMap<String, String>>,
        name: Option<String>,
        namespace: Option<String>,
        owner_references: Option<Vec<OwnerReference>>,
        resource_version: Option<String>,
        uid: Option<String>,
    }
    let told = Told::deserialize(source)?;
    Ok(ObjectMeta {
        annotations: told.annotations,
        creation_timestamp: told.creation_timestamp,
        deletion_grace_period_seconds: told.deletion_grace_period_seconds,
        deletion_timestamp: told.deletion_timestamp,
        finalizers: told.finalizers,
        generate_name: told.generate_name,
        generation: told.generation,
        labels: told.labels,
        name: told.name,
        namespace: told.namespace,
        owner_references: told.owner_references,
        resource_version: told.resource_version,
        uid: told.uid,
        ..ObjectMeta::default()
    })
}

impl<K: Resource> Resource for Outline<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn api_version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::api_version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn metadata_api() -> bool {
        true
    }

    fn url_path(of: &Self::DynamicType, namespace: Option<&str>) -> String {
        K::url_path(of, namespace)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::WatchEvent;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outline_is_all_of_the_metadata_but_the_books() {
        let metadata = json!({
            "annotations": {"a": "b"}, "creationTimestamp": "2026-01-02T03:04:05Z", "deletionGracePeriodSeconds": 3,
            "deletionTimestamp": "2026-01-02T03:04:08Z", "finalizers": ["x/y"], "generateName": "g-", "generation": 2, "labels": {"c": "d"},
            "name": "n", "namespace": "s", "resourceVersion": "7", "uid": "u",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "v", "controller": true}],
        });
        let mut told = metadata.clone();
        told["managedFields"] = json!([{"manager": "m", "fieldsV1": {"f:metadata": {}}}]);
        let line = json!({"type": "ADDED", "object": {"kind": "PartialObjectMetadata", "metadata": told}});
        let event: WatchEvent<Outline<Pod>> = serde_json::from_value(line).unwrap();
        let WatchEvent::Added(pod) = event else { panic!("{event:?}") };
        assert_eq!(serde_json::to_value(pod.meta()).unwrap(), metadata);
        assert!(Outline::<Pod>::metadata_api());
    }
}
