//! The database file: opened and checked whole, and written one batch a commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};

use crate::index::Index;
use crate::record::{Head, Record};
use crate::witness::Witness;
use crate::{Entry, Error, Event, EventKind, Revision};

const VERSIONS: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("versions");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const HEAD: &str = "head";
const FILE: &str = "store.redb";
const WITNESS: &str = "store.head";
/// Everything kept is in memory already, so the database's own cache only serves writes.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The store's files.
pub(crate) struct Disk {
    path: PathBuf,
    database: Option<Database>,
    witness: Witness,
    head: Head,
}

impl Disk {
    /// Opens the files in a directory, makes them if they are not there, and reads everything that is kept.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Index), Error> {
        let storage = |path: &Path| {
            let path = path.to_owned();
            move |error: std::io::Error| Error::Storage { path, detail: error.to_string() }
        };
        std::fs::create_dir_all(directory).map_err(storage(directory))?;
        let path = directory.join(FILE);
        let database = open_database(&path)?;
        let witness_path = directory.join(WITNESS);
        let (witness, seen) = Witness::open(&witness_path).map_err(storage(&witness_path))?;
        let (head, index) = load(&path, &database)?;
        if seen.is_some_and(|seen| seen > head.revision) {
            let detail = format!(
                "it is at revision {} while revision {} was acknowledged",
                head.revision,
                seen.unwrap_or_default()
            );
            return Err(Error::Corrupt { path, detail });
        }
        let disk = Self { path, database: Some(database), witness, head };
        disk.note(head.revision);
        Ok((disk, index))
    }

    /// Makes the events of a batch durable.
    pub(crate) fn append(&mut self, events: &[Arc<Event>], revision: Revision) -> Result<(), Error> {
        let head = Head { revision, records: self.head.records + events.len() as u64, ..self.head };
        self.commit(head, |versions| {
            let mut bytes = Vec::new();
            for event in events {
                record_of(event).encode(event.revision, &event.key, &mut bytes);
                versions.insert((event.revision.0, &*event.key), bytes.as_slice())?;
            }
            Ok(())
        })?;
        self.note(revision);
        Ok(())
    }

    /// Takes away the records that nobody can read any more once history up to `to` is let go.
    pub(crate) fn compact(&mut self, index: &Index, to: Revision) -> Result<(), Error> {
        let mut gone: Vec<(u64, Arc<str>)> = Vec::new();
        for event in index.events_until(to) {
            if let Some(previous) = &event.previous {
                gone.push((previous.modified.0, previous.key.clone()));
            }
            if matches!(event.kind, EventKind::Delete { .. }) {
                gone.push((event.revision.0, event.key.clone()));
            }
        }
        let head = Head { compacted: to, records: self.head.records - gone.len() as u64, ..self.head };
        self.commit(head, |versions| {
            for (revision, key) in &gone {
                versions.remove((*revision, &**key))?;
            }
            Ok(())
        })
    }

    fn commit(
        &mut self,
        head: Head,
        write: impl FnOnce(&mut redb::Table<'_, (u64, &'static str), &'static [u8]>) -> Result<(), redb::Error>,
    ) -> Result<(), Error> {
        // After an I/O error the database answers nothing but errors until it is opened again.
        if self.database.is_none() {
            let database = open_database(&self.path)?;
            let (found, _) = load(&self.path, &database)?;
            if found != self.head {
                let detail =
                    format!("it came back at revision {}, not {}", found.revision, self.head.revision);
                return Err(Error::Corrupt { path: self.path.clone(), detail });
            }
            self.database = Some(database);
        }
        let Some(database) = &self.database else { return Err(Error::Closed) };
        match transact(database, head, write) {
            Ok(()) => {
                self.head = head;
                Ok(())
            }
            Err(error) => {
                self.database = None;
                Err(Error::Storage { path: self.path.clone(), detail: error.to_string() })
            }
        }
    }

    /// Remembers beside the database how far it is. The witness only ever helps to find damage, so failing to write it
    /// fails no write.
    fn note(&self, revision: Revision) {
        if let Err(error) = self.witness.record(revision) {
            tracing::warn!(%error, "cannot write the store's witness file");
        }
    }

    /// Closes the files.
    pub(crate) fn close(self) {
        if let Err(error) = self.witness.sync() {
            tracing::warn!(%error, "cannot sync the store's witness file");
        }
        drop(self.database);
    }
}

