use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::hub::Listener;
use crate::{Error, Event, Revision};

/// Every change under a prefix, once and in order.
#[derive(Debug)]
pub struct Watch {
    backlog: VecDeque<Arc<Event>>,
    listener: Listener,
    capacity: usize,
    delivered: Revision,
}

impl Watch {
    pub(crate) fn new(
        backlog: VecDeque<Arc<Event>>,
        listener: Listener,
        capacity: usize,
        from: Revision,
    ) -> Self {
        Self { backlog, listener, capacity, delivered: from }
    }

    /// The next change; waits for it. Dropping the wait loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Lagged`] when changes came faster than they were taken, [`Error::Closed`] when the store was closed. Both
    /// end the watch.
    pub async fn next(&mut self) -> Result<Arc<Event>, Error> {
        let event = match self.backlog.pop_front() {
            Some(event) => event,
            None => match self.listener.events.recv().await {
                Some(event) => event,
                None if self.listener.lagged.load(Ordering::Acquire) => {
                    return Err(Error::Lagged { limit: self.capacity });
                }
                None => return Err(Error::Closed),
            },
        };
        self.delivered = event.revision;
        Ok(event)
    }

    /// The revision up to which this watch has delivered everything.
    pub fn progress(&self) -> Revision {
        // Read before looking for waiting events: everything up to it was handed over before it was set.
        let published = Revision(self.listener.published.load(Ordering::Acquire));
        if self.backlog.is_empty() && self.listener.events.is_empty() {
            published.max(self.delivered)
        } else {
            // More events of this revision may wait.
            Revision(self.delivered.0.saturating_sub(1))
        }
    }
}
