//! What a query evaluates to.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::ValueType;
use crate::histogram::Histogram;
use crate::labels::Labels;

/// A number at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970.
    pub time: i64,
    /// The number.
    pub value: f64,
}

/// A native histogram at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramPoint {
    /// Milliseconds since 1970.
    pub time: i64,
    /// The histogram.
    pub histogram: Arc<Histogram>,
}

/// A series of samples. At one time there is a number or a histogram, not both.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// The labels.
    pub labels: Labels,
    /// Whether the labels that say what the metric is are dropped at the end.
    pub drop_name: bool,
    /// Numbers in order of time.
    pub floats: Vec<Point>,
    /// Histograms in order of time.
    pub histograms: Vec<HistogramPoint>,
}

impl Series {
    /// A series without samples.
    pub fn new(labels: Labels, drop_name: bool) -> Self {
        Self { labels, drop_name, floats: Vec::new(), histograms: Vec::new() }
    }

    /// Whether it has no samples.
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    /// How many samples it counts as under the samples limit.
    pub fn weight(&self) -> usize {
        self.floats.len() + self.histograms.iter().map(|point| point.histogram.weight()).sum::<usize>()
    }
}

/// Series, each with any number of samples.
pub type Matrix = Vec<Series>;

/// One sample of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSample {
    /// The series' labels.
    pub labels: Labels,
    /// The number; zero if it is a histogram.
    pub value: f64,
    /// The histogram, if it is one.
    pub histogram: Option<Arc<Histogram>>,
}

/// What a query evaluates to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One number.
    Scalar(Point),
    /// A text.
    String(Arc<str>),
    /// One sample of each series, all at one time.
    Vector(i64, Vec<VectorSample>),
    /// Series.
    Matrix(Matrix),
}

impl Value {
    /// Its type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Scalar(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Vector(..) => ValueType::Vector,
            Self::Matrix(_) => ValueType::Matrix,
        }
    }
}

/// How many samples series count as under the samples limit.
pub(crate) fn weight(matrix: &[Series]) -> usize {
    matrix.iter().map(Series::weight).sum()
}

/// Whether two series have the same labels.
pub(crate) fn has_duplicates(matrix: &[Series]) -> bool {
    let mut seen = std::collections::HashSet::with_capacity(matrix.len());
    matrix.len() > 1 && !matrix.iter().all(|series| seen.insert(&series.labels))
}

/// Joins series of the same labels; none if two of them have a sample at the same time.
pub(crate) fn joined(matrix: Matrix) -> Option<Matrix> {
    if !has_duplicates(&matrix) {
        return Some(matrix);
    }
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(matrix.len());
    let mut out: Matrix = Vec::with_capacity(matrix.len());
    let mut touched = Vec::new();
    for series in matrix {
        match places.get(&series.labels) {
            None => {
                places.insert(series.labels.clone(), out.len());
                out.push(series);
            }
            Some(&place) => {
                out[place].floats.extend(series.floats);
                out[place].histograms.extend(series.histograms);
                touched.push(place);
            }
        }
    }
    for place in touched {
        let series = &mut out[place];
        series.floats.sort_by_key(|point| point.time);
        series.histograms.sort_by_key(|point| point.time);
        let twice = series.floats.windows(2).any(|pair| pair[0].time == pair[1].time)
            || series.histograms.windows(2).any(|pair| pair[0].time == pair[1].time);
        if twice {
            return None;
        }
    }
    Some(out)
}
