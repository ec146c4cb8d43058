//! Objects in the store: JSON without its `resourceVersion`, which is the revision that wrote it.

use bytes::Bytes;
use serde_json::Value;
use xebec_admission::companions::{Change, Companion};
use xebec_machinery::decoding;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::{Qualified, Reason, Status};
use xebec_store::{Entry, Error, ListRequest, Op, Page, Revision, Store, Watch};

use crate::{convert, key, object, strategy};

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

    /// Whether the store is open and took the last write that it was given.
    pub fn check(&self) -> Result<(), Error> {
        self.store.check()
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

    /// The object of this name as it rests, or `NotFound`.
    pub fn entry(&self, resource: &Resource, namespace: Option<&str>, name: &str) -> Result<Entry, Status> {
        let found = self.store.get(&key_of(resource, namespace, name));
        found
            .map_err(|error| refusal(&error, resource, name))?
            .ok_or_else(|| Status::not_found(Qualified::new(&resource.group, &resource.plural), name))
    }

    /// The object of this name, or `NotFound`.
    pub fn get(&self, resource: &Resource, namespace: Option<&str>, name: &str) -> Result<Stored, Status> {
        self.find(resource, namespace, name)?
            .ok_or_else(|| Status::not_found(Qualified::new(&resource.group, &resource.plural), name))
    }

    /// Makes an object that must not be there, and gives it back with its `resourceVersion`. What goes with it is stored at
    /// the same revision, or neither is.
    pub async fn create_with(
        &self,
        resource: &Resource,
        mut new: Value,
        with: &[Companion],
    ) -> Result<Stored, Status> {
        let name = object::name(&new).to_owned();
        let key = key_of(resource, object::namespace(&new), &name);
        let value = encode(&mut new)?;
        self.commit(resource, &name, Op::Create { key, value }, with)
            .await
            .map(|revision| at_revision(new, revision))
    }

    /// Replaces an object that must still be at `expected`.
    pub async fn update(
        &self,
        resource: &Resource,
        new: Value,
        expected: Revision,
    ) -> Result<Stored, Status> {
        self.update_with(resource, new, expected, &[]).await
    }

    /// Replaces an object that must still be at `expected`. What goes with it is stored at the same revision, or neither is.
    pub async fn update_with(
        &self,
        resource: &Resource,
        mut new: Value,
        expected: Revision,
        with: &[Companion],
    ) -> Result<Stored, Status> {
        let name = object::name(&new).to_owned();
        let key = key_of(resource, object::namespace(&new), &name);
        let value = encode(&mut new)?;
        self.commit(resource, &name, Op::Update { key, value, expected }, with)
            .await
            .map(|revision| at_revision(new, revision))
    }

    /// How many objects there are under a prefix, up to `most`.
    pub fn count(&self, prefix: &str, most: usize) -> usize {
        self.store.count(prefix, most)
    }

    /// Writes what the API itself changed about a stored object, or takes it away where nothing holds it any more. Whether
    /// that stands: where somebody wrote in between, their change is seen next.
    pub async fn settle(&self, resource: &Resource, stored: &Stored, new: Value) -> Result<bool, Status> {
        let written = if strategy::finished_deleting(&new) {
            self.delete(resource, new, stored.revision).await
        } else if new == stored.object {
            return Ok(true);
        } else {
            self.update(resource, new, stored.revision).await
        };
        unless_late(written).map(|written| written.is_some())
    }

    async fn commit(
        &self,
        resource: &Resource,
        name: &str,
        own: Op,
        with: &[Companion],
    ) -> Result<Revision, Status> {
        let own_key = own.key().to_owned();
        let mut ops = vec![own];
        for companion in with {
            let mut object = companion.object().clone();
            let version = object::meta(&object, "resourceVersion").parse();
            let expected = version.map(Revision).map_err(|_| moved_companion(companion));
            let key = key_of_companion(companion);
            ops.push(match companion.change {
                Change::Made(_) => Op::Create { key, value: encode(&mut object)? },
                Change::Replaced(_) => Op::Update { key, value: encode(&mut object)?, expected: expected? },
                Change::Removed(_) => Op::Delete { key, expected: Some(expected?) },
            });
        }
        self.store.transact(ops).await.map_err(|error| match &error {
            Error::Exists { key, .. } | Error::Conflict { key, .. } | Error::NotFound { key }
                if *key != own_key =>
            {
                let found = with.iter().find(|companion| *key == key_of_companion(companion));
                found.map_or_else(|| refusal(&error, resource, name), moved_companion)
            }
            _ => refusal(&error, resource, name),
        })
    }

    /// Takes an object away that must still be at `expected`, and gives it back as it last was.
    pub async fn delete(
        &self,
        resource: &Resource,
        old: Value,
        expected: Revision,
    ) -> Result<Stored, Status> {
        self.delete_with(resource, old, expected, &[]).await
    }

    /// The same with what goes with it at the same revision, or neither does.
    pub async fn delete_with(
        &self,
        resource: &Resource,
        old: Value,
        expected: Revision,
        with: &[Companion],
    ) -> Result<Stored, Status> {
        let name = object::name(&old).to_owned();
        let key = key_of(resource, object::namespace(&old), &name);
        self.commit(resource, &name, Op::Delete { key, expected: Some(expected) }, with).await?;
        Ok(Stored { object: old, revision: expected })
    }

    /// Whether anything under a prefix was written after a revision.
    pub fn has_changed(&self, resource: &Resource, prefix: &str, after: Revision) -> Result<bool, Status> {
        self.store.has_changed(prefix, after).map_err(|error| refusal(&error, resource, ""))
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
    // A vector keeps up to as much room again, and this stays in memory.
    Ok(bytes.into_boxed_slice().into())
}

/// The object of an entry, with its `resourceVersion`.
pub fn decode(entry: &Entry) -> Result<Stored, Status> {
    let object = decoding::own(&entry.value).map_err(|error| {
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

/// What a write is told whose companion was changed by someone else.
fn moved_companion(companion: &Companion) -> Status {
    let mut status = Status::modified(
        Qualified::new(companion.group, companion.resource),
        object::name(companion.object()),
    );
    if let Some(details) = &mut status.details {
        details.retry_after_seconds = 1;
    }
    status
}

/// What was written, or nothing where somebody wrote or deleted the object in between: that change is seen next.
pub fn unless_late<T>(outcome: Result<T, Status>) -> Result<Option<T>, Status> {
    match outcome {
        Err(status) if is_conflict(&status) || status.code() == 404 => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Whether a write failed since something that goes with it was changed: it may be tried again with that as it is now.
pub fn is_companions(status: &Status) -> bool {
    is_conflict(status) && status.details.as_ref().is_some_and(|details| details.retry_after_seconds > 0)
}

/// Whether a write failed only since another one came before it.
pub fn is_conflict(status: &Status) -> bool {
    status.reason == Reason::Conflict
}

fn key_of_companion(companion: &Companion) -> String {
    let object = companion.object();
    key::object(companion.group, companion.resource, object::namespace(object), object::name(object))
}

fn key_of(resource: &Resource, namespace: Option<&str>, name: &str) -> String {
    let (group, plural) = convert::home(resource);
    key::object(group, plural, namespace, name)
}
