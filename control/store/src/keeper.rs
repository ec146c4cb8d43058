//! The thread that brings what was committed from the journal into the database, many commits at a time.
//!
//! Nobody waits for it but those who write faster than it does for long. What it cannot write it tries again, for as long as
//! the store is open; until it succeeds, the journal has it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::{Base, Work};
use crate::failure::storage;
use crate::{Error, Revision};

/// How long it waits for more, also before it tries again, and how much is enough.
const GATHER: Duration = Duration::from_millis(500);
const ENOUGH_BYTES: u64 = 2 << 20;

enum Order {
    Do(Work),
    Close,
}

pub(crate) struct Keeper {
    orders: Sender<Order>,
    standing: Arc<Standing>,
    thread: JoinHandle<()>,
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
        Ok(Self { orders, standing, thread: thread.map_err(|error| storage(directory, &error))? })
    }

    /// Asks for something to be done behind all that was asked for before.
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
        self.thread.is_finished()
    }

    /// Does all that is left, if that is possible, and says how far it came.
    pub(crate) fn close(self) -> Revision {
        let _ = self.orders.send(Order::Close);
        if self.thread.join().is_err() {
            tracing::error!("the store's keeper panicked");
        }
        Revision(self.standing.kept.load(Ordering::Acquire))
    }
}

struct Keeping {
    base: Base,
    received: Receiver<Order>,
    standing: Arc<Standing>,
}

impl Keeping {
    fn run(mut self) {
        let mut works = Vec::new();
        let mut is_last = false;
        while !is_last {
            is_last = self.gather(&mut works);
            if works.is_empty() {
                continue;
            }
            let done = self.base.apply(&works);
            *self.standing.fault.lock().unwrap_or_else(PoisonError::into_inner) =
                done.as_ref().err().cloned();
            match done {
                Ok(()) => {
                    works.clear();
                    self.standing.kept.store(self.base.head().revision.0, Ordering::Release);
                }
                Err(error) => {
                    tracing::warn!(%error, "the database takes nothing; the journal has what is written")
                }
            }
        }
    }

    /// Adds what is to be done to what could not be done before; gives whether nothing comes behind it.
    fn gather(&self, works: &mut Vec<Work>) -> bool {
        let failed = !works.is_empty();
        if !failed {
            match self.received.recv() {
                Ok(Order::Do(first)) => works.push(first),
                Ok(Order::Close) | Err(_) => return true,
            }
        }
        let until = Instant::now() + GATHER;
        let mut bytes: u64 = works.iter().map(Work::bytes).sum();
        while failed || bytes < ENOUGH_BYTES {
            match self.received.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Order::Do(work)) => {
                    bytes += work.bytes();
                    works.push(work);
                }
                Err(RecvTimeoutError::Timeout) => break,
                Ok(Order::Close) | Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
        false
    }
}
