//! The one thread that writes: it takes all transactions that wait, commits them together and tells everyone.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    Error, Op, Revision,
    disk::Disk,
    hub::Hub,
    index::Index,
    plan::{Outcome, Plan},
};

/// The most transactions and the most bytes in one commit, so that none waits long for its neighbours.
const BATCH: usize = 1_024;
const BATCH_BYTES: usize = 16 << 20;
/// A batch waits no longer than this for as many to come as the last one had.
const GATHER: Duration = Duration::from_millis(2);
/// History of a full store is let go if what waits fits then, or if it is more than one of so many shares of the store.
const HISTORY_SHARE: u64 = 64;

/// What the writer and all others see. Where both are held, the index is locked before the hub.
#[derive(Debug)]
pub(crate) struct Shared {
    index: RwLock<Index>,
    hub: Mutex<Hub>,
    /// Why the disk did not take the last batch.
    fault: Mutex<Option<Error>>,
}

impl Shared {
    pub(crate) fn new(index: Index) -> Self {
        let hub = Mutex::new(Hub::new(index.revision()));
        Self { index: RwLock::new(index), hub, fault: Mutex::default() }
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fault(&self) -> Option<Error> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, written: &Result<(), Error>) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if fault.is_some() || written.is_err() {
            *fault = written.as_ref().err().cloned();
        }
    }

    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) type Answer<T> = oneshot::Sender<Result<T, Error>>;

#[derive(Debug)]
pub(crate) enum Command {
    Transact(Request),
    Compact { to: Revision, answer: Answer<()> },
    Close,
}

/// A transaction that was checked against the limits and now waits.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) ops: Vec<Op>,
    pub(crate) bytes: usize,
    pub(crate) answer: Answer<Outcome>,
    /// Its share of what may wait.
    pub(crate) share: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) commands: Receiver<Command>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Disk,
    pub(crate) keep_for: Duration,
    pub(crate) keep_revisions: u64,
    pub(crate) keep_bytes: u64,
    pub(crate) max_bytes: u64,
    /// How many transactions the last batch had, and how long it took to commit.
    pub(crate) last: (usize, Duration),
}

impl Writer {
    /// Works until it is told to close, or until nobody is left to tell it anything.
    pub(crate) fn run(mut self) {
        let tick = (self.keep_for / 10).clamp(Duration::from_millis(100), Duration::from_secs(30));
        let mut next = Instant::now() + tick;
        loop {
            let command = match self.commands.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut last = command;
            if let Some(Command::Transact(first)) = last {
                let (batch, behind) = self.batch(first);
                let (size, begun) = (batch.len(), Instant::now());
                self.write(batch);
                self.last = (size, begun.elapsed());
                last = behind;
            }
            match last {
                Some(Command::Compact { to, answer }) => {
                    let _ = answer.send(self.compact_on_demand(to));
                }
                Some(Command::Close) => break,
                Some(Command::Transact(_)) | None => {}
            }
            self.keep_within_limits();
            let now = Instant::now();
            if now >= next {
                next = now + tick;
                self.let_go_of_the_old(now);
            }
        }
        self.shared.hub().close();
        self.disk.close();
    }

    /// All transactions that wait, up to the limits, and what came behind them if that is no transaction.
    ///
    /// Writers who were answered together come back one by one. So that they are committed together again, and not each at
    /// the price of a commit, fewer than came last time wait for the others, as long as a commit takes at most.
    fn batch(&self, first: Request) -> (Vec<Request>, Option<Command>) {
        let (wanted, patience) = self.last;
        let until = Instant::now() + patience.min(GATHER);
        let mut bytes = first.bytes;
        let mut batch = vec![first];
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let next = if batch.len() < wanted {
                self.commands.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
            } else {
                self.commands.try_recv().ok()
            };
            match next {
                Some(Command::Transact(request)) => {
                    bytes = bytes.saturating_add(request.bytes);
                    batch.push(request);
                }
                Some(other) => return (batch, Some(other)),
                None => break,
            }
        }
        (batch, None)
    }

    fn write(&mut self, batch: Vec<Request>) {
        self.make_room(&batch);
        let mut answers = Vec::with_capacity(batch.len());
        let (revision, events) = {
            let index = self.shared.index();
            let mut plan = Plan::new(&index, self.max_bytes);
            // Who no longer waits for the answer has given up on the write.
            for request in batch.into_iter().filter(|request| !request.answer.is_closed()) {
                answers.push((request.answer, plan.stage(request.ops), request.share));
            }
            plan.finish()
        };
        if events.is_empty() {
            return answers.into_iter().for_each(|(answer, outcome, _)| drop(answer.send(outcome)));
        }
        let written = self.disk.append(revision, &events);
        self.shared.note(&written);
        if let Err(error) = written {
            // The refusals too: they were judged against neighbours that did not come to be.
            return answers.into_iter().for_each(|(answer, ..)| drop(answer.send(Err(error.clone()))));
        }
        let mut index = self.shared.index_mut();
        index.apply(&events, Instant::now());
        // Taken before the index is let go: a watch that registers in between would miss these events or get them
        // twice.
        let mut hub = self.shared.hub();
        drop(index);
        for (answer, outcome, _) in answers {
            let _ = answer.send(outcome);
        }
        hub.deliver(revision, &events);
    }

    /// Lets history go where the batch would not fit otherwise.
    fn make_room(&mut self, batch: &[Request]) {
        let to = {
            let index = self.shared.index();
            let wanted: usize = batch.iter().map(|request| request.bytes).sum();
            let wanted = index.held().saturating_add(wanted as u64);
            let (full, fits) = (wanted > self.max_bytes, wanted - index.history() <= self.max_bytes);
            let helps = fits && index.history() > 0 || index.history() > self.max_bytes / HISTORY_SHARE;
            (full && helps).then(|| index.revision())
        };
        if let Some(to) = to {
            tracing::warn!(%to, "the store is full: its history is let go; delete what is no longer needed");
            self.compact(to);
        }
    }

    fn keep_within_limits(&mut self) {
        let due = {
            let index = self.shared.index();
            index.overfull(self.keep_revisions).max(index.overweight(self.keep_bytes))
        };
        if let Some(to) = due {
            self.compact(to);
        }
    }

    fn let_go_of_the_old(&mut self, now: Instant) {
        self.shared.hub().sweep();
        let due = self.shared.index().expired(self.keep_for, now);
        if let Some(to) = due {
            self.compact(to);
        }
    }

    fn compact_on_demand(&mut self, to: Revision) -> Result<(), Error> {
        // A revision out of reach is refused as it is for a reader.
        self.shared.index().get_at("", to)?;
        self.compact(to);
        Ok(())
    }

    /// Lets history go: nobody is shown what is about to leave the disk.
    fn compact(&mut self, to: Revision) {
        let index = self.shared.index();
        if to <= index.compacted() {
            return;
        }
        self.disk.compact(to, index.events_until(to));
        drop(index);
        self.shared.index_mut().compact(to);
    }
}
