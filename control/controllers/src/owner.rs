//! Who owns whom, and the few requests that all controllers make alike.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{Selector, SelectorExt as _};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Error;

/// The reference to an owner that controls what it owns.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Whether the owner of this uid controls an object.
pub(crate) fn controlled_by<K: Resource>(object: &K, uid: &str) -> bool {
    object.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// Whether nobody controls an object.
pub(crate) fn is_orphan<K: Resource>(object: &K) -> bool {
    !object.owner_references().iter().any(|owner| owner.controller == Some(true))
}

/// Whether an object is on its way out.
pub(crate) fn is_ending<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// The controller of an object, if it is of this kind.
pub(crate) fn controller<T: Resource<DynamicType = ()>>(object: &impl Resource) -> Option<ObjectRef<T>> {
    let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    if owner.kind != T::kind(&()) || group != T::group(&()) {
        return None;
    }
    let found = ObjectRef::new(&owner.name);
    Some(match object.meta().namespace.as_deref() {
        Some(namespace) => found.within(namespace),
        None => found,
    })
}

/// A label selector that was read. One that cannot be read selects nothing.
pub(crate) fn selector_of(selector: &LabelSelector) -> Option<Selector> {
    selector.clone().try_into().ok()
}

/// A label selector as a query. Expressions are part of it.
pub(crate) fn query(selector: &LabelSelector) -> String {
    let mut terms: Vec<String> =
        selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    for expression in selector.match_expressions.iter().flatten() {
        let values = expression.values.clone().unwrap_or_default().join(",");
        let key = &expression.key;
        terms.push(match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            _ => format!("!{key}"),
        });
    }
    terms.join(",")
}

/// The owners in an object's namespace that might adopt it: none if somebody controls it.
pub(crate) fn suitors<T>(
    object: &impl Resource,
    owners: &Store<T>,
    selector: impl Fn(&T) -> Option<LabelSelector>,
) -> Vec<ObjectRef<T>>
where
    T: Resource<DynamicType = ()> + Clone + 'static,
{
    if !is_orphan(object) {
        return Vec::new();
    }
    let here = |owner: &&Arc<T>| owner.meta().namespace == object.meta().namespace;
    let matching = |owner: &&Arc<T>| {
        selector(owner)
            .as_ref()
            .and_then(selector_of)
            .is_some_and(|selector| selector.matches(object.labels()))
    };
    let owners = owners.state();
    owners.iter().filter(here).filter(matching).map(|owner| ObjectRef::from_obj(&**owner)).collect()
}

/// What a controller may do about one object, by who owns it and whether its labels match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the controller's own.
    Mine,
    /// Nobody's, and it matches.
    Adopt,
    /// The controller's own, and it no longer matches.
    Release,
    /// None of its business.
    Leave,
}

/// Judges one object. An owner that is ending neither adopts nor releases.
pub(crate) fn claim<K: Resource>(object: &K, owner: &str, selector: &Selector, owner_ends: bool) -> Claim {
    let matches = selector.matches(object.labels());
    if controlled_by(object, owner) {
        return if matches || owner_ends { Claim::Mine } else { Claim::Release };
    }
    if is_orphan(object) && matches && !owner_ends && !is_ending(object) {
        Claim::Adopt
    } else {
        Claim::Leave
    }
}

/// Finds the objects that are an owner's: those it controls, and those that it takes over now. `known` are the names of the
/// objects that it is known to control; those that the selector does not find are let go.
pub(crate) async fn claim_all<K, O>(
    objects: &Api<K>,
    owner: &O,
    selector: &LabelSelector,
    known: Vec<String>,
    adoptable: impl Fn(&K) -> bool,
) -> Result<Vec<K>, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    O: Resource<DynamicType = ()>,
{
    let uid = owner.uid().unwrap_or_default();
    let Some(read) = selector_of(selector) else { return Ok(Vec::new()) };
    let mut found = objects.list(&ListParams::default().labels(&query(selector))).await?.items;
    for name in known {
        if !found.iter().any(|object| object.name_any() == name) {
            found.extend(objects.get_opt(&name).await?);
        }
    }
    let mut mine = Vec::new();
    for object in found {
        match claim(&object, &uid, &read, is_ending(owner)) {
            Claim::Mine => mine.push(object),
            Claim::Adopt if adoptable(&object) => {
                mine.extend(adopt(objects, &object, controller_reference(owner)).await?);
            }
            Claim::Release => release(objects, &object, &uid).await?,
            Claim::Adopt | Claim::Leave => {}
        }
    }
    Ok(mine)
}

/// Deletes an object that is still the one that was seen. One that is gone already is no error.
pub(crate) async fn delete<K>(api: &Api<K>, object: &K) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let preconditions = Preconditions { uid: object.uid(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    unless_gone(api.delete(&object.name_any(), &parameters).await).map(drop)
}

/// Takes an object over, if it is still as it was seen; nothing comes of it if the object is gone.
async fn adopt<K>(api: &Api<K>, object: &K, owner: OwnerReference) -> Result<Option<K>, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let mut owners = object.owner_references().to_vec();
    owners.push(owner);
    set_owners(api, object, &owners).await
}

