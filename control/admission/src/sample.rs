//! A small world for tests.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use xebec_expressions::authorization::{AccessRequest, Decided};
use xebec_machinery::status::Status;

use crate::companions::Companions;
use crate::notes::Notes;
use crate::request::{Kind, Operation, Request, Resource};
use crate::stage::Case;
use crate::user::User;
use crate::world::{Listing, Served, World};

/// A world of the objects that a test puts in.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) listings: BTreeMap<(String, String), Arc<Listing>>,
    pub(crate) notes: Notes,
    pub(crate) companions: Companions,
}

impl Sample {
    /// A world with these objects of one resource.
    pub(crate) fn with(group: &str, resource: &str, objects: impl IntoIterator<Item = Value>) -> Self {
        let mut sample = Self::default();
        sample.add(group, resource, objects);
        sample
    }

    pub(crate) fn add(&mut self, group: &str, resource: &str, objects: impl IntoIterator<Item = Value>) {
        let listing = self.listings.entry((group.to_owned(), resource.to_owned())).or_default();
        objects.into_iter().for_each(|object| Arc::make_mut(listing).put(object));
    }

    pub(crate) fn case<'a>(&'a self, request: &'a Request) -> Case<'a> {
        Case { request, old: None, world: self, notes: &self.notes, companions: &self.companions }
    }
}

impl World for Sample {
    fn all(&self, group: &str, resource: &str) -> Result<Arc<Listing>, Status> {
        Ok(self.listings.get(&(group.to_owned(), resource.to_owned())).cloned().unwrap_or_default())
    }

    fn find(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status> {
        Ok(self.all(group, resource)?.get(namespace, name).cloned())
    }

    fn list(&self, group: &str, resource: &str, namespace: &str) -> Result<Vec<Arc<Value>>, Status> {
        let all = self.all(group, resource)?;
        Ok(all
            .iter()
            .filter(|one| namespace.is_empty() || crate::object::namespace(one) == namespace)
            .cloned()
            .collect())
    }

    fn resource_of(&self, kind: &Kind) -> Option<Served> {
        let plural = format!("{}s", kind.kind.to_lowercase());
        let resource = Resource::new(&kind.group, &kind.version, &plural);
        Some(Served { resource, kind: kind.clone(), namespaced: true })
    }

    fn served(&self, _resource: &Resource) -> Option<Served> {
        None
    }

    fn equivalents(&self, _resource: &Resource, _subresource: &str) -> Vec<Served> {
        Vec::new()
    }

    fn convert<'a>(&'a self, object: &'a Value, to: &'a Kind) -> BoxFuture<'a, Result<Value, Status>> {
        let mut object = object.clone();
        object["apiVersion"] = to.api_version().into();
        ready(Ok(object)).boxed()
    }

    fn complete(&self, _kind: &Kind, _object: &mut Value) -> Result<(), String> {
        Ok(())
    }

    fn merge(&self, _kind: &Kind, object: &Value, applied: &Value) -> Result<Value, String> {
        let mut object = object.clone();
        xebec_machinery::patch::merge(&mut object, applied.clone()).map_err(|error| error.to_string())?;
        Ok(object)
    }

    fn endpoint(&self, namespace: &str, service: &str, _port: u16) -> Result<String, String> {
        let found = self.find("", "services", namespace, service).ok().flatten();
        let found = found.ok_or_else(|| format!("service {service:?} not found"))?;
        Ok(crate::object::text(&found, &["spec", "address"]).to_owned())
    }

    fn schema(&self, _kind: &Kind) -> Option<Arc<Value>> {
        None
    }

    fn authorize(&self, user: &User, asked: &AccessRequest) -> Decided {
        Decided { allowed: user.name == asked.verb, ..Decided::default() }
    }
}

/// An object of this name.
pub(crate) fn object(namespace: &str, name: &str) -> Value {
    let mut meta = json!({"name": name});
    if !namespace.is_empty() {
        meta["namespace"] = namespace.into();
    }
    json!({"metadata": meta})
}

/// A request for something in the default namespace.
pub(crate) fn request(operation: Operation, group: &str, resource: &str) -> Request {
    let kind = resource.trim_end_matches('s');
    let kind = kind[..1].to_uppercase() + &kind[1..];
    Request {
        operation,
        kind: Kind::new(group, "v1", &kind),
        resource: Resource::new(group, "v1", resource),
        subresource: String::new(),
        namespace: "default".to_owned(),
        name: String::new(),
        user: User { name: "somebody".to_owned(), ..User::default() },
        dry_run: false,
        options: Value::Null,
    }
}
