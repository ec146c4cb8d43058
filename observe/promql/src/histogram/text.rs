//! Histograms as text: for people and label values, and as test files write them.

use std::fmt;

use super::{Bucket, Buckets, CounterReset, Histogram};
use crate::number::general;

impl fmt::Display for Bucket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        write!(out, "{open}{},{}{close}:{}", general(self.lower), general(self.upper), general(self.count))
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{{count:{}, sum:{}", general(self.count), general(self.sum))?;
        let zero = (self.zero_count != 0.0).then(|| self.zero_bucket());
        let buckets = self.negative_buckets().rev().chain(zero).chain(self.positive_buckets());
        for bucket in buckets.filter(|bucket| bucket.count != 0.0) {
            write!(out, ", {bucket}")?;
        }
        out.write_str("}")
    }
}

impl Histogram {
    /// As test files write it: `{{schema:1 count:3 buckets:[1 2]}}`.
    pub fn description(&self) -> String {
        let mut parts = Vec::new();
        if self.schema != 0 {
            parts.push(format!("schema:{}", self.schema));
        }
        let numbers = [
            ("count", self.count),
            ("sum", self.sum),
            ("z_bucket", self.zero_count),
            ("z_bucket_w", self.zero_threshold),
        ];
        parts.extend(
            numbers
                .into_iter()
                .filter(|(_, value)| *value != 0.0)
                .map(|(key, value)| format!("{key}:{}", general(value))),
        );
        if self.has_custom_buckets() {
            parts.push(format!("custom_values:[{}]", joined(self.bounds.iter().copied())));
        }
        match self.hint {
            CounterReset::Unknown => {}
            CounterReset::Reset => parts.push("counter_reset_hint:reset".to_owned()),
            CounterReset::NotReset => parts.push("counter_reset_hint:not_reset".to_owned()),
            CounterReset::Gauge => parts.push("counter_reset_hint:gauge".to_owned()),
        }
        for (side, buckets, offset) in
            [(&self.positive, "buckets", "offset"), (&self.negative, "n_buckets", "n_offset")]
        {
            let Some((first, _)) = side.iter().find(|(_, count)| *count != 0.0) else { continue };
            if first != 0 {
                parts.push(format!("{offset}:{first}"));
            }
            parts.push(format!("{buckets}:[{}]", joined(without_gaps(side, first).into_iter())));
        }
        format!("{{{{{}}}}}", parts.join(" "))
    }
}

fn without_gaps(side: &Buckets, first: i32) -> Vec<f64> {
    let mut counts = Vec::new();
    for (index, count) in side.iter().filter(|(_, count)| *count != 0.0) {
        let place = usize::try_from(i64::from(index) - i64::from(first)).unwrap_or(0);
        counts.resize(place.min(1 << 16), 0.0);
        counts.push(count);
    }
    counts
}

fn joined(numbers: impl Iterator<Item = f64>) -> String {
    numbers.map(general).collect::<Vec<_>>().join(" ")
}
