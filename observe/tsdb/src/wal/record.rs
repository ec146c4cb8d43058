//! What the log holds: Prometheus's records (`wal.md`), and two of our own whose types it skips.

use std::sync::Arc;

use crate::{
    CUSTOM_BUCKETS, CounterReset, Error, Exemplar, HistogramOf, Interval, Labels, Layout, Metadata, Number,
    Result, Sample, Span, Value,
    head::Batch,
    wire::{Reader, put_str, put_uvarint, put_varint},
};

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const TOMBSTONES: u8 = 3;
const EXEMPLARS: u8 = 4;
const METADATA: u8 = 6;
const HISTOGRAMS: u8 = 7;
const FLOAT_HISTOGRAMS: u8 = 8;
const CUSTOM_HISTOGRAMS: u8 = 9;
const CUSTOM_FLOAT_HISTOGRAMS: u8 = 10;
const MIN_VALID: u8 = 14;
/// What came before it, back to the one before, is a whole transaction.
const COMMIT: u8 = 0xC0;
/// A record of samples, behind this byte, that came out of order.
const LATE: u8 = 0xC1;

/// So many entries make one record.
const MOST_ENTRIES: usize = 5_000;

/// A record that was read.
#[derive(Debug)]
pub(crate) enum Record {
    Series(Vec<(u32, Labels)>),
    Samples(Vec<(u32, Sample)>),
    Late(Vec<(u32, Sample)>),
    Tombstones(Vec<(u32, Interval)>),
    Exemplars(Vec<(u32, Exemplar)>),
    Metadata(Vec<(u32, Metadata)>),
    /// Samples before it are in blocks.
    MinValid(i64),
    Commit,
    /// Of a type that means nothing here.
    Other,
}

pub(crate) fn commit() -> Vec<u8> {
    vec![COMMIT]
}

pub(crate) fn min_valid(time: i64) -> Vec<u8> {
    let mut out = vec![MIN_VALID];
    out.extend_from_slice(&time.to_be_bytes());
    out
}

pub(crate) fn series(series: &[(u32, Labels)]) -> Vec<u8> {
    let mut out = vec![SERIES];
    for (number, labels) in series {
        out.extend_from_slice(&u64::from(*number).to_be_bytes());
        put_labels(&mut out, labels);
    }
    out
}

pub(crate) fn tombstones(deleted: &[(u32, Interval)]) -> Vec<u8> {
    let mut out = vec![TOMBSTONES];
    for (number, span) in deleted {
        out.extend_from_slice(&u64::from(*number).to_be_bytes());
        put_varint(&mut out, span.min);
        put_varint(&mut out, span.max);
    }
    out
}

pub(crate) fn metadata(all: &[(u32, Metadata)]) -> Vec<u8> {
    let mut out = vec![METADATA];
    for (number, metadata) in all {
        put_uvarint(&mut out, u64::from(*number));
        out.push(metadata.kind);
        out.push(2);
        for (name, text) in [("UNIT", &metadata.unit), ("HELP", &metadata.help)] {
            put_str(&mut out, name);
            put_str(&mut out, text);
        }
    }
    out
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    put_uvarint(out, labels.len() as u64);
    // The label set lies in memory as the record has it.
    out.extend_from_slice(labels.as_bytes());
}

/// Number and time of the first entry, against which the others are written.
fn base(out: &mut Vec<u8>, number: u32, time: i64) -> impl Fn(&mut Vec<u8>, u32, i64) + use<> {
    out.extend_from_slice(&u64::from(number).to_be_bytes());
    out.extend_from_slice(&time.to_be_bytes());
    move |out, other, at| {
        put_varint(out, i64::from(other) - i64::from(number));
        put_varint(out, at.wrapping_sub(time));
    }
}

pub(crate) fn exemplars(all: &[(u32, Exemplar)]) -> Vec<u8> {
    let mut out = vec![EXEMPLARS];
    let Some((number, first)) = all.first() else { return out };
    let entry = base(&mut out, *number, first.time);
    for (number, exemplar) in all {
        entry(&mut out, *number, exemplar.time);
        out.extend_from_slice(&exemplar.value.to_bits().to_be_bytes());
        put_labels(&mut out, &exemplar.labels);
    }
    out
}

fn sample_type(value: &Value) -> u8 {
    let custom = |layout: &Layout| layout.schema == CUSTOM_BUCKETS;
    match value {
        Value::Float(_) => SAMPLES,
        Value::Histogram(histogram) if custom(&histogram.layout) => CUSTOM_HISTOGRAMS,
        Value::Histogram(_) => HISTOGRAMS,
        Value::FloatHistogram(histogram) if custom(&histogram.layout) => CUSTOM_FLOAT_HISTOGRAMS,
        Value::FloatHistogram(_) => FLOAT_HISTOGRAMS,
    }
}

