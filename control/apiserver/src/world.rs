//! What the stages of admission look up, out of the store, the catalog and the roles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use xebec_admission::world::Served;
use xebec_admission::{Kind, Listing, Resource as Asked, World};
use xebec_expressions::authorization::{AccessRequest, Decided};
use xebec_machinery::crd::Conversion;
use xebec_machinery::resource::{Resource, Version};
use xebec_machinery::schema::{ListType, Node, Shape};
use xebec_machinery::status::Status;
use xebec_machinery::{apply, builtin, decoding, defaults};
use xebec_store::ListRequest;

use crate::api::Api;
use crate::authorizer::{self, Attributes};
use crate::follower::{Follower, Gather};
use crate::storage::Storage;
use crate::user::User;
use crate::{convert, key};

/// A resource by its group and plural.
type GroupAndPlural = (Box<str>, Box<str>);

/// The objects of resources that are looked up again and again, parsed; each from its first lookup on.
#[derive(Default)]
pub(crate) struct Mirrors {
    mirrors: Mutex<HashMap<GroupAndPlural, Arc<Follower<Mirror>>>>,
}

/// A listing that is shared with whoever reads it, and copied when it changes while somebody does.
#[derive(Default)]
struct Mirror(Arc<Listing>);

impl Gather for Mirror {
    fn put(&mut self, object: Value) {
        Arc::make_mut(&mut self.0).put(object);
    }

    fn remove(&mut self, object: &Value) {
        Arc::make_mut(&mut self.0).remove(object);
    }
}

impl Mirrors {
    fn of(&self, storage: &Storage, resource: &Arc<Resource>) -> Arc<Follower<Mirror>> {
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        let follower = || {
            let (group, plural) = convert::home(resource);
            Arc::new(Follower::new(storage.clone(), resource.clone(), key::prefix(group, plural, None)))
        };
        let place = (resource.group.clone(), resource.plural.clone());
        mirrors.entry(place).or_insert_with(follower).clone()
    }
}

/// The resource in a version, as admission speaks of it.
pub(crate) fn served(resource: &Resource, version: &Version, subresource: &str) -> Served {
    Served {
        resource: Asked::new(&resource.group, &version.name, &resource.plural),
        kind: kind_of(resource, version, subresource),
        namespaced: resource.namespaced(),
    }
}

/// The kind that a resource or one of its subresources takes.
fn kind_of(resource: &Resource, version: &Version, subresource: &str) -> Kind {
    if subresource == "scale" && version.scale.is_some() {
        return Kind::new("autoscaling", "v1", "Scale");
    }
    match version.subresources.iter().find(|own| *own.name == *subresource) {
        Some(own) => Kind::new(&own.kind.0, &own.kind.1, &own.kind.2),
        None => Kind::new(&resource.group, &version.name, &resource.kind),
    }
}

/// Where an object has lists, maps or structs that are one value: what is applied cannot say a part of them.
fn atomics(node: &Node, value: &Value, path: &str, found: &mut Vec<String>) {
    match (&node.shape, value) {
        (Shape::List { items, list_type }, Value::Array(list)) => {
            if *list_type == ListType::Atomic {
                found.push(path.to_owned());
            }
            for (index, item) in list.iter().enumerate() {
                atomics(items.node(), item, &format!("{path}[{index}]"), found);
            }
        }
        (Shape::Map { values, atomic }, Value::Object(map)) => {
            if *atomic {
                found.push(path.to_owned());
            }
            for (key, value) in map {
                atomics(values.node(), value, &format!("{path}.{key}"), found);
            }
        }
        (Shape::Struct { fields, atomic, .. }, Value::Object(map)) => {
            if *atomic {
                found.push(path.to_owned());
            }
            for field in fields {
                if let Some(value) = map.get(&*field.name) {
                    atomics(field.node.node(), value, &format!("{path}.{}", field.name), found);
                }
            }
        }
        _ => {}
    }
}

impl Api {
    fn kind<T>(&self, kind: &Kind, read: impl FnOnce(&Arc<Resource>, &Version) -> T) -> Option<T> {
        let served = self.catalog().served();
        let (resource, version) = served.kind(&kind.group, &kind.version, &kind.kind)?;
        Some(read(resource, version))
    }
}

impl World for Api {
    fn all(&self, group: &str, resource: &str) -> Result<Arc<Listing>, Status> {
        let found = builtin::find(group, resource).cloned();
        let found = found.or_else(|| self.catalog().served().find(group, resource).cloned());
        let Some(found) = found else { return Ok(Arc::default()) };
        self.mirrors().of(self.storage(), &found).read(|mirror| mirror.0.clone())
    }

