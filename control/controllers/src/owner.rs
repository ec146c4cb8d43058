//! Who owns whom, and the few requests that all controllers make alike.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt as _};
use serde_json::json;

use crate::Error;

/// After how long an object is looked at again though nothing was heard of it.
pub(crate) const AGAIN: Duration = Duration::from_secs(300);
/// After how long a failed pass is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(200);

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

/// Deletes an object that is still the one that was seen. One that is gone already is no error.
pub(crate) async fn delete<K>(api: &Api<K>, object: &K) -> Result<(), Error>
where
    K: Resource + Clone + Debug + serde::de::DeserializeOwned,
{
    let preconditions = Preconditions { uid: object.uid(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match api.delete(&object.name_any(), &parameters).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// Takes an object over, if it is still the one that was seen.
pub(crate) async fn adopt<K>(api: &Api<K>, object: &K, owner: OwnerReference) -> Result<K, Error>
where
    K: Resource + Clone + Debug + serde::de::DeserializeOwned,
{
    let mut owners = object.owner_references().to_vec();
    owners.push(owner);
    let patch = json!({"metadata": {"uid": object.uid(), "ownerReferences": owners}});
    Ok(api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?)
}

/// What a controller does about a failed pass.
pub(crate) fn retry<K: Resource>(
    object: std::sync::Arc<K>,
    error: &Error,
    _: std::sync::Arc<crate::run::World>,
) -> Action {
    let conflict = matches!(error, Error::Api(kube::Error::Api(status)) if status.code == 409);
    if conflict {
        // Someone else wrote in between; the newer object is on its way.
        return Action::requeue(Duration::from_millis(20));
    }
    tracing::warn!(object = object.name_any(), %error, "a controller's pass failed; it is tried again");
    Action::requeue(RETRY)
}

/// Drives a controller's stream to its end; what goes wrong on the way was told by [`retry`].
pub(crate) async fn drain<S: futures::Stream>(stream: S) {
    stream.for_each(|_| std::future::ready(())).await;
}
