//! The end of a definition: no new objects, then none at all, then the definition goes too.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_store::{ListRequest, Watch};

use super::{CLEANUP, definition_of};
use crate::api::Api;
use crate::backoff::Backoff;
use crate::call::{Call, timestamp};
use crate::delete::{DeleteOptions, Deleted};
use crate::request::Verb;
use crate::storage;
use crate::{key, object};

/// How many objects are looked at and deleted at a time, so that they share their way to the disk.
const STRIDE: usize = 500;
const AT_ONCE: usize = 64;
/// How long to wait at the most before the objects are looked at again that others hold back.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What a look at the objects found.
struct Sweep {
    /// How many were there.
    found: usize,
    /// How many of them are on their way out since this look.
    deleted: usize,
}

/// One definition that goes.
pub(super) struct Retirement {
    api: Api,
    definitions: Arc<Resource>,
    resource: Arc<Resource>,
    name: String,
    uid: String,
}

impl Retirement {
    /// `uid` is that of the definition: another one of the same name is left alone.
    pub(super) fn new(api: Api, definitions: Arc<Resource>, resource: Arc<Resource>, uid: String) -> Self {
        let name = definition_of(&resource);
        Self { api, definitions, resource, name, uid }
    }

    /// Works until the definition is gone, or the API stops.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::default();
        while let Err(error) = self.try_run(&mut backoff).await {
            tracing::warn!(name = self.name, %error, "the objects of a definition could not all be deleted; it is tried again");
            if !backoff.wait(self.api.shutdown()).await {
                return;
            }
        }
    }

    async fn try_run(&self, backoff: &mut Backoff) -> Result<(), Status> {
        // From here on no creation is under way, and none begins.
        self.api.catalog().retire(&self.name).await;
        let terminating = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress");
        if !self.change(|definition| set_terminating(definition, terminating)).await? {
            return Ok(());
        }
        let prefix = key::prefix(&self.resource.group, &self.resource.plural, None);
        let mut watch = self.api.storage().watch(&self.resource, &prefix, None)?;
        loop {
            let sweep = self.sweep(&prefix).await?;
            backoff.reset();
            if sweep.found == 0 {
                break;
            }
            if sweep.deleted == 0 && !self.wait(&mut watch).await? {
                return Ok(());
            }
        }
        let done = ("False", "InstanceDeletionCompleted", "removed all instances");
        self.change(|definition| {
            set_terminating(definition, done);
            let rest: Vec<String> = object::meta_list(definition, "finalizers")
                .into_iter()
                .filter(|own| *own != CLEANUP)
                .map(str::to_owned)
                .collect();
            object::set_meta(definition, "finalizers", rest);
        })
        .await
        .map(drop)
    }

    /// Deletes what is there, as a client would: finalizers hold an object back.
    async fn sweep(&self, prefix: &str) -> Result<Sweep, Status> {
        let mut sweep = Sweep { found: 0, deleted: 0 };
        let mut after: Option<String> = None;
        let mut refused = None;
        loop {
            let list = ListRequest {
                prefix,
                after: after.as_deref(),
                limit: Some(STRIDE),
                ..ListRequest::default()
            };
            let page = self.api.storage().list(&self.resource, &list)?;
            sweep.found += page.items.len();
            let mut calls = Vec::new();
            for entry in &page.items {
                let stored = storage::decode(entry)?;
                if !object::deleting(&stored.object) {
                    let (namespace, name) = (object::namespace(&stored.object), object::name(&stored.object));
                    calls.push(Call::own(self.resource.clone(), Verb::Delete, namespace, name));
                }
            }
            let mut deletions = stream::iter(calls).map(|call| self.delete(call)).buffer_unordered(AT_ONCE);
            while let Some(deletion) = deletions.next().await {
                match deletion {
                    Err(status) if status.code() != 404 => refused = Some(status),
                    _ => sweep.deleted += 1,
                }
            }
            after = page.items.last().map(|entry| entry.key.to_string());
            if !page.more {
                break;
            }
        }
        refused.map_or(Ok(sweep), Err)
    }

    async fn delete(&self, call: Call) -> Result<Deleted, Status> {
        self.api.delete(&call, &DeleteOptions::default()).await
    }

    /// Waits until one of the objects changes, or for a while; tells whether to go on.
    async fn wait(&self, watch: &mut Watch) -> Result<bool, Status> {
        tokio::select! {
            () = self.api.shutdown().cancelled() => Ok(false),
            () = tokio::time::sleep(LOOK_AGAIN) => Ok(true),
            event = watch.next() => match event {
                Ok(_) => Ok(true),
                Err(error) => Err(storage::refusal(&error, &self.resource, "")),
            },
        }
    }

    /// Changes the definition, again and again while others write in between; tells whether it is still there.
    async fn change(&self, change: impl Fn(&mut Value)) -> Result<bool, Status> {
        loop {
            let found = self.api.storage().find(&self.definitions, None, &self.name)?;
            let Some(stored) = found.filter(|found| object::meta(&found.object, "uid") == self.uid) else {
                return Ok(false);
            };
            let mut new = stored.object.clone();
            change(&mut new);
            if self.api.storage().settle(&self.definitions, &stored, new).await? {
                return Ok(true);
            }
        }
    }
}

/// Writes the condition `Terminating`; its time is that of the last change of its truth.
fn set_terminating(definition: &mut Value, (truth, reason, message): (&str, &str, &str)) {
    let status = object::section_mut(definition, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Value::Array(conditions) = conditions else { return };
    let now = timestamp(jiff::Timestamp::now());
    let mut condition = json!({
        "type": "Terminating", "status": truth, "reason": reason, "message": message, "lastTransitionTime": now,
    });
    match conditions.iter_mut().find(|own| own.get("type").is_some_and(|kind| kind == "Terminating")) {
        Some(own) => {
            if own.get("status") == condition.get("status") {
                condition["lastTransitionTime"] = own.get("lastTransitionTime").cloned().unwrap_or_default();
            }
            *own = condition;
        }
        None => conditions.push(condition),
    }
}
