//! The APIServices that stand for what is served here: one for each version of each group.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use xebec_machinery::discovery::{Priority, Root, groups, versions};
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_store::ListRequest;

use super::{GROUP, PLURAL};
use crate::api::Api;
use crate::backoff::Backoff;
use crate::call::Call;
use crate::catalog::Served;
use crate::codec::Decoded;
use crate::delete::DeleteOptions;
use crate::follow::Followed;
use crate::request::Verb;
use crate::strategy::Part;
use crate::{key, object, storage};

/// Says on an APIService how long it is kept as it should be.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// At the start of the server alone.
const ON_START: &str = "onstart";
/// As long as the version is served.
const ALWAYS: &str = "true";
/// How many objects are written at once at the first start.
const AT_ONCE: usize = 32;

/// The APIServices of custom resources.
struct Registered<'a>(&'a Api);

impl Followed for Registered<'_> {
    const NAME: &'static str = "what is registered as served";

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let api = self.0;
        let served = api.catalog().served();
        let Some(resource) = served.find(GROUP, PLURAL).cloned() else { return Ok(()) };
        drop(served);
        let mut changes = api.catalog().changes();
        let prefix = key::prefix(GROUP, PLURAL, None);
        let mut watch = api.storage().watch(&resource, &prefix, Some(api.storage().revision()))?;
        loop {
            let served = changes.borrow_and_update().clone();
            api.register_custom(&served).await?;
            backoff.reset();
            let goes_on = tokio::select! {
                goes_on = api.changed(&mut watch, &resource) => goes_on?,
                changed = changes.changed() => changed.is_ok() && !api.shutdown().is_cancelled(),
                () = api.shutdown().cancelled() => false,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }
}

impl Api {
    pub(super) async fn keep_registered(&self) {
        self.keep_following(Registered(self)).await;
    }

    /// Registers what is built in.
    pub(crate) async fn register_built_in(&self) -> Result<(), Status> {
        let served = self.catalog().served();
        if served.find(GROUP, PLURAL).is_none() {
            return Ok(());
        }
        stream::iter(wanted(&served, false))
            .map(|object| self.register(object))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Registers what definitions serve, and nothing else that was registered for them.
    async fn register_custom(&self, served: &Served) -> Result<(), Status> {
        let wanted = wanted(served, true);
        let names: BTreeSet<String> = wanted.iter().map(|own| object::name(own).to_owned()).collect();
        for object in wanted {
            self.register(object).await?;
        }
        let Some(resource) = served.find(GROUP, PLURAL) else { return Ok(()) };
        let prefix = key::prefix(GROUP, PLURAL, None);
        let page =
            self.storage().list(resource, &ListRequest { prefix: &prefix, ..ListRequest::default() })?;
        for entry in &page.items {
            let own = storage::decode(entry)?.object;
            let name = object::name(&own);
            if managed(&own) != Some(ALWAYS) || names.contains(name) {
                continue;
            }
            let call = Call::own(resource.clone(), Verb::Delete, None, name);
            storage::unless_late(self.delete(&call, &DeleteOptions::default()).await)?;
        }
        Ok(())
    }

    async fn register(&self, wanted: Value) -> Result<(), Status> {
        let call = self.own_call(GROUP, "v1", PLURAL, None)?;
        let name = object::name(&wanted).to_owned();
        let Some(found) = self.storage().find(&call.resource, None, &name)? else {
            return self.ensure(&call, wanted).await;
        };
        // What somebody else has registered is theirs.
        if managed(&found.object) != managed(&wanted) || found.object["spec"] == wanted["spec"] {
            return Ok(());
        }
        let mut object = found.object;
        object["spec"] = wanted["spec"].clone();
        let mut call = Call::own(call.resource, Verb::Update, None, &name);
        "kube-apiserver".clone_into(&mut call.manager);
        storage::unless_late(self.update(&call, Part::Main, Decoded::own(object)).await).map(drop)
    }
}

fn managed(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("labels")?.get(MANAGED)?.as_str()
}

/// The APIServices of what is served: of custom resources, or of the others. This group itself has none.
fn wanted(served: &Served, custom: bool) -> Vec<Value> {
    let of = |group: &str, version: &str| {
        let has = |own: &&std::sync::Arc<Resource>| {
            let serves = own.version(version).is_some_and(|version| version.served);
            &*own.group == group && serves && !own.custom
        };
        served.resources().iter().any(|own| has(&own)) != custom
    };
    let roots = [Root::Core, Root::Named].into_iter().flat_map(|root| groups(served.resources(), root));
    let mut wanted = Vec::new();
    for group in roots.filter(|group| *group != GROUP) {
        for version in versions(served.resources(), group) {
            if of(group, version) {
                wanted.push(api_service(group, version, if custom { ALWAYS } else { ON_START }));
            }
        }
    }
    wanted
}

fn api_service(group: &str, version: &str, managed: &str) -> Value {
    let priority = Priority::local(group, version);
    let mut spec = json!({
        "version": version,
        "groupPriorityMinimum": priority.group,
        "versionPriority": priority.version,
    });
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {MANAGED: managed}},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, Origin};
    use std::sync::Arc;
    use xebec_machinery::builtin;
    use xebec_machinery::resource::{Scope, Version};
    use xebec_machinery::schema::{Node, Shape};

    #[test]
    fn everything_but_this_group_is_registered_where_it_belongs() {
        let catalog = Catalog::new(builtin::resources().to_vec());
        let version = Version::new("v1", Node::new(Shape::Any).into());
        let resource = Resource::new("example.org", "Thing", "things", Scope::Namespaced, version);
        let origin = Origin { uid: "u".into(), generation: 1 };
        catalog.install("things.example.org", origin, Arc::new(Resource { custom: true, ..resource }));
        let served = catalog.served();
        let names = |custom| -> Vec<String> {
            wanted(&served, custom).iter().map(|own| object::name(own).to_owned()).collect()
        };
        assert_eq!(names(true), ["v1.example.org"]);
        let own = names(false);
        for name in ["v1.", "v1.apps", "v2.autoscaling", "v1.autoscaling", "v1.flowcontrol.apiserver.k8s.io"]
        {
            assert!(own.iter().any(|own| own == name), "{name}");
        }
        assert!(own.iter().all(|name| !name.ends_with(GROUP) && name != "v1.example.org"));
        let apps = api_service("apps", "v1", ON_START);
        assert_eq!(apps["spec"]["groupPriorityMinimum"], 17_800);
    }
}
