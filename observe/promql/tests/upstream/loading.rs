//! Loads described series into a storage, as upstream's storage would give them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use xebec_promql::histogram::{Buckets, CUSTOM_SCHEMA, CounterReset, Histogram};
use xebec_promql::labels::{Labels, LabelsBuilder, METRIC_NAME};
use xebec_promql::memory::MemoryStorage;
use xebec_promql::number;
use xebec_promql::series_description::DescribedSample;
use xebec_promql::storage::{SampleValue, StoredSample};

use crate::script::LoadedSeries;

/// The span of time that a chunk of upstream's test storage covers.
const CHUNK: i64 = 24 * 3600 * 1000;

/// What is known of a series' last histogram: its time and itself.
pub(crate) type Last = BTreeMap<Labels, (i64, Arc<Histogram>)>;

pub(crate) fn load(storage: &mut MemoryStorage, last: &mut Last, step: i64, series: &[LoadedSeries]) {
    for series in series {
        for (place, sample) in series.samples.iter().enumerate() {
            let time = place as i64 * step;
            let start =
                series.starts.as_ref().and_then(|starts| starts[place]).map_or(0, |start| time + start);
            match sample {
                DescribedSample::Omitted => {}
                DescribedSample::Float(value) => {
                    if !number::is_stale_nan(*value) {
                        last.remove(&series.labels);
                    }
                    let value = SampleValue::Float(*value);
                    storage.append(&series.labels, StoredSample { time, start_time: start, value });
                }
                DescribedSample::Histogram { histogram, .. } => {
                    append(storage, last, &series.labels, time, start, histogram);
                }
            }
        }
    }
}

/// Upstream's chunks say of all histograms but their first that there was no reset before them. A reset, another layout
/// or another kind of histogram begins a new chunk.
fn append(
    storage: &mut MemoryStorage,
    last: &mut Last,
    labels: &Labels,
    time: i64,
    start: i64,
    histogram: &Arc<Histogram>,
) {
    let mut stored = (**histogram).clone();
    if stored.hint != CounterReset::Gauge {
        let continues = last.get(labels).is_some_and(|(before, previous)| {
            let compared = Histogram { hint: CounterReset::Unknown, ..stored.clone() };
            before / CHUNK == time / CHUNK
                && stored.hint != CounterReset::Reset
                && previous.hint != CounterReset::Gauge
                && previous.schema == stored.schema
                && previous.zero_threshold == stored.zero_threshold
                && previous.bounds == stored.bounds
                && !compared.is_reset_since(previous)
        });
        stored.hint = if continues { CounterReset::NotReset } else { CounterReset::Unknown };
    }
    let stored = Arc::new(stored);
    last.insert(labels.clone(), (time, stored.clone()));
    let sample = StoredSample { time, start_time: start, value: SampleValue::Histogram(stored) };
    storage.append(labels, sample);
}

#[derive(Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// Makes histograms with custom buckets of classic ones.
pub(crate) fn load_custom_histograms(
    storage: &mut MemoryStorage,
    last: &mut Last,
    step: i64,
    series: &[LoadedSeries],
) {
    let mut histograms: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for series in series {
        let name = series.labels.get(METRIC_NAME).to_owned();
        let Some((base, part)) = name.rsplit_once('_') else { continue };
        if !matches!(part, "bucket" | "count" | "sum") {
            continue;
        }
        let bound = series.labels.get("le").parse::<f64>();
        if part == "bucket" && !bound.as_ref().is_ok_and(|bound| !bound.is_nan()) {
            continue;
        }
        let mut labels = LabelsBuilder::from(&series.labels);
        labels.set(METRIC_NAME, base).remove("le");
        let of_times = histograms.entry(labels.build()).or_default();
        for (place, sample) in series.samples.iter().enumerate() {
            let DescribedSample::Float(value) = sample else { continue };
            let classic = of_times.entry(place as i64 * step).or_default();
            match (part, &bound) {
                ("bucket", Ok(bound)) => classic.buckets.push((*bound, *value)),
                ("count", _) => classic.count = Some(*value),
                _ => classic.sum = *value,
            }
        }
    }
    for (labels, of_times) in histograms {
        for (time, mut classic) in of_times {
            classic.buckets.sort_by(|one, two| one.0.total_cmp(&two.0));
            classic.buckets.dedup_by_key(|bucket| bucket.0);
            let last_count = classic.buckets.last().map(|bucket| bucket.1);
            let count = classic.count.or(last_count).unwrap_or(0.0);
            if classic.buckets.last().is_none_or(|bucket| bucket.0 != f64::INFINITY) {
                classic.buckets.push((f64::INFINITY, count));
            }
            let before = std::iter::once(0.0).chain(classic.buckets.iter().map(|bucket| bucket.1));
            let counts: Vec<f64> =
                classic.buckets.iter().zip(before).map(|(bucket, before)| bucket.1 - before).collect();
            let bounds = classic.buckets.iter().map(|bucket| bucket.0).filter(|bound| bound.is_finite());
            let mut histogram = Histogram {
                schema: CUSTOM_SCHEMA,
                count,
                sum: classic.sum,
                positive: Buckets::dense(0, counts),
                bounds: bounds.collect(),
                ..Histogram::default()
            };
            histogram.compact();
            append(storage, last, &labels, time, 0, &Arc::new(histogram));
        }
    }
}
