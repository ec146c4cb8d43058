//! Native histograms: exponential and custom buckets, and their arithmetic.
//!
//! Buckets are held sparsely, as sorted indexes and their counts. An index means a bound by the schema: for exponential
//! schemas −4…8 the upper bound is 2^(index·2^−schema); for custom buckets it is a place in the list of bounds.

mod combination;
mod reset;
mod sum;
mod text;
mod trim;

use std::sync::{Arc, LazyLock};

pub use combination::{Combined, IncompatibleSchemas};
pub use sum::{HistogramMean, HistogramSum};

/// The schema of histograms whose bucket bounds are listed.
pub const CUSTOM_SCHEMA: i32 = -53;
/// The smallest and largest exponential schema.
pub const EXPONENTIAL_SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// What is known about a counter reset between the previous histogram of a series and this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CounterReset {
    /// Nothing: the two have to be compared.
    #[default]
    Unknown,
    /// There was one.
    Reset,
    /// There was none.
    NotReset,
    /// The histogram is a gauge, so the question has no meaning.
    Gauge,
}

/// Buckets of one side of zero.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// Strictly increasing.
    indexes: Vec<i32>,
    /// One for each index.
    counts: Vec<f64>,
}

impl Buckets {
    /// Buckets from pairs of index and count; the indexes must increase strictly.
    pub fn new(pairs: impl IntoIterator<Item = (i32, f64)>) -> Self {
        let (indexes, counts): (Vec<i32>, Vec<f64>) = pairs.into_iter().unzip();
        debug_assert!(indexes.windows(2).all(|pair| pair[0] < pair[1]));
        Self { indexes, counts }
    }

    /// Neighbouring buckets from `first` on.
    pub fn dense(first: i32, counts: Vec<f64>) -> Self {
        Self { indexes: (0..counts.len() as i32).map(|place| first.saturating_add(place)).collect(), counts }
    }

    /// Pairs of index and count.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, f64)> + ExactSizeIterator + '_ {
        self.indexes.iter().copied().zip(self.counts.iter().copied())
    }

    /// How many buckets there are, empty ones included.
    pub fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Whether there are no buckets.
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// How many runs of neighbouring buckets there are.
    pub fn spans(&self) -> usize {
        usize::from(!self.is_empty()) + self.indexes.windows(2).filter(|pair| pair[1] != pair[0] + 1).count()
    }

    /// Drops empty buckets.
    pub fn compact(&mut self) {
        if self.counts.iter().all(|&count| count != 0.0) {
            return;
        }
        let mut kept = 0;
        for place in 0..self.counts.len() {
            if self.counts[place] != 0.0 {
                self.indexes[kept] = self.indexes[place];
                self.counts[kept] = self.counts[place];
                kept += 1;
            }
        }
        self.indexes.truncate(kept);
        self.counts.truncate(kept);
    }

    fn map(&mut self, change: impl Fn(f64) -> f64) {
        self.counts.iter_mut().for_each(|count| *count = change(*count));
    }

    fn same_bits(&self, other: &Self) -> bool {
        self.indexes == other.indexes
            && self.counts.iter().zip(&other.counts).all(|(one, two)| one.to_bits() == two.to_bits())
    }
}

/// One bucket with its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Whether the lower bound is in the bucket.
    pub lower_inclusive: bool,
    /// Whether the upper bound is in the bucket.
    pub upper_inclusive: bool,
    /// How many observations are in it.
    pub count: f64,
}

impl Bucket {
    /// Which part of the bucket lies below `value`, if its observations are spread evenly over the bucket (`linear`)
    /// or over its logarithm.
    pub fn fraction_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper, at) = (self.lower.abs().log2(), self.upper.abs().log2(), value.abs().log2());
        if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
    }
}

/// A native histogram with float counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// What is known about a counter reset before it.
    pub hint: CounterReset,
    /// The schema: −4…8, or [`CUSTOM_SCHEMA`].
    pub schema: i32,
    /// The width of the zero bucket to either side.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// The sum of all observations.
    pub sum: f64,
    /// Buckets above zero; of custom schemas, all of them.
    pub positive: Buckets,
    /// Buckets below zero.
    pub negative: Buckets,
    /// The upper bounds of custom buckets, without the last one, +Inf.
    pub bounds: Arc<[f64]>,
}

