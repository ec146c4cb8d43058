//! Transactions on their way into the log and the head.
//!
//! Who commits joins a queue. The first who finds nobody at work writes the whole queue to the log in one go, makes it
//! safe once, and applies it to the head in the order of the log; the others wait. So the head is always what reading
//! the log would make of it, and a burst of writers shares the price of safety.

use std::{
    collections::{HashMap, HashSet},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Error, Interval, Result,
    head::{Batch, Head},
    wal::{LogWriter, record},
};

/// What goes into the log at once.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) batch: Batch,
    pub(crate) deleted: Vec<(u32, Interval)>,
    /// Records of `batch` and `deleted`.
    pub(crate) records: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Queued {
    ticket: u64,
    transaction: Transaction,
    /// Series that this transaction is the first to log.
    series: Vec<u32>,
}

#[derive(Debug)]
struct State {
    queue: Vec<Queued>,
    /// Who waits for what became of a transaction.
    outcomes: HashMap<u64, Result<u64>>,
    next: u64,
    /// Nobody is writing when it is here.
    log: Option<LogWriter>,
    /// Series whose labels the log does not have yet.
    unlogged: HashSet<u32>,
    failed: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Committer {
    state: Mutex<State>,
    wake: Condvar,
}

impl Committer {
    pub(crate) fn new(log: LogWriter) -> Self {
        let state = State {
            queue: Vec::new(),
            outcomes: HashMap::new(),
            next: 0,
            log: Some(log),
            unlogged: HashSet::new(),
            failed: None,
        };
        Self { state: Mutex::new(state), wake: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a series that is new.
    pub(crate) fn created(&self, number: u32) {
        self.lock().unlogged.insert(number);
    }

    /// Makes a transaction safe and applies it. Gives how many of its samples were refused after all, since other
    /// transactions came first. `alive` is asked, while no series can go away, whether all series are still there.
    pub(crate) fn commit(
        &self,
        head: &Head,
        transaction: Transaction,
        alive: impl FnOnce() -> Result<()>,
    ) -> Result<u64> {
        let mut state = self.lock();
        if let Some(why) = &state.failed {
            return Err(Error::LogFailed(why.clone()));
        }
        alive()?;
        let ticket = state.next;
        state.next += 1;
        let series = first_logged(&mut state.unlogged, &transaction);
        state.queue.push(Queued { ticket, transaction, series });
        loop {
            if let Some(outcome) = state.outcomes.remove(&ticket) {
                return outcome;
            }
            let Some(log) = state.log.take() else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let group = std::mem::take(&mut state.queue);
            drop(state);
            state = self.write(head, log, group);
        }
    }

    /// Writes and applies a group, and tells what became of it.
    fn write(&self, head: &Head, mut log: LogWriter, group: Vec<Queued>) -> MutexGuard<'_, State> {
        let index = head.index();
        for queued in &group {
            let known = queued.series.iter().filter_map(|&number| Some((number, index.labels(number)?)));
            let series: Vec<_> = known.collect();
            for part in series.chunks(1000) {
                log.push(&record::series(part));
            }
            queued.transaction.records.iter().for_each(|record| log.push(record));
            log.push(&record::commit());
        }
        drop(index);
        let written = log.flush();
        let mut outcomes = Vec::with_capacity(group.len());
        let mut failed = Vec::new();
        match &written {
            Ok(()) => {
                for Queued { ticket, transaction, .. } in group {
                    let refused = head.apply(transaction.batch, false);
                    for (number, span) in transaction.deleted {
                        head.delete(&[number], span);
                    }
                    outcomes.push((ticket, Ok(refused)));
                }
            }
            Err(_) => failed = group,
        }
        let mut state = self.lock();
        if let Err(error) = &written {
            // Later transactions may count on series that this group was to log.
            failed.append(&mut state.queue);
            for Queued { ticket, series, .. } in failed {
                state.unlogged.extend(series);
                outcomes.push((ticket, Err(again(error))));
            }
            if let Error::LogFailed(why) = error {
                state.failed = Some(why.clone());
            }
        }
        state.outcomes.extend(outcomes);
        state.log = Some(log);
        self.wake.notify_all();
        state
    }

    /// Does something while nothing is being committed.
    pub(crate) fn pause<T>(&self, act: impl FnOnce(&mut LogWriter) -> Result<T>) -> Result<T> {
        let mut state = self.lock();
        loop {
            if state.queue.is_empty()
                && let Some(log) = &mut state.log
            {
                return act(log);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn first_logged(unlogged: &mut HashSet<u32>, transaction: &Transaction) -> Vec<u32> {
    if unlogged.is_empty() {
        return Vec::new();
    }
    let batch = &transaction.batch;
    let samples = batch.samples.iter().chain(&batch.late).map(|(number, _)| *number);
    let others = batch.exemplars.iter().map(|(number, _)| *number);
    let others = others.chain(batch.metadata.iter().map(|(number, _)| *number));
    samples.chain(others).filter(|number| unlogged.remove(number)).collect()
}

/// The same error for each who waits.
fn again(error: &Error) -> Error {
    match error {
        Error::Io { path, source } => {
            Error::Io { path: path.clone(), source: std::io::Error::new(source.kind(), source.to_string()) }
        }
        other => Error::LogFailed(other.to_string()),
    }
}
