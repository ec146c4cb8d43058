//! Streams of changes.
//!
//! A watch starts with what exists, where the client asks for that, and goes on with every change after the revision
//! that it showed. A selector turns changes into arrivals and departures: an object that begins to match was added, one
//! that ceases to match was deleted. Bookmarks tell a quiet watch how far it is.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use xebec_machinery::crd::Conversion;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::{Reason, Status};
use xebec_store::{Entry, Error, Event, EventKind, ListRequest, Revision};

use crate::api::Api;
use crate::call::Call;
use crate::catalog::Served;
use crate::field_order::{Ordered, OrderedEvent};
use crate::raw::{self, Head};
use crate::select::Selection;
use crate::storage::{at_revision, decode, refusal};
use crate::view::View;

/// How often a watch that asked for bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts whose client does not say, and at the most.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a watch waits for the revision that it is to show, as upstream does, and how often it looks.
const FRESH_WITHIN: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);
/// How many stored objects are read at a time for the first part of a watch.
const STRIDE: usize = 250;

const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

struct Watching {
    api: Api,
    call: Call,
    view: View,
    selection: Selection,
    /// How objects begin, where all of them go out as they rest.
    raw: Option<Head>,
    changes: xebec_store::Watch,
    /// What happens up to this revision is not shown: the client has it, or says that it has.
    after: Revision,
    /// What custom resources are served.
    definition: Option<watch::Receiver<Arc<Served>>>,
    initial: Option<Initial>,
    ready: VecDeque<Bytes>,
    bookmarks: Option<Interval>,
    deadline: Instant,
    shutdown: CancellationToken,
    over: bool,
}

/// The part of a watch that shows what exists.
struct Initial {
    prefix: String,
    at: Revision,
    after: Option<String>,
    /// What was read of the store and not shown yet: shown, it is many times as large.
    page: std::vec::IntoIter<Entry>,
    more: bool,
    mark_end: bool,
}