impl Histogram {
    /// Whether its bucket bounds are listed.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_SCHEMA
    }

    /// How many samples of 16 bytes it counts as under the samples limit.
    pub fn weight(&self) -> usize {
        let words = self.positive.len()
            + self.negative.len()
            + self.positive.spans()
            + self.negative.spans()
            + self.bounds.len();
        (168 + 8 * words + 8) / 16
    }

    /// Drops empty buckets.
    pub fn compact(&mut self) -> &mut Self {
        self.positive.compact();
        self.negative.compact();
        self
    }

    /// Multiplies every count.
    pub fn multiply(&mut self, factor: f64) -> &mut Self {
        self.map(|count| count * factor);
        if factor < 0.0 {
            self.hint = CounterReset::Gauge;
        }
        self
    }

    /// Divides every count; by zero, the buckets disappear.
    pub fn divide(&mut self, divisor: f64) -> &mut Self {
        if divisor == 0.0 {
            self.positive = Buckets::default();
            self.negative = Buckets::default();
        }
        self.map(|count| count / divisor);
        if divisor < 0.0 {
            self.hint = CounterReset::Gauge;
        }
        self
    }

    fn map(&mut self, change: impl Fn(f64) -> f64 + Copy) {
        self.zero_count = change(self.zero_count);
        self.count = change(self.count);
        self.sum = change(self.sum);
        self.positive.map(change);
        self.negative.map(change);
    }

    /// Whether two are the same to the last bit, apart from the hint.
    pub fn same(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && self.zero_threshold == other.zero_threshold
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && self.bounds == other.bounds
            && self.negative.same_bits(&other.negative)
            && self.positive.same_bits(&other.positive)
    }

    /// With fewer, larger buckets; a schema that is not smaller changes nothing.
    pub fn reduced(&self, schema: i32) -> Self {
        if schema >= self.schema || self.has_custom_buckets() {
            return self.clone();
        }
        Self {
            hint: CounterReset::Unknown,
            schema,
            positive: combination::reduced(&self.positive, self.schema, schema),
            negative: combination::reduced(&self.negative, self.schema, schema),
            ..self.clone()
        }
    }

    /// The bucket around zero.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// The positive buckets, from zero upwards.
    pub fn positive_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        self.positive.iter().map(|(index, count)| {
            let (lower, upper) = (self.bound(index.saturating_sub(1)), self.bound(index));
            match self.has_custom_buckets() {
                true => Bucket { lower, upper, lower_inclusive: index == 0, upper_inclusive: true, count },
                false => Bucket { lower, upper, lower_inclusive: false, upper_inclusive: true, count },
            }
        })
    }

    /// The negative buckets, from zero downwards.
    pub fn negative_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        self.negative.iter().map(|(index, count)| Bucket {
            lower: -self.bound(index),
            upper: -self.bound(index.saturating_sub(1)),
            lower_inclusive: true,
            upper_inclusive: false,
            count,
        })
    }

    /// All buckets in ascending order, cut off where they overlap the zero bucket.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let threshold = self.zero_threshold;
        let zero = (self.zero_count > 0.0).then(|| self.zero_bucket());
        let below = self.negative_buckets().rev().map(move |mut bucket| {
            if bucket.upper < 0.0 && bucket.upper > -threshold {
                bucket.upper = -threshold;
            }
            bucket
        });
        let above = self.positive_buckets().map(move |mut bucket| {
            if bucket.lower > 0.0 && bucket.lower < threshold {
                bucket.lower = threshold;
            }
            bucket
        });
        below.chain(zero).chain(above)
    }

    /// The upper bound of the bucket at an index.
    pub fn bound(&self, index: i32) -> f64 {
        if !self.has_custom_buckets() {
            return exponential_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(place) => self.bounds.get(place).copied().unwrap_or(f64::INFINITY),
        }
    }

    /// Whether any of its numbers, the bounds apart, is infinite.
    pub fn has_overflow(&self) -> bool {
        [self.zero_count, self.count, self.sum].iter().any(|number| number.is_infinite())
            || self.positive.counts.iter().chain(&self.negative.counts).any(|count| count.is_infinite())
    }
}

/// The mantissas of the bounds between two powers of two, by schema.
static MANTISSAS: LazyLock<Vec<Vec<f64>>> = LazyLock::new(|| {
    let schema = |schema: i32| {
        let parts = 1i32 << schema;
        (0..parts).map(|part| (f64::from(part) / f64::from(parts)).exp2() / 2.0).collect()
    };
    (0..=*EXPONENTIAL_SCHEMAS.end()).map(schema).collect()
});

/// The upper bound of an exponential bucket.
fn exponential_bound(index: i32, schema: i32) -> f64 {
    if schema < 0 {
        let exponent = i64::from(index) << (-schema).min(8);
        return if exponent == 1024 { f64::MAX } else { scaled(1.0, exponent) };
    }
    let schema = schema.min(*EXPONENTIAL_SCHEMAS.end());
    let mantissa = MANTISSAS[schema as usize][(index & ((1 << schema) - 1)) as usize];
    let exponent = i64::from(index >> schema) + 1;
    // The bound of the last bucket is the largest number, not infinity.
    if mantissa == 0.5 && exponent == 1025 { f64::MAX } else { scaled(mantissa, exponent) }
}

/// `mantissa`·2^`exponent`, also where the power alone is no number.
fn scaled(mantissa: f64, exponent: i64) -> f64 {
    let half = (exponent / 2).clamp(-1100, 1100);
    let rest = (exponent - exponent / 2).clamp(-1100, 1100);
    mantissa * (half as f64).exp2() * (rest as f64).exp2()
}

#[cfg(test)]
mod tests;
