//! The one writer: takes all transactions that wait, judges them in turn, and makes them durable with one sync.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::disk::Disk;
use crate::hub::Hub;
use crate::index::Index;
use crate::plan::{Outcome, Plan};
use crate::{Error, Op, Options};

/// The most transactions and bytes of one commit.
const BATCH_TRANSACTIONS: usize = 512;
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// How often history is looked through for what may go.
const COMPACT_EVERY: Duration = Duration::from_secs(5);

/// What readers see, and who listens.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) index: RwLock<Index>,
    pub(crate) hub: Mutex<Hub>,
}

/// A transaction that waits for the writer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) ops: Vec<Op>,
    pub(crate) answer: oneshot::Sender<Result<Outcome, Error>>,
}

type Staged = Vec<(oneshot::Sender<Result<Outcome, Error>>, Result<Outcome, Error>)>;

pub(crate) struct Writer {
    disk: Disk,
    shared: Arc<Shared>,
    options: Options,
    compacted: Instant,
}

impl Writer {
    pub(crate) fn new(disk: Disk, shared: Arc<Shared>, options: Options) -> Self {
        Self { disk, shared, options, compacted: Instant::now() }
    }

    /// Works until every sender of jobs is gone.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        loop {
            match tokio::time::timeout(COMPACT_EVERY, jobs.recv()).await {
                Ok(Some(first)) => {
                    let batch = gather(first, &mut jobs);
                    self.write(batch);
                }
                Ok(None) => break,
                Err(_) => {}
            }
            if self.compacted.elapsed() >= COMPACT_EVERY {
                self.compacted = Instant::now();
                self.compact();
            }
        }
        self.shared.hub.lock().unwrap_or_else(PoisonError::into_inner).close();
        self.disk.close();
    }

    fn write(&mut self, batch: Vec<Job>) {
        let (staged, revision, events) = {
            let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            let mut plan = Plan::new(&index);
            let staged: Staged = batch.into_iter().map(|job| (job.answer, plan.stage(job.ops))).collect();
            let (revision, events) = plan.finish();
            (staged, revision, events)
        };
        let written = if events.is_empty() { Ok(()) } else { self.disk.append(&events, revision) };
        if written.is_ok() && !events.is_empty() {
            let now = Instant::now();
            self.shared.index.write().unwrap_or_else(PoisonError::into_inner).apply(&events, now);
            self.shared.hub.lock().unwrap_or_else(PoisonError::into_inner).publish(&events, revision);
        }
        for (answer, outcome) in staged {
            let outcome = match &written {
                Ok(()) => outcome,
                Err(error) => outcome.and_then(|_| Err(error.clone())),
            };
            // Who no longer waits has gone away; the write stands.
            let _gone = answer.send(outcome);
        }
    }

    fn compact(&mut self) {
        let due = {
            let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            index.due(self.options.keep_revisions, self.options.keep_for, Instant::now())
        };
        if let Some(to) = due {
            self.compact_to(to);
        }
    }

    fn compact_to(&mut self, to: crate::Revision) {
        let removed = {
            let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            self.disk.compact(&index, to)
        };
        match removed {
            Ok(()) => self.shared.index.write().unwrap_or_else(PoisonError::into_inner).compact(to),
            Err(error) => {
                tracing::warn!(%error, "cannot compact the store; history is kept and it is tried again")
            }
        }
    }
}

fn gather(first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let bytes = |job: &Job| job.ops.iter().map(Op::value_bytes).sum::<usize>();
    let mut total = bytes(&first);
    let mut batch = vec![first];
    while batch.len() < BATCH_TRANSACTIONS && total < BATCH_BYTES {
        let Ok(job) = jobs.try_recv() else { break };
        total += bytes(&job);
        batch.push(job);
    }
    batch
}
