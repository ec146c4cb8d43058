//! The watchers that listen now, and the events that go to each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::{Event, Revision};

#[derive(Debug, Default)]
pub(crate) struct Hub {
    watchers: Vec<Watcher>,
    published: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Watcher {
    prefix: Box<str>,
    /// The watcher has seen everything up to here already.
    since: Revision,
    events: mpsc::Sender<Arc<Event>>,
    lagged: Arc<AtomicBool>,
}

/// The listening end of a watcher.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) events: mpsc::Receiver<Arc<Event>>,
    pub(crate) lagged: Arc<AtomicBool>,
    pub(crate) published: Arc<AtomicU64>,
}

impl Hub {
    pub(crate) fn new(revision: Revision) -> Self {
        Self { watchers: Vec::new(), published: Arc::new(AtomicU64::new(revision.0)) }
    }

    pub(crate) fn register(&mut self, prefix: &str, since: Revision, capacity: usize) -> Listener {
        let (sender, events) = mpsc::channel(capacity);
        let lagged = Arc::new(AtomicBool::new(false));
        self.watchers.push(Watcher { prefix: prefix.into(), since, events: sender, lagged: lagged.clone() });
        Listener { events, lagged, published: self.published.clone() }
    }

    /// Hands a batch to everyone whom it concerns. Who has no room left is cut off, and nobody waits.
    pub(crate) fn publish(&mut self, events: &[Arc<Event>], revision: Revision) {
        self.watchers.retain(|watcher| watcher.offer(events));
        self.published.store(revision.0, Ordering::Release);
    }

    pub(crate) fn close(&mut self) {
        self.watchers.clear();
    }
}

impl Watcher {
    /// Whether the watcher still listens and keeps up.
    fn offer(&self, events: &[Arc<Event>]) -> bool {
        if self.events.is_closed() {
            return false;
        }
        for event in events {
            if event.revision <= self.since || !event.key.starts_with(&*self.prefix) {
                continue;
            }
            if self.events.try_send(event.clone()).is_err() {
                self.lagged.store(true, Ordering::Release);
                return false;
            }
        }
        true
    }
}
