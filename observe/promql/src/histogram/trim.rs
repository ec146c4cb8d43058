//! The trim operators: observations below (`</`) or above (`>/`) a value are kept.

use super::{Bucket, Histogram};

/// How many observations of a bucket are kept, and the value they are taken to have.
type Kept = (f64, f64);

impl Histogram {
    /// Keeps the observations below `at` (`below`) or above it.
    pub fn trim(&mut self, at: f64, below: bool) -> &mut Self {
        let custom = self.has_custom_buckets();
        let trimmed = |bucket: Bucket, positive: bool| match bucket.count {
            0.0 => (0.0, 0.0),
            _ => kept(bucket, at, below, positive, custom),
        };
        let positive: Vec<Kept> = self.positive_buckets().map(|bucket| trimmed(bucket, true)).collect();
        let negative: Vec<Kept> = self.negative_buckets().map(|bucket| trimmed(bucket, false)).collect();
        let any = |counts: &[f64]| counts.iter().any(|&count| count != 0.0);
        let zero = (self.zero_count > 0.0).then(|| {
            let sides = (any(&self.negative.counts), any(&self.positive.counts));
            kept_of_zero_bucket(self.zero_bucket(), at, below, sides)
        });
        let mut changed = false;
        for (side, kept) in [(&mut self.positive, &positive), (&mut self.negative, &negative)] {
            for (count, (left, _)) in side.counts.iter_mut().zip(kept) {
                changed |= *count != *left;
                *count = *left;
            }
        }
        if let Some((left, _)) = zero {
            changed |= self.zero_count != left;
            self.zero_count = left;
        }
        if changed {
            let all = positive.into_iter().chain(negative).chain(zero);
            (self.count, self.sum) =
                all.fold((0.0, 0.0), |(count, sum), (left, value)| (count + left, sum + value * left));
            self.compact();
        }
        self
    }
}

fn kept(bucket: Bucket, at: f64, below: bool, positive: bool, linear: bool) -> Kept {
    let (whole, partly) = match below {
        true => (bucket.upper <= at, bucket.lower < at),
        false => (bucket.lower >= at, bucket.upper > at),
    };
    if whole {
        return (bucket.count, middle(bucket.lower, bucket.upper, positive, linear));
    }
    if !partly {
        return (0.0, 0.0);
    }
    if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
        return kept_of_open_bucket(bucket, at, below);
    }
    let under = match at {
        at if at <= bucket.lower => 0.0,
        at if at >= bucket.upper => bucket.count,
        at => bucket.count * bucket.fraction_below(at, linear),
    };
    match below {
        true => (under, middle(bucket.lower, at, positive, linear)),
        false => (bucket.count - under, middle(at, bucket.upper, positive, linear)),
    }
}

/// Within a bucket without an end nothing can be interpolated, but from zero up to its upper bound.
fn kept_of_open_bucket(bucket: Bucket, at: f64, below: bool) -> Kept {
    let finite = |value: f64| if value.is_finite() { value } else { 0.0 };
    let Bucket { lower, upper, count, .. } = bucket;
    if lower == f64::NEG_INFINITY {
        return match below {
            true if at >= upper => (count, 0.0),
            true if at > 0.0 && upper > 0.0 && upper.is_finite() => (count * at / upper, at / 2.0),
            true if upper <= 0.0 => (count, at),
            false if at <= lower => (count, 0.0),
            false if at >= 0.0 && upper > at && upper.is_finite() => {
                (count * (1.0 - at / upper), (at + upper) / 2.0)
            }
            _ => (0.0, finite(upper)),
        };
    }
    if !below && at >= lower { (count, at) } else { (0.0, finite(lower)) }
}

/// `sides` says whether there are observations below and above zero: on a side without any, the bucket ends at zero.
fn kept_of_zero_bucket(bucket: Bucket, at: f64, below: bool, sides: (bool, bool)) -> Kept {
    let lower = if sides == (false, true) { 0.0 } else { bucket.lower };
    let upper = if sides == (true, false) { 0.0 } else { bucket.upper };
    let all = (bucket.count, (lower + upper) / 2.0);
    let width = upper - lower;
    match below {
        true if at <= lower => (0.0, 0.0),
        true if at >= upper => all,
        true => (bucket.count * ((at - lower) / width), (lower + at) / 2.0),
        false if at <= lower => all,
        false if at >= upper => (0.0, 0.0),
        false => (bucket.count * ((upper - at) / width), (at + upper) / 2.0),
    }
}

/// The value that observations between two bounds are taken to have.
fn middle(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => (lower + upper) / 2.0,
        (false, false) if positive => (lower * upper).abs().sqrt(),
        (false, false) => -(lower * upper).abs().sqrt(),
    }
}
