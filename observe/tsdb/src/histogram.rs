//! Native histograms: what they hold and when they contradict themselves.

use std::sync::Arc;

use crate::{Error, Result, sample::is_stale};

/// The schema of histograms whose bucket bounds stand in `custom_values`.
pub const CUSTOM_BUCKETS: i32 = -53;

/// The finest exponential schema that may be stored.
const FINEST: i32 = 8;
const COARSEST: i32 = -4;

/// What a histogram knows about a counter reset before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterReset {
    /// It has to be found out by comparing.
    #[default]
    Unknown,
    /// There was one.
    Reset,
    /// There was none.
    NotReset,
    /// A gauge, which has none.
    Gauge,
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Gap to the previous span; the index of the first bucket for the first.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// The part of a histogram that seldom changes from sample to sample, shared between samples.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Resolution, or [`CUSTOM_BUCKETS`].
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Where the positive buckets lie.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets lie.
    pub negative_spans: Vec<Span>,
    /// Upper bounds with [`CUSTOM_BUCKETS`], else empty.
    pub custom_values: Vec<f64>,
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.zero_threshold.to_bits() == other.zero_threshold.to_bits()
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && same_floats(&self.custom_values, &other.custom_values)
    }
}

/// The kind of number that buckets and counts are.
pub trait Number: Copy + PartialEq + PartialOrd + Default + std::fmt::Debug + Send + Sync + 'static {
    /// As a float, for checks and display.
    fn to_f64(self) -> f64;
}

impl Number for u64 {
    fn to_f64(self) -> f64 {
        self as f64
    }
}

impl Number for f64 {
    fn to_f64(self) -> f64 {
        self
    }
}

/// A native histogram with absolute bucket counts of type `N`.
#[derive(Clone, Debug, Default)]
pub struct HistogramOf<N> {
    /// What is known of a counter reset before it.
    pub counter_reset: CounterReset,
    /// Schema, zero threshold, spans, bounds.
    pub layout: Arc<Layout>,
    /// Number of observations.
    pub count: N,
    /// Observations in the zero bucket.
    pub zero_count: N,
    /// Sum of observations; the stale marker makes the histogram a stale one.
    pub sum: f64,
    /// Absolute counts, one for each bucket of the positive spans.
    pub positive: Vec<N>,
    /// Absolute counts, one for each bucket of the negative spans.
    pub negative: Vec<N>,
}

/// A histogram of whole observations.
pub type Histogram = HistogramOf<u64>;
/// A histogram of fractions, as sums and rates over histograms are.
pub type FloatHistogram = HistogramOf<f64>;

impl<N: Number> PartialEq for HistogramOf<N> {
    /// Equal in content; what is known of counter resets is not compared. Floats are compared by their bits.
    fn eq(&self, other: &Self) -> bool {
        let same =
            |a: N, b: N| a.to_f64().to_bits() == b.to_f64().to_bits() && (a == b || a.to_f64().is_nan());
        let all = |a: &[N], b: &[N]| a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| same(a, b));
        self.layout == other.layout
            && same(self.count, other.count)
            && same(self.zero_count, other.zero_count)
            && self.sum.to_bits() == other.sum.to_bits()
            && all(&self.positive, &other.positive)
            && all(&self.negative, &other.negative)
    }
}