impl Api {
    /// Starts a watch of what the call selects. Gives one JSON document a change, each on a line of its own.
    ///
    /// One that starts at a revision to come is quiet until then, as upstream's is. One that is to show what there is at such a
    /// revision waits for it a little.
    pub async fn watch(
        &self,
        call: &Call,
        view: View,
    ) -> Result<impl Stream<Item = Result<Bytes, io::Error>> + Send + use<>, Status> {
        let options = call.options();
        let selection = Selection::of(call)?;
        let prefix = self.narrow_prefix(call, &selection);
        let asked = Revision(options.resource_version.unwrap_or(0));
        let show = options.send_initial_events.unwrap_or(asked.0 == 0);
        // Whatever a watch meets after its request was understood is told within its stream.
        let told = |status: &Status| {
            let only = line("ERROR", &status.to_value());
            Ok(stream::once(async { Ok(only) }).left_stream())
        };
        if show && !self.has_reached(asked).await {
            return told(&Status::too_large_revision(asked.0, self.storage().revision().0));
        }
        let at = self.storage().revision();
        let after = if show || asked.0 == 0 { at } else { asked };
        let changes = match self.storage().watch(&call.resource, &prefix, Some(after.min(at))) {
            Ok(changes) => changes,
            Err(status) if status.reason == Reason::Expired => return told(&status),
            Err(status) => return Err(status),
        };
        let mark_end = options.send_initial_events == Some(true) && options.bookmarks;
        let initial = show.then_some(Initial {
            prefix,
            at,
            after: None,
            page: Vec::new().into_iter(),
            more: true,
            mark_end,
        });
        let bookmarks = options.bookmarks.then(|| {
            let mut interval = tokio::time::interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let is_raw = raw::is_at_rest(call) && selection.is_everything();
        let watching = Watching {
            api: self.clone(),
            raw: view.head(call).filter(|_| is_raw),
            call: call.clone(),
            view,
            selection,
            changes,
            after,
            definition: call.resource.custom.then(|| self.catalog().changes()),
            initial,
            ready: VecDeque::new(),
            bookmarks,
            deadline: Instant::now() + options.timeout.unwrap_or(TIMEOUT).min(LONGEST),
            shutdown: self.shutdown().clone(),
            over: false,
        };
        let lines = stream::unfold(watching, |mut watching| async move {
            let line = watching.next().await?;
            Some((Ok(line), watching))
        });
        Ok(lines.right_stream())
    }

    /// Whether a revision has come, or does so soon.
    async fn has_reached(&self, asked: Revision) -> bool {
        let until = Instant::now() + FRESH_WITHIN;
        while self.storage().revision() < asked {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }
}

/// What a watch waits for.
enum Wake {
    Change(Result<Arc<Event>, Error>),
    Bookmark,
    End,
}

impl Watching {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            if self.initial.is_some() {
                if let Err(status) = self.show_more().await {
                    self.fail(&status);
                }
                // A large collection of which nothing matches leaves room for others.
                tokio::task::consume_budget().await;
                continue;
            }
            match self.wait().await {
                Wake::End => return None,
                Wake::Bookmark => {
                    let revision = self.changes.progress();
                    if revision >= self.after {
                        self.bookmark(revision, false);
                    }
                }
                Wake::Change(Ok(event)) if event.revision <= self.after => {}
                Wake::Change(Ok(event)) => {
                    if let Err(status) = self.show(&event).await {
                        self.fail(&status);
                    }
                }
                Wake::Change(Err(error)) => self.fail(&refusal(&error, &self.call.resource, "")),
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let bookmark = async {
            match &mut self.bookmarks {
                Some(interval) => interval.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Wake::End,
            () = redefined(&mut self.definition, &self.call.resource) => Wake::End,
            () = tokio::time::sleep_until(self.deadline) => Wake::End,
            change = self.changes.next() => Wake::Change(change),
            _ = bookmark => Wake::Bookmark,
        }
    }

    /// Whether the definition of what is watched has changed, or is gone.
    fn is_redefined(&self) -> bool {
        let served = self.definition.as_ref().map(|definition| definition.borrow());
        served.is_some_and(|served| !is_served(&served, &self.call.resource))
    }

    /// Shows some of what exists. One object at a time, since a slow client is to keep little in memory; but as many
    /// together as were read where a webhook is asked to convert them.
    async fn show_more(&mut self) -> Result<(), Status> {
        let Some(mut initial) = self.initial.take() else { return Ok(()) };
        if self.is_redefined() {
            self.over = true;
            return Ok(());
        }
        let together =
            if matches!(self.call.resource.conversion, Conversion::Webhook(_)) { STRIDE } else { 1 };
        let mut entries: Vec<Entry> = initial.page.by_ref().take(together).collect();
        if let Some(last) = entries.last() {
            initial.after = Some(last.key.to_string());
            entries.retain(|entry| self.selection.may_match(&entry.key));
            self.initial = Some(initial);
            if let [entry] = &entries[..]
                && let Some(line) = self.raw_line("ADDED", entry, entry.modified)
            {
                self.ready.push_back(line);
                return Ok(());
            }
            let stored = entries.iter().map(|entry| Ok(decode(entry)?.object));
            let mut shown = stored.collect::<Result<Vec<_>, Status>>()?;
            self.api.present_list(&self.call, &mut shown).await?;
            for object in shown {
                if self.selection.matches(&object) {
                    self.push("ADDED", object);
                }
            }
            return Ok(());
        }
        if initial.more {
            let request = ListRequest {
                prefix: &initial.prefix,
                after: initial.after.as_deref(),
                limit: Some(STRIDE),
                at: Some(initial.at),
                count: false,
            };
            let page = self.api.storage().list(&self.call.resource, &request)?;
            (initial.more, initial.page) = (page.more, page.items.into_iter());
            self.initial = Some(initial);
        } else if initial.mark_end {
            self.bookmark(initial.at, true);
        }
        Ok(())
    }

    /// Shows one change, if the client is to see it.
    async fn show(&mut self, event: &Event) -> Result<(), Status> {
        let (kind, entry) = match &event.kind {
            EventKind::Put { entry } if event.previous.is_none() => ("ADDED", entry),
            EventKind::Put { entry } => ("MODIFIED", entry),
            EventKind::Delete { last } => ("DELETED", last),
        };
        if let Some(line) = self.raw_line(kind, entry, event.revision) {
            self.ready.push_back(line);
            return Ok(());
        }
        if !self.selection.may_match(&entry.key) {
            return Ok(());
        }
        let everything = self.selection.is_everything();
        let before = match &event.previous {
            Some(entry) if !everything => Some(self.present(entry).await?),
            _ => None,
        };
        let was = match &before {
            Some(before) => self.selection.matches(before),
            None => everything && event.previous.is_some(),
        };
        let (kind, object) = match &event.kind {
            EventKind::Put { entry } => {
                let now = self.present(entry).await?;
                match (was, self.selection.matches(&now)) {
                    (false, true) => ("ADDED", now),
                    (true, true) => ("MODIFIED", now),
                    (true, false) => ("DELETED", at_revision(before.unwrap_or(now), event.revision).object),
                    (false, false) => return Ok(()),
                }
            }
            EventKind::Delete { last } => {
                if !was {
                    return Ok(());
                }
                let last = self.present(last).await?;
                ("DELETED", at_revision(last, event.revision).object)
            }
        };
        self.push(kind, object);
        Ok(())
    }

    /// A change of an object that goes out as it rests.
    fn raw_line(&self, kind: &str, entry: &Entry, revision: Revision) -> Option<Bytes> {
        let head = self.raw.as_ref()?;
        let mut line = Vec::with_capacity(head.room(entry));
        line.extend_from_slice(br#"{"type":""#);
        line.extend_from_slice(kind.as_bytes());
        line.extend_from_slice(br#"","object":"#);
        raw::show(entry, head, revision, &mut line)?;
        line.extend_from_slice(b"}\n");
        Some(line.into())
    }

    async fn present(&self, entry: &Entry) -> Result<Value, Status> {
        self.api.present(&self.call, decode(entry)?.object).await
    }

    fn bookmark(&mut self, revision: Revision, end: bool) {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = json!({
            "apiVersion": self.call.api_version(),
            "kind": &*self.call.resource.kind,
            "metadata": metadata,
        });
        self.push("BOOKMARK", object);
    }

    fn push(&mut self, kind: &str, object: Value) {
        let object = self.view.object(object);
        self.line(kind, &object);
    }

    /// Tells the client why the watch ends, and ends it.
    fn fail(&mut self, status: &Status) {
        self.over = true;
        self.initial = None;
        self.line("ERROR", &status.to_value());
    }

    fn line(&mut self, kind: &str, object: &Value) {
        self.ready.push_back(line(kind, object));
    }
}

/// Waits until a custom resource is served as another definition has it, or no longer. What is stored from then on may be
/// nothing that the old one could show; clients begin anew.
async fn redefined(definition: &mut Option<watch::Receiver<Arc<Served>>>, resource: &Arc<Resource>) {
    match definition {
        // The catalog stays for as long as the API does.
        Some(definition) => drop(definition.wait_for(|served| !is_served(served, resource)).await),
        None => std::future::pending().await,
    }
}

fn is_served(served: &Served, resource: &Arc<Resource>) -> bool {
    let now = served.find(&resource.group, &resource.plural);
    now.is_some_and(|now| Arc::ptr_eq(now, resource))
}

fn line(kind: &str, object: &Value) -> Bytes {
    // A value has no key that is no text, and memory takes all bytes: this cannot fail.
    let mut line = serde_json::to_vec(&OrderedEvent { kind, object: Ordered(object) }).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
