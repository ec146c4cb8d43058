//! What is gathered from the stored objects of some prefix, and kept in step with them.
//!
//! A follower takes in what was written since its last reading before each reading, so that an object counts from the moment its
//! write was answered. While nothing under its prefix is written, a reading costs a look at two numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use serde_json::Value;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_store::{Error, EventKind, ListRequest, Watch};

use crate::storage::{Storage, decode, refusal};

/// Something that objects are gathered into.
pub(crate) trait Gather: Default {
    /// Takes in an object, in the place of the one of its name.
    fn put(&mut self, object: Value);

    /// Lets an object go.
    fn remove(&mut self, object: &Value);
}

/// What is gathered from the objects under a prefix.
pub(crate) struct Follower<G> {
    storage: Storage,
    resource: Arc<Resource>,
    prefix: String,
    gathered: RwLock<Option<(G, Watch)>>,
    /// The revision up to which everything is taken in.
    seen: AtomicU64,
}

impl<G: Gather> Follower<G> {
    /// Follows the objects under a prefix. Errors speak of the resource.
    pub(crate) fn new(storage: Storage, resource: Arc<Resource>, prefix: String) -> Self {
        Self { storage, resource, prefix, gathered: RwLock::new(None), seen: AtomicU64::new(0) }
    }

    /// Reads what is gathered by now.
    ///
    /// # Errors
    ///
    /// The objects cannot be read.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&mut G) -> T) -> Result<T, Status> {
        let mut gathered = self.gathered.write().unwrap_or_else(PoisonError::into_inner);
        self.bring_up_to_date(&mut gathered)?;
        gathered.as_mut().map(|(own, _)| read(own)).ok_or_else(lost)
    }

    /// [`Follower::read`] beside others that do so too: they wait for each other only where something was written.
    ///
    /// # Errors
    ///
    /// The objects cannot be read.
    pub(crate) fn view<T>(&self, view: impl FnOnce(&G) -> T) -> Result<T, Status> {
        let written = self.storage.revision();
        let gathered = self.gathered.read().unwrap_or_else(PoisonError::into_inner);
        if self.seen.load(Ordering::Acquire) >= written.0
            && let Some((own, _)) = &*gathered
        {
            return Ok(view(own));
        }
        drop(gathered);
        let mut gathered = self.gathered.write().unwrap_or_else(PoisonError::into_inner);
        self.bring_up_to_date(&mut gathered)?;
        let gathered = RwLockWriteGuard::downgrade(gathered);
        gathered.as_ref().map(|(own, _)| view(own)).ok_or_else(lost)
    }

    fn bring_up_to_date(&self, gathered: &mut Option<(G, Watch)>) -> Result<(), Status> {
        let written = self.storage.revision();
        let (mut own, mut changes) = match gathered.take() {
            Some(current) => current,
            None => self.begin()?,
        };
        if let Err(error) = self.catch_up(&mut own, &mut changes) {
            // Too much has changed at once: read it anew.
            tracing::debug!(prefix = self.prefix, %error, "lost sight of stored objects; reading them again");
            (own, changes) = self.begin()?;
        }
        *gathered = Some((own, changes));
        self.seen.store(written.0, Ordering::Release);
        Ok(())
    }

    fn begin(&self) -> Result<(G, Watch), Status> {
        let at = self.storage.revision();
        let changes = self.storage.watch(&self.resource, &self.prefix, Some(at))?;
        let list = ListRequest { prefix: &self.prefix, at: Some(at), ..ListRequest::default() };
        let mut own = G::default();
        for entry in self.storage.list(&self.resource, &list)?.items {
            own.put(decode(&entry)?.object);
        }
        Ok((own, changes))
    }

    /// Takes in everything that was written until now.
    fn catch_up(&self, own: &mut G, changes: &mut Watch) -> Result<(), Status> {
        let written = self.storage.revision();
        self.drain(own, changes)?;
        let seen = changes.progress();
        if seen < written && self.storage.has_changed(&self.resource, &self.prefix, seen)? {
            // A write is answered just before its watchers are told: what is not told yet is read from the history.
            *changes = self.storage.watch(&self.resource, &self.prefix, Some(seen))?;
            self.drain(own, changes)?;
        }
        Ok(())
    }

    fn drain(&self, own: &mut G, changes: &mut Watch) -> Result<(), Status> {
        let lost = |error: Error| refusal(&error, &self.resource, "");
        while let Some(event) = changes.try_next().map_err(lost)? {
            match &event.kind {
                EventKind::Put { entry } => own.put(decode(entry)?.object),
                EventKind::Delete { last } => own.remove(&decode(last)?.object),
            }
        }
        Ok(())
    }
}

fn lost() -> Status {
    Status::internal("what is gathered from stored objects is not there")
}
