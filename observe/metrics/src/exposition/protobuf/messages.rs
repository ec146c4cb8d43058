//! The messages of `io.prometheus.client`, as far as they are read.

use xebec_tsdb::Span;

use super::super::{
    ParseError, ParsedExemplar,
    wire::{Reader, broken},
};

/// One metric of a family.
#[derive(Debug, Default)]
pub(super) struct Metric<'a> {
    pub(super) labels: Vec<(&'a str, &'a str)>,
    pub(super) time: i64,
    pub(super) data: Data<'a>,
}

/// What it says.
#[derive(Debug)]
pub(super) enum Data<'a> {
    Plain(f64),
    Counter(f64, Option<Exemplar<'a>>),
    Summary { count: u64, sum: f64, quantiles: Vec<(f64, f64)> },
    Histogram(Histogram<'a>),
}

impl Default for Data<'_> {
    fn default() -> Self {
        Self::Plain(0.0)
    }
}

impl Data<'_> {
    pub(super) fn plain(&self) -> f64 {
        match self {
            Self::Plain(value) | Self::Counter(value, _) => *value,
            _ => 0.0,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Exemplar<'a> {
    pub(super) labels: Vec<(&'a str, &'a str)>,
    pub(super) value: f64,
    pub(super) time: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Bucket<'a> {
    cumulative: u64,
    cumulative_float: f64,
    pub(super) bound: f64,
    pub(super) exemplar: Option<Exemplar<'a>>,
}

/// Buckets of one side of a native histogram.
#[derive(Debug, Default)]
pub(super) struct NativeBuckets {
    pub(super) spans: Vec<Span>,
    /// Each relative to the one before it.
    pub(super) deltas: Vec<i64>,
    pub(super) counts: Vec<f64>,
}

#[derive(Debug, Default)]
pub(super) struct Histogram<'a> {
    pub(super) count: u64,
    pub(super) count_float: f64,
    pub(super) sum: f64,
    pub(super) buckets: Vec<Bucket<'a>>,
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: u64,
    pub(super) zero_count_float: f64,
    pub(super) positive: NativeBuckets,
    pub(super) negative: NativeBuckets,
    pub(super) exemplars: Vec<Exemplar<'a>>,
}

static EMPTY: Histogram<'static> = Histogram {
    count: 0,
    count_float: 0.0,
    sum: 0.0,
    buckets: Vec::new(),
    schema: 0,
    zero_threshold: 0.0,
    zero_count: 0,
    zero_count_float: 0.0,
    positive: NativeBuckets { spans: Vec::new(), deltas: Vec::new(), counts: Vec::new() },
    negative: NativeBuckets { spans: Vec::new(), deltas: Vec::new(), counts: Vec::new() },
    exemplars: Vec::new(),
};

fn pair(bytes: &[u8]) -> Result<(&str, &str), ParseError> {
    let mut reader = Reader(bytes);
    let (mut name, mut value) = ("", "");
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    if name.is_empty() {
        return Err(ParseError("invalid label name: ".to_owned()));
    }
    Ok((name, value))
}

impl<'a> Metric<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader(bytes);
        let mut metric = Self::default();
        while let Some((number, field)) = reader.field()? {
            match number {
                1 => metric.labels.push(pair(field.bytes()?)?),
                2 | 5 => metric.data = Data::Plain(plain(field.bytes()?)?),
                3 => metric.data = counter(field.bytes()?)?,
                4 => metric.data = summary(field.bytes()?)?,
                6 => metric.time = field.number()? as i64,
                7 => metric.data = Data::Histogram(Histogram::read(field.bytes()?)?),
                _ => {}
            }
        }
        Ok(metric)
    }

    /// Its histogram; an empty one if it has none.
    pub(super) fn histogram(&self) -> &Histogram<'a> {
        match &self.data {
            Data::Histogram(histogram) => histogram,
            _ => &EMPTY,
        }
    }

    pub(super) fn count(&self) -> f64 {
        match &self.data {
            Data::Summary { count, .. } => *count as f64,
            _ => self.histogram().count_of(),
        }
    }

    pub(super) fn sum(&self) -> f64 {
        match &self.data {
            Data::Summary { sum, .. } => *sum,
            _ => self.histogram().sum,
        }
    }
}

fn plain(bytes: &[u8]) -> Result<f64, ParseError> {
    let mut reader = Reader(bytes);
    let mut value = 0.0;
    while let Some((number, field)) = reader.field()? {
        if number == 1 {
            value = field.double()?;
        }
    }
    Ok(value)
}

