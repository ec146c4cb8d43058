//! A store in memory that is filled as the time of a test goes on, and that refuses what a database refuses.

use std::cell::{Ref, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use xebec_promql::histogram::{CounterReset, Histogram};
use xebec_promql::labels::Labels;
use xebec_promql::matcher::Matcher;
use xebec_promql::memory::MemoryStorage;
use xebec_promql::series_description::{self, DescribedSample};
use xebec_promql::storage::{SampleValue, SelectHints, Selection, Storage, StorageError, StoredSample};

use crate::storage::{AppendError, Appender, Store};

/// More samples than these are not described in one test.
const MOST_SAMPLES: usize = 10_000_000;

#[derive(Debug, Default)]
pub(super) struct TestStore {
    memory: RefCell<MemoryStorage>,
    newest: RefCell<HashMap<Labels, StoredSample>>,
    /// Input that is still to come, the last first.
    input: RefCell<Vec<(Labels, Vec<StoredSample>)>>,
}

impl TestStore {
    /// A store whose input begins at a time, one step after the other.
    pub(super) fn new(series: &[(&str, &str)], start: i64, step: i64) -> Result<Self, String> {
        let mut input: HashMap<Labels, Vec<StoredSample>> = HashMap::new();
        let mut count = 0;
        for (at, (series, values)) in series.iter().enumerate() {
            let described = format!("{series} {values}");
            // Upstream counts the lines of a text whose first one says the step.
            let failed = |why: String| match why.strip_prefix("1:") {
                Some(rest) => format!("{}:{rest}", at + 2),
                None => format!("input_series {described:?}: {why}"),
            };
            let (labels, samples) = series_description::parse(&described).map_err(failed)?;
            count += samples.len();
            if count > MOST_SAMPLES {
                return Err(format!(
                    "input_series: over {MOST_SAMPLES} samples are described: describe fewer"
                ));
            }
            let own = input.entry(labels).or_default();
            own.clear();
            for (at, sample) in samples.into_iter().enumerate() {
                let value = match sample {
                    DescribedSample::Omitted => continue,
                    DescribedSample::Float(value) => SampleValue::Float(value),
                    DescribedSample::Histogram { histogram, .. } => SampleValue::Histogram(histogram),
                };
                let time = start.saturating_add((at as i64).saturating_mul(step));
                own.push(StoredSample { time, start_time: 0, value });
            }
            own.reverse();
        }
        Ok(Self { input: RefCell::new(input.into_iter().collect()), ..Self::default() })
    }

    /// Brings in the input until a time, that time included.
    pub(super) fn fill(&self, until: i64) -> Result<(), AppendError> {
        for (labels, samples) in self.input.borrow_mut().iter_mut() {
            while let Some(sample) = samples.pop_if(|sample| sample.time <= until) {
                self.put(labels, sample)?;
            }
        }
        Ok(())
    }

    fn put(&self, labels: &Labels, mut sample: StoredSample) -> Result<(), AppendError> {
        self.check(labels, &sample)?;
        if let SampleValue::Histogram(histogram) = &mut sample.value
            && histogram.hint != CounterReset::Gauge
        {
            // A database knows by itself where a counter goes on.
            let newest = self.newest.borrow();
            let goes_on = newest.get(labels).is_some_and(|newest| match &newest.value {
                SampleValue::Histogram(newest) => goes_on(newest, histogram),
                SampleValue::Float(_) => false,
            });
            let hint = if goes_on { CounterReset::NotReset } else { CounterReset::Unknown };
            *histogram = Arc::new(Histogram { hint, ..Histogram::clone(histogram) });
        }
        self.memory.borrow_mut().append(labels, sample.clone());
        self.newest.borrow_mut().insert(labels.clone(), sample);
        Ok(())
    }

    fn check(&self, labels: &Labels, sample: &StoredSample) -> Result<(), AppendError> {
        match self.newest.borrow().get(labels) {
            Some(newest) if newest.time > sample.time => Err(AppendError::OutOfOrder),
            Some(newest) if newest.time == sample.time && !is_same(&newest.value, &sample.value) => {
                Err(AppendError::Duplicate)
            }
            _ => Ok(()),
        }
    }
}

/// Whether a histogram is stored as one that goes on where the one before it was.
fn goes_on(before: &Histogram, histogram: &Histogram) -> bool {
    let layout = |of: &Histogram| (of.schema, of.zero_threshold, Arc::clone(&of.bounds));
    before.hint != CounterReset::Gauge
        && histogram.hint != CounterReset::Reset
        && layout(before) == layout(histogram)
        && !Histogram { hint: CounterReset::Unknown, ..histogram.clone() }.is_reset_since(before)
}

fn is_same(one: &SampleValue, two: &SampleValue) -> bool {
    match (one, two) {
        (SampleValue::Float(one), SampleValue::Float(two)) => one.to_bits() == two.to_bits(),
        (one, two) => one == two,
    }
}

impl Store for TestStore {
    fn reader(&self) -> Box<dyn Storage + '_> {
        Box::new(Reader(self.memory.borrow()))
    }

    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Writer { store: self, samples: Vec::new() })
    }
}

struct Reader<'s>(Ref<'s, MemoryStorage>);

impl Storage for Reader<'_> {
    fn select(&self, hints: &SelectHints, matchers: &[Matcher]) -> Result<Selection<'_>, StorageError> {
        self.0.select(hints, matchers)
    }
}

struct Writer<'s> {
    store: &'s TestStore,
    samples: Vec<(Labels, StoredSample)>,
}

impl Appender for Writer<'_> {
    fn append(&mut self, labels: &Labels, time: i64, value: &SampleValue) -> Result<(), AppendError> {
        let sample = StoredSample { time, start_time: 0, value: value.clone() };
        self.store.check(labels, &sample)?;
        self.samples.push((labels.clone(), sample));
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), AppendError> {
        for (labels, sample) in self.samples {
            // Of two of one series in one commit, the second is dropped without a word, as a database does.
            let _dropped = self.store.put(&labels, sample);
        }
        Ok(())
    }
}
