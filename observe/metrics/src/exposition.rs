//! What targets say of themselves, read: the text format of Prometheus (0.0.4), OpenMetrics 1.0 and the delimited protobuf
//! format.
//!
//! Bytes come in, entries go out one by one; nothing is copied but what has escapes. What is wrong is told in upstream's
//! words, and the entries before it are good: the caller decides what becomes of them.

mod limits;
mod open_metrics;
mod protobuf;
mod scan;
mod text;
mod wire;

use std::borrow::Cow;

use xebec_promql::number::open_metrics as open_metrics_number;
use xebec_tsdb::{METRIC_NAME, Value};

pub use limits::{LimitError, Limits};
use open_metrics::OpenMetricsParser;
use protobuf::ProtobufParser;
use text::TextParser;

/// What is wrong with an exposition, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub String);

/// Names and values of labels, in any order.
pub type LabelPairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`
    Text,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
    /// `application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited`
    Protobuf,
}

impl Format {
    /// The format that a header says, or else the fallback. The text says what was odd, if anything.
    pub fn of(
        content_type: Option<&str>,
        fallback: Option<Self>,
    ) -> Result<(Self, Option<String>), ParseError> {
        let odd = match content_type {
            None | Some("") => "non-compliant scrape target sending blank Content-Type".to_owned(),
            Some(header) => {
                let media_type = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                match media_type.as_str() {
                    "text/plain" => return Ok((Self::Text, None)),
                    "application/openmetrics-text" => return Ok((Self::OpenMetrics, None)),
                    "application/vnd.google.protobuf" => return Ok((Self::Protobuf, None)),
                    _ => format!("received unsupported Content-Type {header:?}"),
                }
            }
        };
        let Some(fallback) = fallback else {
            let and = "and no fallback_scrape_protocol specified for target";
            return Err(ParseError(format!("{odd} {and}")));
        };
        let name = match fallback {
            Self::Text => "text/plain",
            Self::OpenMetrics => "application/openmetrics-text",
            Self::Protobuf => "application/vnd.google.protobuf",
        };
        Ok((fallback, Some(format!("{odd}, using fallback_scrape_protocol {name:?}"))))
    }
}

/// The type of a metric. The numbers are those of [`xebec_tsdb::Metadata`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is named by its word, see `Kind::name`")]
pub enum Kind {
    #[default]
    Unknown = 0,
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
    GaugeHistogram = 4,
    Summary = 5,
    Info = 6,
    StateSet = 7,
}

impl Kind {
    /// As the API names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }

    /// By the word that stands behind `# TYPE name`.
    fn of(word: &[u8], open_metrics: bool) -> Result<Self, ParseError> {
        Ok(match (word, open_metrics) {
            (b"counter", _) => Self::Counter,
            (b"gauge", _) => Self::Gauge,
            (b"histogram", _) => Self::Histogram,
            (b"summary", _) => Self::Summary,
            (b"untyped", false) | (b"unknown", true) => Self::Unknown,
            (b"gaugehistogram", true) => Self::GaugeHistogram,
            (b"info", true) => Self::Info,
            (b"stateset", true) => Self::StateSet,
            _ => {
                let word = xebec_promql::number::quoted_bytes(word);
                return Err(ParseError(format!("invalid metric type {word}")));
            }
        })
    }
}

/// One thing that an exposition says.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    /// What a metric means.
    Help {
        /// The metric family.
        family: Cow<'a, str>,
        /// The text.
        text: Cow<'a, str>,
    },
    /// What type a metric has.
    Type {
        /// The metric family.
        family: Cow<'a, str>,
        /// The type.
        kind: Kind,
    },
    /// The unit a metric is told in.
    Unit {
        /// The metric family.
        family: Cow<'a, str>,
        /// The unit.
        unit: Cow<'a, str>,
    },
    /// Nothing that matters.
    Comment,
    /// A sample of the series that [`Parser::key`] and [`Parser::labels`] name.
    Sample {
        /// Its time in milliseconds, if it says so.
        time: Option<i64>,
        /// Its value.
        value: Value,
    },
}

/// A measurement that stands for others.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedExemplar<'a> {
    /// What it says beside its value.
    pub labels: LabelPairs<'a>,
    /// What was measured.
    pub value: f64,
    /// When, in milliseconds, if it says so.
    pub time: Option<i64>,
}

/// What of native histograms is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ParserOptions {
    /// Whether they are read as such, and not as classic ones.
    pub native_histograms: bool,
    /// Whether the classic buckets of native histograms are read too.
    pub classic_too: bool,
}

