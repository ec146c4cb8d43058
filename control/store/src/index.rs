//! The key space in memory: each key's kept versions, and the events of the kept history.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Entry, Error, Event, EventKind, ListRequest, Page, Revision};

#[derive(Debug, Default)]
pub(crate) struct Index {
    revision: Revision,
    compacted: Revision,
    chains: BTreeMap<Arc<str>, Vec<Version>>,
    /// Every event after `compacted`, in order.
    log: VecDeque<Arc<Event>>,
    /// When each revision after `compacted` was published here.
    stamps: VecDeque<(Revision, Instant)>,
    /// How many bytes all versions have.
    held: u64,
    /// How many of those are there for the sake of history.
    history: u64,
}

#[derive(Debug)]
enum Version {
    Live(Entry),
    Gone(Revision),
}

impl Version {
    fn revision(&self) -> Revision {
        match self {
            Self::Live(entry) => entry.modified,
            Self::Gone(revision) => *revision,
        }
    }

    fn live(&self) -> Option<&Entry> {
        match self {
            Self::Live(entry) => Some(entry),
            Self::Gone(_) => None,
        }
    }
}

fn at(chain: &[Version], revision: Revision) -> Option<&Entry> {
    chain.iter().rev().find(|version| version.revision() <= revision)?.live()
}

impl Index {
    pub(crate) fn new(compacted: Revision) -> Self {
        Self { revision: compacted, compacted, ..Self::default() }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.chains.get(key)?.last()?.live()
    }

    pub(crate) fn get_at(&self, key: &str, revision: Revision) -> Result<Option<&Entry>, Error> {
        self.check(revision)?;
        Ok(self.chains.get(key).and_then(|chain| at(chain, revision)))
    }

    pub(crate) fn list(&self, request: &ListRequest<'_>) -> Result<Page, Error> {
        let revision = request.at.unwrap_or(self.revision);
        self.check(revision)?;
        let start = match request.after {
            Some(after) if after >= request.prefix => Bound::Excluded(after),
            _ => Bound::Included(request.prefix),
        };
        let mut live = self
            .chains
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(request.prefix))
            .filter_map(|(_, chain)| at(chain, revision));
        let items: Vec<Entry> = live.by_ref().take(request.limit.unwrap_or(usize::MAX)).cloned().collect();
        if request.count {
            let remaining = live.count() as u64;
            return Ok(Page { items, revision, more: remaining > 0, remaining: Some(remaining) });
        }
        Ok(Page { items, revision, more: live.next().is_some(), remaining: None })
    }

    /// How many keys are live under a prefix, up to `most`.
    pub(crate) fn count(&self, prefix: &str, most: usize) -> usize {
        let range = self.chains.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let under = range.take_while(|(key, _)| key.starts_with(prefix));
        under.filter(|(_, chain)| chain.last().is_some_and(|last| last.live().is_some())).take(most).count()
    }

    /// The events after `from` under a prefix.
    pub(crate) fn events_after(&self, from: Revision, prefix: &str) -> Result<VecDeque<Arc<Event>>, Error> {
        self.check(from)?;
        let first = self.log.partition_point(|event| event.revision <= from);
        Ok(self.log.range(first..).filter(|event| event.key.starts_with(prefix)).cloned().collect())
    }

    /// Whether there are events after `from` under a prefix.
    pub(crate) fn has_changed(&self, from: Revision, prefix: &str) -> Result<bool, Error> {
        self.check(from)?;
        let mut later = self.log.iter().rev().take_while(|event| event.revision > from);
        Ok(later.any(|event| event.key.starts_with(prefix)))
    }

    /// Puts in an entry that history before `compacted` left behind.
    pub(crate) fn restore(&mut self, entry: Entry) {
        self.held += entry.weight();
        self.chains.entry(entry.key.clone()).or_default().push(Version::Live(entry));
    }

    pub(crate) fn apply(&mut self, events: &[Arc<Event>], now: Instant) {
        for event in events {
            self.held += event.added();
            self.history += event.history();
            let version = match &event.kind {
                EventKind::Put { entry } => Version::Live(entry.clone()),
                EventKind::Delete { .. } => Version::Gone(event.revision),
            };
            self.chains.entry(event.key.clone()).or_default().push(version);
            if event.revision > self.revision {
                self.revision = event.revision;
                self.stamps.push_back((event.revision, now));
            }
            self.log.push_back(event.clone());
        }
    }

    /// The events that a compaction to this revision lets go.
    pub(crate) fn events_until(&self, to: Revision) -> impl Iterator<Item = &Arc<Event>> {
        self.log.iter().take_while(move |event| event.revision <= to)
    }

    pub(crate) fn compact(&mut self, to: Revision) {
        self.compacted = self.compacted.max(to);
        while self.stamps.front().is_some_and(|(revision, _)| *revision <= to) {
            self.stamps.pop_front();
        }
        while let Some(event) = self.log.pop_front_if(|event| event.revision <= to) {
            self.history = self.history.saturating_sub(event.history());
            self.held = self.held.saturating_sub(event.history());
            let Some(chain) = self.chains.get_mut(&event.key) else { continue };
            let visible = chain.partition_point(|version| version.revision() <= to);
            let gone = chain.get(visible.wrapping_sub(1)).is_some_and(|version| version.live().is_none());
            chain.drain(..if gone { visible } else { visible.saturating_sub(1) });
            if chain.is_empty() {
                self.chains.remove(&event.key);
            }
        }
    }

    /// The revision to let history go to because there is too much of it. A tenth more than asked for is kept at
    /// times, so that a compaction has something to do.
    pub(crate) fn overfull(&self, keep: u64) -> Option<Revision> {
        let kept = self.revision.0 - self.compacted.0;
        (kept > keep.saturating_add(keep / 10)).then(|| Revision(self.revision.0 - keep))
    }

    /// The revision to let history go to because it has too many bytes; a tenth more is kept at times.
    pub(crate) fn overweight(&self, keep: u64) -> Option<Revision> {
        if self.history <= keep.saturating_add(keep / 10) {
            return None;
        }
        let mut rest = self.history;
        let enough = self.log.iter().find(|event| {
            rest = rest.saturating_sub(event.history());
            rest <= keep
        });
        enough.map(|event| event.revision)
    }

    /// How many bytes are kept.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// How many of them a compaction up to now would let go.
    pub(crate) fn history(&self) -> u64 {
        self.history
    }

    /// The revision to let history go to because it is too old.
    pub(crate) fn expired(&self, keep: Duration, now: Instant) -> Option<Revision> {
        let old = self.stamps.partition_point(|(_, stamp)| now.saturating_duration_since(*stamp) > keep);
        let (revision, _) = self.stamps.get(old.checked_sub(1)?)?;
        Some(*revision)
    }

    fn check(&self, revision: Revision) -> Result<(), Error> {
        if revision < self.compacted {
            return Err(Error::Compacted { requested: revision, oldest: self.compacted });
        }
        if revision > self.revision {
            return Err(Error::Future { requested: revision, current: self.revision });
        }
        Ok(())
    }
}
