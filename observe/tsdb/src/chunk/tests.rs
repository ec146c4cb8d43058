use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::histogram::{CUSTOM_BUCKETS, CounterReset, HistogramOf, Layout, Number, Span};

fn read_all(chunks: &[(i64, i64, Chunk)]) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (first, last, chunk) in chunks {
        let start = samples.len();
        let mut reader = chunk.samples().unwrap();
        while let Some(sample) = reader.read().unwrap() {
            samples.push(sample);
        }
        assert_eq!(samples.len() - start, chunk.len());
        assert_eq!((samples[start].time, samples.last().unwrap().time), (*first, *last));
    }
    samples
}

/// The counts by bucket index, empty buckets left out: what stays the same when a chunk is laid out anew.
fn content<N: Number>(histogram: &HistogramOf<N>) -> impl PartialEq + std::fmt::Debug {
    let side = |spans: &[Span], counts: &[N]| -> Vec<(i64, u64)> {
        let pairs = spans::indices(spans).zip(counts);
        pairs.map(|(index, count)| (index, count.to_f64().to_bits())).filter(|(_, bits)| *bits != 0).collect()
    };
    let layout = &histogram.layout;
    (
        (layout.schema, layout.zero_threshold.to_bits(), layout.custom_values.clone()),
        (histogram.count.to_f64(), histogram.zero_count.to_f64(), histogram.sum.to_bits()),
        side(&layout.positive_spans, &histogram.positive),
        side(&layout.negative_spans, &histogram.negative),
    )
}

fn times(count: usize) -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![Just(15_000i64), 1i64..100_000, 1i64..1 << 40];
    (-1i64 << 41..1 << 41, proptest::collection::vec(step, 0..count)).prop_map(|(start, steps)| {
        let mut time = start;
        steps
            .into_iter()
            .map(|step| {
                time += step;
                time
            })
            .collect()
    })
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (0u32..1000).prop_map(f64::from),
        Just(f64::from_bits(crate::sample::STALE)),
        Just(-0.0),
    ]
}

fn layout() -> impl Strategy<Value = Layout> {
    let spans = || proptest::collection::vec((0i32..4, 0u32..4), 0..4);
    (prop_oneof![4 => Just(0), 1 => Just(3), 1 => Just(CUSTOM_BUCKETS)], spans(), spans()).prop_map(
        |(schema, positive, negative)| {
            let spans = |spans: Vec<(i32, u32)>| {
                spans.into_iter().map(|(offset, length)| Span { offset, length }).collect()
            };
            let custom = schema == CUSTOM_BUCKETS;
            Layout {
                schema,
                zero_threshold: if custom { 0.0 } else { 2f64.powi(-128) },
                positive_spans: spans(positive),
                negative_spans: spans(if custom { Vec::new() } else { negative }),
                custom_values: if custom {
                    (1..40).map(|i| f64::from(i) * 0.25).collect()
                } else {
                    Vec::new()
                },
            }
        },
    )
}

fn histogram() -> impl Strategy<Value = HistogramOf<u64>> {
    let reset = prop_oneof![6 => Just(CounterReset::Unknown), 2 => Just(CounterReset::Gauge), 1 => Just(CounterReset::Reset)];
    let counts = proptest::collection::vec(0u64..6, 32);
    (layout(), counts, 0u64..4, float(), reset, 0..20).prop_map(
        |(layout, counts, zero, sum, counter_reset, stale)| {
            if stale == 0 || sum.to_bits() == crate::sample::STALE {
                return HistogramOf::stale();
            }
            let positive = counts[..crate::histogram::buckets_of(&layout.positive_spans) as usize].to_vec();
            let negative =
                counts[16..][..crate::histogram::buckets_of(&layout.negative_spans) as usize].to_vec();
            let zero_count = if layout.schema == CUSTOM_BUCKETS { 0 } else { zero };
            let count = zero_count + positive.iter().chain(&negative).sum::<u64>();
            let layout = Arc::new(layout);
            HistogramOf { counter_reset, layout, count, zero_count, sum, positive, negative }
        },
    )
}

proptest! {
    #[test]
    fn floats_come_back(times in times(300), values in proptest::collection::vec(float(), 300)) {
        let samples: Vec<Sample> =
            times.into_iter().zip(values).map(|(time, value)| Sample { time, value: value.into() }).collect();
        let chunks = encode(samples.clone(), 120);
        prop_assert_eq!(chunks.len(), samples.len().div_ceil(120));
        prop_assert_eq!(read_all(&chunks), samples);
    }

    #[test]
    fn histograms_come_back_whatever_follows_what(
        times in times(30),
        histograms in proptest::collection::vec(histogram(), 30),
    ) {
        for float in [false, true] {
            let samples = times.iter().zip(&histograms).map(|(&time, histogram)| {
                let value = if float { histogram.to_float().into() } else { histogram.clone().into() };
                Sample { time, value }
            });
            let samples: Vec<Sample> = samples.collect();
            let back = read_all(&encode(samples.clone(), 120));
            prop_assert_eq!(back.len(), samples.len());
            for (back, sample) in back.iter().zip(&samples) {
                prop_assert_eq!(back.time, sample.time);
                match (&back.value, &sample.value) {
                    (Value::Histogram(back), Value::Histogram(sample)) => prop_assert_eq!(content(back), content(sample)),
                    (Value::FloatHistogram(back), Value::FloatHistogram(sample)) => {
                        prop_assert_eq!(content(back), content(sample));
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }

    #[test]
    fn a_counter_that_shrinks_opens_a_chunk_that_says_so(mut first in histogram(), add in 1u64..9) {
        prop_assume!(!first.is_stale());
        first.counter_reset = CounterReset::Unknown;
        let mut second = first.clone();
        first.count += add;
        let samples = [first, second.clone()].map(Value::from);
        let samples = samples.into_iter().zip(0..).map(|(value, time)| Sample { time, value });
        let chunks = encode(samples, 120);
        prop_assert_eq!(chunks.len(), 2);
        let Value::Histogram(back) = chunks[1].2.samples().unwrap().read().unwrap().unwrap().value else { panic!() };
        prop_assert_eq!(back.counter_reset, CounterReset::Reset);
        second.counter_reset = CounterReset::Reset;
        prop_assert_eq!(*back, second);
    }
}

#[test]
fn kinds_do_not_mix_in_a_chunk() {
    let histogram = HistogramOf::<u64> { count: 1, zero_count: 1, ..HistogramOf::default() };
    let values = [Value::from(1.0), histogram.clone().into(), histogram.to_float().into(), 2.0.into()];
    let samples: Vec<Sample> =
        values.into_iter().zip(0..).map(|(value, time)| Sample { time, value }).collect();
    let chunks = encode(samples.clone(), 120);
    assert_eq!(chunks.len(), 4);
    assert_eq!(read_all(&chunks), samples);
}
