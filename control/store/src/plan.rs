//! What a batch of waiting transactions comes to: each judged against memory and those before it in the batch.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{Entry, Error, Event, EventKind, Op, Revision, index::Index};

/// What one transaction did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) revision: Revision,
    pub(crate) events: Vec<Arc<Event>>,
}

#[derive(Debug)]
pub(crate) struct Plan<'a> {
    index: &'a Index,
    changed: HashMap<Arc<str>, Option<Entry>>,
    revision: Revision,
    events: Vec<Arc<Event>>,
    held: u64,
    max_bytes: u64,
}

impl<'a> Plan<'a> {
    /// What is staged may bring all that is kept to `max_bytes`.
    pub(crate) fn new(index: &'a Index, max_bytes: u64) -> Self {
        let (revision, held) = (index.revision(), index.held());
        Self { index, changed: HashMap::new(), revision, events: Vec::new(), held, max_bytes }
    }

    /// Takes in a transaction whole, or refuses it and stays as it was.
    pub(crate) fn stage(&mut self, mut ops: Vec<Op>) -> Result<Outcome, Error> {
        ops.sort_by(|left, right| left.key().cmp(right.key()));
        let revision = self.revision.next();
        let events: Vec<Arc<Event>> =
            ops.into_iter().map(|op| self.judge(op, revision).map(Arc::new)).collect::<Result<_, _>>()?;
        self.held = self.room(&events)?;
        for event in &events {
            let now = match &event.kind {
                EventKind::Put { entry } => Some(entry.clone()),
                EventKind::Delete { .. } => None,
            };
            self.changed.insert(event.key.clone(), now);
        }
        self.revision = revision;
        self.events.extend(events.iter().cloned());
        Ok(Outcome { revision, events })
    }

    /// What is kept with these events too. Deletions make room, so there always is some for them.
    fn room(&self, events: &[Arc<Event>]) -> Result<u64, Error> {
        let held = self.held + events.iter().map(|event| event.added()).sum::<u64>();
        let deletes = events.iter().all(|event| event.is_deletion());
        if held > self.max_bytes && !deletes {
            return Err(Error::Full { held: self.held, limit: self.max_bytes });
        }
        Ok(held)
    }

    pub(crate) fn finish(self) -> (Revision, Vec<Arc<Event>>) {
        (self.revision, self.events)
    }

    fn current(&self, key: &str) -> Option<Entry> {
        match self.changed.get(key) {
            Some(changed) => changed.clone(),
            None => self.index.get(key).cloned(),
        }
    }

    fn judge(&self, op: Op, revision: Revision) -> Result<Event, Error> {
        let previous = self.current(op.key());
        match (op, previous) {
            (Op::Create { key, .. }, Some(previous)) => {
                Err(Error::Exists { key, current: previous.modified })
            }
            (Op::Create { key, value }, None) => {
                let key: Arc<str> = key.into();
                let entry =
                    Entry { key: key.clone(), value, created: revision, modified: revision, version: 1 };
                Ok(Event { revision, key, kind: EventKind::Put { entry }, previous: None })
            }
            (Op::Update { key, .. } | Op::Delete { key, .. }, None) => Err(Error::NotFound { key }),
            (Op::Update { key, value, expected }, Some(previous)) => {
                expect(&key, Some(expected), &previous)?;
                let entry = Entry {
                    key: previous.key.clone(),
                    value,
                    created: previous.created,
                    modified: revision,
                    version: previous.version + 1,
                };
                let key = previous.key.clone();
                Ok(Event { revision, key, kind: EventKind::Put { entry }, previous: Some(previous) })
            }
            (Op::Delete { key, expected }, Some(previous)) => {
                expect(&key, expected, &previous)?;
                let kind = EventKind::Delete { last: previous.clone() };
                Ok(Event { revision, key: previous.key.clone(), kind, previous: Some(previous) })
            }
        }
    }
}

fn expect(key: &str, expected: Option<Revision>, actual: &Entry) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != actual.modified => {
            Err(Error::Conflict { key: key.to_owned(), expected, actual: actual.modified })
        }
        _ => Ok(()),
    }
}

/// What a transaction may be, whatever the store holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) ops: usize,
    pub(crate) transaction_bytes: usize,
}

impl Limits {
    /// The size of a transaction that keeps the limits.
    pub(crate) fn check(&self, ops: &[Op]) -> Result<usize, Error> {
        let refused = |reason: String| Err(Error::Transaction { reason });
        if ops.is_empty() {
            return refused("it has no operation; send at least one".to_owned());
        }
        if ops.len() > self.ops {
            return refused(format!("it has {} operations, the limit is {}; split it", ops.len(), self.ops));
        }
        let mut keys = HashSet::with_capacity(ops.len());
        let mut total = 0usize;
        for op in ops {
            let (key, size) = (op.key(), op.value_bytes());
            if key.is_empty() || key.len() > self.key_bytes {
                return Err(Error::KeyLength { size: key.len(), limit: self.key_bytes });
            }
            if size > self.value_bytes {
                return Err(Error::ValueTooLarge { key: key.to_owned(), size, limit: self.value_bytes });
            }
            if !keys.insert(key) {
                return refused(format!("it changes key {key:?} twice; change each key once"));
            }
            total = total.saturating_add(key.len()).saturating_add(size);
        }
        // One value at its limit always fits, however small the limit of a transaction is.
        if ops.len() > 1 && total > self.transaction_bytes {
            return refused(format!(
                "it has {total} bytes, the limit is {}; split it",
                self.transaction_bytes
            ));
        }
        Ok(total)
    }
}
