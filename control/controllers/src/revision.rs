//! ControllerRevisions: the templates that a StatefulSet or DaemonSet had, by which its pods tell which one they follow.

use std::fmt::Debug;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{ListParams, ObjectMeta, Patch};
use kube::{Api, Resource, ResourceExt as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::owner::{changing, controlled_by, controller_reference, delete, query, writing};

/// The label by which a pod names its revision: the hash of it in a DaemonSet, its whole name in a StatefulSet.
pub(crate) const HASH_LABEL: &str = "controller-revision-hash";
/// Letters that spell no word.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const LENGTH: usize = 10;

/// What a revision keeps: a patch that brings the template back.
pub(crate) fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// The template that a revision keeps.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// The hash of a revision's data. `collisions` tells apart templates whose hashes are the same.
pub(crate) fn hash(data: &Value, collisions: i32) -> String {
    let mut digest = Sha256::new();
    digest.update(data.to_string());
    digest.update(collisions.to_be_bytes());
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    digest.finalize().iter().take(LENGTH).map(letter).collect()
}

/// The label of a revision.
pub(crate) fn label(revision: &ControllerRevision) -> String {
    revision.labels().get(HASH_LABEL).cloned().unwrap_or_default()
}

/// What became of the revisions in a pass.
pub(crate) struct Revisions {
    /// All of them, the oldest first.
    pub(crate) all: Vec<ControllerRevision>,
    /// That of the current template.
    pub(crate) update: ControllerRevision,
    /// How often a name was taken by another template.
    pub(crate) collisions: i32,
}

/// Finds the revision of a template, or makes it; the newest number is always that of the current template.
pub(crate) async fn sync<O>(
    api: &Api<ControllerRevision>,
    owner: &O,
    selector: &LabelSelector,
    current: &PodTemplateSpec,
    mut collisions: i32,
) -> Result<Revisions, Error>
where
    O: Resource<DynamicType = ()>,
{
    let uid = owner.uid().unwrap_or_default();
    let mut all = api.list(&ListParams::default().labels(&query(selector))).await?.items;
    all.retain(|revision| controlled_by(revision, &uid));
    all.sort_by_key(|revision| (revision.revision, revision.name_any()));
    let data = data(current);
    let newest = all.last().and_then(|revision| revision.revision).unwrap_or(0);
    let equal = |revision: &ControllerRevision| revision.data.0 == data;
    if let Some(at) = all.iter().rposition(equal) {
        if all[at].revision.unwrap_or(0) < newest {
            let found = &all[at];
            let meta = json!({"uid": found.uid(), "resourceVersion": found.resource_version()});
            let patch = Patch::Merge(json!({"metadata": meta, "revision": newest + 1}));
            let raised = api.patch(&found.name_any(), &changing(), &patch).await?;
            all.remove(at);
            all.push(raised);
        }
        let update = all.iter().rfind(|revision| equal(revision)).cloned();
        let update = update.ok_or(Error::Incomplete { kind: "ControllerRevision", field: "data" })?;
        return Ok(Revisions { all, update, collisions });
    }
    loop {
        let hash = hash(&data, collisions);
        let mut labels = selector.match_labels.clone().unwrap_or_default();
        labels.extend(current.metadata.iter().flat_map(|meta| meta.labels.clone().unwrap_or_default()));
        labels.insert(HASH_LABEL.to_owned(), hash.clone());
        let new = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", owner.name_any())),
                labels: Some(labels),
                annotations: annotations(owner),
                owner_references: Some(vec![controller_reference(owner)]),
                ..ObjectMeta::default()
            },
            data: RawExtension(data.clone()),
            revision: Some(newest + 1),
        };
        let update = match api.create(&writing(), &new).await.map_err(Error::from) {
            Ok(made) => made,
            Err(error) if error.already_exists() => {
                let there = api.get_opt(&new.name_any()).await?;
                match there.filter(|there| equal(there) && controlled_by(there, &uid)) {
                    Some(there) => there,
                    None => {
                        collisions = collisions.saturating_add(1);
                        continue;
                    }
                }
            }
            Err(error) => return Err(error),
        };
        all.push(update.clone());
        return Ok(Revisions { all, update, collisions });
    }
}

/// What a revision tells of why it was made: its owner's annotations, without the copy of its whole manifest.
fn annotations<O: Resource>(owner: &O) -> Option<std::collections::BTreeMap<String, String>> {
    let mut all = owner.annotations().clone();
    all.remove("kubectl.kubernetes.io/last-applied-configuration");
    (!all.is_empty()).then_some(all)
}

/// Deletes the oldest revisions that no pod follows, above the number that history keeps.
pub(crate) async fn clean(
    api: &Api<ControllerRevision>,
    all: &[ControllerRevision],
    in_use: impl Fn(&ControllerRevision) -> bool,
    limit: Option<i32>,
) -> Result<(), Error> {
    for revision in surplus(all, in_use, limit) {
        delete(api, revision).await?;
    }
    Ok(())
}

fn surplus<T: Debug>(all: &[T], in_use: impl Fn(&T) -> bool, limit: Option<i32>) -> Vec<&T> {
    let keep = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    let idle: Vec<&T> = all.iter().filter(|revision| !in_use(revision)).collect();
    let over = idle.len().saturating_sub(keep);
    idle.into_iter().take(over).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    #[test]
    fn a_revision_gives_back_the_template_that_it_keeps() {
        let original: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db", "image": "db:1"}]},
        }))
        .unwrap();
        let data = data(&original);
        let revision =
            ControllerRevision { data: RawExtension(data.clone()), ..ControllerRevision::default() };
        assert_eq!(template(&revision), Some(original));
        assert_ne!(hash(&data, 0), hash(&data, 1));
        assert_eq!(hash(&data, 0).len(), LENGTH);
    }

    #[test]
    fn history_keeps_what_is_in_use_and_the_newest_of_the_rest() {
        assert_eq!(surplus(&[1, 2, 3, 4, 5], |revision| *revision == 1, Some(2)), [&2, &3]);
        assert!(surplus(&[1, 2], |_| false, None).is_empty());
    }
}
