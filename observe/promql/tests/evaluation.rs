//! What an evaluation yields, what it says beside it, and what bounds it.

use std::time::{Duration, Instant};

use xebec_promql::engine::{Cancellation, Engine, EngineOptions, Outcome, QueryError};
use xebec_promql::labels::Labels;
use xebec_promql::matcher::Matcher;
use xebec_promql::memory::MemoryStorage;
use xebec_promql::number::stale_nan;
use xebec_promql::parser::ParserOptions;
use xebec_promql::storage::{SampleValue, SelectHints, Selection, Storage, StorageError, StoredSample};
use xebec_promql::value::Value;

const MINUTE: i64 = 60_000;

/// `m{n="0"}`, `m{n="1"}`… with a sample a minute for an hour, counting up.
fn storage(series: usize) -> MemoryStorage {
    let mut storage = MemoryStorage::new();
    for place in 0..series {
        let labels = Labels::from_pairs([("__name__", "m"), ("n", &place.to_string())]);
        (0..60).for_each(|minute| storage.append_float(&labels, minute * MINUTE, minute as f64));
    }
    storage
}

fn experimental(options: EngineOptions) -> Engine {
    Engine::new(EngineOptions { parser: ParserOptions::EXPERIMENTAL, ..options })
}

fn instant(engine: &Engine, storage: &dyn Storage, query: &str, time: i64) -> Result<Outcome, QueryError> {
    engine.instant(storage, query, time, &Cancellation::default())
}

/// The labels and numbers of a vector, as text.
fn vector(storage: &dyn Storage, query: &str, time: i64) -> Vec<String> {
    vector_of(&experimental(EngineOptions::default()), storage, query, time)
}

fn vector_of(engine: &Engine, storage: &dyn Storage, query: &str, time: i64) -> Vec<String> {
    match instant(engine, storage, query, time).map(|outcome| outcome.value) {
        Ok(Value::Vector(_, samples)) => {
            samples.iter().map(|sample| format!("{} {}", sample.labels, sample.value)).collect()
        }
        other => panic!("{query}: {other:?}"),
    }
}

fn texts(outcome: &Outcome, query: &str) -> (Vec<String>, Vec<String>) {
    outcome.annotations.texts(query)
}

