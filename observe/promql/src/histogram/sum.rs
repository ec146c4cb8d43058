//! Sums and means of many histograms, with what rounding loses kept beside every count.

use super::combination::{common_bounds, covered, larger_index, outside_zero, regroup};
use super::{Buckets, Combined, CounterReset, Histogram, IncompatibleSchemas};
use crate::kahan::KahanSum;

/// What rounding lost in every count of a histogram.
#[derive(Debug, Clone, Default)]
struct Lost {
    zero_count: f64,
    count: f64,
    sum: f64,
    positive: Vec<f64>,
    negative: Vec<f64>,
}

/// A sum of histograms.
#[derive(Debug, Clone)]
pub struct HistogramSum {
    rounded: Histogram,
    lost: Option<Box<Lost>>,
}

impl HistogramSum {
    /// A sum of one histogram.
    pub fn new(first: Histogram) -> Self {
        Self { rounded: first, lost: None }
    }

    /// Adds a histogram.
    pub fn add(&mut self, other: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        let ours = &mut self.rounded;
        if ours.has_custom_buckets() != other.has_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let mut combined =
            Combined { reset_collision: ours.adopt_hint(other.hint), bounds_reconciled: false };
        let lost = self.lost.get_or_insert_with(|| {
            Box::new(Lost {
                positive: vec![0.0; ours.positive.len()],
                negative: vec![0.0; ours.negative.len()],
                ..Lost::default()
            })
        });
        if ours.has_custom_buckets() {
            if ours.bounds == other.bounds {
                let theirs = other.positive.iter().map(|(index, count)| (index, KahanSum::new(count)));
                merge(&mut ours.positive, &mut lost.positive, theirs);
            } else {
                combined.bounds_reconciled = true;
                let bounds = common_bounds(&ours.bounds, &other.bounds);
                let mut target = vec![KahanSum::default(); bounds.len() + 1];
                let mut place_lost = lost.positive.iter();
                regroup(ours.positive.iter(), &ours.bounds, &bounds, |place, count| {
                    target[place].add(count);
                    target[place].add(place_lost.next().copied().unwrap_or_default());
                });
                regroup(other.positive.iter(), &other.bounds, &bounds, |place, count| {
                    target[place].add(count)
                });
                let kept = |sum: &KahanSum| sum.sum != 0.0 || sum.lost != 0.0;
                let sums = target.iter().enumerate().filter(|(_, sum)| kept(sum));
                ours.positive = Buckets::new(sums.map(|(place, sum)| (place as i32, sum.sum)));
                lost.positive = target.iter().filter(|sum| kept(sum)).map(|sum| sum.lost).collect();
                ours.bounds = bounds;
            }
        } else {
            let theirs = widen_zero_bucket(ours, lost, other);
            increase(&mut ours.zero_count, &mut lost.zero_count, theirs.sum);
            increase(&mut ours.zero_count, &mut lost.zero_count, theirs.lost);
            if other.schema < ours.schema {
                reduce(&mut ours.positive, &mut lost.positive, ours.schema, other.schema);
                reduce(&mut ours.negative, &mut lost.negative, ours.schema, other.schema);
                ours.schema = other.schema;
            }
            let sides = [
                (&mut ours.positive, &mut lost.positive, &other.positive),
                (&mut ours.negative, &mut lost.negative, &other.negative),
            ];
            for (side, side_lost, theirs) in sides {
                let mut theirs = theirs.clone();
                let mut their_lost = vec![0.0; theirs.len()];
                reduce(&mut theirs, &mut their_lost, other.schema, ours.schema);
                let skipped = theirs.len() - outside_zero(&theirs, ours.schema, ours.zero_threshold).count();
                let pairs = theirs.iter().zip(&their_lost).skip(skipped);
                merge(side, side_lost, pairs.map(|((index, sum), &lost)| (index, KahanSum { sum, lost })));
            }
        }
        increase(&mut ours.count, &mut lost.count, other.count);
        increase(&mut ours.sum, &mut lost.sum, other.sum);
        Ok(combined)
    }

    fn scale(&mut self, change: impl Fn(f64) -> f64 + Copy) {
        self.rounded.map(change);
        if let Some(lost) = &mut self.lost {
            let Lost { zero_count, count, sum, positive, negative } = &mut **lost;
            let buckets = positive.iter_mut().chain(negative);
            [zero_count, count, sum].into_iter().chain(buckets).for_each(|number| *number = change(*number));
        }
    }

    /// The sum.
    pub fn total(self) -> Histogram {
        let mut total = self.rounded;
        if let Some(lost) = self.lost {
            total.zero_count += lost.zero_count;
            total.count += lost.count;
            total.sum += lost.sum;
            for (side, side_lost) in
                [(&mut total.positive, &lost.positive), (&mut total.negative, &lost.negative)]
            {
                side.counts.iter_mut().zip(side_lost).for_each(|(count, lost)| *count += lost);
            }
        }
        total
    }
}

/// A mean of histograms that switches to an incremental mean before the sum would overflow.
#[derive(Debug, Clone)]
pub struct HistogramMean {
    sum: HistogramSum,
    count: f64,
    incremental: bool,
}

impl HistogramMean {
    /// A mean of one histogram.
    pub fn new(first: Histogram) -> Self {
        Self { sum: HistogramSum::new(first), count: 1.0, incremental: false }
    }

