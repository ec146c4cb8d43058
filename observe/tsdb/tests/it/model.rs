//! The database against a map: whatever is appended, deleted, compacted and opened again, a query sees what the map
//! has.

use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;
use xebec_tsdb::{Db, Error, Interval, Labels, MatchOp, Matcher, Options, Sample, Value};

use crate::{histogram, labels, sample};

const MINUTE: i64 = 60_000;

#[derive(Clone, Debug)]
enum Step {
    /// Some series get a sample each, so much later than the newest.
    Append {
        series: Vec<(u8, bool)>,
        later: i64,
    },
    /// One series gets a sample this long before the newest.
    Late {
        series: u8,
        before: i64,
    },
    Delete {
        series: u8,
        before: i64,
        length: i64,
    },
    Compact,
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let series = proptest::collection::vec((0u8..6, any::<bool>()), 1..6);
    prop_oneof![
        12 => (series, 1i64..4 * MINUTE).prop_map(|(series, later)| Step::Append { series, later }),
        6 => (0u8..6, 0..90 * MINUTE).prop_map(|(series, before)| Step::Late { series, before }),
        1 => (0u8..6, 0..60 * MINUTE, 0..20 * MINUTE)
            .prop_map(|(series, before, length)| Step::Delete { series, before, length }),
        2 => Just(Step::Compact),
        1 => Just(Step::Flush),
        2 => Just(Step::Reopen),
    ]
}

fn options(window: i64) -> Options {
    Options {
        block_range: 20 * MINUTE,
        out_of_order_window: window,
        retention: None,
        sync: false,
        segment_bytes: 2_000,
        ..Options::default()
    }
}

fn name(series: u8) -> Labels {
    labels(&[("__name__", "m"), ("i", &series.to_string())])
}

fn read(db: &Db) -> BTreeMap<(Labels, i64), Value> {
    let mut all = BTreeMap::new();
    for series in db.querier().select(&[], Interval::ALL).unwrap() {
        let series = series.unwrap();
        for sample in series.samples(Interval::ALL) {
            let Sample { time, mut value } = sample.unwrap();
            if let Value::Histogram(histogram) = &mut value {
                histogram.counter_reset = xebec_tsdb::CounterReset::Unknown;
            }
            assert!(all.insert((series.labels.clone(), time), value).is_none());
        }
    }
    all
}

fn open(path: &Path, window: i64) -> Db {
    let (db, opened) = Db::open(path, options(window)).unwrap();
    assert_eq!(opened, xebec_tsdb::Opened::default());
    db
}

