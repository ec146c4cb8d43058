//! The database as the query engine sees it, and as rules write to it.

mod writing;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use xebec_promql::dialect;
use xebec_promql::histogram::{Buckets, CounterReset, Histogram};
use xebec_promql::labels::{Label, Labels};
use xebec_promql::matcher::{MatchOp, Matcher};
use xebec_promql::storage::{
    SampleIterator, SampleValue, SelectHints, Selection, Storage, StorageError, StoredSample, StoredSeries,
};
use xebec_tsdb::{HistogramOf, Interval, Number, Querier, Sample, Samples, Series, Span, Value};

pub use writing::RuledDb;

/// What one query sees of a database.
#[derive(Debug)]
pub struct QueriedDb {
    querier: Querier,
    names: RefCell<HashMap<String, Arc<str>>>,
    read: Cell<u64>,
}

impl QueriedDb {
    /// A query that begins now.
    pub fn new(querier: Querier) -> Self {
        Self { querier, names: RefCell::default(), read: Cell::new(0) }
    }

    /// How many samples were read so far.
    pub fn samples_read(&self) -> u64 {
        self.read.get()
    }

    /// Labels, whose names are shared among series.
    fn labels(&self, labels: &xebec_tsdb::Labels) -> Labels {
        let mut names = self.names.borrow_mut();
        Labels::new(labels.iter().map(|(name, value)| {
            if let Some(name) = names.get(name) {
                return Label { name: Arc::clone(name), value: value.into() };
            }
            let shared: Arc<str> = name.into();
            names.insert(name.to_owned(), Arc::clone(&shared));
            Label { name: shared, value: value.into() }
        }))
    }
}

/// Matchers as the database has them.
pub fn matchers(matchers: &[Matcher]) -> xebec_tsdb::Result<Vec<xebec_tsdb::Matcher>> {
    let each = matchers.iter().map(|matcher| {
        let (op, is_regex) = match matcher.op {
            MatchOp::Equal => (xebec_tsdb::MatchOp::Equal, false),
            MatchOp::NotEqual => (xebec_tsdb::MatchOp::NotEqual, false),
            MatchOp::Regex => (xebec_tsdb::MatchOp::Regex, true),
            MatchOp::NotRegex => (xebec_tsdb::MatchOp::NotRegex, true),
        };
        if is_regex {
            return xebec_tsdb::Matcher::new(op, &*matcher.name, dialect::translate(&matcher.value));
        }
        xebec_tsdb::Matcher::new(op, &*matcher.name, &*matcher.value)
    });
    each.collect()
}

impl Storage for QueriedDb {
    fn select(&self, hints: &SelectHints, wanted: &[Matcher]) -> Result<Selection<'_>, StorageError> {
        let within = Interval { min: hints.start, max: hints.end };
        let mut series: Vec<Box<dyn StoredSeries>> = Vec::new();
        for found in self.querier.select(&matchers(wanted)?, within)? {
            let found = found?;
            let labels = self.labels(&found.labels);
            series.push(Box::new(Found { labels, series: found, within, read: &self.read }));
        }
        Ok(Selection { series, warnings: Vec::new() })
    }
}

struct Found<'q> {
    labels: Labels,
    series: Series,
    within: Interval,
    read: &'q Cell<u64>,
}

impl StoredSeries for Found<'_> {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn samples(&self) -> Box<dyn SampleIterator + '_> {
        Box::new(FoundSamples { samples: self.series.samples(self.within), read: self.read })
    }
}

struct FoundSamples<'q> {
    samples: Samples,
    read: &'q Cell<u64>,
}

impl FoundSamples<'_> {
    fn counted(&self, sample: Option<Sample>) -> Option<StoredSample> {
        let sample = sample?;
        self.read.set(self.read.get() + 1);
        Some(StoredSample { time: sample.time, start_time: 0, value: value(sample.value) })
    }
}

impl SampleIterator for FoundSamples<'_> {
    fn next(&mut self) -> Result<Option<StoredSample>, StorageError> {
        let sample = self.samples.read()?;
        Ok(self.counted(sample))
    }

    fn seek(&mut self, time: i64) -> Result<Option<StoredSample>, StorageError> {
        let sample = self.samples.read_from(time)?;
        Ok(self.counted(sample))
    }
}