/// Records of samples: runs of one kind, each in its own record.
fn samples(all: &[(u32, Sample)], late: bool, records: &mut Vec<Vec<u8>>) {
    for run in all.chunk_by(|a, b| sample_type(&a.1.value) == sample_type(&b.1.value)) {
        for part in run.chunks(MOST_ENTRIES) {
            let Some((number, first)) = part.first() else { continue };
            let mut out = Vec::with_capacity(18 + 14 * part.len());
            if late {
                out.push(LATE);
            }
            out.push(sample_type(&first.value));
            let entry = base(&mut out, *number, first.time);
            for (number, sample) in part {
                entry(&mut out, *number, sample.time);
                match &sample.value {
                    Value::Float(value) => out.extend_from_slice(&value.to_bits().to_be_bytes()),
                    Value::Histogram(histogram) => put_histogram(&mut out, histogram),
                    Value::FloatHistogram(histogram) => put_histogram(&mut out, histogram),
                }
            }
            records.push(out);
        }
    }
}

/// Records of samples that stay in a checkpoint.
pub(crate) fn samples_of(all: Vec<(u32, Sample)>, late: bool) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    samples(&all, late, &mut records);
    records
}

/// The records of a transaction but for its series and its end.
pub(crate) fn batch(batch: &Batch) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for part in batch.metadata.chunks(MOST_ENTRIES) {
        records.push(metadata(part));
    }
    samples(&batch.samples, false, &mut records);
    samples(&batch.late, true, &mut records);
    for part in batch.exemplars.chunks(MOST_ENTRIES) {
        records.push(exemplars(part));
    }
    records
}

/// How the log writes counts.
trait Logged: Number {
    fn put_count(self, out: &mut Vec<u8>);
    fn count(reader: &mut Reader<'_>) -> Result<Self>;
    fn put_bucket(self, before: Self, out: &mut Vec<u8>);
    fn bucket(before: Self, reader: &mut Reader<'_>) -> Result<Self>;
}

impl Logged for u64 {
    fn put_count(self, out: &mut Vec<u8>) {
        put_uvarint(out, self);
    }

    fn count(reader: &mut Reader<'_>) -> Result<Self> {
        reader.uvarint()
    }

    fn put_bucket(self, before: Self, out: &mut Vec<u8>) {
        put_varint(out, self.wrapping_sub(before) as i64);
    }

    fn bucket(before: Self, reader: &mut Reader<'_>) -> Result<Self> {
        Ok(before.wrapping_add(reader.varint()? as u64))
    }
}

impl Logged for f64 {
    fn put_count(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bits().to_be_bytes());
    }

    fn count(reader: &mut Reader<'_>) -> Result<Self> {
        reader.f64()
    }

    fn put_bucket(self, _: Self, out: &mut Vec<u8>) {
        self.put_count(out);
    }

    fn bucket(_: Self, reader: &mut Reader<'_>) -> Result<Self> {
        reader.f64()
    }
}

fn put_histogram<N: Logged>(out: &mut Vec<u8>, histogram: &HistogramOf<N>) {
    let layout = &histogram.layout;
    out.push(match histogram.counter_reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    });
    put_varint(out, layout.schema.into());
    layout.zero_threshold.put_count(out);
    histogram.zero_count.put_count(out);
    histogram.count.put_count(out);
    histogram.sum.put_count(out);
    for spans in [&layout.positive_spans, &layout.negative_spans] {
        put_uvarint(out, spans.len() as u64);
        for span in spans {
            put_varint(out, span.offset.into());
            put_uvarint(out, span.length.into());
        }
    }
    for buckets in [&histogram.positive, &histogram.negative] {
        put_uvarint(out, buckets.len() as u64);
        let mut before = N::default();
        for &bucket in buckets {
            bucket.put_bucket(before, out);
            before = bucket;
        }
    }
    if layout.schema == CUSTOM_BUCKETS {
        put_uvarint(out, layout.custom_values.len() as u64);
        for bound in &layout.custom_values {
            bound.put_count(out);
        }
    }
}

