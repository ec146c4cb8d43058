//! Reading one object and pages of a collection.

use bytes::Bytes;
use serde_json::Value;
use xebec_machinery::status::Status;
use xebec_store::Entry;

use crate::api::Api;
use crate::call::Call;
use crate::pages::{Pages, STRIDE};
use crate::pods::Pods;
use crate::raw::{self, Head, ListHead};
use crate::select::Selection;
use crate::{components, key, storage, usage};

/// A page of a collection.
#[derive(Debug)]
pub struct Listed {
    /// The objects, as the client sees them.
    pub items: Vec<Value>,
    /// The list's metadata.
    pub metadata: Value,
}

/// What a call selects of a collection, as it rests.
#[derive(Debug)]
pub(crate) struct Selected {
    /// In the order of namespace and name.
    pub(crate) entries: Vec<Entry>,
    /// The list's metadata.
    metadata: Value,
}

impl Api {
    /// The object that the call names.
    pub async fn read(&self, call: &Call) -> Result<Value, Status> {
        self.reached(call)?;
        let stored = self.storage().get(&call.resource, call.namespace(), call.name())?;
        self.present(call, stored.object).await
    }

    /// [`Self::read`] of whatever can be read: what is stored, and what is found out on the spot.
    pub(crate) async fn read_any(&self, call: &Call, pods: &dyn Pods) -> Result<Value, Status> {
        if usage::is_usage(call) {
            self.usage_of(call, &pods.usage()).await
        } else if components::is_component(call) {
            self.component(call)
        } else {
            self.read(call).await
        }
    }

    /// [`Self::list`] of whatever can be listed.
    pub(crate) async fn list_any(&self, call: &Call, pods: &dyn Pods) -> Result<Listed, Status> {
        if usage::is_usage(call) {
            self.usage_list(call, &pods.usage()).await
        } else if components::is_component(call) {
            self.components(call)
        } else {
            self.list(call).await
        }
    }

    /// A read that must not be older than a revision which has not happened is refused.
    pub(crate) fn reached(&self, call: &Call) -> Result<(), Status> {
        let (asked, current) = (call.options().resource_version.unwrap_or(0), self.storage().revision().0);
        if asked > current {
            return Err(Status::too_large_revision(asked, current));
        }
        Ok(())
    }

    /// A page of the objects that the call selects, in the order of namespace and name.
    pub async fn list(&self, call: &Call) -> Result<Listed, Status> {
        let selection = Selection::of(call)?;
        let mut pages = Pages::of(self, call, &selection)?;
        let mut items = Vec::new();
        while let Some(mut entries) = pages.next().await? {
            entries.retain(|entry| selection.may_match(&entry.key));
            let shown = self.shown(call, &entries).await?;
            let meant = shown.into_iter().zip(&entries).filter(|(object, _)| selection.matches(object));
            for (object, entry) in meant {
                items.push(object);
                if !pages.take(entry) {
                    break;
                }
            }
        }
        Ok(Listed { items, metadata: pages.metadata() })
    }

    /// The answer to [`Self::read`] in JSON, where the object goes out as it rests.
    pub(crate) fn read_raw(&self, call: &Call, head: &Head) -> Result<Option<Bytes>, Status> {
        if !raw::is_at_rest(call) {
            return Ok(None);
        }
        self.reached(call)?;
        let entry = self.storage().entry(&call.resource, call.namespace(), call.name())?;
        let mut text = Vec::with_capacity(head.room(&entry));
        let shown = raw::show(&entry, head, entry.modified, &mut text);
        text.push(b'\n');
        Ok(shown.map(|()| text.into()))
    }

    /// The answer to [`Self::list`] in JSON, where all objects are selected and go out as they rest.
    pub(crate) async fn list_raw(&self, call: &Call, head: &ListHead) -> Result<Option<Bytes>, Status> {
        if !Selection::of(call)?.is_everything() {
            return Ok(None);
        }
        Ok(self.selected_raw(call, head, &self.select(call).await?).await)
    }

    /// The entries of [`Self::list`].
    pub(crate) async fn select(&self, call: &Call) -> Result<Selected, Status> {
        let selection = Selection::of(call)?;
        let mut pages = Pages::of(self, call, &selection)?;
        let mut entries = Vec::new();
        while let Some(mut page) = pages.next().await? {
            if !selection.is_everything() {
                page.retain(|entry| selection.may_match(&entry.key));
                let mut meant = self.shown(call, &page).await?.into_iter();
                page.retain(|_| meant.next().is_some_and(|object| selection.matches(&object)));
            }
            for entry in page {
                let has_room = pages.take(&entry);
                entries.push(entry);
                if !has_room {
                    break;
                }
            }
        }
        Ok(Selected { entries, metadata: pages.metadata() })
    }

    /// Stored objects as the client sees them.
    async fn shown(&self, call: &Call, entries: &[Entry]) -> Result<Vec<Value>, Status> {
        let stored = entries.iter().map(|entry| Ok(storage::decode(entry)?.object));
        let mut shown = stored.collect::<Result<Vec<_>, Status>>()?;
        self.present_list(call, &mut shown).await?;
        Ok(shown)
    }

    /// What was selected as the client sees it.
    pub(crate) async fn listed(&self, call: &Call, selected: Selected) -> Result<Listed, Status> {
        let mut items = Vec::with_capacity(selected.entries.len());
        for entries in selected.entries.chunks(STRIDE) {
            items.append(&mut self.shown(call, entries).await?);
        }
        Ok(Listed { items, metadata: selected.metadata })
    }

    /// The same in JSON, where all of it goes out as it rests.
    pub(crate) async fn selected_raw(
        &self,
        call: &Call,
        head: &ListHead,
        selected: &Selected,
    ) -> Option<Bytes> {
        if !raw::is_at_rest(call) {
            return None;
        }
        let mut text = head.begin(&selected.metadata).into_bytes();
        text.reserve(selected.entries.iter().map(|entry| head.item.room(entry)).sum());
        for (number, entry) in selected.entries.iter().enumerate() {
            if number > 0 {
                text.push(b',');
            }
            raw::show(entry, &head.item, entry.modified, &mut text)?;
            if number % STRIDE == STRIDE - 1 {
                tokio::task::yield_now().await;
            }
        }
        text.extend_from_slice(b"]}\n");
        Some(text.into())
    }

    /// How many objects the call may look through, up to `most`.
    pub(crate) fn count(&self, call: &Call, most: usize) -> usize {
        self.storage().count(&self.prefix(call), most)
    }

    /// The prefix of the keys that the call may see.
    pub(crate) fn prefix(&self, call: &Call) -> String {
        let (group, plural) = crate::convert::home(&call.resource);
        key::prefix(group, plural, call.namespace())
    }

    /// The prefix of the keys under which there may be what the call selects: where that is one name, its own key, and
    /// those that begin so.
    pub(crate) fn narrow_prefix(&self, call: &Call, selection: &Selection) -> String {
        let is_whole = call.namespace().is_some() || !call.resource.namespaced();
        format!("{}{}", self.prefix(call), selection.name().filter(|_| is_whole).unwrap_or_default())
    }
}
