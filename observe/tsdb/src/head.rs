//! The head: the newest samples, in memory.

pub(crate) mod exemplars;
pub(crate) mod index;
pub(crate) mod series;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use crate::{Interval, Labels, Matcher, Result, Sample, Series, Value, matcher::select};
pub use exemplars::Exemplar;
use exemplars::Exemplars;
use index::{HeadIndex, NumberMap};
use series::{Bounds, Course, MemSeries};

/// Series are spread over so many locks.
const SHARDS: u32 = 64;

/// What a metric says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Its type, as Prometheus numbers them in its log: 0 unknown, 1 counter, 2 gauge, 3 histogram, 4 gauge histogram,
    /// 5 summary, 6 info, 7 state set.
    pub kind: u8,
    /// Its unit.
    pub unit: String,
    /// What it means.
    pub help: String,
}

/// What a transaction brings.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) samples: Vec<(u32, Sample)>,
    pub(crate) late: Vec<(u32, Sample)>,
    pub(crate) exemplars: Vec<(u32, Exemplar)>,
    pub(crate) metadata: Vec<(u32, Metadata)>,
}

/// How the head decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadOptions {
    pub(crate) range: i64,
    pub(crate) window: i64,
    pub(crate) exemplars: usize,
}

type Shard = NumberMap<u32, Box<MemSeries>>;

