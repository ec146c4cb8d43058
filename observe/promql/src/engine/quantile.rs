//! Quantiles and fractions: of numbers, of classic buckets, of native histograms.

use std::sync::Arc;

use crate::annotations::{Annotations, Metric, Note};
use crate::histogram::{Bucket, Histogram};
use crate::position::Position;

/// Counts that differ by less, relatively, differ by rounding.
const TOLERANCE: f64 = 1e-12;

/// A quantile of numbers, which are sorted.
pub(super) fn quantile_of(at: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || at.is_nan() {
        return f64::NAN;
    }
    if at < 0.0 {
        return f64::NEG_INFINITY;
    }
    if at > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|one, two| match (one.is_nan(), two.is_nan()) {
        // What is no number comes first.
        (false, false) => one.total_cmp(two),
        (one, two) => two.cmp(&one),
    });
    let last = values.len() - 1;
    let rank = at * last as f64;
    let lower = (rank.floor().max(0.0) as usize).min(last);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[(lower + 1).min(last)] * weight
}

/// A bucket of a classic histogram: how many observations are at or below its bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ClassicBucket {
    pub(super) bound: f64,
    pub(super) count: f64,
}

/// Where the counts of classic buckets fell although they must not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ForcedBuckets {
    pub(super) bounds: (f64, f64),
    pub(super) difference: f64,
}

/// Sorts buckets and joins those of the same bound. False if the last one is not +Inf.
fn ready(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|one, two| one.bound.total_cmp(&two.bound));
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.bound == kept.bound;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

/// Whether two numbers are the same but for rounding.
pub(super) fn almost_equal(one: f64, two: f64, tolerance: f64) -> bool {
    if one == two || one.is_nan() && two.is_nan() {
        return true;
    }
    let (sum, difference) = (one.abs() + two.abs(), (one - two).abs());
    if one == 0.0 || two == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < tolerance * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < tolerance
}

/// Makes counts rise with their bounds.
fn force_monotonic(buckets: &mut [ClassicBucket]) -> Option<ForcedBuckets> {
    let mut forced: Option<ForcedBuckets> = None;
    let mut highest = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        if bucket.count == highest {
            continue;
        }
        if almost_equal(highest, bucket.count, TOLERANCE) {
            bucket.count = highest;
        } else if bucket.count < highest {
            let known = forced
                .get_or_insert(ForcedBuckets { bounds: (f64::INFINITY, f64::NEG_INFINITY), difference: 0.0 });
            known.bounds = (known.bounds.0.min(bucket.bound), known.bounds.1.max(bucket.bound));
            known.difference = known.difference.max(highest - bucket.count);
            bucket.count = highest;
        } else {
            highest = bucket.count;
        }
    }
    forced
}

/// A quantile of a classic histogram, and where its counts had to be forced.
pub(super) fn classic_quantile(at: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<ForcedBuckets>) {
    if at.is_nan() {
        return (f64::NAN, None);
    }
    if at < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if at > 1.0 {
        return (f64::INFINITY, None);
    }
    if !ready(buckets) {
        return (f64::NAN, None);
    }
    let forced = force_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, forced);
    }
    let mut rank = at * observations;
    let place = buckets[..last].partition_point(|bucket| {
        // Nothing is above what is no number.
        !matches!(
            bucket.count.partial_cmp(&rank),
            Some(std::cmp::Ordering::Greater | std::cmp::Ordering::Equal)
        )
    });
    if place == last {
        return (buckets[last - 1].bound, forced);
    }
    let ClassicBucket { bound, mut count } = buckets[place];
    if place == 0 && bound <= 0.0 {
        return (bound, forced);
    }
    let mut start = 0.0;
    if let Some(before) = place.checked_sub(1).map(|before| buckets[before]) {
        start = before.bound;
        count -= before.count;
        rank -= before.count;
    }
    (start + (bound - start) * (rank / count), forced)
}

/// Which part of the observations of a classic histogram lies between two values.
pub(super) fn classic_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !ready(buckets) {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut start = if buckets[0].bound <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    let mut ranks = Ranks::new(lower, upper);
    for bucket in buckets.iter() {
        let before = ranks.rank;
        let done = ranks.pass(start, bucket.bound, |value| match start == f64::NEG_INFINITY {
            true => bucket.count,
            false => before + (bucket.count - before) * (value - start) / (bucket.bound - start),
        });
        if done {
            break;
        }
        ranks.rank = bucket.count;
        start = bucket.bound;
    }
    ranks.between(count) / count
}

/// How many observations are below two values, found while passing the buckets.
struct Ranks {
    wanted: [f64; 2],
    found: [Option<f64>; 2],
    rank: f64,
}

impl Ranks {
    fn new(lower: f64, upper: f64) -> Self {
        Self { wanted: [lower, upper], found: [None, None], rank: 0.0 }
    }

    /// Passes a bucket; says whether both ranks are known.
    fn pass(&mut self, start: f64, end: f64, within: impl Fn(f64) -> f64) -> bool {
        for (found, wanted) in self.found.iter_mut().zip(self.wanted) {
            if found.is_none() && start >= wanted {
                *found = Some(self.rank);
            }
        }
        if self.found.iter().all(Option::is_some) {
            return true;
        }
        for (found, wanted) in self.found.iter_mut().zip(self.wanted) {
            if found.is_none() && start < wanted && end > wanted {
                *found = Some(within(wanted));
            }
        }
        self.found.iter().all(Option::is_some)
    }