/// Reads one exposition.
///
/// ```
/// use xebec_metrics::exposition::{Entry, Format, Parser, ParserOptions};
///
/// let mut body = b"# TYPE up gauge\nup{job=\"api\"} 1\n".to_vec();
/// let mut parser = Parser::new(&mut body, Format::Text, ParserOptions::default());
/// assert!(matches!(parser.next().unwrap(), Some(Entry::Type { .. })));
/// assert_eq!(parser.next().unwrap(), Some(Entry::Sample { time: None, value: 1.0.into() }));
/// assert_eq!(parser.labels().unwrap()[1], ("job".into(), "api".into()));
/// assert_eq!(parser.next(), Ok(None));
/// ```
#[derive(Debug)]
pub struct Parser<'a>(Inner<'a>);

#[derive(Debug)]
enum Inner<'a> {
    Text(TextParser<'a>),
    OpenMetrics(OpenMetricsParser<'a>),
    Protobuf(Box<ProtobufParser<'a>>),
}

impl<'a> Parser<'a> {
    /// Begins to read a body. The text format gets a line break at its end.
    pub fn new(body: &'a mut Vec<u8>, format: Format, options: ParserOptions) -> Self {
        Self(match format {
            Format::Text => {
                body.push(b'\n');
                Inner::Text(TextParser::new(body))
            }
            Format::OpenMetrics => Inner::OpenMetrics(OpenMetricsParser::new(body)),
            Format::Protobuf => Inner::Protobuf(Box::new(ProtobufParser::new(body, options))),
        })
    }

    /// The next entry; none at the end.
    #[allow(clippy::should_implement_trait, reason = "what it gives is to be asked for more before the next")]
    pub fn next(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        match &mut self.0 {
            Inner::Text(parser) => parser.next(),
            Inner::OpenMetrics(parser) => parser.next(),
            Inner::Protobuf(parser) => parser.next(),
        }
    }

    /// Bytes that name the series of the last sample: the same series of a later exposition mostly has the same.
    pub fn key(&self) -> &[u8] {
        match &self.0 {
            Inner::Text(parser) => parser.key(),
            Inner::OpenMetrics(parser) => parser.key(),
            Inner::Protobuf(parser) => parser.key(),
        }
    }

    /// The labels of the last sample's series, the metric's name among them.
    pub fn labels(&self) -> Result<LabelPairs<'a>, ParseError> {
        match &self.0 {
            Inner::Text(parser) => parser.labels(),
            Inner::OpenMetrics(parser) => parser.labels(),
            Inner::Protobuf(parser) => Ok(parser.labels()),
        }
    }

    /// The exemplars of the last sample.
    pub fn exemplars(&self) -> Vec<ParsedExemplar<'a>> {
        match &self.0 {
            Inner::Text(_) => Vec::new(),
            Inner::OpenMetrics(parser) => parser.exemplar().into_iter().collect(),
            Inner::Protobuf(parser) => parser.exemplars(),
        }
    }
}

/// Where a series' name and labels stand in a text.
#[derive(Debug, Default)]
struct Spans {
    name: Option<(usize, usize)>,
    pairs: Vec<[usize; 4]>,
}

impl Spans {
    fn clear(&mut self) {
        self.name = None;
        self.pairs.clear();
    }

    /// Name and labels. Bounds of classic buckets and quantiles are written in one way, so that each is one series.
    fn labels<'a>(&self, scanner: &scan::Scanner<'a>, kind: Kind) -> Result<LabelPairs<'a>, ParseError> {
        let text = |from: usize, until: usize| -> Result<Cow<'a, str>, ParseError> {
            let bytes = scanner.slice(from, until);
            let text = std::str::from_utf8(bytes).map_err(|_| {
                let name = xebec_promql::number::quoted_bytes(bytes);
                ParseError(format!("invalid metric name or label names: {name}"))
            })?;
            Ok(scan::unescaped(text, true))
        };
        let mut labels = LabelPairs::with_capacity(self.pairs.len() + 1);
        let (from, until) = self.name.unwrap_or_default();
        labels.push((METRIC_NAME.into(), text(from, until)?));
        for &[name_from, name_until, from, until] in &self.pairs {
            let (name, value) = (text(name_from, name_until)?, text(from, until)?);
            let is_number = matches!((kind, &*name), (Kind::Summary, "quantile") | (Kind::Histogram, "le"));
            let number = if is_number { scan::number(value.as_bytes()).ok() } else { None };
            labels.push((name, number.map_or(value, |number| open_metrics_number(number).into())));
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests;