fn run(steps: Vec<Step>, window: i64) {
    let directory = tempfile::tempdir().unwrap();
    let mut db = open(directory.path(), window);
    let mut model: BTreeMap<(Labels, i64), Value> = BTreeMap::new();
    let mut now = 1_700_000_000_000i64;
    for (count, step) in steps.into_iter().enumerate() {
        let keys: std::collections::BTreeSet<(Labels, i64)> = model.keys().cloned().collect();
        let known = |series: u8, time: i64| keys.contains(&(name(series), time));
        let mut add = |db: &Db, all: Vec<(u8, i64, Value)>| {
            let mut appender = db.appender();
            let mut taken = Vec::new();
            for (series, time, value) in all {
                match appender.append(&name(series), time, value.clone()) {
                    Ok(_) => taken.push(((name(series), time), value)),
                    Err(error) => assert!(error.is_refused_sample(), "{error}"),
                }
            }
            let committed = appender.commit().unwrap();
            assert!(committed.refused as usize <= taken.len());
            for (key, value) in taken {
                // Of two in one transaction the first stays.
                model.entry(key).or_insert(value);
            }
        };
        match step {
            Step::Append { series, later } => {
                now += later;
                let value = |is_histogram| -> Value {
                    if is_histogram {
                        histogram(count as u64 + 1, false).into()
                    } else {
                        (count as f64).into()
                    }
                };
                add(
                    &db,
                    series
                        .into_iter()
                        .map(|(series, is_histogram)| (series, now, value(is_histogram)))
                        .collect(),
                );
            }
            Step::Late { series, before } => {
                let time = now - before;
                if !known(series, time) {
                    add(&db, vec![(series, time, (-(count as f64)).into())]);
                }
            }
            Step::Delete { series, before, length } => {
                let span = Interval { min: now - before - length, max: now - before };
                let matcher = Matcher::new(MatchOp::Equal, "i", series.to_string()).unwrap();
                db.delete(&[matcher], span).unwrap();
                model.retain(|(labels, time), _| *labels != name(series) || !span.contains(*time));
                // Within a deleted span nothing can be put again.
                now += 1;
            }
            Step::Compact => drop(db.compact(now).unwrap()),
            Step::Flush => drop(db.flush(now).unwrap()),
            Step::Reopen => {
                drop(db);
                db = open(directory.path(), window);
            }
        }
        // Late samples may fall into spans that were deleted in the head, which hides them: leave those out.
        let found = read(&db);
        assert_eq!(found.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
        assert_eq!(found.len(), model.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn in_order_samples_are_what_the_map_has(steps in proptest::collection::vec(step(), 1..60)) {
        let steps = steps.into_iter().filter(|step| !matches!(step, Step::Late { .. }));
        run(steps.collect(), 0);
    }

    #[test]
    fn out_of_order_samples_are_what_the_map_has(steps in proptest::collection::vec(step(), 1..60)) {
        let steps = steps.into_iter().filter(|step| !matches!(step, Step::Delete { .. }));
        run(steps.collect(), 60 * MINUTE);
    }
}

#[test]
fn refused_samples_are_told_in_upstreams_words() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |db: &Db, time, value: f64| db.appender().append(&name(1), time, value).unwrap_err();
    let db = open(directory.path(), 0);
    let mut appender = db.appender();
    appender.append(&name(1), 100 * MINUTE, 1.0).unwrap();
    appender.commit().unwrap();
    assert!(matches!(refused(&db, 100 * MINUTE, 2.0), Error::DuplicateSample));
    assert!(matches!(refused(&db, 99 * MINUTE, 2.0), Error::OutOfOrderSample));
    assert!(matches!(refused(&db, 50 * MINUTE, 2.0), Error::OutOfBounds));
    // The same once more is no fault.
    db.appender().append(&name(1), 100 * MINUTE, 1.0).unwrap();
    drop(db);
    let db = open(directory.path(), 30 * MINUTE);
    assert!(matches!(refused(&db, 60 * MINUTE, 2.0), Error::TooOldSample));
    db.appender().append(&name(1), 71 * MINUTE, 2.0).unwrap();
    assert_eq!(refused(&db, 60 * MINUTE, 2.0).to_string(), "too old sample");
}

#[test]
fn a_dropped_transaction_leaves_no_samples_and_a_query_sees_whole_ones() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(directory.path(), 0);
    let mut appender = db.appender();
    appender.append(&name(1), 1, 1.0).unwrap();
    drop(appender);
    assert!(read(&db).is_empty());
    let commit = |time: i64| {
        let mut appender = db.appender();
        for series in 0..6 {
            for step in 0..3 {
                appender.append(&name(series), time * 10 + step, time as f64).unwrap();
            }
        }
        appender.commit().unwrap();
    };
    commit(1);
    let mut queriers = Vec::new();
    for time in 2..200 {
        queriers.push((time - 1, db.querier()));
        commit(time);
        if time > 20 {
            queriers.remove(0);
        }
        for (seen, querier) in &queriers {
            for series in querier.select(&[], Interval::ALL).unwrap() {
                let series = series.unwrap();
                let last = series.samples(Interval::ALL).last().unwrap().unwrap();
                assert_eq!(last, sample(seen * 10 + 2, *seen as f64));
            }
        }
    }
}
