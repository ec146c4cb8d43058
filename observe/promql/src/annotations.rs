//! What a user should know of an evaluation that succeeded: warnings and infos, each once, with its position.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::number::{general, quoted, significant};
use crate::position::Position;

/// What was being done with histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the arithmetic it names")]
pub enum HistogramOperation {
    Addition,
    Subtraction,
    Aggregation,
}

impl HistogramOperation {
    fn name(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

/// A number that can be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number(u64);

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self(value.to_bits())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&general(f64::from_bits(self.0)))
    }
}

/// A metric's name; empty if it is not known.
pub type Metric = Arc<str>;

/// What is to be known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is explained by its text, see `Display`")]
pub enum Note {
    InvalidQuantile(Number),
    InvalidRatio { ratio: Number, capped: Number },
    BadBucketLabel { metric: Metric, label: Arc<str> },
    MixedFloatsHistograms(Metric),
    MixedFloatsHistogramsAggregation,
    MixedClassicNativeHistograms(Metric),
    NativeHistogramNotCounter(Metric),
    NativeHistogramNotGauge(Metric),
    MixedExponentialCustomHistograms(Metric),
    IncompatibleBucketLayout(&'static str),
    SortInRangeQuery,
    HistogramCounterResetCollision(HistogramOperation),
    StartTimeOverlap(Metric),
    PossibleNonCounter(Metric),
    PossibleNonCounterLabel { metric: Metric, label: Arc<str> },
    ForcedMonotonicity(Metric),
    IncompatibleTypes { operator: &'static str, left: &'static str, right: &'static str },
    HistogramIgnoredInAggregation(&'static str),
    HistogramIgnoredInMixedRange(Metric),
    QuantileNanResult(Metric),
    QuantileNanSkew(Metric),
    FractionNans(Metric),
    MismatchedCustomBuckets(HistogramOperation),
    Storage(Arc<str>),
}

impl Note {
    /// Whether it is a mere info.
    pub fn is_info(&self) -> bool {
        matches!(
            self,
            Self::PossibleNonCounter(_)
                | Self::PossibleNonCounterLabel { .. }
                | Self::ForcedMonotonicity(_)
                | Self::IncompatibleTypes { .. }
                | Self::HistogramIgnoredInAggregation(_)
                | Self::HistogramIgnoredInMixedRange(_)
                | Self::QuantileNanResult(_)
                | Self::QuantileNanSkew(_)
                | Self::FractionNans(_)
                | Self::MismatchedCustomBuckets(_)
        )
    }
}

fn named(out: &mut fmt::Formatter<'_>, text: &str, metric: &str) -> fmt::Result {
    match metric.is_empty() {
        true => out.write_str(text),
        false => write!(out, "{text} for metric name {}", quoted(metric)),
    }
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(text) => return out.write_str(text),
            _ if self.is_info() => out.write_str("PromQL info: ")?,
            _ => out.write_str("PromQL warning: ")?,
        }
        match self {
            Self::Storage(_) => Ok(()),
            Self::InvalidQuantile(value) => {
                write!(out, "quantile value should be between 0 and 1, got {value}")
            }
            Self::InvalidRatio { ratio, capped } => {
                write!(out, "ratio value should be between -1 and 1, got {ratio}, capping to {capped}")
            }
            Self::BadBucketLabel { metric, label } => {
                let label = quoted(label);
                let text = format!("bucket label \"le\" is missing or has a malformed value of {label}");
                named(out, &text, metric)
            }
            Self::MixedFloatsHistograms(metric) => {
                write!(out, "encountered a mix of histograms and floats for metric name {}", quoted(metric))
            }
            Self::MixedFloatsHistogramsAggregation => {
                out.write_str("encountered a mix of histograms and floats for aggregation")
            }
            Self::MixedClassicNativeHistograms(metric) => {
                named(out, "vector contains a mix of classic and native histograms", metric)
            }
            Self::NativeHistogramNotCounter(metric) => {
                write!(out, "this native histogram metric is not a counter: {}", quoted(metric))
            }
            Self::NativeHistogramNotGauge(metric) => {
                write!(out, "this native histogram metric is not a gauge: {}", quoted(metric))
            }
            Self::MixedExponentialCustomHistograms(metric) => {
                let mix = "vector contains a mix of histograms with exponential and custom buckets schemas";
                write!(out, "{mix} for metric name {}", quoted(metric))
            }
            Self::IncompatibleBucketLayout(operator) => {
                write!(out, "incompatible bucket layout encountered for binary operator {operator}")
            }
            Self::SortInRangeQuery => out.write_str(
                "sort is ineffective for range queries since results are always ordered by labels",
            ),
            Self::HistogramCounterResetCollision(operation) => {
                write!(out, "conflicting counter resets during histogram {}", operation.name())
            }
            Self::StartTimeOverlap(metric) => {
                let overlap = "sample has start time that overlaps with previous sample timestamp";
                write!(out, "{overlap} for metric {}", quoted(metric))
            }
            Self::PossibleNonCounter(metric) => {
                let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
                write!(out, "{text} {}", quoted(metric))
            }
            Self::PossibleNonCounterLabel { metric, label } => {
                let text = "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\"";
                write!(out, "{text}, got {}: {}", quoted(label), quoted(metric))
            }
            Self::ForcedMonotonicity(metric) => {
                let page =
                    "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile";
                let text =
                    format!("input to histogram_quantile needed to be fixed for monotonicity (see {page})");
                named(out, &text, metric)
            }
            Self::IncompatibleTypes { operator, left, right } => {
                let text = "incompatible sample types encountered for binary operator";
                write!(out, "{text} {}: {left} {operator} {right}", quoted(operator))
            }
            Self::HistogramIgnoredInAggregation(name) => {
                write!(out, "ignored histogram in {name} aggregation")
            }
            Self::HistogramIgnoredInMixedRange(metric) => {
                let text =
                    "ignored histograms in a range containing both floats and histograms for metric name";
                write!(out, "{text} {}", quoted(metric))
            }
            Self::QuantileNanResult(metric) => {
                named(out, "input to histogram_quantile has NaN observations, result is NaN", metric)
            }
            Self::QuantileNanSkew(metric) => named(
                out,
                "input to histogram_quantile has NaN observations, result is skewed higher",
                metric,
            ),
            Self::FractionNans(metric) => {
                let text =
                    "input to histogram_fraction has NaN observations, which are excluded from all fractions";
                named(out, text, metric)
            }
            Self::MismatchedCustomBuckets(operation) => {
                write!(out, "mismatched custom buckets were reconciled during {}", operation.name())
            }
        }
    }
}

/// Where monotonicity was forced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Forced {
    pub(crate) times: (i64, i64),
    pub(crate) buckets: (f64, f64),
    pub(crate) difference: f64,
}

