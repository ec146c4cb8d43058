//! The database: everything that is kept, in the order of revision and key.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::failure::{Failure, guarded};
use crate::medium::Medium;
use crate::record::{Head, Record};
use crate::{Error, Event, Revision, replay};

pub(crate) const VERSIONS: TableDefinition<'static, (u64, &str), &[u8]> = TableDefinition::new("versions");
pub(crate) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
pub(crate) const HEAD: &str = "head";

type Versions<'a> = redb::Table<'a, (u64, &'static str), &'static [u8]>;

/// Everything is read from memory, so the database's own cache only serves the pages that a commit touches.
const CACHE_BYTES: usize = 8 << 20;

/// What is to be done to the database.
#[derive(Debug)]
pub(crate) enum Work {
    /// The events of whole commits are added.
    Add(Vec<Arc<Event>>),
    /// The records that history up to a revision consisted of are taken away.
    Compact {
        /// The revision.
        to: Revision,
        /// The records.
        records: Vec<(Revision, Arc<str>)>,
    },
}

impl Work {
    /// What a compaction takes away: what the events up to a revision replaced, and the marks of deletion among them.
    pub(crate) fn compaction<'a>(to: Revision, events: impl Iterator<Item = &'a Arc<Event>>) -> Self {
        let mut records = Vec::new();
        for event in events {
            records.extend(event.previous.as_ref().map(|previous| (previous.modified, event.key.clone())));
            if event.is_deletion() {
                records.push((event.revision, event.key.clone()));
            }
        }
        Self::Compact { to, records }
    }

    /// About what it takes of memory, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Add(events) => events.iter().map(|event| event.added()).sum(),
            Self::Compact { records, .. } => {
                records.iter().map(|(_, key)| (size_of::<Revision>() + key.len()) as u64).sum()
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Base {
    path: PathBuf,
    max_bytes: u64,
    /// None after a failure, until the file has been opened again.
    database: Option<Database>,
    /// The head of the last commit that is known to have succeeded.
    head: Head,
    buffer: Vec<u8>,
}

impl Base {
    /// Opens the database in a directory, makes it if it is not there, and checks it.
    pub(crate) fn open(directory: &Path, max_bytes: u64) -> Result<Self, Error> {
        let path = directory.join("store.redb");
        let opened = guarded(|| {
            let mut database = connect(&path, max_bytes)?;
            // Pages that no replay reads, such as the list of free ones, are checked here.
            if !database.check_integrity()? {
                tracing::warn!(path = %path.display(), "the database needed repair; its records are checked next");
            }
            found(&database)?;
            let head = replay::head(&database)?;
            Ok((database, head))
        });
        let (database, head) = opened.map_err(|failure| failure.into_error(&path))?;
        Ok(Self { path, max_bytes, database: Some(database), head, buffer: Vec::new() })
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Reads the database.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Error> {
        let Some(database) = &self.database else { return Err(Error::Closed) };
        guarded(|| read(database)).map_err(|failure| failure.into_error(&self.path))
    }

    /// Does all of this in one commit, or nothing. What was done before, by a commit that was thought to have failed, is not
    /// done again.
    pub(crate) fn apply(&mut self, works: &[Work]) -> Result<(), Error> {
        self.settle()?;
        let Some(database) = &self.database else { return Err(Error::Closed) };
        let (known, buffer) = (self.head, &mut self.buffer);
        let written = guarded(|| {
            let transaction = database.begin_write()?;
            let head = {
                let mut table = transaction.open_table(VERSIONS)?;
                works.iter().try_fold(known, |head, work| work.apply(head, &mut table, buffer))?
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
                Err(error.into_error(&self.path))
            }
        }
    }

    /// Opens the database again after a failure. A commit that failed may be there after all.
    fn settle(&mut self) -> Result<(), Error> {
        if self.database.is_some() {
            return Ok(());
        }
        let known = self.head;
        let (database, head) = guarded(|| {
            let database = connect(&self.path, self.max_bytes)?;
            let found = replay::head(&database)?;
            if found.revision < known.revision || found.compacted < known.compacted {
                return Err(Failure::Damage(format!(
                    "it fell back from revision {} to {} while open",
                    known.revision, found.revision
                )));
            }
            Ok((database, found))
        })
        .map_err(|failure| failure.into_error(&self.path))?;
        self.database = Some(database);
        self.head = head;
        Ok(())
    }
}

impl Work {
    fn apply(&self, mut head: Head, table: &mut Versions<'_>, buffer: &mut Vec<u8>) -> Result<Head, Failure> {
        match self {
            Self::Add(events) => {
                let before = head.revision;
                for event in events.iter().filter(|event| event.revision > before) {
                    Record::of(event).encode(event.revision, &event.key, buffer);
                    table.insert((event.revision.0, &*event.key), buffer.as_slice())?;
                    head.records += 1;
                    head.revision = event.revision;
                }
            }
            Self::Compact { to, .. } if *to <= head.compacted => {}
            Self::Compact { to, records } => {
                for (revision, key) in records {
                    let removed = table.remove((revision.0, &**key))?.is_some();
                    head.records = head.records.saturating_sub(u64::from(removed));
                }
                head.compacted = *to;
            }
        }
        Ok(head)
    }
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

#[cfg(test)]
mod tests;
