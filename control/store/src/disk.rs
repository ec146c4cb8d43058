//! The store's directory: opened, loaded whole, and committed to one batch at a time.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::{Base, Work};
use crate::failure::storage;
use crate::index::Index;
use crate::journal::Journal;
use crate::keeper::Keeper;
use crate::witness::Witness;
use crate::{Error, Event, Revision, replay};

/// How long the journal may become while the database does not get further, in bytes; then writers wait.
const AHEAD_BYTES: u64 = 64 << 20;
/// How often it is looked whether it got further.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) struct Disk {
    path: PathBuf,
    /// Keeps others out for as long as it is open, whatever becomes of the database.
    lock: File,
    journal: Journal,
    keeper: Keeper,
    witness: Witness,
}

impl Disk {
    /// Opens a directory, makes it if it is not there, and reads all of it.
    pub(crate) fn open(directory: &Path, max_bytes: u64, now: Instant) -> Result<(Self, Index), Error> {
        let failed = |error: io::Error| storage(directory, &error);
        make(directory).map_err(failed)?;
        let lock = File::open(directory).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: directory.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let base = Base::open(directory, max_bytes)?;
        let mut index = base.read(|database| replay::database(database, base.head(), now))?;
        let (mut journal, rows) = Journal::open(directory)?;
        replay::journal(&mut index, rows, now)
            .map_err(|detail| Error::Corrupt { path: directory.to_owned(), detail })?;
        let (witness, seen) =
            Witness::open(&directory.join("store.head"), index.revision() == Revision(0)).map_err(failed)?;
        if let Some(seen) = seen.filter(|seen| *seen > index.revision()) {
            let detail = format!("it ends at revision {}, but {seen} was acknowledged", index.revision());
            return Err(Error::Corrupt { path: directory.to_owned(), detail });
        }
        journal.tidy().map_err(failed)?;
        witness.record(index.revision()).map_err(failed)?;
        lock.sync_all().map_err(failed)?;
        let ahead: Vec<_> = index.events_after(base.head().revision, "")?.into();
        let keeper = Keeper::start(base, directory)?;
        for commit in ahead.chunk_by(|one, next| one.revision == next.revision) {
            keeper.order(Work::Add(commit.to_vec()));
        }
        Ok((Self { path: directory.to_owned(), lock, journal, keeper, witness }, index))
    }

    /// Puts the events of whole transactions on disk, all or none.
    pub(crate) fn append(&mut self, revision: Revision, events: &[Arc<Event>]) -> Result<(), Error> {
        self.wait_for_keeper()?;
        self.journal.append(events).map_err(|error| storage(&self.path, &error))?;
        self.keeper.order(Work::Add(events.to_vec()));
        // The write is durable whatever becomes of the witness, so this is no reason to refuse it.
        if let Err(error) = self.witness.record(revision) {
            tracing::warn!(path = %self.path.display(), %error, "the newest revision could not be witnessed");
        }
        Ok(())
    }

    /// Takes away what the events up to a revision replaced, and the marks of deletion among them: soon, and not necessarily
    /// before a crash.
    pub(crate) fn compact<'a>(&mut self, to: Revision, events: impl Iterator<Item = &'a Arc<Event>>) {
        self.keeper.order(Work::compaction(to, events));
    }

    /// Closes the files in good order.
    pub(crate) fn close(self) {
        let told = |error: io::Error| {
            tracing::warn!(path = %self.path.display(), %error, "the store's files could not be closed in good order");
        };
        let kept = self.keeper.close();
        self.journal.close(kept).unwrap_or_else(told);
        self.witness.sync().unwrap_or_else(told);
        // A process that is being started has this file too, until it runs another program.
        self.lock.unlock().unwrap_or_else(told);
    }

    /// Lets go of what the database has, and waits until it is not too far behind.
    ///
    /// # Errors
    ///
    /// Why it does not get further.
    fn wait_for_keeper(&mut self) -> Result<(), Error> {
        loop {
            if let Err(error) = self.journal.release(self.keeper.kept()) {
                tracing::warn!(path = %self.path.display(), %error, "a file of the journal could not be removed");
            }
            let is_far = self.journal.bytes() > AHEAD_BYTES;
            match self.keeper.fault() {
                // Nothing that is written behind this would be found again.
                Some(error @ Error::Corrupt { .. }) => return Err(error),
                Some(error) if is_far => return Err(error),
                _ if self.keeper.is_gone() => return Err(Error::Closed),
                _ if is_far => std::thread::sleep(LOOK),
                _ => return Ok(()),
            }
        }
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Disk").field("path", &self.path).finish_non_exhaustive()
    }
}

fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    // Secrets lie in here.
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Each new directory stands in the one above it.
    for made in missing {
        if let Some(parent) = made.parent() {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}