    /// Adds a histogram.
    pub fn add(&mut self, other: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        self.count += 1.0;
        if !self.incremental {
            if !near_overflow(&self.sum.rounded) && !near_overflow(other) {
                return self.sum.add(other);
            }
            let mut next = self.sum.clone();
            let combined = next.add(other)?;
            if !next.rounded.has_overflow() {
                self.sum = next;
                return Ok(combined);
            }
            self.incremental = true;
            let before = self.count - 1.0;
            self.sum.scale(|number| number / before);
        }
        let count = self.count;
        let share = (count - 1.0) / count;
        self.sum.scale(|number| number * share);
        let mut part = other.clone();
        part.divide(count);
        self.sum.add(&part)
    }

    /// The mean.
    pub fn mean(mut self) -> Histogram {
        if !self.incremental {
            let count = self.count;
            self.sum.scale(|number| number / count);
        }
        self.sum.total()
    }

    /// What is known about counter resets so far.
    pub fn hint(&self) -> CounterReset {
        self.sum.rounded.hint
    }
}

fn near_overflow(histogram: &Histogram) -> bool {
    let large = |number: &f64| number.abs() > f64::MAX / 4.0;
    [histogram.zero_count, histogram.count, histogram.sum].iter().any(large)
        || histogram.positive.counts.iter().chain(&histogram.negative.counts).any(large)
}

fn increase(sum: &mut f64, lost: &mut f64, number: f64) {
    let mut kahan = KahanSum { sum: *sum, lost: *lost };
    kahan.add(number);
    (*sum, *lost) = (kahan.sum, kahan.lost);
}

/// Widens `ours` to the zero bucket of `other`, and the other way round; returns what falls into the other's.
fn widen_zero_bucket(ours: &mut Histogram, lost: &mut Lost, other: &Histogram) -> KahanSum {
    let (mut theirs, mut their_threshold) = (KahanSum::new(other.zero_count), other.zero_threshold);
    while their_threshold != ours.zero_threshold {
        if ours.zero_threshold > their_threshold {
            let zero = KahanSum::new(other.zero_count);
            (theirs, their_threshold) = other.zero_sum_up_to(ours.zero_threshold, zero, |_, _| 0.0);
        }
        if their_threshold > ours.zero_threshold {
            let zero = KahanSum { sum: ours.zero_count, lost: lost.zero_count };
            let place_lost = |negative: bool, place: usize| {
                let side = if negative { &lost.negative } else { &lost.positive };
                side.get(place).copied().unwrap_or_default()
            };
            let (zero, threshold) = ours.zero_sum_up_to(their_threshold, zero, place_lost);
            (ours.zero_count, lost.zero_count, ours.zero_threshold) = (zero.sum, zero.lost, threshold);
            let (schema, threshold) = (ours.schema, ours.zero_threshold);
            for (side, side_lost) in
                [(&mut ours.positive, &mut lost.positive), (&mut ours.negative, &mut lost.negative)]
            {
                let covered = covered(side, schema, threshold);
                let kept: Vec<(i32, f64, f64)> = side
                    .iter()
                    .zip(side_lost.iter())
                    .skip(covered)
                    .filter(|((_, count), lost)| *count != 0.0 || **lost != 0.0)
                    .map(|((index, count), &lost)| (index, count, lost))
                    .collect();
                *side = Buckets::new(kept.iter().map(|&(index, count, _)| (index, count)));
                *side_lost = kept.iter().map(|&(_, _, lost)| lost).collect();
            }
        }
        if their_threshold.is_nan() || ours.zero_threshold.is_nan() {
            break;
        }
    }
    theirs
}

/// Reduces a side to a smaller schema, with what was lost.
fn reduce(side: &mut Buckets, lost: &mut Vec<f64>, from: i32, to: i32) {
    if to >= from {
        return;
    }
    let mut out = Buckets::default();
    let mut out_lost = Vec::with_capacity(side.len());
    for ((index, count), &bucket_lost) in side.iter().zip(lost.iter()) {
        let index = larger_index(index, from, to);
        if out.indexes.last() == Some(&index) {
            if let (Some(sum), Some(sum_lost)) = (out.counts.last_mut(), out_lost.last_mut()) {
                increase(sum, sum_lost, count);
                increase(sum, sum_lost, bucket_lost);
            }
        } else {
            out.indexes.push(index);
            out.counts.push(count);
            out_lost.push(bucket_lost);
        }
    }
    (*side, *lost) = (out, out_lost);
}

/// Adds `theirs` to a side; in place if it has no bucket that the side has not.
fn merge(side: &mut Buckets, lost: &mut Vec<f64>, theirs: impl Iterator<Item = (i32, KahanSum)>) {
    let theirs: Vec<(i32, KahanSum)> = theirs.collect();
    let mut place = 0;
    let present = theirs.iter().all(|(index, _)| {
        while side.indexes.get(place).is_some_and(|ours| ours < index) {
            place += 1;
        }
        side.indexes.get(place) == Some(index)
    });
    if !present {
        let mut indexes = Vec::with_capacity(side.len() + theirs.len());
        indexes.extend(side.indexes.iter().copied().chain(theirs.iter().map(|(index, _)| *index)));
        indexes.sort_unstable();
        indexes.dedup();
        let mut counts = vec![0.0; indexes.len()];
        let mut new_lost = vec![0.0; indexes.len()];
        let mut to = 0;
        for (from, index) in side.indexes.iter().enumerate() {
            while indexes[to] != *index {
                to += 1;
            }
            (counts[to], new_lost[to]) = (side.counts[from], lost[from]);
        }
        *side = Buckets { indexes, counts };
        *lost = new_lost;
    }
    let mut place = 0;
    for (index, number) in theirs {
        while side.indexes[place] != index {
            place += 1;
        }
        increase(&mut side.counts[place], &mut lost[place], number.sum);
        if number.lost != 0.0 {
            increase(&mut side.counts[place], &mut lost[place], number.lost);
        }
    }
}