#[derive(Debug)]
pub(crate) struct Head {
    options: HeadOptions,
    index: RwLock<HeadIndex>,
    shards: Vec<Mutex<Shard>>,
    exemplars: Mutex<Exemplars>,
    metadata: RwLock<NumberMap<u32, Arc<Metadata>>>,
    /// Transactions up to it are applied.
    visible: AtomicU64,
    /// The transactions that running queries see, with how many do.
    queries: Mutex<BTreeMap<u64, usize>>,
    min_valid: AtomicI64,
    min_time: AtomicI64,
    max_time: AtomicI64,
    pub(crate) created: AtomicU64,
    pub(crate) appended: AtomicU64,
    pub(crate) refused: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Head {
    pub(crate) fn new(options: HeadOptions) -> Self {
        Self {
            options,
            index: RwLock::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            exemplars: Mutex::new(Exemplars::new(options.exemplars)),
            metadata: RwLock::default(),
            visible: AtomicU64::new(0),
            queries: Mutex::default(),
            min_valid: AtomicI64::new(i64::MIN),
            min_time: AtomicI64::new(i64::MAX),
            max_time: AtomicI64::new(i64::MIN),
            created: AtomicU64::new(0),
            appended: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, HeadIndex> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, HeadIndex> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, number: u32) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(number % SHARDS) as usize])
    }

    /// The times of its samples; the first is past the last when there are none.
    pub(crate) fn span(&self) -> Interval {
        Interval { min: self.min_time.load(Ordering::Acquire), max: self.max_time.load(Ordering::Acquire) }
    }

    pub(crate) fn min_valid(&self) -> i64 {
        self.min_valid.load(Ordering::Acquire)
    }

    pub(crate) fn set_min_valid(&self, time: i64) {
        self.min_valid.fetch_max(time, Ordering::AcqRel);
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let max_time = self.max_time.load(Ordering::Acquire);
        // A sample half a block behind the newest would come into a block that is being written.
        let half = max_time.saturating_sub(self.options.range / 2);
        Bounds {
            min_valid: self.min_valid().max(half),
            max_time,
            window: self.options.window,
            range: self.options.range,
        }
    }

    /// The number of a series, and whether it is new.
    pub(crate) fn number(&self, labels: &Labels) -> Result<(u32, bool)> {
        if let Some(number) = self.index().find(labels) {
            return Ok((number, false));
        }
        let mut index = self.index_mut();
        if let Some(number) = index.find(labels) {
            return Ok((number, false));
        }
        self.created.fetch_add(1, Ordering::Relaxed);
        Ok((index.create(labels)?, true))
    }

    /// Whether a sample would be taken now.
    pub(crate) fn check(&self, number: u32, time: i64, value: &Value) -> Result<Course> {
        let bounds = self.bounds();
        match self.shard(number).get(&number) {
            Some(series) => series.course(time, value, &bounds),
            None => MemSeries::default().course(time, value, &bounds),
        }
    }

    pub(crate) fn check_exemplar(&self, number: u32, exemplar: &Exemplar) -> Result<()> {
        lock(&self.exemplars).check(number, exemplar)
    }

    /// Takes what a transaction brings and shows it to queries that begin from now on. Gives how many samples were
    /// refused after all, since others came first. One transaction at a time.
    pub(crate) fn apply(&self, batch: Batch, replay: bool) -> u64 {
        let tx = self.visible.load(Ordering::Acquire) + 1;
        let seen = lock(&self.queries).keys().next().copied().unwrap_or(tx - 1);
        let Batch { samples, late, exemplars, metadata } = batch;
        let (mut taken, mut refused) = (0, 0);
        let mut fresh = Vec::new();
        let mut bounds = self.bounds();
        let times = samples.iter().chain(&late).map(|(_, sample)| sample.time);
        let (min, max) = times.fold((i64::MAX, i64::MIN), |(min, max), time| (min.min(time), max.max(time)));
        if replay {
            // What the log has was taken once: only what blocks have by now is left out.
            bounds.min_valid = self.min_valid();
        }
        let count = samples.len();
        for (at, (number, sample)) in samples.into_iter().chain(late).enumerate() {
            if replay && at >= count {
                bounds.max_time = i64::MIN;
                bounds.window = i64::MAX;
            }
            let mut shard = self.shard(number);
            let series = shard.entry(number).or_insert_with(|| {
                fresh.push(number);
                Box::default()
            });
            match series.append(sample, tx, seen, &bounds) {
                Ok(Course::Known) => {}
                Ok(Course::InOrder | Course::OutOfOrder) => taken += 1,
                Err(_) => refused += 1,
            }
        }
        if !fresh.is_empty() {
            let mut index = self.index_mut();
            fresh.sort_unstable();
            fresh.into_iter().for_each(|number| index.publish(number));
        }
        if !exemplars.is_empty() {
            let mut ring = lock(&self.exemplars);
            exemplars.into_iter().for_each(|(number, exemplar)| ring.push(number, exemplar));
        }
        if !metadata.is_empty() {
            let mut all = self.metadata.write().unwrap_or_else(PoisonError::into_inner);
            all.extend(metadata.into_iter().map(|(number, metadata)| (number, Arc::new(metadata))));
        }
        if taken > 0 {
            self.min_time.fetch_min(min, Ordering::AcqRel);
            self.max_time.fetch_max(max, Ordering::AcqRel);
        }
        self.appended.fetch_add(taken, Ordering::Relaxed);
        self.refused.fetch_add(refused, Ordering::Relaxed);
        self.visible.store(tx, Ordering::Release);
        refused
    }

    /// Begins a query, which sees what is applied by now and nothing that is applied later.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot {
        let mut queries = lock(&self.queries);
        let visible = self.visible.load(Ordering::Acquire);
        *queries.entry(visible).or_default() += 1;
        Snapshot { head: Arc::clone(self), visible }
    }

    /// Marks samples as deleted.
    pub(crate) fn delete(&self, numbers: &[u32], span: Interval) {
        for &number in numbers {
            if let Some(series) = self.shard(number).get_mut(&number) {
                series.delete(span);
            }
        }
    }

    pub(crate) fn metadata(&self, number: u32) -> Option<Arc<Metadata>> {
        self.metadata.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// Forgets the samples before a time that a query sees, which blocks have by now, and series that have no others.
    pub(crate) fn truncate(&self, time: i64, seen: &Snapshot) {
        self.set_min_valid(time);
        let mut gone = Vec::new();
        let mut span = Interval { min: i64::MAX, max: i64::MIN };
        for shard in &self.shards {
            lock(shard).retain(|&number, series| {
                series.truncate(time, seen.visible);
                match series.span() {
                    Some(own) => span = Interval { min: span.min.min(own.min), max: span.max.max(own.max) },
                    None => gone.push(number),
                }
                !series.is_empty()
            });
        }
        self.min_time.store(span.min, Ordering::Release);
        gone.sort_unstable();
        self.index_mut().remove(&gone);
        let mut metadata = self.metadata.write().unwrap_or_else(PoisonError::into_inner);
        gone.iter().for_each(|number| {
            metadata.remove(number);
        });
    }

    /// The exemplars of series that fulfil all matchers of one of several selections.
    pub(crate) fn exemplars(
        &self,
        selections: &[&[Matcher]],
        within: Interval,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>> {
        let index = self.index();
        let mut wanted = Vec::new();
        for matchers in selections {
            wanted.push(select(&*index, matchers)?);
        }
        let wanted = crate::postings::union(wanted);
        let found = lock(&self.exemplars).select(within, |number| wanted.binary_search(&number).is_ok());
        let each = found.into_iter().filter_map(|(number, found)| Some((index.labels(number)?, found)));
        Ok(each.collect())
    }

    /// Series, chunks, and bytes of samples.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        let mut sizes = (0, 0, 0);
        for shard in &self.shards {
            for series in lock(shard).values() {
                sizes.0 += 1;
                sizes.1 += series.chunks();
                sizes.2 += series.heap() + size_of::<MemSeries>();
            }
        }
        sizes
    }

    pub(crate) fn exemplar_count(&self) -> usize {
        lock(&self.exemplars).len()
    }
}

/// What a query sees of the head.
#[derive(Debug)]
pub(crate) struct Snapshot {
    head: Arc<Head>,
    visible: u64,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut queries = lock(&self.head.queries);
        if let Some(count) = queries.get_mut(&self.visible) {
            *count -= 1;
            if *count == 0 {
                queries.remove(&self.visible);
            }
        }
    }
}

impl Snapshot {
    /// The series that fulfil all matchers and have samples within a span of time, by their labels.
    pub(crate) fn select(&self, matchers: &[Matcher], within: Interval) -> Result<Vec<Series>> {
        if !self.head.span().overlaps(within) {
            return Ok(Vec::new());
        }
        let index = self.head.index();
        let numbers = select(&*index, matchers)?;
        let mut found = Vec::with_capacity(numbers.len());
        for number in numbers {
            let parts = match self.head.shard(number).get(&number) {
                Some(series) => series.parts(within, self.visible),
                None => continue,
            };
            if !parts.is_empty()
                && let Some(labels) = index.labels(number)
            {
                found.push(Series { labels, parts });
            }
        }
        drop(index);
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }
}