    fn between(&self, count: f64) -> f64 {
        let [lower, upper] = self.found.map(|rank| rank.filter(|&rank| rank <= count).unwrap_or(count));
        upper - lower
    }
}

/// On which sides of zero a histogram has buckets.
fn sides(histogram: &Histogram) -> (bool, bool) {
    (!histogram.negative.is_empty(), !histogram.positive.is_empty())
}

/// A quantile of a native histogram.
pub(super) fn native_quantile(
    at: f64,
    histogram: &Histogram,
    metric: &Metric,
    position: Position,
    notes: &mut Annotations,
) -> f64 {
    if at < 0.0 {
        return f64::NEG_INFINITY;
    }
    if at > 1.0 {
        return f64::INFINITY;
    }
    if histogram.count == 0.0 || at.is_nan() {
        return f64::NAN;
    }
    // Observations that are no numbers are in the count and in no bucket: they are above all others.
    let has_nan = histogram.sum.is_nan();
    let forwards = has_nan || at < 0.5;
    let mut rank = if forwards { at } else { 1.0 - at } * histogram.count;
    let custom = histogram.has_custom_buckets();
    let mut count = 0.0;
    let mut bucket =
        Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
    let mut after = 0.0;
    let mut last = None;
    let mut reached = false;
    let mut pass = |next: Bucket| {
        if reached {
            after += next.count;
            last = Some(next);
        } else {
            bucket = next;
            count += next.count;
            reached = next.count != 0.0 && count >= rank;
        }
        !reached || has_nan
    };
    match forwards {
        true => histogram.buckets().all(&mut pass),
        false => histogram.buckets().rev().all(&mut pass),
    };
    if !custom && bucket.lower < 0.0 && bucket.upper > 0.0 {
        match sides(histogram) {
            (false, true) => bucket.lower = 0.0,
            (true, false) => bucket.upper = 0.0,
            _ => {}
        }
    } else if custom && bucket.lower == f64::NEG_INFINITY {
        if bucket.upper <= 0.0 {
            return bucket.upper;
        }
        bucket.lower = 0.0;
    } else if custom && bucket.upper == f64::INFINITY {
        return bucket.lower;
    }
    count = count.min(histogram.count);
    if count < rank {
        if has_nan {
            notes.add(Note::QuantileNanResult(Arc::clone(metric)), position);
            return f64::NAN;
        }
        return bucket.upper;
    }
    rank = if forwards { rank - (count - bucket.count) } else { count - rank };
    if has_nan && count + after < histogram.count {
        notes.add(Note::QuantileNanSkew(Arc::clone(metric)), position);
    }
    // As upstream does it: if the sum is no number, the interpolation is in the last bucket there is.
    if let Some(last) = last {
        bucket = last;
    }
    let fraction = rank / bucket.count;
    if custom || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    match bucket.lower > 0.0 {
        true => (lower + (upper - lower) * fraction).exp2(),
        false => -(upper + (lower - upper) * (1.0 - fraction)).exp2(),
    }
}

/// Which part of the observations of a native histogram lies between two values.
pub(super) fn native_fraction(
    lower: f64,
    upper: f64,
    histogram: &Histogram,
    metric: &Metric,
    position: Position,
    notes: &mut Annotations,
) -> f64 {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let custom = histogram.has_custom_buckets();
    let mut ranks = Ranks::new(lower, upper);
    let mut count = 0.0;
    let mut done = false;
    for mut bucket in histogram.buckets() {
        count += bucket.count;
        if done {
            continue;
        }
        let around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if around_zero {
            match sides(histogram) {
                (false, true) => bucket.lower = 0.0,
                (true, false) => bucket.upper = 0.0,
                _ => {}
            }
        }
        let before = ranks.rank;
        let linear = custom || around_zero;
        done = ranks.pass(bucket.lower, bucket.upper, |value| {
            match linear && bucket.lower == f64::NEG_INFINITY {
                true => bucket.count,
                false => before + bucket.count * bucket.fraction_below(value, linear),
            }
        });
        if !done {
            ranks.rank += bucket.count;
        }
    }
    match histogram.sum.is_nan() {
        true if count < histogram.count => notes.add(Note::FractionNans(Arc::clone(metric)), position),
        true => {}
        false => count = histogram.count,
    }
    ranks.between(count) / histogram.count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_numbers_are_interpolated() {
        assert_eq!(quantile_of(0.5, &mut [3.0, 1.0]), 2.0);
        assert_eq!(quantile_of(1.0, &mut [3.0, 1.0]), 3.0);
        assert_eq!(quantile_of(2.0, &mut [3.0]), f64::INFINITY);
        assert!(quantile_of(0.5, &mut []).is_nan());
    }

    #[test]
    fn falling_counts_are_forced_up() {
        let bucket = |bound, count| ClassicBucket { bound, count };
        let mut buckets = vec![bucket(1.0, 4.0), bucket(f64::INFINITY, 8.0), bucket(2.0, 2.0)];
        let (value, forced) = classic_quantile(0.25, &mut buckets);
        assert_eq!(value, 0.5);
        assert_eq!(forced, Some(ForcedBuckets { bounds: (2.0, 2.0), difference: 2.0 }));
    }
}
