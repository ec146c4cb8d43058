//! The delimited protobuf format: messages `io.prometheus.client.MetricFamily`, each behind its length.
//!
//! A family is opened by its name, help and type; its metrics are read one by one, and each becomes the series that the
//! text formats would have, or a native histogram.

use std::borrow::Cow;

use xebec_promql::number::{open_metrics as open_metrics_number, quoted};
use xebec_tsdb::{CounterReset, METRIC_NAME, Value};

use super::{
    Entry, Kind, LabelPairs, ParseError, ParsedExemplar, ParserOptions,
    wire::{Reader, broken},
};

mod messages;

use messages::{Data, Exemplar, Histogram, Metric, NativeBuckets};

/// What of a family is told before its metrics, last first.
type Waiting<'a> = Vec<Entry<'a>>;

#[derive(Debug)]
pub(super) struct ProtobufParser<'a> {
    body: Reader<'a>,
    options: ParserOptions,
    waiting: Waiting<'a>,
    name: &'a str,
    kind: Kind,
    metrics: std::vec::IntoIter<&'a [u8]>,
    metric: Metric<'a>,
    /// What of the metric is told next.
    part: Part,
    labels: LabelPairs<'a>,
    key: Vec<u8>,
    exemplars: Vec<ParsedExemplar<'a>>,
}

/// A part of a metric that is a sample of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Native,
    Count,
    Sum,
    /// A quantile or a bucket.
    One(usize),
    /// There is nothing left of it.
    Done,
}

impl<'a> ProtobufParser<'a> {
    pub(super) fn new(body: &'a [u8], options: ParserOptions) -> Self {
        Self {
            body: Reader(body),
            options,
            waiting: Vec::new(),
            name: "",
            kind: Kind::Unknown,
            metrics: Vec::new().into_iter(),
            metric: Metric::default(),
            part: Part::Done,
            labels: Vec::new(),
            key: Vec::new(),
            exemplars: Vec::new(),
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn labels(&self) -> LabelPairs<'a> {
        self.labels.clone()
    }

    pub(super) fn exemplars(&self) -> Vec<ParsedExemplar<'a>> {
        self.exemplars.clone()
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        loop {
            if let Some(entry) = self.waiting.pop() {
                return Ok(Some(entry));
            }
            if self.part != Part::Done {
                return self.sample().map(Some);
            }
            if let Some(metric) = self.metrics.next() {
                self.metric = Metric::read(metric)?;
                self.part = self.first_part()?;
            } else if self.body.0.is_empty() {
                return Ok(None);
            } else {
                self.family()?;
            }
        }
    }

    /// Opens the next family.
    fn family(&mut self) -> Result<(), ParseError> {
        let length = self.body.varint()?;
        let mut family = Reader(self.body.take(length)?);
        let (mut name, mut help, mut unit, mut kind) = ("", "", "", 0);
        let mut metrics = Vec::new();
        while let Some((number, field)) = family.field()? {
            match number {
                1 => name = field.text()?,
                2 => help = field.text()?,
                3 => kind = field.number()?,
                4 => metrics.push(field.bytes()?),
                5 => unit = field.text()?,
                _ => {}
            }
        }
        if metrics.is_empty() {
            return Ok(());
        }
        if name.is_empty() {
            return Err(ParseError("invalid metric name: ".to_owned()));
        }
        self.kind = match kind {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Summary,
            3 => Kind::Unknown,
            4 => Kind::Histogram,
            5 => Kind::GaugeHistogram,
            _ => {
                let name = quoted(name);
                return Err(ParseError(format!("unknown metric type for metric {name}: {kind}")));
            }
        };
        self.name = name;
        self.metrics = metrics.into_iter();
        let family: Cow<'a, str> = name.into();
        self.waiting.push(Entry::Type { family: family.clone(), kind: self.kind });
        if !unit.is_empty() {
            self.waiting.push(Entry::Unit { family: family.clone(), unit: unit.into() });
        }
        self.waiting.push(Entry::Help { family, text: help.into() });
        Ok(())
    }

    fn is_histogram(&self) -> bool {
        matches!(self.kind, Kind::Histogram | Kind::GaugeHistogram)
    }

    fn first_part(&self) -> Result<Part, ParseError> {
        if !self.is_histogram() {
            return Ok(if self.kind == Kind::Summary { Part::Count } else { Part::One(0) });
        }
        let histogram = self.metric.histogram();
        if !self.options.native_histograms || !histogram.is_native() {
            return Ok(Part::Count);
        }
        for (side, buckets) in [("positive", &histogram.positive), ("negative", &histogram.negative)] {
            let (spanned, has) = (buckets.spanned(), buckets.len(histogram.is_float()));
            if spanned != has as u64 {
                let name = quoted(self.name);
                return Err(ParseError(format!(
                    "histogram {name}: {side} side: spans require {spanned} buckets, have {has}"
                )));
            }
        }
        Ok(Part::Native)
    }

