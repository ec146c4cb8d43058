//! The store's directory: opened, loaded whole, and committed to one batch at a time.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::{
    Error, Event, EventKind, Revision,
    failure::{Failure, guarded, storage},
    index::Index,
    medium::Medium,
    record::{Head, Record},
    replay,
    witness::Witness,
};

pub(crate) const VERSIONS: TableDefinition<'static, (u64, &str), &[u8]> = TableDefinition::new("versions");
pub(crate) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
pub(crate) const HEAD: &str = "head";

type Versions<'a> = redb::Table<'a, (u64, &'static str), &'static [u8]>;

/// Everything is read from memory, so the database's own cache only serves the pages that a commit touches.
const CACHE_BYTES: usize = 8 << 20;

#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    max_bytes: u64,
    /// None after a failure, until the file has been opened again.
    database: Option<Database>,
    witness: Witness,
    /// The head of the last commit that is known to have succeeded.
    head: Head,
    buffer: Vec<u8>,
}

impl Disk {
    /// Opens a directory, makes it if it is not there, and reads all of it.
    pub(crate) fn open(directory: &Path, max_bytes: u64, now: Instant) -> Result<(Self, Index), Error> {
        let path = directory.join("store.redb");
        let failed = |error: io::Error| storage(&path, &error);
        make(directory).map_err(failed)?;
        let (database, head, index) = guarded(|| {
            let mut database = connect(&path, max_bytes)?;
            // Pages that no replay reads, such as the list of free ones, are checked here.
            if !database.check_integrity()? {
                tracing::warn!(path = %path.display(), "the database needed repair; its records are checked next");
            }
            found(&database)?;
            let head = replay::head(&database)?;
            let index = replay::index(&database, head, now)?;
            Ok((database, head, index))
        })
        .map_err(|failure| failure.into_error(&path))?;
        let (witness, seen) = Witness::open(&directory.join("store.head")).map_err(failed)?;
        if let Some(seen) = seen.filter(|seen| *seen > head.revision) {
            let detail = format!("it ends at revision {}, but {seen} was acknowledged", head.revision);
            return Err(Error::Corrupt { path, detail });
        }
        witness.record(head.revision).map_err(failed)?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Ok((Self { path, max_bytes, database: Some(database), witness, head, buffer: Vec::new() }, index))
    }

    /// The revision up to which history is gone from the disk.
    pub(crate) fn compacted(&self) -> Revision {
        self.head.compacted
    }

    /// Puts the events of whole transactions on disk, all or none.
    pub(crate) fn append(&mut self, revision: Revision, events: &[Arc<Event>]) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.commit(|table, head| {
            for event in events {
                let record = match &event.kind {
                    EventKind::Put { entry } => Record::Put {
                        created: entry.created,
                        version: entry.version,
                        value: entry.value.clone(),
                    },
                    EventKind::Delete { .. } => Record::Delete,
                };
                record.encode(event.revision, &event.key, &mut buffer);
                table.insert((event.revision.0, &*event.key), buffer.as_slice())?;
            }
            Ok(Head { revision, records: head.records + events.len() as u64, ..head })
        });
        self.buffer = buffer;
        result?;
        // The write is durable whatever becomes of the witness, so this is no reason to refuse it.
        if let Err(error) = self.witness.record(revision) {
            tracing::warn!(path = %self.path.display(), %error, "the newest revision could not be witnessed");
        }
        Ok(())
    }

    /// Takes away what the events up to a revision replaced, and the marks of deletion among them.
    pub(crate) fn compact<'a>(
        &mut self,
        to: Revision,
        events: impl Iterator<Item = &'a Arc<Event>>,
    ) -> Result<(), Error> {
        self.commit(|table, head| {
            let mut removed = 0;
            let mut remove = |revision: Revision, key: &str| {
                removed += u64::from(table.remove((revision.0, key))?.is_some());
                Ok::<_, Failure>(())
            };
            for event in events {
                if let Some(previous) = &event.previous {
                    remove(previous.modified, &event.key)?;
                }
                if matches!(event.kind, EventKind::Delete { .. }) {
                    remove(event.revision, &event.key)?;
                }
            }
            Ok(Head {
                compacted: to.max(head.compacted),
                records: head.records.saturating_sub(removed),
                ..head
            })
        })
    }

    /// Closes the files in good order.
    pub(crate) fn close(mut self) {
        self.database = None;
        if let Err(error) = self.witness.sync() {
            tracing::warn!(path = %self.path.display(), %error, "the newest revision could not be witnessed");
        }
    }

    fn commit(
        &mut self,
        change: impl FnOnce(&mut Versions<'_>, Head) -> Result<Head, Failure>,
    ) -> Result<(), Error> {
        self.settle()?;
        let Some(database) = &self.database else { return Err(Error::Closed) };
        let known = self.head;
        let written = guarded(|| {
            let transaction = database.begin_write()?;
            let head = {
                let mut table = transaction.open_table(VERSIONS)?;
                change(&mut table, known)?
            };
            put_head(&transaction, head)?;
            transaction.commit()?;
            Ok(head)
        });
        match written {
            Ok(head) => {
                self.head = head;
                Ok(())
            }
            Err(error) => {
                // The database takes nothing more after a failure until it is opened again.
                self.database = None;
                if let Err(again) = self.settle() {
                    tracing::error!(path = %self.path.display(), error = %again, "the store cannot write");
                }
                Err(error.into_error(&self.path))
            }
        }
    }

    /// Opens the database again after a failure. A commit that failed but is there after all is taken back: its
    /// callers were told that nothing was applied.
    fn settle(&mut self) -> Result<(), Error> {
        if self.database.is_some() {
            return Ok(());
        }
        let known = self.head;
        let (database, head) = guarded(|| {
            let database = connect(&self.path, self.max_bytes)?;
            let found = replay::head(&database)?;
            let head = if found.revision > known.revision {
                take_back(&database, known)?;
                known
            } else if found == known
                || (found.revision == known.revision && found.compacted > known.compacted)
            {
                found
            } else {
                return Err(Failure::Damage(format!(
                    "it fell back from revision {} to {} while open",
                    known.revision, found.revision
                )));
            };
            Ok((database, head))
        })
        .map_err(|failure| failure.into_error(&self.path))?;
        self.database = Some(database);
        self.head = head;
        Ok(())
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

fn connect(path: &Path, max_bytes: u64) -> Result<Database, Failure> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let medium = Medium::new(file, max_bytes)?;
    Ok(Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(medium)?)
}

/// Gives a database that was just made its tables and its first head.
fn found(database: &Database) -> Result<(), Failure> {
    let fresh = database.begin_read()?.list_tables()?.next().is_none();
    if fresh {
        let transaction = database.begin_write()?;
        transaction.open_table(VERSIONS)?;
        put_head(&transaction, Head::default())?;
        transaction.commit()?;
    }
    Ok(())
}

fn put_head(transaction: &WriteTransaction, head: Head) -> Result<(), Failure> {
    transaction.open_table(META)?.insert(HEAD, head.encode().as_slice())?;
    Ok(())
}

fn take_back(database: &Database, to: Head) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(VERSIONS)?;
        table.retain_in((to.revision.next().0, "").., |_, _| false)?;
    }
    put_head(&transaction, to)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
