//! The thread that brings what was committed from the journal into the database, many commits at a time.
//!
//! Nobody waits for it but those who write faster than it does for long. What it cannot write it tries again, for as long as
//! the store is open; until it succeeds, the journal has it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::{Base, Work};
use crate::failure::storage;
use crate::{Error, Revision};

/// How long it waits for more, and how much is enough.
const GATHER: Duration = Duration::from_millis(500);
const ENOUGH_BYTES: u64 = 2 << 20;
/// How long it waits at most before it tries again: the database is checked from end to end each time.
const LONGEST: Duration = Duration::from_secs(8);

enum Order {
    Do(Work),
    Close,
}

pub(crate) struct Keeper {
    orders: Sender<Order>,
    standing: Arc<Standing>,
    thread: Option<JoinHandle<()>>,
}

/// How far it is.
#[derive(Debug)]
struct Standing {
    kept: AtomicU64,
    /// Why it did not get further.
    fault: Mutex<Option<Error>>,
}

impl Keeper {
    pub(crate) fn start(base: Base, directory: &Path) -> Result<Self, Error> {
        let (orders, received) = channel();
        let kept = AtomicU64::new(base.head().revision.0);
        let standing = Arc::new(Standing { kept, fault: Mutex::default() });
        let work = Keeping { base, received, standing: standing.clone() };
        let thread = std::thread::Builder::new().name("store-keeper".to_owned()).spawn(|| work.run());
        let thread = Some(thread.map_err(|error| storage(directory, &error))?);
        Ok(Self { orders, standing, thread })
    }

    /// Asks for something to be done behind all that was asked for before. How much may wait is for who asks to bound.
    pub(crate) fn order(&self, work: Work) {
        // It goes only when it is closed, and nothing is asked for behind that.
        let _ = self.orders.send(Order::Do(work));
    }

    /// Everything up to here is in the database.
    pub(crate) fn kept(&self) -> Revision {
        Revision(self.standing.kept.load(Ordering::Acquire))
    }

    /// Why it does not get further, if it does not.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.standing.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing is done any more, which only a defect could bring about.
    pub(crate) fn is_gone(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Does all that is left, if that is possible, and says how far it came.
    pub(crate) fn close(mut self) -> Revision {
        self.stop();
        self.kept()
    }

    fn stop(&mut self) {
        let _ = self.orders.send(Order::Close);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's keeper panicked");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Keeping {
    base: Base,
    received: Receiver<Order>,
    standing: Arc<Standing>,
}

impl Keeping {
    fn run(mut self) {
        let mut works = VecDeque::new();
        let (mut wait, mut is_last) = (None, false);
        while !is_last || wait.is_none() && !works.is_empty() {
            is_last = is_last || self.gather(&mut works, wait);
            wait = match self.keep(&mut works) {
                Ok(()) => None,
                Err(error) => {
                    let mut fault = self.standing.fault.lock().unwrap_or_else(PoisonError::into_inner);
                    if fault.as_ref() != Some(&error) {
                        tracing::warn!(%error, "the database takes nothing; the journal has what is written");
                    }
                    *fault = Some(error);
                    Some(wait.map_or(GATHER, |wait: Duration| (wait * 2).min(LONGEST)))
                }
            };
        }
    }

    /// Does the first of the works, as many as are enough at a time.
    fn keep(&mut self, works: &mut VecDeque<Work>) -> Result<(), Error> {
        let mut bytes = 0;
        let before = |work: &&Work| {
            let is_room = bytes < ENOUGH_BYTES;
            bytes += work.bytes();
            is_room
        };
        let count = works.iter().take_while(before).count();
        if count > 0 {
            self.base.apply(&works.make_contiguous()[..count])?;
            works.drain(..count);
            self.standing.kept.store(self.base.head().revision.0, Ordering::Release);
            *self.standing.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(())
    }

    /// Waits until there is enough to do, or it is time; gives whether nothing comes behind it. After a failure it waits as long
    /// as it is told to.
    fn gather(&self, works: &mut VecDeque<Work>, failed: Option<Duration>) -> bool {
        if works.is_empty() {
            match self.received.recv() {
                Ok(Order::Do(first)) => works.push_back(first),
                Ok(Order::Close) | Err(_) => return true,
            }
        }
        let until = Instant::now() + failed.unwrap_or(GATHER);
        let mut bytes: u64 = works.iter().map(Work::bytes).sum();
        while failed.is_some() || bytes < ENOUGH_BYTES {
            match self.received.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Order::Do(work)) => {
                    bytes += work.bytes();
                    works.push_back(work);
                }
                Err(RecvTimeoutError::Timeout) => break,
                Ok(Order::Close) | Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
        false
    }
}
