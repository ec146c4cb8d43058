use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::{Error, Event, Revision, hub::Queue};

/// The changes to the keys under a prefix, each once and in order, until it is dropped.
///
/// Every method gives the same error again once the watch has ended.
#[derive(Debug)]
pub struct Watch {
    /// History that was there before the watch, and at times one event taken ahead.
    pub(crate) backlog: VecDeque<Arc<Event>>,
    pub(crate) events: mpsc::Receiver<Arc<Event>>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) delivered: Arc<AtomicU64>,
    pub(crate) progress: Revision,
}

impl Watch {
    /// Waits for the next event. May be dropped while it waits; nothing is lost.
    ///
    /// # Errors
    ///
    /// [`Error::Lagged`] once what was delivered before the cut has been taken, [`Error::Closed`] when the store is
    /// closed.
    pub async fn next(&mut self) -> Result<Arc<Event>, Error> {
        match self.backlog.pop_front() {
            Some(event) => Ok(event),
            None => {
                let event = self.events.recv().await.ok_or_else(|| self.queue.end())?;
                self.queue.taken(&event);
                Ok(event)
            }
        }
    }

    /// The next event, if there is one by now.
    ///
    /// # Errors
    ///
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, Error> {
        if let Some(event) = self.backlog.pop_front() {
            return Ok(Some(event));
        }
        match self.events.try_recv() {
            Ok(event) => {
                self.queue.taken(&event);
                Ok(Some(event))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(self.queue.end()),
        }
    }

    /// The revision up to which this watch is complete: every event of its prefix at or below it has been taken. It
    /// moves on with changes to other keys too, so that a watcher of quiet keys can resume from a recent revision.
    pub fn progress(&mut self) -> Revision {
        if self.backlog.is_empty() {
            // Read before the channel: what is delivered up to here is then either in the channel or was taken.
            let delivered = Revision(self.delivered.load(Ordering::Acquire));
            match self.events.try_recv() {
                Ok(event) => {
                    self.queue.taken(&event);
                    self.backlog.push_back(event);
                }
                Err(TryRecvError::Empty) => self.progress = self.progress.max(delivered),
                // What was not delivered because of the cut is not told from what was.
                Err(TryRecvError::Disconnected) => {}
            }
        }
        if let Some(event) = self.backlog.front() {
            self.progress = self.progress.max(event.revision.previous());
        }
        self.progress
    }
}
