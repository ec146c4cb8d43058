//! Deletes what is in a namespace.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use kube::api::{DeleteParams, ListParams};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::discovery::verbs;
use kube::{Api, Client, ResourceExt as _};

use crate::Error;
use crate::owner::unless_gone;
use crate::served::{Kind, Served};

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
    /// The kinds that are to be looked at again.
    pub(super) kinds: Vec<Kind>,
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
    let Served { mut kinds, stale } = match Served::look(client).await {
        Ok(served) => served,
        Err(error) => return Remaining { discovery: Some(error.text()), ..Remaining::default() },
    };
    kinds.retain(|kind| kind.is_namespaced && kind.can(verbs::LIST) && kind.can(verbs::DELETE));
    let is_pods = |kind: &Kind| kind.resource.group.is_empty() && kind.resource.plural == "pods";
    let (pods, others): (Vec<_>, Vec<_>) = kinds.into_iter().partition(is_pods);
    let remaining = empty_all_of(client, namespace, pods).await;
    if !remaining.objects.is_empty() {
        return remaining;
    }
    let failures = remaining.failures;
    let mut remaining = empty_all_of(client, namespace, others).await;
    remaining.failures.extend(failures);
    // A server that does not say what it has may have something here.
    remaining.discovery = (!stale.is_empty()).then(|| {
        let told: Vec<String> =
            stale.iter().map(|own| format!("{own}: stale GroupVersion discovery: {own}")).collect();
        format!("unable to retrieve the complete list of server APIs: {}", told.join(", "))
    });
    remaining
}

/// Deletes all objects of these kinds; tells what is left. What fails for one does not hold up the others.
pub(super) async fn empty_all_of(client: &Client, namespace: &str, kinds: Vec<Kind>) -> Remaining {
    let emptied = futures::stream::iter(kinds)
        .map(|kind| async move {
            let outcome = empty_of(client, namespace, &kind).await;
            (kind, outcome)
        })
        .buffered(AT_ONCE);
    let outcomes: Vec<_> = emptied.collect().await;
    let mut remaining = Remaining::default();
    for (kind, outcome) in outcomes {
        let name = kind.qualified();
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
        remaining.kinds.push(kind);
    }
    remaining.failures.sort();
    remaining
}

/// Deletes all objects of one kind, all together where the API does that; gives those that are left.
async fn empty_of(
    client: &Client,
    namespace: &str,
    kind: &Kind,
) -> Result<Vec<PartialObjectMeta<DynamicObject>>, Error> {
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource);
    let there = objects.list_metadata(&ListParams::default()).await?.items;
    let stays = |object: &&PartialObjectMeta<DynamicObject>| object.metadata.deletion_timestamp.is_none();
    if !there.iter().any(|object| stays(&object)) {
        return Ok(there);
    }
    if kind.can(verbs::DELETE_COLLECTION) {
        objects.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
    } else {
        for object in there.iter().filter(stays) {
            unless_gone(objects.delete(&object.name_any(), &DeleteParams::background()).await)?;
        }
    }
    Ok(objects.list_metadata(&ListParams::default()).await?.items)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests;
