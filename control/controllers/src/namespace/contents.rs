//! Deletes what is in a namespace.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use kube::api::{DeleteParams, ListParams};
use kube::core::PartialObjectMeta;
use kube::core::{ApiResource, DynamicObject};
use kube::discovery::{Scope, verbs};
use kube::{Api, Client, ResourceExt as _};

use crate::Error;
use crate::served::{self, qualified};

/// How many kinds are emptied at a time.
const AT_ONCE: usize = 8;

/// What is still in a namespace, and what stood in the way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remaining {
    /// How many objects of each resource are left.
    pub(super) objects: BTreeMap<String, usize>,
    /// How many of them wait for each finalizer.
    pub(super) finalizers: BTreeMap<String, usize>,
    /// Why the kinds of objects could not be found out.
    pub(super) discovery: Option<String>,
    /// Why objects could not be deleted.
    pub(super) failures: Vec<String>,
    /// The resources that are to be looked at again.
    pub(super) resources: Vec<ApiResource>,
}

impl Remaining {
    /// Whether nothing is left and nothing failed.
    pub(super) fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// Deletes everything in a namespace, the pods before all else: until they are gone, they have what they run with (KEP-5080).
/// Tells what is left.
pub(super) async fn empty(client: &Client, namespace: &str) -> Remaining {
    let mut resources = match served::resources(client).await {
        Ok(resources) => resources,
        Err(error) => return Remaining { discovery: Some(error.text()), ..Remaining::default() },
    };
    resources.retain(|(_, capabilities)| {
        capabilities.scope == Scope::Namespaced
            && capabilities.supports_operation(verbs::LIST)
            && capabilities.supports_operation(verbs::DELETE_COLLECTION)
    });
    let is_pods = |resource: &ApiResource| resource.group.is_empty() && resource.plural == "pods";
    let (pods, others): (Vec<_>, Vec<_>) =
        resources.into_iter().map(|(resource, _)| resource).partition(is_pods);
    let remaining = empty_all_of(client, namespace, pods).await;
    if !remaining.objects.is_empty() {
        return remaining;
    }
    let failures = remaining.failures;
    let mut remaining = empty_all_of(client, namespace, others).await;
    remaining.failures.extend(failures);
    remaining
}

/// Deletes all objects of these resources; tells what is left. What fails for one does not hold up the others.
pub(super) async fn empty_all_of(client: &Client, namespace: &str, resources: Vec<ApiResource>) -> Remaining {
    let emptied = futures::stream::iter(resources)
        .map(|resource| async move {
            let outcome = empty_of(client, namespace, &resource).await;
            (resource, outcome)
        })
        .buffered(AT_ONCE);
    let outcomes: Vec<_> = emptied.collect().await;
    let mut remaining = Remaining::default();
    for (resource, outcome) in outcomes {
        let name = qualified(&resource);
        match outcome {
            Ok(left) if left.is_empty() => continue,
            Ok(left) => {
                remaining.objects.insert(name, left.len());
                for finalizer in left.iter().flat_map(|object| object.finalizers()) {
                    *remaining.finalizers.entry(finalizer.clone()).or_default() += 1;
                }
            }
            Err(error) => remaining.failures.push(format!("{name}: {}", error.text())),
        }
        remaining.resources.push(resource);
    }
    remaining.failures.sort();
    remaining
}

/// Deletes all objects of one resource; gives those that were there before.
async fn empty_of(
    client: &Client,
    namespace: &str,
    resource: &ApiResource,
) -> Result<Vec<PartialObjectMeta<DynamicObject>>, Error> {
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let there = objects.list_metadata(&ListParams::default()).await?.items;
    if there.iter().any(|object| object.metadata.deletion_timestamp.is_none()) {
        objects.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        return Ok(objects.list_metadata(&ListParams::default()).await?.items);
    }
    Ok(there)
}