fn histogram<N: Logged>(reader: &mut Reader<'_>) -> Result<HistogramOf<N>> {
    let counter_reset = match reader.u8()? {
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    };
    let narrow = |value: i64, reader: &Reader<'_>| {
        i32::try_from(value).map_err(|_| reader.fault("a number is longer than 32 bits"))
    };
    let schema = reader.varint()?;
    let schema = narrow(schema, reader)?;
    let zero_threshold = reader.f64()?;
    let zero_count = N::count(reader)?;
    let count = N::count(reader)?;
    let sum = reader.f64()?;
    let mut spans = || {
        let count = reader.uvarint()?;
        let mut spans = Vec::with_capacity(reader.count(count, 2)?);
        for _ in 0..count {
            let offset = reader.varint()?;
            spans.push(Span { offset: narrow(offset, reader)?, length: reader.uvarint32()? });
        }
        Ok::<_, Error>(spans)
    };
    let (positive_spans, negative_spans) = (spans()?, spans()?);
    let mut buckets = || {
        let count = reader.uvarint()?;
        let mut buckets = Vec::with_capacity(reader.count(count, 1)?);
        let mut before = N::default();
        for _ in 0..count {
            before = N::bucket(before, reader)?;
            buckets.push(before);
        }
        Ok::<_, Error>(buckets)
    };
    let (positive, negative) = (buckets()?, buckets()?);
    let mut custom_values = Vec::new();
    if schema == CUSTOM_BUCKETS {
        let count = reader.uvarint()?;
        for _ in 0..reader.count(count, 8)? {
            custom_values.push(reader.f64()?);
        }
    }
    let layout = Arc::new(Layout { schema, zero_threshold, positive_spans, negative_spans, custom_values });
    let histogram = HistogramOf { counter_reset, layout, count, zero_count, sum, positive, negative };
    histogram.validate()?;
    Ok(histogram)
}

fn number(wide: u64, reader: &Reader<'_>) -> Result<u32> {
    u32::try_from(wide).map_err(|_| reader.fault("a series has a number over 32 bits"))
}

fn labels(reader: &mut Reader<'_>) -> Result<Labels> {
    let count = reader.uvarint()?;
    let mut pairs = Vec::with_capacity(reader.count(count, 2)?);
    for _ in 0..count {
        pairs.push((reader.str()?, reader.str()?));
    }
    Labels::new(pairs)
}

/// Entries that are written against the first one's number and time.
fn entries<T>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>, i64) -> Result<T>,
) -> Result<Vec<(u32, T)>> {
    let mut entries = Vec::new();
    if reader.is_empty() {
        return Ok(entries);
    }
    let (base, time) = (reader.u64()?, reader.i64()?);
    while !reader.is_empty() {
        let wide = base.wrapping_add(reader.varint()? as u64);
        let at = time.wrapping_add(reader.varint()?);
        entries.push((number(wide, reader)?, read(reader, at)?));
    }
    Ok(entries)
}

fn decode_samples(kind: u8, reader: &mut Reader<'_>) -> Result<Vec<(u32, Sample)>> {
    entries(reader, |reader, time| {
        let value = match kind {
            SAMPLES => reader.f64()?.into(),
            HISTOGRAMS | CUSTOM_HISTOGRAMS => histogram::<u64>(reader)?.into(),
            _ => histogram::<f64>(reader)?.into(),
        };
        Ok(Sample { time, value })
    })
}

impl Record {
    /// Reads a record whole.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "record of the write-ahead log");
        let is_samples = |kind| matches!(kind, SAMPLES | HISTOGRAMS..=CUSTOM_FLOAT_HISTOGRAMS);
        Ok(match reader.u8()? {
            SERIES => {
                let mut series = Vec::new();
                while !reader.is_empty() {
                    let wide = reader.u64()?;
                    series.push((number(wide, &reader)?, labels(&mut reader)?));
                }
                Self::Series(series)
            }
            kind if is_samples(kind) => Self::Samples(decode_samples(kind, &mut reader)?),
            LATE => match reader.u8()? {
                kind if is_samples(kind) => Self::Late(decode_samples(kind, &mut reader)?),
                _ => return Err(reader.fault("it is late but has no samples")),
            },
            TOMBSTONES => {
                let mut deleted = Vec::new();
                while !reader.is_empty() {
                    let wide = reader.u64()?;
                    let span = Interval { min: reader.varint()?, max: reader.varint()? };
                    deleted.push((number(wide, &reader)?, span));
                }
                Self::Tombstones(deleted)
            }
            EXEMPLARS => Self::Exemplars(entries(&mut reader, |reader, time| {
                Ok(Exemplar { time, value: reader.f64()?, labels: labels(reader)? })
            })?),
            METADATA => Self::Metadata(decode_metadata(&mut reader)?),
            MIN_VALID => Self::MinValid(reader.i64()?),
            COMMIT => Self::Commit,
            _ => Self::Other,
        })
    }
}

fn decode_metadata(reader: &mut Reader<'_>) -> Result<Vec<(u32, Metadata)>> {
    let mut all = Vec::new();
    while !reader.is_empty() {
        let wide = reader.uvarint()?;
        let mut metadata = Metadata { kind: reader.u8()?, ..Metadata::default() };
        let fields = reader.uvarint()?;
        for _ in 0..reader.count(fields, 2)? {
            let (name, text) = (reader.str()?, reader.str()?);
            match name {
                "UNIT" => metadata.unit = text.to_owned(),
                "HELP" => metadata.help = text.to_owned(),
                _ => {}
            }
        }
        all.push((number(wide, reader)?, metadata));
    }
    Ok(all)
}
