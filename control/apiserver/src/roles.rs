//! The roles that are always there, and those that gather their rules from others.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use xebec_machinery::status::Status;
use xebec_store::ListRequest;

use crate::api::Api;
use crate::backoff::Backoff;
use crate::follow::Followed;
use crate::rbac::{self, Rule, bootstrap};
use crate::storage;
use crate::{key, object};

const PLURAL: &str = "clusterroles";
/// Where `false` stands, the API leaves a role of its own as it is.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// How many roles are written at once at the first start, so that they share their way to the disk.
const AT_ONCE: usize = 64;
/// How long a role that could not be written waits for its next attempt, where nothing else changes.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The roles that gather their rules from others.
struct Gathering<'a>(&'a Api);

impl Followed for Gathering<'_> {
    const NAME: &'static str = "the roles";

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let api = self.0;
        let served = api.catalog().served();
        let Some(roles) = served.find(rbac::GROUP, PLURAL) else { return Ok(()) };
        let prefix = key::prefix(rbac::GROUP, PLURAL, None);
        let mut watch = api.storage().watch(roles, &prefix, Some(api.storage().revision()))?;
        loop {
            api.aggregate_roles().await?;
            backoff.reset();
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                goes_on = api.changed(&mut watch, roles) => if !goes_on? {
                    return Ok(());
                },
            }
        }
    }
}

impl Api {
    /// Makes the roles and bindings that are missing, and gives back to those that are there what they lost.
    pub(crate) async fn prepare_roles(&self) -> Result<(), Status> {
        let objects = bootstrap::objects().map_err(|why| Status::internal(&why))?;
        stream::iter(objects)
            .map(|object| self.prepare_role(object))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        self.aggregate_roles().await
    }

    async fn prepare_role(&self, wanted: Value) -> Result<(), Status> {
        let kind = wanted.get("kind").and_then(Value::as_str).unwrap_or_default();
        let plural = format!("{}s", kind.to_lowercase());
        let namespace = object::namespace(&wanted).map(str::to_owned);
        let call = self.own_call(rbac::GROUP, "v1", &plural, namespace.as_deref())?;
        let found = self.storage().find(&call.resource, namespace.as_deref(), object::name(&wanted))?;
        let Some(found) = found else {
            return self.ensure(&call, wanted).await;
        };
        let Some(restored) = restored(&found.object, &wanted) else { return Ok(()) };
        self.storage().settle(&call.resource, &found, restored).await.map(drop)
    }

    /// Keeps the rules of roles that gather them in step with the roles that they gather from, until the API stops.
    pub async fn serve_roles(&self) {
        self.keep_following(Gathering(self)).await;
    }

    async fn aggregate_roles(&self) -> Result<(), Status> {
        let served = self.catalog().served();
        let Some(roles) = served.find(rbac::GROUP, PLURAL) else { return Ok(()) };
        let prefix = key::prefix(rbac::GROUP, PLURAL, None);
        let list = ListRequest { prefix: &prefix, ..ListRequest::default() };
        for entry in self.storage().list(roles, &list)?.items {
            let stored = storage::decode(&entry)?;
            let role = &stored.object;
            if role.get("aggregationRule").is_none_or(Value::is_null) {
                continue;
            }
            let rules: Value = self.policy().gathered(role)?.iter().map(Rule::write).collect();
            if role.get("rules") == Some(&rules) {
                continue;
            }
            let mut new = role.clone();
            new["rules"] = rules;
            // The others do not wait for this one.
            if let Err(error) = self.storage().settle(roles, &stored, new).await {
                let name = object::name(role);
                tracing::warn!(name, %error, "a role did not get the rules that it gathers");
            }
        }
        Ok(())
    }
}

/// What is there with what it should have beside it; nothing where it has all of that or is to be left alone.
fn restored(found: &Value, wanted: &Value) -> Option<Value> {
    let annotation = found.get("metadata")?.get("annotations").and_then(|own| own.get(AUTOUPDATE));
    if annotation.is_none_or(|value| value != "true") {
        return None;
    }
    let mut restored = found.clone();
    let list = |of: &Value, key: &str| of.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    if wanted.get("aggregationRule").is_none() && wanted.get("rules").is_some() {
        let read = |of: &Value| list(of, "rules").iter().map(Rule::read).collect::<Vec<_>>();
        let lacking = rbac::compact(rbac::missing(&read(found), &read(wanted)));
        let mut rules = list(found, "rules");
        rules.extend(lacking.iter().map(Rule::write));
        restored["rules"] = rules.into();
    }
    if wanted.get("subjects").is_some() {
        let mut subjects = list(found, "subjects");
        let lacking: Vec<Value> =
            list(wanted, "subjects").into_iter().filter(|subject| !subjects.contains(subject)).collect();
        subjects.extend(lacking);
        restored["subjects"] = subjects.into();
    }
    let labels = object::at_path(wanted, ".metadata.labels").and_then(Value::as_object);
    for (label, value) in labels.into_iter().flatten() {
        restored["metadata"]["labels"][label] = value.clone();
    }
    (restored != *found).then_some(restored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_role_gets_back_what_it_lost_unless_it_is_to_be_left_alone() {
        let rule = |verbs: Value| json!({"verbs": verbs, "apiGroups": [""], "resources": ["pods"]});
        let role = |rules: Value, update: &str| json!({"metadata": {"name": "a", "annotations": {AUTOUPDATE: update}, "labels": {"x": "y"}}, "rules": rules});
        let wanted = role(json!([rule(json!(["get", "list"]))]), "true");
        assert_eq!(restored(&wanted, &wanted), None);
        let more = role(json!([rule(json!(["*"]))]), "true");
        assert_eq!(restored(&more, &wanted), None, "what is more is kept");
        let less = role(json!([rule(json!(["get"]))]), "true");
        let expected = json!([rule(json!(["get"])), rule(json!(["list"]))]);
        assert_eq!(restored(&less, &wanted).unwrap()["rules"], expected);
        let alone = role(json!([]), "false");
        assert_eq!(restored(&alone, &wanted), None);
    }

    #[test]
    fn a_binding_gets_its_subjects_back() {
        let binding = |subjects: Value| json!({"metadata": {"name": "a", "annotations": {AUTOUPDATE: "true"}}, "subjects": subjects});
        let wanted = binding(json!([{"kind": "Group", "name": "g"}]));
        let found = binding(json!([{"kind": "User", "name": "u"}]));
        let expected = json!([{"kind": "User", "name": "u"}, {"kind": "Group", "name": "g"}]);
        assert_eq!(restored(&found, &wanted).unwrap()["subjects"], expected);
    }
}
