//! The database as rules read it and write to it.

use xebec_promql::histogram::{Buckets, CounterReset, Histogram};
use xebec_promql::labels::Labels;
use xebec_promql::storage::{SampleValue, Storage};
use xebec_rules::storage::{AppendError, Appender, Store};
use xebec_tsdb::{Db, Error, FloatHistogram, Layout, Span, Value};

use super::QueriedDb;

/// A database that rules are evaluated over.
#[derive(Debug, Clone)]
pub struct RuledDb(pub Db);

impl Store for RuledDb {
    fn reader(&self) -> Box<dyn Storage + '_> {
        Box::new(QueriedDb::new(self.0.querier()))
    }

    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Writer(self.0.appender()))
    }
}

struct Writer(xebec_tsdb::Appender);

fn refused(error: Error) -> AppendError {
    match error {
        Error::OutOfOrderSample => AppendError::OutOfOrder,
        Error::TooOldSample => AppendError::TooOld,
        Error::OutOfBounds => AppendError::OutOfBounds,
        Error::DuplicateSample => AppendError::Duplicate,
        other => AppendError::Failed(other.to_string()),
    }
}

impl Appender for Writer {
    fn append(&mut self, labels: &Labels, time: i64, value: &SampleValue) -> Result<(), AppendError> {
        let labels = xebec_tsdb::Labels::new(labels.iter().map(|label| (&*label.name, &*label.value)));
        let value = match value {
            SampleValue::Float(value) => Value::Float(*value),
            SampleValue::Histogram(histogram) => Value::FloatHistogram(Box::new(stored(histogram))),
        };
        self.0.append(&labels.map_err(refused)?, time, value).map(|_| ()).map_err(refused)
    }

    fn commit(self: Box<Self>) -> Result<(), AppendError> {
        self.0.commit().map(|_| ()).map_err(refused)
    }
}

/// A histogram as the database keeps it.
fn stored(histogram: &Histogram) -> FloatHistogram {
    let layout = Layout {
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        positive_spans: spans(&histogram.positive),
        negative_spans: spans(&histogram.negative),
        custom_values: histogram.bounds.to_vec(),
    };
    let counts = |buckets: &Buckets| buckets.iter().map(|(_, count)| count).collect();
    FloatHistogram {
        counter_reset: match histogram.hint {
            CounterReset::Unknown => xebec_tsdb::CounterReset::Unknown,
            CounterReset::Reset => xebec_tsdb::CounterReset::Reset,
            CounterReset::NotReset => xebec_tsdb::CounterReset::NotReset,
            CounterReset::Gauge => xebec_tsdb::CounterReset::Gauge,
        },
        layout: layout.into(),
        count: histogram.count,
        zero_count: histogram.zero_count,
        sum: histogram.sum,
        positive: counts(&histogram.positive),
        negative: counts(&histogram.negative),
    }
}

/// Where buckets lie, as runs of neighbours.
fn spans(buckets: &Buckets) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    // The index behind the last bucket.
    let mut end = 0;
    for (index, _) in buckets.iter() {
        match spans.last_mut() {
            Some(last) if index == end => last.length += 1,
            _ => spans.push(Span { offset: index.saturating_sub(end), length: 1 }),
        }
        end = index.saturating_add(1);
    }
    spans
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xebec_promql::engine::{Cancellation, Engine};
    use xebec_promql::value;
    use xebec_tsdb::Options;

    use super::*;

    #[test]
    fn what_rules_write_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let (db, _) = Db::open(directory.path(), Options { sync: false, ..Options::default() }).unwrap();
        let store = RuledDb(db);
        let histogram = Histogram {
            schema: 1,
            count: 7.0,
            sum: 3.5,
            zero_count: 1.0,
            zero_threshold: 0.001,
            positive: Buckets::new([(-2, 1.0), (-1, 2.0), (3, 1.0)]),
            negative: Buckets::new([(0, 2.0)]),
            ..Histogram::default()
        };
        let labels = Labels::from_pairs([("__name__", "h"), ("a", "b")]);
        let mut appender = store.appender();
        appender.append(&labels, 1000, &SampleValue::Histogram(Arc::new(histogram.clone()))).unwrap();
        appender.commit().unwrap();
        let reader = store.reader();
        let outcome = Engine::default().instant(&*reader, "h", 1000, &Cancellation::default()).unwrap();
        let value::Value::Vector(_, samples) = outcome.value else { panic!("a vector") };
        assert_eq!(samples[0].labels, labels);
        assert_eq!(samples[0].histogram.as_deref(), Some(&histogram));
        let mut appender = store.appender();
        let again = appender.append(&Labels::from_pairs([("__name__", "x")]), 5, &SampleValue::Float(1.0));
        assert_eq!(again, Ok(()));
        assert_eq!(appender.append(&labels, 5, &SampleValue::Float(1.0)), Err(AppendError::OutOfOrder));
    }
}