fn value(value: Value) -> SampleValue {
    match value {
        Value::Float(value) => SampleValue::Float(value),
        Value::Histogram(histogram) => SampleValue::Histogram(Arc::new(histogram_of(&histogram))),
        Value::FloatHistogram(histogram) => SampleValue::Histogram(Arc::new(histogram_of(&histogram))),
    }
}

/// A stored histogram as the engine calculates with it.
fn histogram_of<N: Number>(stored: &HistogramOf<N>) -> Histogram {
    let layout = &stored.layout;
    Histogram {
        hint: match stored.counter_reset {
            xebec_tsdb::CounterReset::Unknown => CounterReset::Unknown,
            xebec_tsdb::CounterReset::Reset => CounterReset::Reset,
            xebec_tsdb::CounterReset::NotReset => CounterReset::NotReset,
            xebec_tsdb::CounterReset::Gauge => CounterReset::Gauge,
        },
        schema: layout.schema,
        zero_threshold: layout.zero_threshold,
        zero_count: stored.zero_count.to_f64(),
        count: stored.count.to_f64(),
        sum: stored.sum,
        positive: buckets(&layout.positive_spans, &stored.positive),
        negative: buckets(&layout.negative_spans, &stored.negative),
        bounds: layout.custom_values.as_slice().into(),
    }
}

fn buckets<N: Number>(spans: &[Span], counts: &[N]) -> Buckets {
    let mut at = 0i32;
    let indexes = spans.iter().flat_map(|span| {
        let first = at.saturating_add(span.offset);
        at = first.saturating_add_unsigned(span.length);
        first..at
    });
    Buckets::new(indexes.zip(counts.iter().map(|count| count.to_f64())))
}

#[cfg(test)]
mod tests {
    use xebec_promql::engine::{Cancellation, Engine};
    use xebec_promql::value::Value as Result;
    use xebec_tsdb::{Db, Options};

    use super::*;

    #[test]
    fn a_query_reads_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let (db, _) = Db::open(directory.path(), Options { sync: false, ..Options::default() }).unwrap();
        let mut appender = db.appender();
        for (job, step) in [("a", 1.0), ("b", 2.0)] {
            let labels = xebec_tsdb::Labels::new([("__name__", "m_total"), ("job", job)]).unwrap();
            for at in 0..10 {
                appender.append(&labels, at * 15_000, step * at as f64).unwrap();
            }
        }
        let histogram = xebec_tsdb::FloatHistogram {
            layout: xebec_tsdb::Layout {
                positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 2, length: 1 }],
                ..Default::default()
            }
            .into(),
            count: 6.0,
            sum: 7.0,
            positive: vec![1.0, 2.0, 3.0],
            ..Default::default()
        };
        let labels = xebec_tsdb::Labels::new([("__name__", "h")]).unwrap();
        appender.append(&labels, 135_000, histogram).unwrap();
        appender.commit().unwrap();
        let storage = QueriedDb::new(db.querier());
        let ask = |query: &str| {
            let outcome = Engine::default().instant(&storage, query, 135_000, &Cancellation::default());
            let Result::Vector(_, samples) = outcome.unwrap().value else { panic!("a vector") };
            samples.iter().map(|sample| (sample.labels.to_string(), sample.value)).collect::<Vec<_>>()
        };
        let rates = ask(r#"rate(m_total{job=~"a|[[:alpha:]]"}[1m])"#);
        let per_step: Vec<_> =
            rates.iter().map(|(labels, rate)| (labels.as_str(), (rate * 15e9).round())).collect();
        assert_eq!(per_step, [(r#"{job="a"}"#, 1e9), (r#"{job="b"}"#, 2e9)]);
        assert_eq!(ask("histogram_count(h)"), [("{}".to_owned(), 6.0)]);
        assert!(storage.samples_read() > 0);
        let outcome = Engine::default().instant(&storage, "h", 135_000, &Cancellation::default()).unwrap();
        let Result::Vector(_, samples) = outcome.value else { panic!("a vector") };
        let buckets: Vec<_> = samples[0].histogram.as_ref().unwrap().positive.iter().collect();
        assert_eq!(buckets, [(-1, 1.0), (0, 2.0), (3, 3.0)]);
    }
}