/// A note, where in the query it arose, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// What is to be known.
    pub note: Note,
    /// Where it arose.
    pub position: Option<Position>,
    count: usize,
    forced: Option<Forced>,
}

impl Annotation {
    /// The whole text, with the place in the query.
    pub fn text(&self, query: &str) -> String {
        let Some(position) = self.position else { return self.note.to_string() };
        let place = position.line_and_column(query);
        if let Some(forced) = self.forced {
            return format!(
                "{}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({place})",
                self.note,
                general(forced.buckets.0),
                general(forced.buckets.1),
                significant(forced.difference, 2),
                self.count,
                rfc3339(forced.times.0),
                rfc3339(forced.times.1),
            );
        }
        match (&self.note, self.count) {
            (Note::StartTimeOverlap(_), count @ 2..) => {
                format!("{} ({count} occurrences) ({place})", self.note)
            }
            _ => format!("{} ({place})", self.note),
        }
    }
}

fn rfc3339(millis: i64) -> String {
    let date = crate::date::Date::from_seconds(millis.div_euclid(1000));
    let (year, month, day) = (date.year, date.month, date.day);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", date.hour, date.minute, date.second)
}

/// The notes of an evaluation, each once.
#[derive(Debug, Clone, Default)]
pub struct Annotations {
    notes: Vec<Annotation>,
    places: HashMap<Note, usize>,
}

impl Annotations {
    /// The notes, in the order in which they first arose.
    pub fn iter(&self) -> std::slice::Iter<'_, Annotation> {
        self.notes.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// The texts of the warnings and of the infos, in that order.
    pub fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let of = |info| {
            let notes = self.notes.iter().filter(move |annotation| annotation.note.is_info() == info);
            notes.map(|annotation| annotation.text(query)).collect()
        };
        (of(false), of(true))
    }

    pub(crate) fn add(&mut self, note: Note, position: Position) {
        self.put(note, Some(position), None);
    }

    pub(crate) fn add_storage_warning(&mut self, text: &str) {
        self.put(Note::Storage(text.into()), None, None);
    }

    pub(crate) fn add_forced(&mut self, metric: Metric, position: Position, forced: Forced) {
        self.put(Note::ForcedMonotonicity(metric), Some(position), Some(forced));
    }

    pub(crate) fn merge(&mut self, other: Annotations) {
        for annotation in other.notes {
            self.put(annotation.note, annotation.position, annotation.forced);
        }
    }

    fn put(&mut self, note: Note, position: Option<Position>, forced: Option<Forced>) {
        let Some(&place) = self.places.get(&note) else {
            self.places.insert(note.clone(), self.notes.len());
            self.notes.push(Annotation { note, position, count: 1, forced });
            return;
        };
        let known = &mut self.notes[place];
        known.count += 1;
        match (&mut known.forced, forced) {
            (Some(known), Some(new)) => {
                known.times = (known.times.0.min(new.times.0), known.times.1.max(new.times.1));
                known.buckets = (known.buckets.0.min(new.buckets.0), known.buckets.1.max(new.buckets.1));
                known.difference = known.difference.max(new.difference);
            }
            // The position of the last one counts, except where occurrences are counted.
            _ if !matches!(known.note, Note::StartTimeOverlap(_)) => known.position = position,
            _ => {}
        }
    }
}
