//! Adding and subtracting histograms whose schemas, zero buckets or bounds differ.

use std::sync::Arc;

use thiserror::Error;

use super::{Buckets, CounterReset, Histogram, exponential_bound};
use crate::kahan::KahanSum;

/// Histograms with exponential and with custom buckets cannot be combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct IncompatibleSchemas;

/// What was noticed while two histograms were combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Combined {
    /// One said that there was a counter reset, the other that there was none.
    pub reset_collision: bool,
    /// The bounds of their custom buckets differed; only those that both have were kept.
    pub bounds_reconciled: bool,
}

impl Histogram {
    /// Adds another histogram.
    pub fn add(&mut self, other: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, 1.0)
    }

    /// Subtracts another histogram.
    pub fn subtract(&mut self, other: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, -1.0)
    }

    fn combine(&mut self, other: &Histogram, sign: f64) -> Result<Combined, IncompatibleSchemas> {
        if self.has_custom_buckets() != other.has_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let mut combined =
            Combined { reset_collision: self.adopt_hint(other.hint), bounds_reconciled: false };
        if self.has_custom_buckets() {
            if self.bounds == other.bounds {
                self.positive = merged(&self.positive, other.positive.iter(), sign);
            } else {
                combined.bounds_reconciled = true;
                let bounds = common_bounds(&self.bounds, &other.bounds);
                let mut target = vec![KahanSum::default(); bounds.len() + 1];
                regroup(self.positive.iter(), &self.bounds, &bounds, |place, count| target[place].add(count));
                regroup(other.positive.iter(), &other.bounds, &bounds, |place, count| {
                    target[place].add(sign * count)
                });
                let kept = target.iter().enumerate().filter(|(_, sum)| sum.sum != 0.0 || sum.lost != 0.0);
                self.positive = Buckets::new(kept.map(|(place, sum)| (place as i32, sum.sum)));
                self.bounds = bounds;
            }
        } else {
            let other_zero = self.widen_zero_bucket(other);
            self.zero_count += sign * other_zero;
            if other.schema < self.schema {
                self.positive = reduced(&self.positive, self.schema, other.schema);
                self.negative = reduced(&self.negative, self.schema, other.schema);
                self.schema = other.schema;
            }
            for (side, theirs) in
                [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)]
            {
                let theirs = reduced(theirs, other.schema, self.schema);
                *side = merged(side, outside_zero(&theirs, self.schema, self.zero_threshold), sign);
            }
        }
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        Ok(combined)
    }

    /// Takes over what another histogram's hint means for the combination; says whether the two contradict each other.
    pub(super) fn adopt_hint(&mut self, other: CounterReset) -> bool {
        use CounterReset::{Gauge, Unknown};
        let (hint, collision) = match (self.hint, other) {
            (ours, theirs) if ours == theirs => (ours, false),
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Unknown, _) | (_, Unknown) => (Unknown, false),
            _ => (Unknown, true),
        };
        self.hint = hint;
        collision
    }

    /// Widens this zero bucket to that of `other`, and the other way round; returns what falls into the other's.
    fn widen_zero_bucket(&mut self, other: &Histogram) -> f64 {
        let (mut other_count, mut other_threshold) = (other.zero_count, other.zero_threshold);
        while other_threshold != self.zero_threshold {
            if self.zero_threshold > other_threshold {
                (other_count, other_threshold) = other.zero_count_up_to(self.zero_threshold);
            }
            if other_threshold > self.zero_threshold {
                (self.zero_count, self.zero_threshold) = self.zero_count_up_to(other_threshold);
                self.empty_zero_range();
            }
            if other_threshold.is_nan() || self.zero_threshold.is_nan() {
                break;
            }
        }
        other_count
    }

    /// What the zero bucket would hold at a larger threshold, and the threshold it then gets: never within a bucket
    /// that is not empty.
    pub(super) fn zero_count_up_to(&self, threshold: f64) -> (f64, f64) {
        let (count, threshold) = self.zero_sum_up_to(threshold, KahanSum::new(self.zero_count), |_, _| 0.0);
        (count.sum, threshold)
    }

    /// The same, with what rounding lost in each bucket (`lost(negative, place)`) and in the zero bucket.
    pub(super) fn zero_sum_up_to(
        &self,
        mut threshold: f64,
        zero: KahanSum,
        lost: impl Fn(bool, usize) -> f64,
    ) -> (KahanSum, f64) {
        if threshold == self.zero_threshold {
            return (zero, threshold);
        }
        loop {
            let mut sum = zero;
            for (place, bucket) in self.positive_buckets().enumerate() {
                if bucket.lower >= threshold {
                    break;
                }
                sum.add(bucket.count);
                sum.add(lost(false, place));
                if bucket.upper > threshold {
                    if bucket.count != 0.0 {
                        threshold = bucket.upper;
                    }
                    break;
                }
            }
            let mut widened = false;
            for (place, bucket) in self.negative_buckets().enumerate() {
                if bucket.upper <= -threshold {
                    break;
                }
                sum.add(bucket.count);
                sum.add(lost(true, place));
                if bucket.lower < -threshold {
                    if bucket.count != 0.0 {
                        threshold = -bucket.lower;
                        widened = true;
                    }
                    break;
                }
            }
            if !widened {
                return (sum, threshold);
            }
        }
    }

    /// Drops the buckets that the zero bucket covers, and empty ones.
    fn empty_zero_range(&mut self) {
        let (schema, threshold) = (self.schema, self.zero_threshold);
        for side in [&mut self.positive, &mut self.negative] {
            let covered = covered(side, schema, threshold);
            side.indexes.drain(..covered);
            side.counts.drain(..covered);
            side.compact();
        }
    }
}