    fn find(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status> {
        let served = self.catalog().served();
        let Some(resource) = served.find(group, resource) else { return Ok(None) };
        let namespace = Some(namespace).filter(|_| resource.namespaced());
        Ok(self.storage().find(resource, namespace, name)?.map(|stored| stored.object.into()))
    }

    fn list(&self, group: &str, resource: &str, namespace: &str) -> Result<Vec<Arc<Value>>, Status> {
        let served = self.catalog().served();
        let Some(resource) = served.find(group, resource) else { return Ok(Vec::new()) };
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
        let (group, plural) = convert::home(resource);
        let prefix = key::prefix(group, plural, namespace);
        let request = ListRequest { prefix: &prefix, ..ListRequest::default() };
        let page = self.storage().list(resource, &request)?;
        page.items.iter().map(|entry| Ok(crate::storage::decode(entry)?.object.into())).collect()
    }

    fn resource_of(&self, kind: &Kind) -> Option<Served> {
        self.kind(kind, |resource, version| served(resource, version, ""))
    }

    fn served(&self, asked: &Asked) -> Option<Served> {
        let catalog = self.catalog().served();
        let resource = catalog.find(&asked.group, &asked.name)?;
        Some(served(resource, resource.version(&asked.version)?, ""))
    }

    fn equivalents(&self, asked: &Asked, subresource: &str) -> Vec<Served> {
        let catalog = self.catalog().served();
        let Some(own) = catalog.find(&asked.group, &asked.name) else { return Vec::new() };
        let home = convert::home(own);
        let same = catalog.resources().iter().filter(|other| convert::home(other) == home);
        let mut found = Vec::new();
        for other in same {
            for version in other.versions.iter().filter(|version| version.served) {
                let one = served(other, version, subresource);
                if one.resource != *asked {
                    found.push(one);
                }
            }
        }
        found
    }

    fn convert<'a>(&'a self, object: &'a Value, to: &'a Kind) -> BoxFuture<'a, Result<Value, Status>> {
        async move {
            let mut object = object.clone();
            let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
            let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
            let from = Kind::new(group, version, text("kind"));
            if from == *to || from.kind.is_empty() {
                return Ok(object);
            }
            let served = |kind: &Kind| self.kind(kind, |resource, _| resource.clone());
            let failed = || Status::internal(&format!("objects of {from} cannot be converted to {to}"));
            let resource = served(to).ok_or_else(failed)?;
            if let Conversion::Webhook(webhook) = &resource.conversion {
                let wanted = to.api_version();
                self.ask_to_convert(&resource, webhook, std::slice::from_mut(&mut object), &wanted, None)
                    .await?;
            } else if let Some(own) = served(&from) {
                convert::to_storage(&own, &mut object);
            }
            let version = resource.version(&to.version).ok_or_else(failed)?;
            convert::from_storage(&resource, version, &mut object);
            Ok(object)
        }
        .boxed()
    }

    fn complete(&self, kind: &Kind, object: &mut Value) -> Result<(), String> {
        let custom = self.kind(kind, |_, version| version.structural.clone()).flatten();
        match custom {
            Some(structural) => {
                decoding::check_metadata(object)?;
                structural.prune(object);
                structural.default(object);
            }
            None => {
                decoding::check(&kind.group, &kind.version, &kind.kind, object)?;
                defaults::apply(&kind.group, &kind.version, &kind.kind, object);
            }
        }
        Ok(())
    }

    fn merge(&self, kind: &Kind, object: &Value, applied: &Value) -> Result<Value, String> {
        let api_version = kind.api_version();
        let merged = self.kind(kind, |_, version| {
            let mut atomic = Vec::new();
            atomics(version.schema.node(), applied, "", &mut atomic);
            if !atomic.is_empty() {
                let places = atomic.join(", ");
                return Err(format!(
                    "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {places}"
                ));
            }
            let context = apply::Context {
                api_version: &api_version,
                kind: &kind.kind,
                node: version.schema.node(),
                versions: std::slice::from_ref(&api_version),
                reset: &apply::FieldSet::default(),
                subresource: None,
                manager: "admission",
                now: "1970-01-01T00:00:00Z",
            };
            let request = apply::ApplyRequest { context, live: Some(object), applied, force: true };
            apply::apply(&request).map_err(|error| error.status().message)
        });
        let mut merged = merged.ok_or_else(|| format!("{kind} is not served"))??.object;
        // Who owns what is no business of a policy.
        crate::object::take_over_meta(&mut merged, object, "managedFields");
        Ok(merged)
    }

    fn endpoint(&self, namespace: &str, service: &str, port: u16) -> Result<String, String> {
        self.endpoint_of(namespace, service, port).map_err(|status| status.message)
    }

    fn schema(&self, kind: &Kind) -> Option<Arc<Value>> {
        self.whole_schema(&kind.group, &kind.version, &kind.kind).map(Arc::new)
    }

    fn authorize(&self, user: &User, asked: &AccessRequest) -> Decided {
        let account = asked.service_account.as_ref();
        let account = account.map(|(namespace, name)| User::service_account(namespace, name));
        let user = account.as_ref().unwrap_or(user);
        let wanted = match (&asked.path, &asked.resource) {
            (Some(path), _) => authorizer::Asked::Path { verb: &asked.verb, path },
            (None, Some(wanted)) => authorizer::Asked::Resource(Attributes {
                verb: &asked.verb,
                group: &wanted.group,
                resource: &wanted.resource,
                subresource: &wanted.subresource,
                namespace: &wanted.namespace,
                name: &wanted.name,
            }),
            (None, None) => return Decided::default(),
        };
        match self.policy().decide(user, &wanted) {
            Ok(decision) => Decided { allowed: decision.allowed, reason: decision.reason, error: None },
            Err(status) => Decided { error: Some(status.message), ..Decided::default() },
        }
    }
}
