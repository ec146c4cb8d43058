//! What templates calculate with: values of Go's types, as far as Prometheus gives them to templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use xebec_promql::histogram::Histogram;
use xebec_promql::labels::Labels;
use xebec_promql::number::general;
use xebec_promql::value::VectorSample;

use super::methods;

/// A value.
#[derive(Debug, Clone, Default)]
pub(super) enum Value {
    /// No value at all.
    #[default]
    Invalid,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// Text that counts as HTML.
    Html(Arc<str>),
    Texts(Arc<BTreeMap<String, String>>),
    Map(Arc<BTreeMap<String, Value>>),
    Samples(Arc<Vec<Arc<Sample>>>),
    Sample(Arc<Sample>),
    Histogram(Arc<Histogram>),
    /// Milliseconds since 1970.
    Time(i64),
    /// Nanoseconds.
    Duration(i64),
    /// A month or a weekday, which is a number with a name.
    Named(&'static str, i64, &'static str),
    Data(Arc<Data>),
}

/// A sample of a query.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Arc<BTreeMap<String, String>>,
    pub(super) value: Value,
}

/// What an alert's templates begin with.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) labels: Arc<BTreeMap<String, String>>,
    pub(super) external_labels: Arc<BTreeMap<String, String>>,
    pub(super) external_url: Arc<str>,
    pub(super) value: Value,
}

/// Labels as templates have them.
pub(super) fn texts(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|label| (label.name.to_string(), label.value.to_string())).collect()
}

impl From<VectorSample> for Sample {
    fn from(sample: VectorSample) -> Self {
        let value = sample.histogram.map_or(Value::Float(sample.value), Value::Histogram);
        Self { labels: Arc::new(texts(&sample.labels)), value }
    }
}

impl Value {
    pub(super) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn is_valid(&self) -> bool {
        !matches!(self, Self::Invalid)
    }

    /// The name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Invalid => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Html(_) => "template.HTML",
            Self::Texts(_) => "map[string]string",
            Self::Map(_) => "map[string]interface {}",
            Self::Samples(_) => "template.queryResult",
            Self::Sample(_) => "*template.sample",
            Self::Histogram(_) => "*histogram.FloatHistogram",
            Self::Time(_) => "*time.Time",
            Self::Duration(_) => "*time.Duration",
            Self::Named(kind, ..) => kind,
            Self::Data(_) => {
                "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; \
                 Value interface {} }"
            }
        }
    }

    /// Whether it counts as true.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Invalid => false,
            Self::Bool(value) => *value,
            Self::Int(value) | Self::Named(_, value, _) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) | Self::Html(text) => !text.is_empty(),
            Self::Texts(map) => !map.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Samples(samples) => !samples.is_empty(),
            Self::Sample(_) | Self::Histogram(_) | Self::Time(_) | Self::Duration(_) | Self::Data(_) => true,
        }
    }

    /// As an action prints it.
    pub(super) fn printed(&self) -> String {
        match self {
            Self::Invalid => "<no value>".to_owned(),
            other => other.shown(),
        }
    }

    /// As it stands within others, and as `%v` shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Invalid => "<nil>".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => general(*value),
            Self::Text(text) | Self::Html(text) => text.to_string(),
            Self::Texts(map) => shown_map(map.iter().map(|(name, value)| (name, value.clone()))),
            Self::Map(map) => shown_map(map.iter().map(|(name, value)| (name, value.shown()))),
            // Upstream shows where its samples lie in memory.
            Self::Samples(samples) => {
                let each: Vec<String> = samples.iter().map(|sample| sample.shown()).collect();
                format!("[{}]", each.join(" "))
            }
            Self::Sample(sample) => sample.shown(),
            Self::Histogram(histogram) => histogram.to_string(),
            Self::Time(millis) => methods::time_text(*millis),
            Self::Duration(nanos) => methods::duration_text(*nanos),
            Self::Named(_, _, name) => (*name).to_owned(),
            Self::Data(data) => format!(
                "{{{} {} {} {}}}",
                Self::Texts(Arc::clone(&data.labels)).shown(),
                Self::Texts(Arc::clone(&data.external_labels)).shown(),
                data.external_url,
                data.value.shown()
            ),
        }
    }
}

impl Sample {
    fn shown(&self) -> String {
        format!("{{{} {}}}", Value::Texts(Arc::clone(&self.labels)).shown(), self.value.shown())
    }
}

fn shown_map<'m>(pairs: impl Iterator<Item = (&'m String, String)>) -> String {
    let each: Vec<String> = pairs.map(|(name, value)| format!("{name}:{value}")).collect();
    format!("map[{}]", each.join(" "))
}
