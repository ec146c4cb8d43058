use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Entry, Error, EventKind, ListRequest, Op, Options, Page, Revision, Watch,
    disk::Disk,
    failure::storage,
    hub::{Queue, Watcher},
    plan::{Limits, Outcome},
    writer::{Command, Request, Shared, Writer},
};

/// What may wait for the writer, in units of [`SHARE_BYTES`]; who comes on top waits to be let in.
const WAITING_SHARES: usize = 65_536;
const SHARE_BYTES: usize = 1_024;

/// An open store. Clones share it; the last one to go, or [`Store::close`], closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    waiting: Arc<Semaphore>,
    limits: Limits,
    watch_buffer: usize,
    watch_bytes: usize,
    closed: AtomicBool,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in a directory, which is made if it is not there. Reads and checks all of it before it returns.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if it is open elsewhere, [`Error::Corrupt`] if what is there is not what was written,
    /// [`Error::Storage`] if the system refuses.
    pub fn open(directory: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let directory = directory.as_ref();
        let (disk, index) = Disk::open(directory, options.file_bytes(), Instant::now())?;
        let shared = Arc::new(Shared::new(index));
        let (commands, receiver) = channel();
        let writer = Writer {
            commands: receiver,
            shared: shared.clone(),
            disk,
            keep_for: options.keep_for,
            keep_revisions: options.keep_revisions,
            keep_bytes: options.keep_bytes,
            max_bytes: options.max_bytes,
            last: Default::default(),
        };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(|| writer.run());
        let inner = Inner {
            shared,
            commands,
            waiting: Arc::new(Semaphore::new(WAITING_SHARES)),
            limits: options.limits(),
            watch_buffer: options.watch_buffer.clamp(1, 1 << 20),
            watch_bytes: options.watch_bytes,
            closed: AtomicBool::new(false),
            writer: Mutex::new(Some(thread.map_err(|error| storage(directory, &error))?)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The newest revision. Everything at or below it is on disk.
    pub fn revision(&self) -> Revision {
        self.inner.shared.index().revision()
    }

    /// The oldest revision that can be read; a watch may start after it.
    pub fn compacted(&self) -> Revision {
        self.inner.shared.index().compacted()
    }

    /// Whether the store is open, and its disk took what was written last.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], and what the last write met.
    pub fn check(&self) -> Result<(), Error> {
        self.inner.opened()?;
        self.inner.shared.fault().map_or(Ok(()), Err)
    }

    /// The largest value that the store takes, in bytes.
    pub fn value_limit(&self) -> usize {
        self.inner.limits.value_bytes
    }

    /// A key as it is now.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.inner.opened()?;
        Ok(self.inner.shared.index().get(key).cloned())
    }

    /// A key as it was.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] and [`Error::Future`] for a revision out of reach, [`Error::Closed`].
    pub fn get_at(&self, key: &str, revision: Revision) -> Result<Option<Entry>, Error> {
        self.inner.opened()?;
        Ok(self.inner.shared.index().get_at(key, revision)?.cloned())
    }

    /// The entries under a prefix, all at one revision.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] and [`Error::Future`] for a revision out of reach, [`Error::Closed`].
    pub fn list(&self, request: &ListRequest<'_>) -> Result<Page, Error> {
        self.inner.opened()?;
        self.inner.shared.index().list(request)
    }

    /// How many keys there are under a prefix now, up to `most`.
    pub fn count(&self, prefix: &str, most: usize) -> usize {
        self.inner.shared.index().count(prefix, most)
    }

    /// Whether anything under a prefix was changed after a revision.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] and [`Error::Future`] for a revision out of reach, [`Error::Closed`].
    pub fn has_changed(&self, prefix: &str, after: Revision) -> Result<bool, Error> {
        self.inner.opened()?;
        self.inner.shared.index().has_changed(after, prefix)
    }

    /// Watches the keys under a prefix: every change after a revision, or after now.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] and [`Error::Future`] for a revision out of reach, [`Error::Closed`].
    pub fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error> {
        self.inner.opened()?;
        let (sender, events) = mpsc::channel(self.inner.watch_buffer);
        let queue = Arc::new(Queue::new(self.inner.watch_buffer, self.inner.watch_bytes));
        let watcher = Watcher { events: sender, queue: queue.clone() };
        let index = self.inner.shared.index();
        let progress = after.unwrap_or(index.revision());
        let backlog = index.events_after(progress, prefix)?;
        let mut hub = self.inner.shared.hub();
        if !hub.register(prefix, watcher) {
            return Err(Error::Closed);
        }
        Ok(Watch { backlog, events, queue, delivered: hub.delivered(), progress })
    }

    /// Makes a key that is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], and what [`Store::transact`] gives.
    pub async fn create(&self, key: impl Into<String>, value: Bytes) -> Result<Entry, Error> {
        self.put(Op::Create { key: key.into(), value }).await
    }

    /// Gives a key a new value, if it was last changed at the expected revision.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`], [`Error::NotFound`], and what [`Store::transact`] gives.
    pub async fn update(
        &self,
        key: impl Into<String>,
        value: Bytes,
        expected: Revision,
    ) -> Result<Entry, Error> {
        self.put(Op::Update { key: key.into(), value, expected }).await
    }

    /// Takes a key away, if it was last changed at the expected revision or none is expected. Gives the revision of
    /// the deletion.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`], [`Error::NotFound`], and what [`Store::transact`] gives.
    pub async fn delete(
        &self,
        key: impl Into<String>,
        expected: Option<Revision>,
    ) -> Result<Revision, Error> {
        self.transact(vec![Op::Delete { key: key.into(), expected }]).await
    }

    /// Makes all the changes at one revision, or none. When this returns, they are on disk and visible.
    ///
    /// A caller that stops waiting does not know whether the change is made.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], [`Error::Conflict`] and [`Error::NotFound`] for the first key in order that is not as
    /// expected; [`Error::KeyLength`], [`Error::ValueTooLarge`] and [`Error::Transaction`] for what exceeds a limit;
    /// [`Error::Storage`] if the disk refuses; [`Error::Closed`].
    pub async fn transact(&self, ops: Vec<Op>) -> Result<Revision, Error> {
        Ok(self.submit(ops).await?.revision)
    }

    /// Lets history up to a revision go now. It leaves the disk soon after: after a crash it may be there again.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] and [`Error::Future`] for a revision out of reach, [`Error::Closed`].
    pub async fn compact(&self, to: Revision) -> Result<(), Error> {
        self.inner.opened()?;
        let (answer, answered) = oneshot::channel();
        self.inner.commands.send(Command::Compact { to, answer }).map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Finishes what waits, ends all watches and closes the files. Every clone is closed with it.
    pub async fn close(&self) {
        let store = self.clone();
        // Joins a thread that may be in the middle of a sync.
        let joined = tokio::task::spawn_blocking(move || store.inner.stop()).await;
        if let Err(error) = joined {
            tracing::error!(%error, "the store's writer did not end well");
        }
    }

    async fn put(&self, op: Op) -> Result<Entry, Error> {
        let outcome = self.submit(vec![op]).await?;
        match outcome.events.first().map(|event| &event.kind) {
            Some(EventKind::Put { entry }) => Ok(entry.clone()),
            _ => unreachable!("a create or update that succeeds puts one entry"),
        }
    }

    async fn submit(&self, ops: Vec<Op>) -> Result<Outcome, Error> {
        self.inner.opened()?;
        let bytes = self.inner.limits.check(&ops)?;
        let shares = u32::try_from(1 + bytes / SHARE_BYTES).unwrap_or(u32::MAX).min(WAITING_SHARES as u32);
        let share = self.inner.waiting.clone().acquire_many_owned(shares).await.map_err(|_| Error::Closed)?;
        let (answer, answered) = oneshot::channel();
        let request = Request { ops, bytes, answer, share };
        self.inner.commands.send(Command::Transact(request)).map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }
}

impl Inner {
    fn opened(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn stop(&self) {
        self.closed.store(true, Ordering::Release);
        self.waiting.close();
        let _ = self.commands.send(Command::Close);
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}