    /// Tells the part that is due.
    fn sample(&mut self) -> Result<Entry<'a>, ParseError> {
        let part = self.part;
        self.exemplars.clear();
        let (suffix, label, value) = match part {
            Part::Native => {
                let histogram = self.metric.histogram();
                let found: Vec<&Exemplar<'a>> = match histogram.exemplars.is_empty() {
                    false => histogram.exemplars.iter().collect(),
                    true => histogram.buckets.iter().filter_map(|bucket| bucket.exemplar.as_ref()).collect(),
                };
                let timed = found.into_iter().filter(|exemplar| exemplar.time.is_some());
                let told = timed.map(Exemplar::parsed).collect();
                let value = native(histogram, self.kind == Kind::GaugeHistogram)?;
                self.exemplars = told;
                ("", None, value)
            }
            Part::Count => ("_count", None, self.metric.count().into()),
            Part::Sum => ("_sum", None, self.metric.sum().into()),
            Part::One(at) if self.is_histogram() => {
                let histogram = self.metric.histogram();
                let (bound, value) = match histogram.buckets.get(at) {
                    None => (f64::INFINITY, histogram.count_of()),
                    Some(bucket) => {
                        self.exemplars.extend(bucket.exemplar.as_ref().map(Exemplar::parsed));
                        (bucket.bound, bucket.count())
                    }
                };
                ("_bucket", Some(("le", open_metrics_number(bound))), value.into())
            }
            Part::One(at) => match &self.metric.data {
                Data::Summary { quantiles, .. } => {
                    let (quantile, value) = quantiles.get(at).copied().unwrap_or_default();
                    ("", Some(("quantile", open_metrics_number(quantile))), value.into())
                }
                Data::Counter(value, exemplar) => {
                    self.exemplars.extend(exemplar.as_ref().map(Exemplar::parsed));
                    ("", None, (*value).into())
                }
                data => ("", None, data.plain().into()),
            },
            Part::Done => return Err(broken("a metric has no more parts")),
        };
        self.name_series(suffix, label);
        self.part = self.next_part(part);
        // A time of zero is none: the format cannot tell them apart.
        Ok(Entry::Sample { time: Some(self.metric.time).filter(|&time| time != 0), value })
    }

    fn next_part(&self, part: Part) -> Part {
        match (part, &self.metric.data) {
            (Part::Native, _) => {
                let again = self.options.classic_too && !self.metric.histogram().buckets.is_empty();
                if again { Part::Count } else { Part::Done }
            }
            (Part::Count, _) => Part::Sum,
            (Part::Sum, Data::Summary { quantiles, .. }) if quantiles.is_empty() => Part::Done,
            (Part::Sum, _) => Part::One(0),
            (Part::One(at), Data::Summary { quantiles, .. }) if at + 1 < quantiles.len() => Part::One(at + 1),
            (Part::One(at), Data::Histogram(histogram)) => match histogram.buckets.get(at) {
                // The last bucket is told even if it is not there.
                Some(bucket) if bucket.bound != f64::INFINITY => Part::One(at + 1),
                _ => Part::Done,
            },
            _ => Part::Done,
        }
    }

    fn name_series(&mut self, suffix: &str, label: Option<(&'static str, String)>) {
        let name: Cow<'a, str> = match suffix {
            "" => self.name.into(),
            _ => format!("{}{suffix}", self.name).into(),
        };
        self.labels.clear();
        self.labels.push((METRIC_NAME.into(), name));
        self.labels.extend(self.metric.labels.iter().map(|&(name, value)| (name.into(), value.into())));
        self.labels.extend(label.map(|(name, value)| (name.into(), value.into())));
        self.key.clear();
        for (name, value) in &self.labels {
            // No UTF-8 has this byte.
            for text in [name, value] {
                self.key.push(0xff);
                self.key.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// A native histogram with absolute counts.
fn native(histogram: &Histogram<'_>, is_gauge: bool) -> Result<Value, ParseError> {
    let counter_reset = if is_gauge { CounterReset::Gauge } else { CounterReset::Unknown };
    let mut layout = xebec_tsdb::Layout {
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        ..Default::default()
    };
    let sum = histogram.sum;
    if histogram.is_float() {
        let (positive_spans, positive) = compact(&histogram.positive, &histogram.positive.counts);
        let (negative_spans, negative) = compact(&histogram.negative, &histogram.negative.counts);
        (layout.positive_spans, layout.negative_spans) = (positive_spans, negative_spans);
        return Ok(xebec_tsdb::FloatHistogram {
            counter_reset,
            layout: layout.into(),
            count: histogram.count_float,
            zero_count: histogram.zero_count_float,
            sum,
            positive,
            negative,
        }
        .into());
    }
    let (positive_spans, positive) = compact(&histogram.positive, &histogram.positive.absolute()?);
    let (negative_spans, negative) = compact(&histogram.negative, &histogram.negative.absolute()?);
    (layout.positive_spans, layout.negative_spans) = (positive_spans, negative_spans);
    Ok(xebec_tsdb::Histogram {
        counter_reset,
        layout: layout.into(),
        count: histogram.count,
        zero_count: histogram.zero_count,
        sum,
        positive,
        negative,
    }
    .into())
}

/// Spans and counts without what is empty.
fn compact<N: xebec_tsdb::Number>(buckets: &NativeBuckets, counts: &[N]) -> (Vec<xebec_tsdb::Span>, Vec<N>) {
    let mut spans: Vec<xebec_tsdb::Span> = Vec::new();
    let mut kept = Vec::with_capacity(counts.len());
    let mut counts = counts.iter();
    // The bucket that would lie behind the last one that was kept, counted from zero, and where we are.
    let (mut behind, mut at) = (0i32, 0i32);
    for span in &buckets.spans {
        at = at.wrapping_add(span.offset);
        for _ in 0..span.length {
            let Some(&count) = counts.next() else { break };
            if count.to_f64() != 0.0 {
                match spans.last_mut() {
                    Some(last) if at == behind => last.length += 1,
                    _ => spans.push(xebec_tsdb::Span { offset: at.wrapping_sub(behind), length: 1 }),
                }
                kept.push(count);
                behind = at.wrapping_add(1);
            }
            at = at.wrapping_add(1);
        }
    }
    (spans, kept)
}
