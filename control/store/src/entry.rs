use std::{fmt, sync::Arc};

use bytes::Bytes;

/// A point in the store's history. Each transaction makes the next one; an empty store is at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(crate) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A key and its value as they were at some revision. Cheap to clone: key and value are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// The value.
    pub value: Bytes,
    /// The revision that created the key.
    pub created: Revision,
    /// The revision that wrote this value.
    pub modified: Revision,
    /// How often the key was written since it was created, from 1.
    pub version: u64,
}

/// What an entry or a mark of deletion takes beside key and value.
const OVERHEAD: usize = 128;

impl Entry {
    /// What the entry counts for where room is limited, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        (OVERHEAD + self.key.len() + self.value.len()) as u64
    }
}

/// One change in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Make a key that must not be there.
    Create {
        /// The key.
        key: String,
        /// Its value.
        value: Bytes,
    },
    /// Give a key a new value.
    Update {
        /// The key.
        key: String,
        /// Its new value.
        value: Bytes,
        /// The revision at which the key must have been last changed.
        expected: Revision,
    },
    /// Take a key away.
    Delete {
        /// The key.
        key: String,
        /// The revision at which the key must have been last changed, if that matters.
        expected: Option<Revision>,
    },
}

impl Op {
    /// The key that this changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Create { key, .. } | Self::Update { key, .. } | Self::Delete { key, .. } => key,
        }
    }

    pub(crate) fn value_bytes(&self) -> usize {
        match self {
            Self::Create { value, .. } | Self::Update { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        }
    }
}

/// What a watch carries: one key changed at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The revision of the change. The events of one transaction share it and come in the order of their keys.
    pub revision: Revision,
    /// The key.
    pub key: Arc<str>,
    /// What happened to it.
    pub kind: EventKind,
    /// The entry before the change, if there was one.
    pub previous: Option<Entry>,
}

impl Event {
    /// Whether the key was taken away.
    pub(crate) fn is_deletion(&self) -> bool {
        matches!(self.kind, EventKind::Delete { .. })
    }

    /// What the event adds to what is kept, in bytes.
    pub(crate) fn added(&self) -> u64 {
        match &self.kind {
            EventKind::Put { entry } => entry.weight(),
            EventKind::Delete { .. } => (OVERHEAD + self.key.len()) as u64,
        }
    }

    /// What is kept for the sake of history because of the event, in bytes: what it replaced, and the mark of a deletion.
    pub(crate) fn history(&self) -> u64 {
        let mark = if self.is_deletion() { self.added() } else { 0 };
        mark + self.previous.as_ref().map_or(0, Entry::weight)
    }

    /// What the event holds in memory while it waits, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let previous = self.previous.as_ref().map_or(0, Entry::weight);
        usize::try_from(self.added() + previous).unwrap_or(usize::MAX)
    }
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// It was created (`entry.version` is 1) or updated.
    Put {
        /// The entry as it is now.
        entry: Entry,
    },
    /// It was deleted.
    Delete {
        /// The entry as it last was.
        last: Entry,
    },
}

/// What to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListRequest<'a> {
    /// Only keys that start with this.
    pub prefix: &'a str,
    /// Only keys behind this one: the last key of the page before.
    pub after: Option<&'a str>,
    /// At most so many entries.
    pub limit: Option<usize>,
    /// As of this revision; now if none is given.
    pub at: Option<Revision>,
    /// Whether to count how many follow, which takes a look at each of them.
    pub count: bool,
}

/// Entries in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub items: Vec<Entry>,
    /// The revision that they show.
    pub revision: Revision,
    /// Whether keys follow behind the last item.
    pub more: bool,
    /// How many follow, where that was asked for.
    pub remaining: Option<u64>,
}