fn counter(bytes: &[u8]) -> Result<Data<'_>, ParseError> {
    let mut reader = Reader(bytes);
    let (mut value, mut exemplar) = (0.0, None);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => value = field.double()?,
            2 => exemplar = Some(Exemplar::read(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(Data::Counter(value, exemplar))
}

fn summary(bytes: &[u8]) -> Result<Data<'_>, ParseError> {
    let mut reader = Reader(bytes);
    let (mut count, mut sum, mut quantiles) = (0, 0.0, Vec::new());
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => count = field.number()?,
            2 => sum = field.double()?,
            3 => {
                let mut reader = Reader(field.bytes()?);
                let (mut quantile, mut value) = (0.0, 0.0);
                while let Some((number, field)) = reader.field()? {
                    match number {
                        1 => quantile = field.double()?,
                        2 => value = field.double()?,
                        _ => {}
                    }
                }
                quantiles.push((quantile, value));
            }
            _ => {}
        }
    }
    Ok(Data::Summary { count, sum, quantiles })
}

impl<'a> Exemplar<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader(bytes);
        let mut exemplar = Self { labels: Vec::new(), value: 0.0, time: None };
        while let Some((number, field)) = reader.field()? {
            match number {
                1 => exemplar.labels.push(pair(field.bytes()?)?),
                2 => exemplar.value = field.double()?,
                3 => {
                    let mut reader = Reader(field.bytes()?);
                    let (mut seconds, mut nanos) = (0i64, 0i64);
                    while let Some((number, field)) = reader.field()? {
                        match number {
                            1 => seconds = field.number()? as i64,
                            2 => nanos = i64::from(field.number()? as i32),
                            _ => {}
                        }
                    }
                    exemplar.time = Some(seconds.wrapping_mul(1000).wrapping_add(nanos / 1_000_000));
                }
                _ => {}
            }
        }
        Ok(exemplar)
    }

    pub(super) fn parsed(&self) -> ParsedExemplar<'a> {
        let labels = self.labels.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        ParsedExemplar { labels, value: self.value, time: self.time }
    }
}

impl Bucket<'_> {
    pub(super) fn count(&self) -> f64 {
        if self.cumulative_float == 0.0 { self.cumulative as f64 } else { self.cumulative_float }
    }
}

impl NativeBuckets {
    pub(super) fn spanned(&self) -> u64 {
        self.spans.iter().map(|span| u64::from(span.length)).sum()
    }

    pub(super) fn len(&self, float: bool) -> usize {
        if float { self.counts.len() } else { self.deltas.len() }
    }

    /// The counts of whole observations. One below zero has no meaning.
    pub(super) fn absolute(&self) -> Result<Vec<u64>, ParseError> {
        let mut count = 0i64;
        let each = self.deltas.iter().map(|&delta| {
            count = count
                .checked_add(delta)
                .filter(|&count| count >= 0)
                .ok_or_else(|| broken("a bucket of a native histogram has an observation count below 0"))?;
            Ok(count as u64)
        });
        each.collect()
    }
}

fn span(bytes: &[u8]) -> Result<Span, ParseError> {
    let mut reader = Reader(bytes);
    let mut span = Span::default();
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => span.offset = field.zigzag()? as i32,
            2 => span.length = field.number()? as u32,
            _ => {}
        }
    }
    Ok(span)
}

impl<'a> Histogram<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader(bytes);
        let mut own = Self::default();
        while let Some((number, field)) = reader.field()? {
            match number {
                1 => own.count = field.number()?,
                2 => own.sum = field.double()?,
                3 => own.buckets.push(bucket(field.bytes()?)?),
                4 => own.count_float = field.double()?,
                5 => own.schema = field.zigzag()? as i32,
                6 => own.zero_threshold = field.double()?,
                7 => own.zero_count = field.number()?,
                8 => own.zero_count_float = field.double()?,
                9 => own.negative.spans.push(span(field.bytes()?)?),
                10 => field.numbers(&mut own.negative.deltas)?,
                11 => field.doubles(&mut own.negative.counts)?,
                12 => own.positive.spans.push(span(field.bytes()?)?),
                13 => field.numbers(&mut own.positive.deltas)?,
                14 => field.doubles(&mut own.positive.counts)?,
                16 => own.exemplars.push(Exemplar::read(field.bytes()?)?),
                _ => {}
            }
        }
        Ok(own)
    }

    pub(super) fn is_native(&self) -> bool {
        !self.positive.spans.is_empty()
            || !self.negative.spans.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0
    }

    pub(super) fn is_float(&self) -> bool {
        self.count_float > 0.0 || self.zero_count_float > 0.0
    }

    pub(super) fn count_of(&self) -> f64 {
        if self.count_float == 0.0 { self.count as f64 } else { self.count_float }
    }
}

fn bucket(bytes: &[u8]) -> Result<Bucket<'_>, ParseError> {
    let mut reader = Reader(bytes);
    let mut bucket = Bucket::default();
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => bucket.cumulative = field.number()?,
            2 => bucket.bound = field.double()?,
            3 => bucket.exemplar = Some(Exemplar::read(field.bytes()?)?),
            4 => bucket.cumulative_float = field.double()?,
            _ => {}
        }
    }
    Ok(bucket)
}
