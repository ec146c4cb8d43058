//! Chunks of native histograms, of whole observations and of fractions alike.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    bits::{BitReader, BitWriter, Xor},
    layout::{self, ResetHeader},
    spans::{merge, shrinks, spread},
    xor::count,
};
use crate::{
    Error, Result,
    histogram::{CounterReset, HistogramOf, Layout, Number, buckets_of, same_floats},
    sample::is_stale,
};

/// Number of samples, and the reset header.
const HEADER: usize = 3;

/// How a kind of count is written: first as it is, then as a difference.
pub(crate) trait Encoded: Number {
    /// What has to be known of the count before.
    type State: Copy + std::fmt::Debug + Send + Sync;

    fn first_count(out: &mut BitWriter, value: Self) -> Self::State;
    fn next_count(state: &mut Self::State, out: &mut BitWriter, value: Self);
    /// The count of a stale sample, which nobody will read.
    fn stale_count(state: &mut Self::State, out: &mut BitWriter);
    /// A bucket beside the one before it in the same histogram.
    fn first_bucket(out: &mut BitWriter, before: Self, value: Self) -> Self::State;
    fn next_bucket(state: &mut Self::State, out: &mut BitWriter, before: Self, value: Self);

    fn read_first_count(input: &mut BitReader) -> Result<Self::State>;
    fn read_first_bucket(input: &mut BitReader) -> Result<Self::State>;
    fn read_next(state: &mut Self::State, input: &mut BitReader) -> Result<()>;
    fn count(state: &Self::State) -> Self;
    fn bucket(state: &Self::State, before: Self) -> Self;
}

/// A whole number that is written as the change of its change.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dod {
    value: i64,
    delta: i64,
}

impl Dod {
    fn write(&mut self, out: &mut BitWriter, value: i64) {
        let delta = value.wrapping_sub(self.value);
        out.varbit(delta.wrapping_sub(self.delta));
        *self = Self { value, delta };
    }

    fn read(&mut self, input: &mut BitReader) -> Result<()> {
        self.delta = self.delta.wrapping_add(input.varbit()?);
        self.value = self.value.wrapping_add(self.delta);
        Ok(())
    }
}

impl Encoded for u64 {
    type State = Dod;

    fn first_count(out: &mut BitWriter, value: Self) -> Dod {
        out.varbit_unsigned(value);
        Dod { value: value as i64, delta: 0 }
    }

    fn next_count(state: &mut Dod, out: &mut BitWriter, value: Self) {
        state.write(out, value as i64);
    }

    fn stale_count(_: &mut Dod, out: &mut BitWriter) {
        out.varbit(0);
    }

    fn first_bucket(out: &mut BitWriter, before: Self, value: Self) -> Dod {
        let value = value.wrapping_sub(before) as i64;
        out.varbit(value);
        Dod { value, delta: 0 }
    }

    fn next_bucket(state: &mut Dod, out: &mut BitWriter, before: Self, value: Self) {
        state.write(out, value.wrapping_sub(before) as i64);
    }

    fn read_first_count(input: &mut BitReader) -> Result<Dod> {
        Ok(Dod { value: input.varbit_unsigned()? as i64, delta: 0 })
    }

    fn read_first_bucket(input: &mut BitReader) -> Result<Dod> {
        Ok(Dod { value: input.varbit()?, delta: 0 })
    }

    fn read_next(state: &mut Dod, input: &mut BitReader) -> Result<()> {
        state.read(input)
    }

    fn count(state: &Dod) -> Self {
        state.value as u64
    }

    fn bucket(state: &Dod, before: Self) -> Self {
        before.wrapping_add(state.value as u64)
    }
}

impl Encoded for f64 {
    type State = Xor;

    fn first_count(out: &mut BitWriter, value: Self) -> Xor {
        out.bits(value.to_bits(), 64);
        Xor::first(value)
    }

    fn next_count(state: &mut Xor, out: &mut BitWriter, value: Self) {
        state.write(out, value);
    }

    fn stale_count(state: &mut Xor, out: &mut BitWriter) {
        state.write(out, 0.0);
    }

    fn first_bucket(out: &mut BitWriter, _: Self, value: Self) -> Xor {
        Self::first_count(out, value)
    }

    fn next_bucket(state: &mut Xor, out: &mut BitWriter, _: Self, value: Self) {
        state.write(out, value);
    }

