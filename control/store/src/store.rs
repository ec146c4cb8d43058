use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::disk::Disk;
use crate::hub::Hub;
use crate::plan::Limits;
use crate::writer::{Job, Shared, Writer};
use crate::{Entry, Error, EventKind, ListRequest, Op, Page, Revision, Watch};

/// How many transactions may wait for the writer before callers wait.
const QUEUE: usize = 1024;

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a revision can still be read and watched from.
    pub keep_for: Duration,
    /// How many revisions can be read and watched from, however young.
    pub keep_revisions: u64,
    /// The largest value in bytes.
    pub value_bytes: usize,
    /// The longest key in bytes.
    pub key_bytes: usize,
    /// The most changes of one transaction.
    pub transaction_ops: usize,
    /// The most bytes of one transaction.
    pub transaction_bytes: usize,
    /// How many events may wait for a watcher before it is cut off.
    pub watch_capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(5 * 60),
            keep_revisions: 100_000,
            value_bytes: 1536 * 1024,
            key_bytes: 1024,
            transaction_ops: 128,
            transaction_bytes: 8 * 1024 * 1024,
            watch_capacity: 4096,
        }
    }
}

/// An open store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    limits: Limits,
    watch_capacity: usize,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store in a directory, which is made if it is not there. Blocks while everything kept is read.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when it is open elsewhere, [`Error::Corrupt`] when the files are damaged, [`Error::Storage`] when
    /// the disk refuses.
    pub fn open(directory: &Path, options: Options) -> Result<Self, Error> {
        let (disk, index) = Disk::open(directory)?;
        let hub = Hub::new(index.revision());
        let shared = Arc::new(Shared { index: RwLock::new(index), hub: Mutex::new(hub) });
        let limits = Limits {
            key_bytes: options.key_bytes,
            value_bytes: options.value_bytes,
            ops: options.transaction_ops,
            transaction_bytes: options.transaction_bytes,
        };
        let watch_capacity = options.watch_capacity;
        let (sender, jobs) = mpsc::channel(QUEUE);
        let writer = Writer::new(disk, shared.clone(), options);
        let refused =
            |error: std::io::Error| Error::Storage { path: directory.to_owned(), detail: error.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(refused)?;
        let work = move || runtime.block_on(writer.run(jobs));
        let thread =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(work).map_err(refused)?;
        let inner = Inner {
            shared,
            limits,
            watch_capacity,
            jobs: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(thread)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.index(|index| index.revision())
    }

    /// The oldest revision that can be read.
    pub fn oldest(&self) -> Revision {
        self.index(|index| index.compacted())
    }

    /// The entry of a key, if it is there.
    ///
    /// # Errors
    ///
    /// None today; a store that reads from disk would have some.
    pub fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.index(|index| index.get(key).cloned()))
    }

    /// The entry of a key as of a revision.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] or [`Error::Future`] when that revision cannot be read.
    pub fn get_at(&self, key: &str, revision: Revision) -> Result<Option<Entry>, Error> {
        self.index(|index| Ok(index.get_at(key, revision)?.cloned()))
    }

    /// Entries under a prefix, in the order of their keys.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] or [`Error::Future`] when the revision asked for cannot be read.
    pub fn list(&self, request: &ListRequest<'_>) -> Result<Page, Error> {
        self.index(|index| index.list(request))
    }

    fn index<T>(&self, read: impl FnOnce(&crate::index::Index) -> T) -> T {
        read(&self.inner.shared.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a key that must not be there.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], and those of [`Store::transact`].
    pub async fn create(&self, key: impl Into<String>, value: Bytes) -> Result<Entry, Error> {
        self.put(Op::Create { key: key.into(), value }).await
    }

    /// Gives a key that must be at `expected` a new value.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Conflict`], and those of [`Store::transact`].
    pub async fn update(
        &self,
        key: impl Into<String>,
        value: Bytes,
        expected: Revision,
    ) -> Result<Entry, Error> {
        self.put(Op::Update { key: key.into(), value, expected }).await
    }

    /// Takes a key away, and tells the revision at which it went.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Conflict`], and those of [`Store::transact`].
    pub async fn delete(
        &self,
        key: impl Into<String>,
        expected: Option<Revision>,
    ) -> Result<Revision, Error> {
        self.transact(vec![Op::Delete { key: key.into(), expected }]).await
    }

    async fn put(&self, op: Op) -> Result<Entry, Error> {
        let outcome = self.submit(vec![op]).await?;
        outcome
            .events
            .iter()
            .find_map(|event| match &event.kind {
                EventKind::Put { entry } => Some(entry.clone()),
                EventKind::Delete { .. } => None,
            })
            .ok_or(Error::Closed)
    }

    /// Does all of the changes at one revision, or none of them. When this answers, they are on disk.
    ///
    /// # Errors
    ///
    /// The error of the first change that cannot be done, a limit that is broken, [`Error::Storage`] when the disk refuses,
    /// [`Error::Closed`] after [`Store::close`].
    pub async fn transact(&self, ops: Vec<Op>) -> Result<Revision, Error> {
        Ok(self.submit(ops).await?.revision)
    }

    async fn submit(&self, ops: Vec<Op>) -> Result<crate::plan::Outcome, Error> {
        self.inner.limits.check(&ops)?;
        let jobs = self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let jobs = jobs.ok_or(Error::Closed)?;
        let (answer, answered) = oneshot::channel();
        jobs.send(Job { ops, answer }).await.map_err(|_| Error::Closed)?;
        drop(jobs);
        answered.await.map_err(|_| Error::Closed)?
    }

    /// The changes under a prefix after a revision, or from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] or [`Error::Future`] when it cannot start there.
    pub fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error> {
        let capacity = self.inner.watch_capacity;
        let index = self.inner.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.unwrap_or(index.revision());
        let backlog = index.events_after(from, prefix)?;
        // Taken while the index is held: what is published from here on comes through the hub, what was before is in
        // the backlog.
        let mut hub = self.inner.shared.hub.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = hub.register(prefix, index.revision(), capacity);
        Ok(Watch::new(backlog, listener, capacity, from))
    }

    /// Finishes what waits, closes the files and ends all watches. Later calls that write answer [`Error::Closed`].
    pub async fn close(&self) {
        drop(self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let joined = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the store's writer ended in a panic");
            }
        }
    }
}
