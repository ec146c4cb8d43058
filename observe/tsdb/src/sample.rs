//! What a series holds at a point in time.

use crate::histogram::{FloatHistogram, Histogram};

/// The bits of the NaN that marks the end of a series.
pub const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Whether a value is the stale marker, which is one NaN among others.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

/// A sample's value.
#[derive(Clone, Debug)]
pub enum Value {
    /// A plain number.
    Float(f64),
    /// A histogram of whole observations.
    Histogram(Box<Histogram>),
    /// A histogram of fractions.
    FloatHistogram(Box<FloatHistogram>),
}

impl PartialEq for Value {
    /// Floats are the same if their bits are, so that NaN equals itself.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => a == b,
            (Self::FloatHistogram(a), Self::FloatHistogram(b)) => a == b,
            _ => false,
        }
    }
}

impl Value {
    /// Whether it marks the end of its series.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Float(value) => is_stale(*value),
            Self::Histogram(histogram) => histogram.is_stale(),
            Self::FloatHistogram(histogram) => histogram.is_stale(),
        }
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<Histogram> for Value {
    fn from(histogram: Histogram) -> Self {
        Self::Histogram(Box::new(histogram))
    }
}

impl From<FloatHistogram> for Value {
    fn from(histogram: FloatHistogram) -> Self {
        Self::FloatHistogram(Box::new(histogram))
    }
}

/// A value with its time in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub time: i64,
    /// What was measured.
    pub value: Value,
}
