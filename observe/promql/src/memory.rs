//! A storage in memory, for tests and for what is small.

use std::collections::HashMap;

use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::storage::{
    SampleIterator, SampleValue, SelectHints, Selection, Storage, StorageError, StoredSample, StoredSeries,
};

/// Series in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    series: Vec<MemorySeries>,
    places: HashMap<Labels, usize>,
}

#[derive(Debug)]
struct MemorySeries {
    labels: Labels,
    samples: Vec<StoredSample>,
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample; one at the same time is replaced.
    pub fn append(&mut self, labels: &Labels, sample: StoredSample) {
        let place = *self.places.entry(labels.clone()).or_insert_with(|| {
            self.series.push(MemorySeries { labels: labels.clone(), samples: Vec::new() });
            self.series.len() - 1
        });
        let samples = &mut self.series[place].samples;
        match samples.last() {
            Some(last) if last.time >= sample.time => {
                match samples.binary_search_by_key(&sample.time, |other| other.time) {
                    Ok(at) => samples[at] = sample,
                    Err(at) => samples.insert(at, sample),
                }
            }
            _ => samples.push(sample),
        }
    }

    /// Adds a number.
    pub fn append_float(&mut self, labels: &Labels, time: i64, value: f64) {
        self.append(labels, StoredSample { time, start_time: 0, value: SampleValue::Float(value) });
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Storage for MemoryStorage {
    fn select(&self, hints: &SelectHints, matchers: &[Matcher]) -> Result<Selection<'_>, StorageError> {
        let selected = self
            .series
            .iter()
            .filter(|series| matchers.iter().all(|matcher| matcher.selects(&series.labels)));
        let mut found: Vec<&MemorySeries> = selected
            .filter(|series| {
                let from = series.samples.partition_point(|sample| sample.time < hints.start);
                series.samples.get(from).is_some_and(|sample| sample.time <= hints.end)
            })
            .collect();
        found.sort_by(|one, two| one.labels.cmp(&two.labels));
        let series =
            found.into_iter().map(|series| Box::new(Borrowed(series)) as Box<dyn StoredSeries>).collect();
        Ok(Selection { series, warnings: Vec::new() })
    }
}

struct Borrowed<'s>(&'s MemorySeries);

impl StoredSeries for Borrowed<'_> {
    fn labels(&self) -> &Labels {
        &self.0.labels
    }

    fn samples(&self) -> Box<dyn SampleIterator + '_> {
        Box::new(Samples { samples: &self.0.samples, at: 0 })
    }
}

struct Samples<'s> {
    samples: &'s [StoredSample],
    at: usize,
}

impl SampleIterator for Samples<'_> {
    fn next(&mut self) -> Result<Option<StoredSample>, StorageError> {
        let sample = self.samples.get(self.at).cloned();
        self.at += 1;
        Ok(sample)
    }

    fn seek(&mut self, time: i64) -> Result<Option<StoredSample>, StorageError> {
        let rest = self.samples.get(self.at..).unwrap_or_default();
        self.at += rest.partition_point(|sample| sample.time < time);
        self.next()
    }
}
