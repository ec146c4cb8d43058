//! What a selection gives: series, and their samples in the order of time.

use std::sync::Arc;

use crate::{
    Chunk, ChunkReader, CounterReset, Interval, Labels, Result, Sample, Value, block::SegmentReader,
    index::ChunkMeta,
};

/// A selected series. Its chunks are read when its samples are.
#[derive(Clone, Debug)]
pub struct Series {
    /// What names it.
    pub labels: Labels,
    pub(crate) parts: Vec<Part>,
}

/// A chunk, where it is, and what of it is deleted.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) span: Interval,
    pub(crate) place: Place,
    pub(crate) deleted: Arc<[Interval]>,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Memory(Chunk),
    Stored { segments: Arc<SegmentReader>, reference: u64, hint: usize },
}

impl Part {
    pub(crate) fn stored(
        segments: &Arc<SegmentReader>,
        chunk: &ChunkMeta,
        hint: usize,
        deleted: &Arc<[Interval]>,
    ) -> Self {
        let place = Place::Stored { segments: Arc::clone(segments), reference: chunk.reference, hint };
        let span = Interval { min: chunk.min_time, max: chunk.max_time };
        Self { span, place, deleted: Arc::clone(deleted) }
    }

    pub(crate) fn load(&self) -> Result<Chunk> {
        match &self.place {
            Place::Memory(chunk) => Ok(chunk.clone()),
            Place::Stored { segments, reference, hint } => segments.chunk(*reference, *hint),
        }
    }

    fn wholly_deleted(&self) -> bool {
        self.deleted.iter().any(|deleted| deleted.covers(self.span))
    }
}

impl Series {
    /// Its samples within a span of time, each time once. Where chunks overlap, a sample of the first wins.
    pub fn samples(&self, within: Interval) -> Samples {
        let overlapping =
            self.parts.iter().filter(|part| part.span.overlaps(within) && !part.wholly_deleted());
        let mut waiting: Vec<Part> = overlapping.cloned().collect();
        // The last is the next to be opened.
        waiting.sort_by_key(|part| std::cmp::Reverse(part.span.min));
        Samples { waiting, open: Vec::new(), within, last: None, switched: false }
    }

    /// How many chunks it has.
    pub fn chunks(&self) -> usize {
        self.parts.len()
    }

    /// Adds the chunks of the same series from elsewhere.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.parts.extend(other.parts);
    }
}

/// The samples of a series. Chunks are opened when their time comes.
#[derive(Clone, Debug)]
pub struct Samples {
    waiting: Vec<Part>,
    open: Vec<Open>,
    within: Interval,
    /// Time of the newest sample given, and the chunk it came from.
    last: Option<(i64, u64)>,
    /// Whether samples of several chunks have come in turns since the last chunk was opened.
    switched: bool,
}

#[derive(Clone, Debug)]
struct Open {
    reader: ChunkReader,
    next: Sample,
    deleted: Arc<[Interval]>,
    /// Tells chunks apart.
    id: u64,
}

impl Samples {
    /// The next sample, none at the end.
    pub fn read(&mut self) -> Result<Option<Sample>> {
        self.read_from(i64::MIN)
    }

    /// The next sample that is not before `time`. Chunks that end before it are not read at all.
    pub fn read_from(&mut self, time: i64) -> Result<Option<Sample>> {
        if time > self.within.min {
            self.within.min = time;
            self.waiting.retain(|part| part.span.max >= time);
        }
        loop {
            self.open_what_is_due()?;
            let Some(at) = (0..self.open.len()).min_by_key(|&at| self.open[at].next.time) else {
                return Ok(None);
            };
            let several = self.open.len() > 1;
            let id = self.open[at].id;
            let Some(mut sample) = self.advance(at)? else { continue };
            if sample.time > self.within.max {
                self.waiting.clear();
                self.open.clear();
                return Ok(None);
            }
            if sample.time < self.within.min || self.last.is_some_and(|(last, _)| sample.time <= last) {
                continue;
            }
            self.switched |= several;
            if self.switched && self.last.is_some_and(|(_, last)| last != id) {
                forget_reset(&mut sample.value);
            }
            self.last = Some((sample.time, id));
            return Ok(Some(sample));
        }
    }

