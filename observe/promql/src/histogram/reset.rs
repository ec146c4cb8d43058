//! Counter resets between two histograms of a series.

use super::combination::{common_bounds, outside_zero, reduced, regroup};
use super::{Buckets, CounterReset, Histogram};

impl Histogram {
    /// Whether the counter was reset between `previous` and this histogram.
    pub fn is_reset_since(&self, previous: &Histogram) -> bool {
        match self.hint {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.has_custom_buckets() {
            if !previous.has_custom_buckets() {
                return true;
            }
            if self.bounds != previous.bounds {
                return self.decreased_in_common_buckets(previous);
            }
            return decreased(self.positive.iter(), previous.positive.iter());
        }
        // A counter's resolution only falls, and its zero bucket only grows.
        if self.schema > previous.schema
            || previous.has_custom_buckets()
            || self.zero_threshold < previous.zero_threshold
        {
            return true;
        }
        let (previous_zero, threshold) = previous.zero_count_up_to(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < previous_zero {
            return true;
        }
        let sides = [(&self.positive, &previous.positive), (&self.negative, &previous.negative)];
        sides.into_iter().any(|(now, before)| {
            let before: Buckets = reduced(before, previous.schema, self.schema);
            decreased(
                outside_zero(now, self.schema, self.zero_threshold),
                outside_zero(&before, self.schema, self.zero_threshold),
            )
        })
    }

    fn decreased_in_common_buckets(&self, previous: &Histogram) -> bool {
        let bounds = common_bounds(&self.bounds, &previous.bounds);
        let mut change = vec![(0.0, 0.0); bounds.len() + 1];
        regroup(self.positive.iter(), &self.bounds, &bounds, |place, count| change[place].0 += count);
        regroup(previous.positive.iter(), &previous.bounds, &bounds, |place, count| change[place].1 += count);
        change.iter().any(|(now, before)| now < before)
    }
}

/// Whether any bucket holds less than before.
fn decreased(now: impl Iterator<Item = (i32, f64)>, before: impl Iterator<Item = (i32, f64)>) -> bool {
    let mut now = now.peekable();
    for (index, count) in before {
        while now.next_if(|&(other, _)| other < index).is_some() {}
        let current = now.peek().filter(|(other, _)| *other == index).map(|(_, current)| *current);
        if current.map_or(count != 0.0, |current| current < count) {
            return true;
        }
    }
    false
}