    fn read_first_count(input: &mut BitReader) -> Result<Xor> {
        Ok(Xor::first(input.f64()?))
    }

    fn read_first_bucket(input: &mut BitReader) -> Result<Xor> {
        Self::read_first_count(input)
    }

    fn read_next(state: &mut Xor, input: &mut BitReader) -> Result<()> {
        state.read(input)
    }

    fn count(state: &Xor) -> Self {
        state.value
    }

    fn bucket(state: &Xor, _: Self) -> Self {
        state.value
    }
}

/// The numbers of a chunk as they were at its newest sample.
#[derive(Clone, Debug)]
struct Numbers<N: Encoded> {
    layout: Arc<Layout>,
    time: i64,
    delta: i64,
    count: N::State,
    zero_count: N::State,
    sum: Xor,
    positive: Vec<N::State>,
    negative: Vec<N::State>,
}

impl<N: Encoded> Numbers<N> {
    fn counts(states: &[N::State]) -> Vec<N> {
        let mut before = N::default();
        let each = states.iter().map(|state| {
            before = N::bucket(state, before);
            before
        });
        each.collect()
    }

    fn histogram(&self, counter_reset: CounterReset) -> HistogramOf<N> {
        if is_stale(self.sum.value) {
            return HistogramOf::stale();
        }
        HistogramOf {
            counter_reset,
            layout: Arc::clone(&self.layout),
            count: N::count(&self.count),
            zero_count: N::count(&self.zero_count),
            sum: self.sum.value,
            positive: Self::counts(&self.positive),
            negative: Self::counts(&self.negative),
        }
    }
}

/// The sample does not go into this chunk: begin another, with this said of counter resets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut(pub(crate) ResetHeader);

/// An open chunk of histograms.
#[derive(Clone, Debug)]
pub(crate) struct HistogramWriter<N: Encoded> {
    bits: BitWriter,
    numbers: Option<Numbers<N>>,
}

impl<N: Encoded> HistogramWriter<N> {
    /// With what is known of a counter reset at its beginning; the first sample may know better.
    pub(crate) fn new(header: ResetHeader) -> Self {
        Self { bits: BitWriter::after(&[0, 0, header.to_byte()]), numbers: None }
    }

    pub(crate) fn count(&self) -> u16 {
        count(self.bits.bytes())
    }

    pub(crate) fn bits(&self) -> &BitWriter {
        &self.bits
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bits.into_bytes()
    }

    /// The newest sample.
    pub(crate) fn last(&self) -> Option<(i64, HistogramOf<N>)> {
        self.numbers.as_ref().map(|numbers| (numbers.time, numbers.histogram(CounterReset::Unknown)))
    }

    /// Bytes beside the chunk's own that it takes in memory.
    pub(crate) fn overhead(&self) -> usize {
        let states = self.numbers.as_ref().map_or(0, |n| n.positive.capacity() + n.negative.capacity());
        states * size_of::<N::State>() + size_of::<Layout>()
    }

    fn header(&self) -> ResetHeader {
        ResetHeader::from_byte(self.bits.bytes()[2])
    }

