//! The database seen from outside, in good times and bad.

#![allow(clippy::unwrap_used, reason = "what a helper unwraps ends its test")]

mod conformance;
mod crash;
mod fuzz;
mod model;
mod promtool;

use xebec_tsdb::{CUSTOM_BUCKETS, CounterReset, Histogram, HistogramOf, Labels, Layout, Sample, Span, Value};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

/// A counter histogram at its `step`th observation, with buckets that come and never go.
fn histogram(step: u64, custom: bool) -> Histogram {
    let layout = Layout {
        schema: if custom { CUSTOM_BUCKETS } else { 2 },
        zero_threshold: if custom { 0.0 } else { 1e-128 },
        positive_spans: vec![
            Span { offset: 0, length: 2 },
            Span { offset: 1, length: 1 + (step / 7) as u32 % 3 },
        ],
        negative_spans: if custom { Vec::new() } else { vec![Span { offset: -3, length: 1 }] },
        custom_values: if custom { vec![0.005, 0.1, 0.25, 1.0, 1.5, 2.0, 1e9] } else { Vec::new() },
    };
    let positive: Vec<u64> = (0..3 + (step / 7) % 3).map(|bucket| step * (bucket + 1)).collect();
    let negative = if custom { Vec::new() } else { vec![step / 3] };
    let zero_count = if custom { 0 } else { step };
    let count = zero_count + positive.iter().chain(&negative).sum::<u64>();
    HistogramOf {
        counter_reset: CounterReset::Unknown,
        layout: layout.into(),
        count,
        zero_count,
        sum: step as f64 * 0.1,
        positive,
        negative,
    }
}

fn sample(time: i64, value: impl Into<Value>) -> Sample {
    Sample { time, value: value.into() }
}