/// Lets go of an object, if it is still as it was seen.
async fn release<K>(api: &Api<K>, object: &K, owner: &str) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let owners: Vec<_> = object.owner_references().iter().filter(|own| own.uid != owner).cloned().collect();
    set_owners(api, object, &owners).await.map(drop)
}

async fn set_owners<K>(api: &Api<K>, object: &K, owners: &[OwnerReference]) -> Result<Option<K>, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let patch = json!({"metadata": {
        "uid": object.uid(),
        "resourceVersion": object.resource_version(),
        "ownerReferences": owners,
    }});
    unless_gone(api.patch(&object.name_any(), &changing(), &Patch::Merge(patch)).await)
}

/// Takes "not found" for an answer.
pub(crate) fn unless_gone<T>(outcome: Result<T, kube::Error>) -> Result<Option<T>, Error> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        outcome => Ok(Some(outcome?)),
    }
}

/// Who owns the fields that controllers write: all of them are one program to clients, as upstream's are.
const PROGRAM: &str = "kube-controller-manager";

/// The parameters of a write by a controller.
pub(crate) fn writing() -> PostParams {
    PostParams { field_manager: Some(PROGRAM.to_owned()), ..PostParams::default() }
}

/// The parameters of a change by a controller.
pub(crate) fn changing() -> PatchParams {
    PatchParams { field_manager: Some(PROGRAM.to_owned()), ..PatchParams::default() }
}

/// Writes a whole status if it differs from the one that the object has. Only if nobody wrote in between: an older pass
/// never overwrites what a newer one found.
pub(crate) async fn write_status<K, S>(
    api: &Api<K>,
    object: &K,
    before: Option<&S>,
    status: &S,
) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    S: Serialize + PartialEq,
{
    if before == Some(status) {
        return Ok(());
    }
    let mut value = serde_json::to_value(status)?;
    if let Some(before) = before {
        clear(&serde_json::to_value(before)?, &mut value);
    }
    let meta = json!({"uid": object.uid(), "resourceVersion": object.resource_version()});
    let patch = Patch::Merge(json!({"metadata": meta, "status": value}));
    unless_gone(api.patch_status(&object.name_any(), &changing(), &patch).await).map(drop)
}

/// Names in a merge patch what fell away, at every depth: the patch leaves what it does not name.
fn clear(before: &Value, now: &mut Value) {
    let (Value::Object(before), Value::Object(now)) = (before, now) else { return };
    for (field, value) in before {
        match now.get_mut(field) {
            Some(now) => clear(value, now),
            None => drop(now.insert(field.clone(), Value::Null)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
    use k8s_openapi::api::core::v1::Pod;

    fn pod(labels: Value, owners: Value, ending: bool) -> Pod {
        let time = ending.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({"metadata": {
            "name": "a", "namespace": "b", "labels": labels, "ownerReferences": owners, "deletionTimestamp": time,
        }}))
        .unwrap()
    }

    fn owned_by(uid: &str, controller: bool) -> Value {
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid, "controller": controller}])
    }

    #[test]
    fn each_object_is_claimed_by_owner_and_labels() {
        let selector = LabelSelector {
            match_labels: Some([("app".to_owned(), "web".to_owned())].into()),
            ..LabelSelector::default()
        };
        let read = selector_of(&selector).unwrap();
        let (web, mail) = (json!({"app": "web"}), json!({"app": "mail"}));
        for (labels, owners, ending, owner_ends, expected) in [
            (&web, owned_by("1", true), false, false, Claim::Mine),
            (&mail, owned_by("1", true), false, false, Claim::Release),
            (&mail, owned_by("1", true), false, true, Claim::Mine),
            (&web, owned_by("2", true), false, false, Claim::Leave),
            (&web, owned_by("2", false), false, false, Claim::Adopt),
            (&web, json!([]), false, false, Claim::Adopt),
            (&web, json!([]), true, false, Claim::Leave),
            (&web, json!([]), false, true, Claim::Leave),
            (&mail, json!([]), false, false, Claim::Leave),
        ] {
            let object = pod(labels.clone(), owners, ending);
            assert_eq!(claim(&object, "1", &read, owner_ends), expected, "{object:?}, {owner_ends}");
        }
    }

    #[test]
    fn a_patch_clears_what_fell_away_at_every_depth() {
        let mut now = json!({"kept": 1, "uncounted": {}, "list": [{"a": 1}]});
        clear(&json!({"gone": 1, "kept": 0, "uncounted": {"failed": ["x"]}, "list": [{"b": 1}]}), &mut now);
        let wanted = json!({"gone": null, "kept": 1, "uncounted": {"failed": null}, "list": [{"a": 1}]});
        assert_eq!(now, wanted);
    }

    #[test]
    fn the_controller_is_found_by_group_and_kind() {
        let object = pod(json!({}), owned_by("1", true), false);
        assert_eq!(controller::<ReplicaSet>(&object), Some(ObjectRef::new("web").within("b")));
        assert_eq!(controller::<Deployment>(&object), None);
        assert_eq!(controller::<ReplicaSet>(&pod(json!({}), owned_by("1", false), false)), None);
    }
}
