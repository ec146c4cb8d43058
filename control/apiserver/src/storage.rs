//! Objects in the store: JSON without its `resourceVersion`, which is the revision that wrote it.

use bytes::Bytes;
use serde_json::Value;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::{Qualified, Reason, Status};
use xebec_store::{Entry, Error, ListRequest, Page, Revision, Store, Watch};

use crate::{convert, key, object};

/// An object as it rests in the store.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The object with its `resourceVersion`.
    pub object: Value,
    /// The revision that wrote it.
    pub revision: Revision,
}

/// Objects by resource, namespace and name.
#[derive(Clone)]
pub struct Storage {
    store: Store,
}

impl Storage {
    /// Objects in this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The store's revision.
    pub fn revision(&self) -> Revision {
        self.store.revision()
    }

    /// The most bytes that an object may have.
    pub fn value_limit(&self) -> usize {
        self.store.value_limit()
    }

    /// The object of this name, if it is there.
    pub fn find(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Stored>, Status> {
        let key = key_of(resource, namespace, name);
        let entry = self.store.get(&key).map_err(|error| refusal(&error, resource, name))?;
        entry.map(|entry| decode(&entry)).transpose()
    }

    /// The object of this name, or `NotFound`.
    pub fn get(&self, resource: &Resource, namespace: Option<&str>, name: &str) -> Result<Stored, Status> {
        self.find(resource, namespace, name)?
            .ok_or_else(|| Status::not_found(Qualified::new(&resource.group, &resource.plural), name))
    }

    /// Makes an object that must not be there, and gives it back with its `resourceVersion`.
    pub async fn create(&self, resource: &Resource, mut new: Value) -> Result<Stored, Status> {
        let name = object::name(&new).to_owned();
        let key = key_of(resource, object::namespace(&new), &name);
        let entry = self.store.create(key, encode(&mut new)?).await;
        let revision = entry.map_err(|error| refusal(&error, resource, &name))?.modified;
        Ok(at_revision(new, revision))
    }

    /// Replaces an object that must still be at `expected`.
    pub async fn update(
        &self,
        resource: &Resource,
        mut new: Value,
        expected: Revision,
    ) -> Result<Stored, Status> {
        let name = object::name(&new).to_owned();
        let key = key_of(resource, object::namespace(&new), &name);
        let entry = self.store.update(key, encode(&mut new)?, expected).await;
        let revision = entry.map_err(|error| refusal(&error, resource, &name))?.modified;
        Ok(at_revision(new, revision))
    }

    /// Takes an object away that must still be at `expected`, and gives it back as it last was.
    pub async fn delete(
        &self,
        resource: &Resource,
        old: Value,
        expected: Revision,
    ) -> Result<Stored, Status> {
        let name = object::name(&old).to_owned();
        let key = key_of(resource, object::namespace(&old), &name);
        self.store.delete(key, Some(expected)).await.map_err(|error| refusal(&error, resource, &name))?;
        Ok(Stored { object: old, revision: expected })
    }

    /// A page of a resource's objects.
    pub fn list(&self, resource: &Resource, request: &ListRequest<'_>) -> Result<Page, Status> {
        self.store.list(request).map_err(|error| refusal(&error, resource, ""))
    }

    /// The changes of a resource's objects after a revision, or from now on.
    pub fn watch(&self, resource: &Resource, prefix: &str, after: Option<Revision>) -> Result<Watch, Status> {
        self.store.watch(prefix, after).map_err(|error| refusal(&error, resource, ""))
    }
}

fn encode(object: &mut Value) -> Result<Bytes, Status> {
    object::meta_mut(object).remove("resourceVersion");
    let bytes = serde_json::to_vec(object).map_err(|error| Status::internal(&error.to_string()))?;
    Ok(bytes.into())
}

/// The object of an entry, with its `resourceVersion`.
pub fn decode(entry: &Entry) -> Result<Stored, Status> {
    let object = serde_json::from_slice(&entry.value).map_err(|error| {
        Status::internal(&format!("the object stored under {:?} cannot be read: {error}", entry.key))
    })?;
    Ok(at_revision(object, entry.modified))
}

/// An object with the `resourceVersion` of a revision.
pub fn at_revision(mut object: Value, revision: Revision) -> Stored {
    object::set_meta(&mut object, "resourceVersion", revision.to_string());
    Stored { object, revision }
}

/// What a client is told when the store refuses.
pub fn refusal(error: &Error, resource: &Resource, name: &str) -> Status {
    let qualified = Qualified::new(&resource.group, &resource.plural);
    match error {
        Error::Exists { .. } => Status::already_exists(qualified, name),
        Error::Conflict { .. } => Status::modified(qualified, name),
        Error::NotFound { .. } => Status::not_found(qualified, name),
        Error::Compacted { requested, oldest } => Status::too_old(requested.0, oldest.0),
        Error::Future { requested, current } => Status::too_large_revision(requested.0, current.0),
        Error::Lagged { .. } => Status::expired(error.to_string()),
        Error::ValueTooLarge { limit, .. } => Status::too_large(*limit),
        Error::KeyLength { .. } | Error::Transaction { .. } => Status::bad_request(error.to_string()),
        Error::Full { .. } | Error::Storage { .. } | Error::Closed => Status::unavailable(error.to_string()),
        _ => Status::internal(&error.to_string()),
    }
}

/// Whether a write failed only since another one came before it.
pub fn is_conflict(status: &Status) -> bool {
    status.reason == Reason::Conflict
}

fn key_of(resource: &Resource, namespace: Option<&str>, name: &str) -> String {
    let (group, plural) = convert::home(resource);
    key::object(group, plural, namespace, name)
}
