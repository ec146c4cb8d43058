//! The database and the journal read from end to end: every record checked by itself, against the one before and against the
//! head.

use std::{sync::Arc, time::Instant};

use redb::{Database, ReadableDatabase, ReadableTable};

use crate::{
    Entry, Event, EventKind, Revision,
    base::{HEAD, META, VERSIONS},
    failure::Failure,
    index::Index,
    journal::Row,
    record::{Head, Record},
};

pub(crate) fn head(database: &Database) -> Result<Head, Failure> {
    let table = database.begin_read()?.open_table(META)?;
    let head = table.get(HEAD)?.ok_or_else(|| Failure::Damage("the head is missing".to_owned()))?;
    Head::decode(head.value()).map_err(Failure::Damage)
}

/// Events in order, those of one revision at a time.
struct Events<'a> {
    index: &'a mut Index,
    now: Instant,
    /// Those of the newest revision, which go in together.
    newest: Vec<Arc<Event>>,
}

impl<'a> Events<'a> {
    fn of(index: &'a mut Index, now: Instant) -> Self {
        Self { index, now, newest: Vec::new() }
    }

    fn take(&mut self, revision: Revision, key: Arc<str>, record: Record) -> Result<(), String> {
        if self.newest.first().is_some_and(|event| event.revision != revision) {
            self.settle();
        }
        if self.newest.is_empty() && revision != self.index.revision().next() {
            return Err(format!("revision {} is missing", self.index.revision().next()));
        }
        let event = replayed(self.index, revision, key, record)?;
        self.newest.push(Arc::new(event));
        Ok(())
    }

    fn settle(&mut self) {
        self.index.apply(&std::mem::take(&mut self.newest), self.now);
    }
}

/// Takes up what the journal has and the database has not.
pub(crate) fn journal(index: &mut Index, rows: Vec<Row>, now: Instant) -> Result<(), String> {
    let kept = index.revision();
    let mut events = Events::of(index, now);
    for Row { revision, key, record } in rows {
        if revision > kept {
            let record = Record::decode(revision, &key, &record)?;
            events.take(revision, key, record)?;
        }
    }
    events.settle();
    Ok(())
}

pub(crate) fn database(database: &Database, head: Head, now: Instant) -> Result<Index, Failure> {
    let table = database.begin_read()?.open_table(VERSIONS)?;
    let mut index = Index::new(head.compacted);
    let mut records = 0u64;
    let mut events = Events::of(&mut index, now);
    let mut before: Option<(u64, Arc<str>)> = None;
    for row in table.iter()? {
        let (place, bytes) = row?;
        let (revision, key) = place.value();
        let key: Arc<str> = key.into();
        if before.as_ref().is_some_and(|(number, name)| (*number, name) >= (revision, &key)) {
            return damage(format!("the record of key {key:?} at revision {revision} is out of order"));
        }
        before = Some((revision, key.clone()));
        let revision = Revision(revision);
        let record = Record::decode(revision, &key, bytes.value()).map_err(Failure::Damage)?;
        records += 1;
        if revision <= head.compacted {
            let entry = restored(events.index, revision, &key, record).map_err(Failure::Damage)?;
            events.index.restore(entry);
            continue;
        }
        events.take(revision, key, record).map_err(Failure::Damage)?;
    }
    events.settle();
    if index.revision() != head.revision {
        return damage(format!("it ends at revision {}, its head says {}", index.revision(), head.revision));
    }
    if records != head.records {
        return damage(format!("it has {records} records, its head says {}", head.records));
    }
    Ok(index)
}

fn damage<T>(detail: String) -> Result<T, Failure> {
    Err(Failure::Damage(detail))
}

/// The entry that history before the compacted revision left behind.
fn restored(index: &Index, revision: Revision, key: &Arc<str>, record: Record) -> Result<Entry, String> {
    match record {
        Record::Put { created, version, value } if index.get(key).is_none() => {
            Ok(Entry { key: key.clone(), value, created, modified: revision, version })
        }
        _ => Err(format!("the record of key {key:?} at revision {revision} should have been compacted away")),
    }
}

fn replayed(index: &Index, revision: Revision, key: Arc<str>, record: Record) -> Result<Event, String> {
    let previous = index.get(&key).cloned();
    let unfit = |key: &str| {
        Err(format!("the record of key {key:?} at revision {revision} does not follow from the one before"))
    };
    match record {
        Record::Put { created, version, value } => {
            let expected =
                previous.as_ref().map_or((revision, 1), |entry| (entry.created, entry.version + 1));
            if (created, version) != expected {
                return unfit(&key);
            }
            // Versions of a key share its name in memory.
            let key = previous.as_ref().map_or(key, |entry| entry.key.clone());
            let entry = Entry { key: key.clone(), value, created, modified: revision, version };
            Ok(Event { revision, key, kind: EventKind::Put { entry }, previous })
        }
        Record::Delete => match previous {
            Some(last) => {
                let kind = EventKind::Delete { last: last.clone() };
                Ok(Event { revision, key: last.key.clone(), kind, previous: Some(last) })
            }
            None => unfit(&key),
        },
    }
}