/// How many of the first buckets begin within the zero bucket.
pub(super) fn covered(side: &Buckets, schema: i32, threshold: f64) -> usize {
    side.indexes
        .iter()
        .take_while(|&&index| exponential_bound(index.saturating_sub(1), schema) < threshold)
        .count()
}

/// The buckets that end above the zero bucket.
pub(super) fn outside_zero(
    side: &Buckets,
    schema: i32,
    threshold: f64,
) -> impl Iterator<Item = (i32, f64)> + '_ {
    side.iter().skip_while(move |&(index, _)| exponential_bound(index, schema) <= threshold)
}

/// The index of the larger bucket that holds the bucket at `index`.
pub(super) fn larger_index(index: i32, from: i32, to: i32) -> i32 {
    (index.wrapping_sub(1) >> (from - to).clamp(0, 31)).wrapping_add(1)
}

/// The buckets at a smaller schema.
pub(super) fn reduced(side: &Buckets, from: i32, to: i32) -> Buckets {
    if to >= from {
        return side.clone();
    }
    let mut out = Buckets::default();
    for (index, count) in side.iter() {
        let index = larger_index(index, from, to);
        match out.counts.last_mut() {
            Some(last) if out.indexes.last() == Some(&index) => *last += count,
            _ => {
                out.indexes.push(index);
                out.counts.push(count);
            }
        }
    }
    out
}

/// The sum of two sides; `theirs` counts `sign` times.
fn merged(ours: &Buckets, theirs: impl Iterator<Item = (i32, f64)>, sign: f64) -> Buckets {
    let mut theirs = theirs.peekable();
    let mut out = Buckets::default();
    for (index, count) in ours.iter() {
        while let Some((before, theirs)) = theirs.next_if(|&(other, _)| other < index) {
            out.indexes.push(before);
            out.counts.push(sign * theirs);
        }
        let same = theirs.next_if(|&(other, _)| other == index);
        out.indexes.push(index);
        out.counts.push(same.map_or(count, |(_, theirs)| count + sign * theirs));
    }
    for (index, count) in theirs {
        out.indexes.push(index);
        out.counts.push(sign * count);
    }
    out
}

/// The bounds that both lists have.
pub(super) fn common_bounds(one: &[f64], two: &[f64]) -> Arc<[f64]> {
    let mut two = two.iter().peekable();
    let in_both = |bound: &&f64| {
        while two.next_if(|other| *other < bound).is_some() {}
        two.peek() == Some(bound)
    };
    one.iter().filter(in_both).copied().collect()
}

/// Puts the buckets of `bounds` into those of `common`; each falls into the first one that ends at or above it.
pub(super) fn regroup(
    buckets: impl Iterator<Item = (i32, f64)>,
    bounds: &[f64],
    common: &[f64],
    mut put: impl FnMut(usize, f64),
) {
    for (index, count) in buckets {
        let bound = usize::try_from(index).ok().and_then(|place| bounds.get(place));
        let place = bound.map_or(common.len(), |bound| common.partition_point(|other| other < bound));
        put(place, count);
    }
}
