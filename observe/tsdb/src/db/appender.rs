//! One transaction of samples.

use std::sync::{Arc, atomic::Ordering};

use super::{Db, Shared, commit::Transaction};
use crate::{Error, Exemplar, Labels, Metadata, Result, Sample, Value, head::series::Course, wal::record};

/// Names a series of the head. It is good until the series has had no samples for some hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesRef(pub(crate) u32);

impl SeriesRef {
    /// As a number.
    pub fn get(self) -> u64 {
        self.0.into()
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Samples that came into the database.
    pub samples: u64,
    /// Samples that were good when they were appended, until another transaction came first.
    pub refused: u64,
}

/// Collects samples and brings them into the database all at once, or, dropped, not at all. A sample that is refused
/// is not part of the transaction; the others may still be committed.
#[derive(Debug)]
pub struct Appender {
    shared: Arc<Shared>,
    transaction: Transaction,
    generation: u64,
}

impl Appender {
    pub(crate) fn new(db: &Db) -> Self {
        let generation = db.shared.generation.load(Ordering::Acquire);
        Self { shared: Arc::clone(&db.shared), transaction: Transaction::default(), generation }
    }

    /// The reference of a series, which is made if it is new.
    pub fn series(&self, labels: &Labels) -> Result<SeriesRef> {
        if labels.is_empty() {
            return Err(Error::InvalidSample("it has no labels".into()));
        }
        let head = &self.shared.head;
        let most = self.shared.options.most_series;
        let full = {
            let index = head.index();
            index.len() >= most && index.find(labels).is_none()
        };
        if full {
            return Err(Error::Limit(format!("there are {most} series, and {labels} would be one more")));
        }
        let (number, new) = head.number(labels)?;
        if new {
            self.shared.committer.created(number);
        }
        Ok(SeriesRef(number))
    }

    /// Adds a sample of a series by its labels.
    pub fn append(&mut self, labels: &Labels, time: i64, value: impl Into<Value>) -> Result<SeriesRef> {
        let series = self.series(labels)?;
        self.append_to(series, time, value)?;
        Ok(series)
    }

    /// Adds a sample of a series by its reference, which saves looking for its labels.
    pub fn append_to(&mut self, series: SeriesRef, time: i64, value: impl Into<Value>) -> Result<()> {
        let value = value.into();
        match &value {
            Value::Float(_) => {}
            Value::Histogram(histogram) => histogram.validate()?,
            Value::FloatHistogram(histogram) => histogram.validate()?,
        }
        let course = self.shared.head.check(series.0, time, &value)?;
        let sample = (series.0, Sample { time, value });
        match course {
            Course::InOrder => self.transaction.batch.samples.push(sample),
            Course::OutOfOrder => self.transaction.batch.late.push(sample),
            Course::Known => {}
        }
        Ok(())
    }

    /// Adds an exemplar of a series.
    pub fn exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) -> Result<()> {
        self.shared.head.check_exemplar(series.0, &exemplar)?;
        self.transaction.batch.exemplars.push((series.0, exemplar));
        Ok(())
    }

    /// Says what a series' metric is.
    pub fn metadata(&mut self, series: SeriesRef, metadata: Metadata) -> Result<()> {
        if self.shared.head.metadata(series.0).is_none_or(|known| *known != metadata) {
            self.transaction.batch.metadata.push((series.0, metadata));
        }
        Ok(())
    }

    /// How many samples it has.
    pub fn len(&self) -> usize {
        self.transaction.batch.samples.len() + self.transaction.batch.late.len()
    }

    /// Whether it has no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Brings all of it into the database. Once it returns well, a crash loses none of it.
    pub fn commit(self) -> Result<Committed> {
        let Self { shared, mut transaction, generation } = self;
        let samples = (transaction.batch.samples.len() + transaction.batch.late.len()) as u64;
        transaction.records = record::batch(&transaction.batch);
        if transaction.records.is_empty() {
            return Ok(Committed::default());
        }
        let batch = &transaction.batch;
        let numbers: Vec<u32> = batch.samples.iter().chain(&batch.late).map(|(number, _)| *number).collect();
        let alive = || {
            // Series go away in compactions only.
            if shared.generation.load(Ordering::Acquire) == generation {
                return Ok(());
            }
            let index = shared.head.index();
            match numbers.iter().find(|number| !index.knows(**number)) {
                Some(gone) => Err(Error::UnknownSeries((*gone).into())),
                None => Ok(()),
            }
        };
        let refused = shared.committer.commit(&shared.head, transaction, alive)?;
        Ok(Committed { samples: samples - refused, refused })
    }
}
