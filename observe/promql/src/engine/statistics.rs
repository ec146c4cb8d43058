//! Series whose histograms are reduced to their count and sum. What is known about counter resets is found before the
//! buckets are dropped.

use std::sync::Arc;

use crate::histogram::{CounterReset, Histogram};
use crate::labels::Labels;
use crate::number::is_stale_nan;
use crate::storage::{SampleIterator, SampleValue, StorageError, StoredSample, StoredSeries};

/// A series without the buckets of its histograms.
pub(super) struct Statistics<'s>(pub(super) Box<dyn StoredSeries + 's>);

impl StoredSeries for Statistics<'_> {
    fn labels(&self) -> &Labels {
        self.0.labels()
    }

    fn samples(&self) -> Box<dyn SampleIterator + '_> {
        Box::new(StatisticsSamples { samples: self.0.samples(), last: None })
    }
}

struct StatisticsSamples<'s> {
    samples: Box<dyn SampleIterator + 's>,
    /// The histogram that was read before, if none was skipped since.
    last: Option<Arc<Histogram>>,
}

impl StatisticsSamples<'_> {
    fn reduce(&mut self, sample: Option<StoredSample>) -> Option<StoredSample> {
        let mut sample = sample?;
        let SampleValue::Histogram(whole) = &sample.value else { return Some(sample) };
        let mut hint = whole.hint;
        if !is_stale_nan(whole.sum) {
            hint = match (&self.last, hint) {
                (Some(last), CounterReset::Unknown) if whole.is_reset_since(last) => CounterReset::Reset,
                (Some(_), CounterReset::Unknown) => CounterReset::NotReset,
                (_, hint) => hint,
            };
            self.last = Some(Arc::clone(whole));
        }
        let reduced = Histogram {
            hint,
            schema: whole.schema,
            count: whole.count,
            sum: whole.sum,
            ..Histogram::default()
        };
        sample.value = SampleValue::Histogram(Arc::new(reduced));
        Some(sample)
    }
}

impl SampleIterator for StatisticsSamples<'_> {
    fn next(&mut self) -> Result<Option<StoredSample>, StorageError> {
        let sample = self.samples.next()?;
        Ok(self.reduce(sample))
    }

    fn seek(&mut self, time: i64) -> Result<Option<StoredSample>, StorageError> {
        self.last = None;
        let sample = self.samples.seek(time)?;
        Ok(self.reduce(sample))
    }
}