fn transact(
    database: &Database,
    head: Head,
    write: impl FnOnce(&mut redb::Table<'_, (u64, &'static str), &'static [u8]>) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut versions = transaction.open_table(VERSIONS)?;
        write(&mut versions)?;
        transaction.open_table(META)?.insert(HEAD, head.encode().as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

/// Opens the database. A damaged file may make the library panic; that is a refusal like any other.
fn open_database(path: &Path) -> Result<Database, Error> {
    let opened = catch_unwind(AssertUnwindSafe(|| Builder::new().set_cache_size(CACHE_BYTES).create(path)));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => {
            Err(Error::Locked { path: path.parent().unwrap_or(path).to_owned() })
        }
        Ok(Err(error)) => Err(refusal(path, &redb::Error::from(error))),
        Err(_) => Err(Error::Corrupt { path: path.to_owned(), detail: "its pages make no sense".to_owned() }),
    }
}

/// A file that cannot be read is one thing, one that reads wrong is another.
fn refusal(path: &Path, error: &redb::Error) -> Error {
    match error {
        redb::Error::Io(io)
            if io.kind() != std::io::ErrorKind::InvalidData
                && io.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            Error::Storage { path: path.to_owned(), detail: error.to_string() }
        }
        _ => Error::Corrupt { path: path.to_owned(), detail: error.to_string() },
    }
}

fn load(path: &Path, database: &Database) -> Result<(Head, Index), Error> {
    let read = catch_unwind(AssertUnwindSafe(|| read_all(database)));
    let corrupt = |detail: String| Error::Corrupt { path: path.to_owned(), detail };
    match read {
        Ok(Ok(Ok(loaded))) => Ok(loaded),
        Ok(Ok(Err(detail))) => Err(corrupt(detail)),
        Ok(Err(error)) => Err(refusal(path, &error)),
        Err(_) => Err(corrupt("its pages make no sense".to_owned())),
    }
}

/// Reads all that is kept, in the order of its revisions. The inner error says what is damaged.
fn read_all(database: &Database) -> Result<Result<(Head, Index), String>, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => {
            return Ok(Ok((Head::default(), Index::new(Revision(0)))));
        }
        Err(error) => return Err(error.into()),
    };
    let Some(bytes) = meta.get(HEAD)? else { return Ok(Err("it has no head".to_owned())) };
    let head = match Head::decode(bytes.value()) {
        Ok(head) => head,
        Err(detail) => return Ok(Err(detail)),
    };
    let versions = transaction.open_table(VERSIONS)?;
    if versions.len()? != head.records {
        return Ok(Err(format!("it holds {} records instead of {}", versions.len()?, head.records)));
    }
    let mut index = Index::new(head.compacted);
    let now = Instant::now();
    for row in versions.iter()? {
        let (place, bytes) = row?;
        let (revision, key) = place.value();
        if let Err(detail) = replay(&mut index, &head, Revision(revision), key, bytes.value(), now) {
            return Ok(Err(detail));
        }
    }
    if index.revision() < head.revision {
        index.skip_to(head.revision);
    }
    Ok(Ok((head, index)))
}

fn replay(
    index: &mut Index,
    head: &Head,
    revision: Revision,
    key: &str,
    bytes: &[u8],
    now: Instant,
) -> Result<(), String> {
    if revision > head.revision {
        return Err(format!(
            "key {key:?} has a record at revision {revision}, behind the newest, {}",
            head.revision
        ));
    }
    let record = Record::decode(revision, key, bytes)?;
    let previous = index.get(key).cloned();
    let key: Arc<str> = previous.as_ref().map_or_else(|| key.into(), |previous| previous.key.clone());
    let kind = match record {
        Record::Put { created, version, value } => {
            let entry = Entry { key: key.clone(), value, created, modified: revision, version };
            if revision <= head.compacted {
                index.restore(entry);
                return Ok(());
            }
            EventKind::Put { entry }
        }
        Record::Delete => match previous.clone() {
            Some(last) if revision > head.compacted => EventKind::Delete { last },
            _ => return Err(format!("key {key:?} is deleted at revision {revision} and was not there")),
        },
    };
    index.apply(&[Arc::new(Event { revision, key, kind, previous })], now);
    Ok(())
}

fn record_of(event: &Event) -> Record {
    match &event.kind {
        EventKind::Put { entry } => {
            Record::Put { created: entry.created, version: entry.version, value: entry.value.clone() }
        }
        EventKind::Delete { .. } => Record::Delete,
    }
}