    /// Appends, laying out the whole chunk anew where the histogram has buckets that the chunk has not.
    pub(crate) fn push(&mut self, time: i64, histogram: &HistogramOf<N>) -> Result<(), Cut> {
        let Some(numbers) = &self.numbers else {
            let header = match histogram.counter_reset {
                CounterReset::Gauge => ResetHeader::Gauge,
                CounterReset::Reset => ResetHeader::Reset,
                CounterReset::Unknown | CounterReset::NotReset => self.header(),
            };
            self.bits.header()[2] = header.to_byte();
            self.append(time, histogram);
            return Ok(());
        };
        let gauge = histogram.counter_reset == CounterReset::Gauge;
        if gauge != (self.header() == ResetHeader::Gauge) {
            return Err(Cut(if gauge { ResetHeader::Gauge } else { ResetHeader::Unknown }));
        }
        if histogram.counter_reset == CounterReset::Reset {
            return Err(Cut(ResetHeader::Reset));
        }
        if histogram.is_stale() {
            self.append(time, histogram);
            return Ok(());
        }
        if let Some(header) = incompatible(numbers, histogram, gauge) {
            return Err(Cut(header));
        }
        let (ours, theirs) = (Arc::clone(&numbers.layout), &histogram.layout);
        if ours.positive_spans == theirs.positive_spans && ours.negative_spans == theirs.negative_spans {
            self.append(time, histogram);
            return Ok(());
        }
        let positive = merge(&ours.positive_spans, &theirs.positive_spans);
        let negative = merge(&ours.negative_spans, &theirs.negative_spans);
        let wider = Arc::new(Layout {
            positive_spans: positive.spans,
            negative_spans: negative.spans,
            ..Layout::clone(&ours)
        });
        let lay = |histogram: &HistogramOf<N>, positive: &[usize], negative: &[usize]| HistogramOf {
            layout: Arc::clone(&wider),
            positive: spread(&histogram.positive, positive, &wider.positive_spans),
            negative: spread(&histogram.negative, negative, &wider.negative_spans),
            ..histogram.clone()
        };
        let fits = |ours: &[usize], spans| ours.len() as u64 == buckets_of(spans);
        if !fits(&positive.left, &wider.positive_spans) || !fits(&negative.left, &wider.negative_spans) {
            let mut again = Self::new(self.header());
            for (time, old) in samples::<N>(self.bits.bytes()) {
                again.append(
                    time,
                    &if old.is_stale() { old } else { lay(&old, &positive.left, &negative.left) },
                );
            }
            *self = again;
        }
        self.append(time, &lay(histogram, &positive.right, &negative.right));
        Ok(())
    }

    /// Appends what is known to have the chunk's layout.
    fn append(&mut self, time: i64, histogram: &HistogramOf<N>) {
        let out = &mut self.bits;
        let stale = histogram.is_stale();
        let (positive, negative): (&[N], &[N]) =
            if stale { (&[], &[]) } else { (&histogram.positive, &histogram.negative) };
        match &mut self.numbers {
            None => {
                let layout = if stale { Arc::default() } else { Arc::clone(&histogram.layout) };
                layout::write(out, &layout);
                out.varbit(time);
                let zero = N::default();
                let count = N::first_count(out, if stale { zero } else { histogram.count });
                let zero_count = N::first_count(out, if stale { zero } else { histogram.zero_count });
                out.bits(histogram.sum.to_bits(), 64);
                let mut first = |buckets: &[N]| -> Vec<N::State> {
                    let before = std::iter::once(zero).chain(buckets.iter().copied());
                    before
                        .zip(buckets)
                        .map(|(before, &bucket)| N::first_bucket(out, before, bucket))
                        .collect()
                };
                let (positive, negative) = (first(positive), first(negative));
                let sum = Xor::first(histogram.sum);
                self.numbers =
                    Some(Numbers { layout, time, delta: 0, count, zero_count, sum, positive, negative });
            }
            Some(numbers) => {
                let delta = time.wrapping_sub(numbers.time);
                out.varbit(delta.wrapping_sub(numbers.delta));
                (numbers.time, numbers.delta) = (time, delta);
                if stale {
                    N::stale_count(&mut numbers.count, out);
                    N::stale_count(&mut numbers.zero_count, out);
                } else {
                    N::next_count(&mut numbers.count, out, histogram.count);
                    N::next_count(&mut numbers.zero_count, out, histogram.zero_count);
                }
                numbers.sum.write(out, histogram.sum);
                let sides = [(&mut numbers.positive, positive), (&mut numbers.negative, negative)];
                for (states, buckets) in sides {
                    let mut before = N::default();
                    for (state, &bucket) in states.iter_mut().zip(buckets) {
                        N::next_bucket(state, out, before, bucket);
                        before = bucket;
                    }
                }
            }
        }
        let count = self.count() + 1;
        self.bits.header()[..2].copy_from_slice(&count.to_be_bytes());
    }
}

