//! The watchers, and how each gets its events.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{Error, Event, Revision};

#[derive(Debug)]
pub(crate) struct Hub {
    /// By prefix, so that an event is compared once for all that watch the same.
    groups: BTreeMap<Arc<str>, Vec<Watcher>>,
    /// Every event at or below this revision is in the channels of those that want it.
    delivered: Arc<AtomicU64>,
    closed: bool,
}

/// A watcher as the hub sees it.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) events: mpsc::Sender<Arc<Event>>,
    pub(crate) queue: Arc<Queue>,
}

/// What waits for a watcher.
#[derive(Debug)]
pub(crate) struct Queue {
    limit: usize,
    limit_bytes: usize,
    bytes: AtomicUsize,
    /// Set before the channel is let go, if that is because it was full.
    lagged: AtomicBool,
}

impl Queue {
    pub(crate) fn new(limit: usize, limit_bytes: usize) -> Self {
        Self { limit, limit_bytes, bytes: AtomicUsize::new(0), lagged: AtomicBool::new(false) }
    }

    /// An event was taken out.
    pub(crate) fn taken(&self, event: &Event) {
        self.bytes.fetch_sub(event.weight(), Ordering::AcqRel);
    }

    /// Why the watch ended.
    pub(crate) fn end(&self) -> Error {
        if self.lagged.load(Ordering::Acquire) {
            Error::Lagged { limit: self.limit, limit_bytes: self.limit_bytes }
        } else {
            Error::Closed
        }
    }
}

impl Hub {
    pub(crate) fn new(revision: Revision) -> Self {
        Self { groups: BTreeMap::new(), delivered: Arc::new(AtomicU64::new(revision.0)), closed: false }
    }

    pub(crate) fn delivered(&self) -> Arc<AtomicU64> {
        self.delivered.clone()
    }

    /// Takes in a watcher, unless the hub is closed.
    pub(crate) fn register(&mut self, prefix: &str, watcher: Watcher) -> bool {
        if self.closed {
            return false;
        }
        match self.groups.get_mut(prefix) {
            Some(group) => {
                // Those that watch the same name again and again do not pile up.
                if group.len() == group.capacity() {
                    group.retain(|watcher| !watcher.events.is_closed());
                }
                group.push(watcher);
            }
            None => {
                self.groups.insert(prefix.into(), vec![watcher]);
            }
        }
        true
    }

    pub(crate) fn deliver(&mut self, revision: Revision, events: &[Arc<Event>]) {
        for (prefix, group) in &mut self.groups {
            for event in events.iter().filter(|event| event.key.starts_with(&**prefix)) {
                group.retain(|watcher| watcher.offer(event));
            }
        }
        self.delivered.store(revision.0, Ordering::Release);
    }

    /// Forgets the watchers that have gone.
    pub(crate) fn sweep(&mut self) {
        self.groups.retain(|_, group| {
            group.retain(|watcher| !watcher.events.is_closed());
            !group.is_empty()
        });
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.groups.clear();
    }
}

impl Watcher {
    fn offer(&self, event: &Arc<Event>) -> bool {
        // Counted before it can be taken.
        let waiting = self.queue.bytes.fetch_add(event.weight(), Ordering::AcqRel);
        // A single event always has its place, however large it is.
        let full = waiting > 0 && waiting.saturating_add(event.weight()) > self.queue.limit_bytes;
        let sent =
            if full { Err(true) } else { self.events.try_send(event.clone()).map_err(|e| is_full(&e)) };
        if sent == Err(true) {
            self.queue.lagged.store(true, Ordering::Release);
        }
        sent.is_ok()
    }
}

fn is_full<T>(error: &TrySendError<T>) -> bool {
    matches!(error, TrySendError::Full(_))
}