#[test]
fn a_sample_counts_until_it_is_too_old_or_stale() {
    let mut storage = MemoryStorage::new();
    let labels = Labels::from_pairs([("__name__", "up")]);
    storage.append_float(&labels, 0, 1.0);
    assert_eq!(vector(&storage, "up", 299_999), [r#"{__name__="up"} 1"#]);
    assert!(vector(&storage, "up", 300_000).is_empty());
    storage.append_float(&labels, 10_000, stale_nan());
    assert!(vector(&storage, "up", 20_000).is_empty());
    assert_eq!(vector(&storage, "count_over_time(up[1m])", 20_000), ["{} 1"]);
}

#[test]
fn the_start_of_a_range_does_not_belong_to_it() {
    let storage = storage(1);
    assert_eq!(vector(&storage, "count_over_time(m[5m])", 10 * MINUTE), [r#"{n="0"} 5"#]);
    assert_eq!(vector(&storage, "sum_over_time(m[2m] offset 3m)", 10 * MINUTE), [r#"{n="0"} 13"#]);
    assert_eq!(vector(&storage, "sum_over_time(m[2m] @ 60)", 10 * MINUTE), [r#"{n="0"} 1"#]);
    assert_eq!(vector(&storage, "sum_over_time(m[3m:90s])", 10 * MINUTE), [r#"{n="0"} 16"#]);
}

#[test]
fn names_are_dropped_at_once_or_at_the_end() {
    let mut storage = MemoryStorage::new();
    for name in ["a", "b"] {
        storage.append_float(&Labels::from_pairs([("__name__", name)]), 0, 2.0);
    }
    let at_once = Engine::default();
    let error = instant(&at_once, &storage, "abs({__name__=~\"a|b\"})", 0).unwrap_err();
    assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset");
    let at_end = experimental(EngineOptions { delayed_name_removal: true, ..EngineOptions::default() });
    let query = "label_replace(abs({__name__=~\"a|b\"}), \"was\", \"$1\", \"__name__\", \"(.*)\")";
    assert_eq!(vector_of(&at_end, &storage, query, 0), [r#"{was="a"} 2"#, r#"{was="b"} 2"#]);
}

#[test]
fn annotations_say_where_they_arose() {
    let storage = storage(1);
    let engine = experimental(EngineOptions::default());
    let query = "1 +\n rate(m[5m])";
    let outcome = instant(&engine, &storage, query, 10 * MINUTE).unwrap();
    let info = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"m\" (2:7)";
    assert_eq!(texts(&outcome, query), (vec![], vec![info.to_owned()]));
    let outcome = instant(&engine, &storage, "quantile(7, m)", MINUTE).unwrap();
    let warning = "PromQL warning: quantile value should be between 0 and 1, got 7 (1:10)";
    assert_eq!(texts(&outcome, "quantile(7, m)").0, [warning]);
}

#[test]
fn forced_buckets_are_summed_up_over_the_range() {
    let mut storage = MemoryStorage::new();
    for (bound, count) in [("1", 5.0), ("2", 3.0), ("+Inf", 9.0)] {
        let labels = Labels::from_pairs([("__name__", "h_bucket"), ("le", bound)]);
        (0..3).for_each(|minute| storage.append_float(&labels, minute * MINUTE, count));
    }
    let query = "histogram_quantile(0.5, h_bucket)";
    let outcome =
        Engine::default().range(&storage, query, (0, 2 * MINUTE, MINUTE), &Cancellation::default()).unwrap();
    let info = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets 2 \
                to 2, with a max diff of 2, over 3 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:02:00Z (1:25)";
    assert_eq!(texts(&outcome, query).1, [info]);
}

#[test]
fn limit_ratio_and_its_complement_are_the_whole() {
    let storage = storage(50);
    let count = |query: &str| vector(&storage, query, 0).len();
    let (some, rest) = (count("limit_ratio(0.3, m)"), count("limit_ratio(-0.7, m)"));
    assert!(some > 5 && rest > 20, "{some} {rest}");
    assert_eq!(some + rest, 50);
    assert_eq!(count("limit_ratio(0.3, m) and limit_ratio(-0.7, m)"), 0);
}

#[test]
fn a_query_holds_no_more_samples_than_it_may() {
    let storage = storage(20);
    let engine = experimental(EngineOptions { max_samples: 1000, ..EngineOptions::default() });
    let text = "query processing would load too many samples into memory in query execution";
    let range =
        |query: &str| engine.range(&storage, query, (0, 59 * MINUTE, MINUTE), &Cancellation::default());
    assert_eq!(range("m").unwrap_err().to_string(), text);
    assert_eq!(instant(&engine, &storage, "m[1h]", 59 * MINUTE).map(|_| ()).ok(), None);
    // One series at a time is held, and one result.
    assert!(range("m{n=\"1\"}").is_ok());
    assert!(instant(&engine, &storage, "sum(max_over_time(m[1h]))", 59 * MINUTE).is_ok());
    for hostile in ["max_over_time(vector(1)[290y:1ms])", "absent(m)[1y:1s]", "sum_over_time(m[50y:1s])"] {
        let begin = Instant::now();
        assert!(
            matches!(instant(&engine, &storage, hostile, 0), Err(QueryError::TooManySamples)),
            "{hostile}"
        );
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_query_ends_when_it_is_cancelled_or_its_time_is_over() {
    let storage = storage(1);
    let cancellation = Cancellation::default();
    cancellation.cancel();
    let error = Engine::default().instant(&storage, "m", 0, &cancellation).unwrap_err();
    assert_eq!(error.to_string(), "query was canceled in expression evaluation");
    let engine = Engine::new(EngineOptions { timeout: Duration::ZERO, ..EngineOptions::default() });
    let error = instant(&engine, &storage, "m", 0).unwrap_err();
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
    let engine =
        Engine::new(EngineOptions { timeout: Duration::from_millis(50), ..EngineOptions::default() });
    let begin = Instant::now();
    let slow = "count_over_time((m * m * m)[2y:2s]) + count_over_time((m * m * m)[2y:3s])";
    assert!(matches!(instant(&engine, &storage, slow, 59 * MINUTE), Err(QueryError::Timeout)));
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let storage = storage(1);
    let engine = Engine::new(EngineOptions { max_steps: 11_000, ..EngineOptions::default() });
    let range = |query: &str, times| {
        engine
            .range(&storage, query, times, &Cancellation::default())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let text = "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector";
    assert_eq!(range("m[5m]", (0, 1, 1)), Err(text.to_owned()));
    assert!(range("m", (1, 0, 1)).is_err() && range("m", (0, 1, 0)).is_err());
    assert!(range("m", (0, 11_000, 1)).is_err() && range("m", (0, 10_999, 1)).is_ok());
    let old =
        Engine::new(EngineOptions { at_modifier: false, negative_offset: false, ..EngineOptions::default() });
    assert!(matches!(instant(&old, &storage, "m @ 1", 0), Err(QueryError::AtDisabled)));
    assert!(matches!(instant(&old, &storage, "m offset -1m", 0), Err(QueryError::NegativeOffsetDisabled)));
    let error = instant(&engine, &storage, "m + on () group_left () m{n=\"1\"} + on () (m or up)", 0);
    assert!(error.is_ok());
}

#[test]
fn matching_must_be_unique_on_one_side() {
    let storage = storage(2);
    let error = |query: &str| instant(&Engine::default(), &storage, query, 0).unwrap_err().to_string();
    let duplicates = "found duplicate series for the match group {} on the right hand-side of the operation: \
                      [{__name__=\"m\", n=\"0\"}, {__name__=\"m\", n=\"1\"}];many-to-many matching not allowed: \
                      matching labels must be unique on one side";
    assert_eq!(error("m{n=\"0\"} + on () m"), duplicates);
    let many = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
    assert_eq!(error("m + on () m{n=\"0\"}"), many);
    assert_eq!(
        vector(&storage, "m + on () group_left () m{n=\"0\"}", MINUTE),
        [r#"{n="0"} 2"#, r#"{n="1"} 2"#]
    );
}

/// A storage that fails, or has something to say.
struct Broken(bool);

impl Storage for Broken {
    fn select(&self, _: &SelectHints, _: &[Matcher]) -> Result<Selection<'_>, StorageError> {
        match self.0 {
            true => Err("disk on fire".into()),
            false => {
                Ok(Selection { series: Vec::new(), warnings: vec!["store b did not answer".to_owned()] })
            }
        }
    }
}

#[test]
fn a_storage_fails_or_warns() {
    let error = instant(&Engine::default(), &Broken(true), "m", 0).unwrap_err();
    assert_eq!(error.to_string(), "expanding series: disk on fire");
    let outcome = instant(&Engine::default(), &Broken(false), "m + m", 0).unwrap();
    assert_eq!(texts(&outcome, "m + m").0, ["store b did not answer"]);
}

#[test]
fn start_times_tell_of_resets_where_they_are_used() {
    let mut storage = MemoryStorage::new();
    let labels = Labels::from_pairs([("__name__", "c_total")]);
    for (time, start_time, value) in [(60_000, 30_000, 4.0), (120_000, 90_000, 6.0)] {
        storage.append(&labels, StoredSample { time, start_time, value: SampleValue::Float(value) });
    }
    let resets = |start_timestamps| {
        let engine = Engine::new(EngineOptions { start_timestamps, ..EngineOptions::default() });
        vector_of(&engine, &storage, "resets(c_total[5m])", 120_000)
    };
    assert_eq!((resets(false), resets(true)), (vec!["{} 0".to_owned()], vec!["{} 1".to_owned()]));
}