pub(crate) fn same_floats(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// How many buckets spans cover, if it fits.
pub(crate) fn buckets_of(spans: &[Span]) -> u64 {
    spans.iter().map(|span| u64::from(span.length)).sum()
}

impl<N: Number> HistogramOf<N> {
    /// The histogram that marks the end of a series.
    pub fn stale() -> Self {
        Self { sum: f64::from_bits(crate::sample::STALE), ..Self::default() }
    }

    /// Whether it marks the end of its series.
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// Fails where it contradicts itself, in Prometheus's words.
    pub fn validate(&self) -> Result<()> {
        if self.is_stale() {
            return Ok(());
        }
        let fault = |why: String| Err(Error::InvalidHistogram(why));
        let layout = &*self.layout;
        if layout.schema == CUSTOM_BUCKETS {
            check_custom_bounds(layout)?;
            if self.zero_count.to_f64() != 0.0 || layout.zero_threshold != 0.0 {
                return fault("custom buckets: must have zero count and threshold of 0".into());
            }
            if !layout.negative_spans.is_empty() || !self.negative.is_empty() {
                return fault("custom buckets: must not have negative buckets".into());
            }
        } else if !(COARSEST..=FINEST).contains(&layout.schema) {
            let schema = layout.schema;
            return fault(format!("schema {schema} must be between -4 and 8, or -53 for custom buckets"));
        } else if !layout.custom_values.is_empty() {
            return fault("custom bounds: must not have any with an exponential schema".into());
        }
        for (side, spans, buckets) in [
            ("negative", &layout.negative_spans, &self.negative),
            ("positive", &layout.positive_spans, &self.positive),
        ] {
            check_spans(side, spans, buckets.len())?;
            if let Some(at) = buckets.iter().position(|bucket| bucket.to_f64() < 0.0) {
                return fault(format!("{side} side: bucket number {} has observation count below 0", at + 1));
            }
        }
        if self.count.to_f64() < 0.0 || self.zero_count.to_f64() < 0.0 {
            return fault("count and zero count must not be below 0".into());
        }
        let buckets = self.positive.iter().chain(&self.negative);
        let sum = buckets.fold(self.zero_count.to_f64(), |sum, bucket| sum + bucket.to_f64());
        // Observations of NaN are counted but in no bucket.
        if !self.sum.is_nan() && sum > self.count.to_f64() * (1.0 + 1e-12) {
            return fault(format!(
                "{sum} observations found in buckets, but the Count field is {}",
                self.count.to_f64()
            ));
        }
        Ok(())
    }
}

impl Histogram {
    /// The same with floating counts.
    pub fn to_float(&self) -> FloatHistogram {
        FloatHistogram {
            counter_reset: self.counter_reset,
            layout: Arc::clone(&self.layout),
            count: self.count as f64,
            zero_count: self.zero_count as f64,
            sum: self.sum,
            positive: self.positive.iter().map(|&count| count as f64).collect(),
            negative: self.negative.iter().map(|&count| count as f64).collect(),
        }
    }
}

fn check_spans(side: &str, spans: &[Span], buckets: usize) -> Result<()> {
    if let Some(at) = spans.iter().skip(1).position(|span| span.offset < 0) {
        let offset = spans[at + 1].offset;
        return Err(Error::InvalidHistogram(format!(
            "{side} side: span number {} with offset {offset}: histogram has a span whose offset is negative",
            at + 2
        )));
    }
    let spanned = buckets_of(spans);
    if spanned != buckets as u64 {
        return Err(Error::InvalidHistogram(format!(
            "{side} side: spans need {spanned} buckets, have {buckets} buckets"
        )));
    }
    Ok(())
}

fn check_custom_bounds(layout: &Layout) -> Result<()> {
    let bounds = &layout.custom_values;
    if bounds.windows(2).any(|two| two[0] >= two[1]) || bounds.iter().any(|bound| bound.is_nan()) {
        return Err(Error::InvalidHistogram("custom bounds must be in strictly increasing order".into()));
    }
    if bounds.iter().any(|bound| bound.is_infinite()) {
        return Err(Error::InvalidHistogram("last +Inf bound must not be explicitly defined".into()));
    }
    let last = layout
        .positive_spans
        .iter()
        .fold(0i64, |at, span| at + i64::from(span.offset) + i64::from(span.length));
    if layout.positive_spans.first().is_some_and(|span| span.offset < 0) || last > bounds.len() as i64 + 1 {
        return Err(Error::InvalidHistogram(format!(
            "custom buckets: only {} bounds defined, but the spans reach bucket {last}",
            bounds.len()
        )));
    }
    Ok(())
}