    /// Opens the chunks that may hold the next sample.
    fn open_what_is_due(&mut self) -> Result<()> {
        loop {
            let next = self.open.iter().map(|open| open.next.time).min();
            let Some(part) = self.waiting.last() else { return Ok(()) };
            if next.is_some_and(|next| next < part.span.min) {
                return Ok(());
            }
            let Some(part) = self.waiting.pop() else { return Ok(()) };
            let mut reader = part.load()?.samples()?;
            if let Some(next) = undeleted(&mut reader, &part.deleted)? {
                if self.open.is_empty() {
                    self.switched = false;
                }
                let id = self.waiting.len() as u64;
                self.open.push(Open { reader, next, deleted: part.deleted, id });
            }
        }
    }

    /// Takes the sample of an open chunk and reads the one behind it.
    fn advance(&mut self, at: usize) -> Result<Option<Sample>> {
        let Some(open) = self.open.get_mut(at) else { return Ok(None) };
        Ok(Some(match undeleted(&mut open.reader, &open.deleted)? {
            Some(next) => std::mem::replace(&mut open.next, next),
            None => self.open.remove(at).next,
        }))
    }
}

impl Iterator for Samples {
    type Item = Result<Sample>;

    fn next(&mut self) -> Option<Result<Sample>> {
        let next = self.read();
        if next.is_err() {
            self.waiting.clear();
            self.open.clear();
        }
        next.transpose()
    }
}

fn undeleted(reader: &mut ChunkReader, deleted: &[Interval]) -> Result<Option<Sample>> {
    while let Some(sample) = reader.read()? {
        if !deleted.iter().any(|span| span.contains(sample.time)) {
            return Ok(Some(sample));
        }
    }
    Ok(None)
}

/// A histogram knows of resets against the one before it in its own chunk, which is not the one before it here.
fn forget_reset(value: &mut Value) {
    let reset = match value {
        Value::Float(_) => return,
        Value::Histogram(histogram) => &mut histogram.counter_reset,
        Value::FloatHistogram(histogram) => &mut histogram.counter_reset,
    };
    if *reset != CounterReset::Gauge {
        *reset = CounterReset::Unknown;
    }
}

/// Merges selections that are each sorted by labels into one that is.
pub(crate) struct Merge<I: Iterator<Item = Result<Series>>> {
    inputs: Vec<std::iter::Peekable<I>>,
}

impl<I: Iterator<Item = Result<Series>>> Merge<I> {
    pub(crate) fn new(inputs: impl IntoIterator<Item = I>) -> Self {
        Self { inputs: inputs.into_iter().map(Iterator::peekable).collect() }
    }
}

impl<I: Iterator<Item = Result<Series>>> Iterator for Merge<I> {
    type Item = Result<Series>;

    fn next(&mut self) -> Option<Result<Series>> {
        let mut least: Option<Labels> = None;
        for input in &mut self.inputs {
            match input.peek() {
                None => {}
                Some(Err(_)) => return input.next(),
                Some(Ok(series)) if least.as_ref().is_none_or(|least| series.labels < *least) => {
                    least = Some(series.labels.clone());
                }
                Some(Ok(_)) => {}
            }
        }
        let least = least?;
        let mut merged: Option<Series> = None;
        for input in &mut self.inputs {
            if let Some(Ok(series)) =
                input.next_if(|next| next.as_ref().is_ok_and(|series| series.labels == least))
            {
                match &mut merged {
                    None => merged = Some(series),
                    Some(merged) => merged.absorb(series),
                }
            }
        }
        merged.map(Ok)
    }
}