/// Why a histogram cannot follow in a chunk, if it cannot: what the next chunk says of it.
fn incompatible<N: Encoded>(
    numbers: &Numbers<N>,
    histogram: &HistogramOf<N>,
    gauge: bool,
) -> Option<ResetHeader> {
    let (ours, theirs) = (&numbers.layout, &histogram.layout);
    let otherwise = |header| Some(if gauge { ResetHeader::Gauge } else { header });
    if is_stale(numbers.sum.value) {
        return otherwise(ResetHeader::Unknown);
    }
    if !gauge && histogram.count < N::count(&numbers.count) {
        return Some(ResetHeader::Reset);
    }
    let same_zero = ours.zero_threshold.to_bits() == theirs.zero_threshold.to_bits();
    if ours.schema != theirs.schema || !same_zero {
        return otherwise(ResetHeader::Unknown);
    }
    if !same_floats(&ours.custom_values, &theirs.custom_values) {
        return otherwise(ResetHeader::Reset);
    }
    if gauge {
        return None;
    }
    let (positive, negative) =
        (Numbers::<N>::counts(&numbers.positive), Numbers::<N>::counts(&numbers.negative));
    let reset = histogram.zero_count < N::count(&numbers.zero_count)
        || shrinks((&ours.positive_spans, &positive), (&theirs.positive_spans, &histogram.positive))
        || shrinks((&ours.negative_spans, &negative), (&theirs.negative_spans, &histogram.negative));
    reset.then_some(ResetHeader::Reset)
}

/// The samples of a chunk that this process wrote.
fn samples<N: Encoded>(chunk: &[u8]) -> impl Iterator<Item = (i64, HistogramOf<N>)> {
    let mut reader = HistogramReader::<N>::new(&Bytes::copy_from_slice(chunk)).ok();
    std::iter::from_fn(move || reader.as_mut()?.next().ok()?)
}

/// Reads a chunk of histograms.
#[derive(Clone, Debug)]
pub(crate) struct HistogramReader<N: Encoded> {
    bits: BitReader,
    header: ResetHeader,
    total: u16,
    done: u16,
    numbers: Option<Numbers<N>>,
}

impl<N: Encoded> HistogramReader<N> {
    pub(crate) fn new(chunk: &Bytes) -> Result<Self> {
        if chunk.len() < HEADER {
            return Err(Error::corrupt("histogram chunk", "it is shorter than its header"));
        }
        let (bits, header) = (BitReader::new(chunk.slice(HEADER..)), ResetHeader::from_byte(chunk[2]));
        Ok(Self { bits, header, total: count(chunk), done: 0, numbers: None })
    }

    pub(crate) fn next(&mut self) -> Result<Option<(i64, HistogramOf<N>)>> {
        if self.done == self.total {
            return Ok(None);
        }
        let numbers = match &mut self.numbers {
            Some(numbers) => {
                advance(numbers, &mut self.bits)?;
                numbers
            }
            none => none.insert(begin(&mut self.bits)?),
        };
        self.done += 1;
        let reset = match self.header {
            ResetHeader::Gauge => CounterReset::Gauge,
            // A reset begins a chunk.
            _ if self.done > 1 => CounterReset::NotReset,
            ResetHeader::Reset => CounterReset::Reset,
            // Whether there was none is known of the chunk before, which may be gone.
            ResetHeader::NotReset | ResetHeader::Unknown => CounterReset::Unknown,
        };
        Ok(Some((numbers.time, numbers.histogram(reset))))
    }
}

fn begin<N: Encoded>(input: &mut BitReader) -> Result<Numbers<N>> {
    let layout = layout::read(input)?;
    let time = input.varbit()?;
    let count = N::read_first_count(input)?;
    let zero_count = N::read_first_count(input)?;
    let sum = Xor::first(input.f64()?);
    let mut side = |spans| (0..buckets_of(spans)).map(|_| N::read_first_bucket(input)).collect::<Result<_>>();
    let (positive, negative) = (side(&layout.positive_spans)?, side(&layout.negative_spans)?);
    Ok(Numbers { layout: Arc::new(layout), time, delta: 0, count, zero_count, sum, positive, negative })
}

fn advance<N: Encoded>(numbers: &mut Numbers<N>, input: &mut BitReader) -> Result<()> {
    numbers.delta = numbers.delta.wrapping_add(input.varbit()?);
    numbers.time = numbers.time.wrapping_add(numbers.delta);
    N::read_next(&mut numbers.count, input)?;
    N::read_next(&mut numbers.zero_count, input)?;
    numbers.sum.read(input)?;
    if is_stale(numbers.sum.value) {
        return Ok(());
    }
    for state in numbers.positive.iter_mut().chain(&mut numbers.negative) {
        N::read_next(state, input)?;
    }
    Ok(())
}
