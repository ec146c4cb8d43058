//! What the engine needs of a storage: series by matchers, and their samples in order of time.

use std::sync::Arc;

use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::matcher::Matcher;

/// What went wrong in a storage.
pub type StorageError = Box<dyn std::error::Error + Send + Sync>;

/// A sample's value.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// A sample as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSample {
    /// Milliseconds since 1970.
    pub time: i64,
    /// When the counter began, in milliseconds since 1970; zero if that is not known.
    pub start_time: i64,
    /// The value.
    pub value: SampleValue,
}

/// What the engine will do with the series of a selector. A storage may use it to read less, and may ignore it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectHints {
    /// The first time of interest, in milliseconds.
    pub start: i64,
    /// The last time of interest, in milliseconds.
    pub end: i64,
    /// The step of the evaluation, in milliseconds.
    pub step: i64,
    /// The range of a range selector, in milliseconds; zero for others.
    pub range: i64,
    /// The function or aggregation round the selector; empty if there is none.
    pub function: &'static str,
}

/// Series found by a selector.
#[derive(Default)]
pub struct Selection<'s> {
    /// The series, in any order.
    pub series: Vec<Box<dyn StoredSeries + 's>>,
    /// What the user should know: parts that could not be asked, for example.
    pub warnings: Vec<String>,
}

/// A store of samples.
pub trait Storage {
    /// The series that all the matchers select.
    fn select(&self, hints: &SelectHints, matchers: &[Matcher]) -> Result<Selection<'_>, StorageError>;
}

/// A series in a store.
pub trait StoredSeries {
    /// Its labels.
    fn labels(&self) -> &Labels;

    /// Its samples, in order of time.
    fn samples(&self) -> Box<dyn SampleIterator + '_>;
}

/// Samples of one series in order of time.
pub trait SampleIterator {
    /// The next sample.
    fn next(&mut self) -> Result<Option<StoredSample>, StorageError>;

    /// The next sample at or after `time`. Stores that can skip without decoding should.
    fn seek(&mut self, time: i64) -> Result<Option<StoredSample>, StorageError> {
        loop {
            match self.next()? {
                Some(sample) if sample.time < time => {}
                other => return Ok(other),
            }
        }
    }
}
