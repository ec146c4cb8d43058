//! The samples of one series in the head.

use bytes::Bytes;

use crate::{
    Chunk, Encoding, Error, Interval, Result, Sample, Value,
    chunk::{ChunkWriter, Push, encode},
    interval::insert,
    series::{Part, Place},
};

/// A chunk is closed with so many samples, as Prometheus does.
pub(crate) const CHUNK_SAMPLES: usize = 120;
/// Histograms close theirs by size, but not below some samples.
const CHUNK_BYTES: usize = 1024;
const LEAST_SAMPLES: u16 = 10;
/// Out-of-order samples wait for so many to be encoded together.
const OUT_OF_ORDER_SAMPLES: usize = 32;

/// What decides whether a sample is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// In-order samples before it are refused.
    pub(crate) min_valid: i64,
    /// The newest sample of the head.
    pub(crate) max_time: i64,
    /// How far behind the newest sample out-of-order ones are taken; zero is not at all.
    pub(crate) window: i64,
    /// Chunks do not reach over multiples of it.
    pub(crate) range: i64,
}

/// Where a sample goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    InOrder,
    OutOfOrder,
    /// It is there already.
    Known,
}

/// A closed chunk.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) span: Interval,
    pub(crate) encoding: Encoding,
    pub(crate) data: Bytes,
}

/// Transactions with how many samples each brought. Few series have any: a thin pointer stands for it.
#[derive(Debug, Default)]
struct Older(Vec<(u64, u32)>);

/// Deleted spans of time, which few series have.
#[derive(Debug, Default)]
struct Deleted(Vec<Interval>);

/// A series' samples in memory.
#[derive(Debug, Default)]
pub(crate) struct MemSeries {
    closed: Vec<Closed>,
    open: Option<(i64, ChunkWriter)>,
    /// The transactions of the newest samples, as far back as a query may not see all of them.
    newest: (u64, u32),
    older: Option<Box<Older>>,
    out_of_order: Option<Box<OutOfOrder>>,
    deleted: Option<Box<Deleted>>,
}

#[derive(Debug, Default)]
struct OutOfOrder {
    /// In the order of time, each with its transaction.
    waiting: Vec<(Sample, u64)>,
    closed: Vec<Closed>,
}

impl MemSeries {
    /// Where a sample would go, or why it is refused.
    pub(crate) fn course(&self, time: i64, value: &Value, bounds: &Bounds) -> Result<Course> {
        if time >= bounds.min_valid {
            match self.open.as_ref().and_then(|(_, writer)| writer.last()) {
                None => return Ok(Course::InOrder),
                Some(last) if time > last.time => return Ok(Course::InOrder),
                Some(last) if time == last.time => {
                    return if last.value == *value {
                        Ok(Course::Known)
                    } else {
                        Err(Error::DuplicateSample)
                    };
                }
                Some(_) => {}
            }
        }
        if bounds.window > 0 {
            let oldest = bounds.max_time.saturating_sub(bounds.window);
            return if time >= oldest { Ok(Course::OutOfOrder) } else { Err(Error::TooOldSample) };
        }
        Err(if time < bounds.min_valid { Error::OutOfBounds } else { Error::OutOfOrderSample })
    }

    /// Takes a sample of a transaction. Transactions up to `seen` are visible to every query.
    pub(crate) fn append(&mut self, sample: Sample, tx: u64, seen: u64, bounds: &Bounds) -> Result<Course> {
        let course = self.course(sample.time, &sample.value, bounds)?;
        match course {
            Course::Known => {}
            Course::OutOfOrder => self.append_out_of_order(sample, tx, seen)?,
            Course::InOrder => {
                self.note(tx, seen);
                self.push(sample, bounds.range);
            }
        }
        Ok(course)
    }

    fn push(&mut self, sample: Sample, range: i64) {
        let Some((first, writer)) = &mut self.open else {
            self.open = Some((sample.time, ChunkWriter::new(sample.time, &sample.value)));
            return;
        };
        let full = usize::from(writer.count()) >= CHUNK_SAMPLES
            || writer.bytes().len() >= CHUNK_BYTES && writer.count() >= LEAST_SAMPLES
            || first.div_euclid(range) != sample.time.div_euclid(range);
        let last = writer.last().map_or(*first, |last| last.time);
        let next = if full {
            Push::Next(ChunkWriter::new(sample.time, &sample.value))
        } else {
            writer.push(sample.time, &sample.value)
        };
        if let Push::Next(next) = next
            && let Some((first, writer)) = self.open.replace((sample.time, next))
        {
            let (encoding, mut data) = writer.finish();
            data.shrink_to_fit();
            self.closed.reserve_exact(1);
            self.closed.push(Closed {
                span: Interval { min: first, max: last },
                encoding,
                data: data.into(),
            });
        }
    }

    /// Hides the samples of a span of time.
    pub(crate) fn delete(&mut self, span: Interval) {
        if self.span().is_some_and(|own| own.overlaps(span)) {
            insert(&mut self.deleted.get_or_insert_default().0, span);
        }
    }

    fn note(&mut self, tx: u64, seen: u64) {
        if let Some(older) = &mut self.older {
            older.0.retain(|(tx, _)| *tx > seen);
            if older.0.is_empty() {
                self.older = None;
            }
        }
        if self.newest.0 == tx {
            self.newest.1 += 1;
            return;
        }
        if self.newest.0 > seen {
            self.older.get_or_insert_default().0.push(self.newest);
        }
        self.newest = (tx, 1);
    }

    fn append_out_of_order(&mut self, sample: Sample, tx: u64, seen: u64) -> Result<()> {
        let late = self.out_of_order.get_or_insert_default();
        match late.waiting.binary_search_by_key(&sample.time, |(sample, _)| sample.time) {
            Ok(at) if late.waiting[at].0.value == sample.value => return Ok(()),
            Ok(_) => return Err(Error::DuplicateSample),
            Err(at) => late.waiting.insert(at, (sample, tx)),
        }
        if late.waiting.len() >= OUT_OF_ORDER_SAMPLES && late.waiting.iter().all(|(_, tx)| *tx <= seen) {
            let samples = std::mem::take(&mut late.waiting).into_iter().map(|(sample, _)| sample);
            late.closed.extend(close(samples));
        }
        Ok(())
    }

    /// How many of the newest samples a query may not see.
    fn hidden(&self, visible: u64) -> usize {
        let all = self.older.iter().flat_map(|older| older.0.iter()).chain([&self.newest]);
        all.filter(|(tx, _)| *tx > visible).map(|(_, count)| *count as usize).sum()
    }

    /// Its chunks within a span of time, as a query sees them that sees transactions up to `visible`.
    pub(crate) fn parts(&self, within: Interval, visible: u64) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut hidden = self.hidden(visible);
        if let Some((first, writer)) = &self.open {
            let last = writer.last().map_or(*first, |last| last.time);
            let count = usize::from(writer.count());
            let shown = count - hidden.min(count);
            hidden -= count - shown;
            if shown > 0 {
                let mut data = writer.bytes().to_vec();
                data[..2].copy_from_slice(&(shown as u16).to_be_bytes());
                let chunk = Chunk { encoding: writer.encoding(), data: data.into() };
                parts.push((Interval { min: *first, max: last }, chunk));
            }
        }
        for closed in self.closed.iter().rev() {
            let mut chunk = Chunk { encoding: closed.encoding, data: closed.data.clone() };
            let shown = chunk.len() - hidden.min(chunk.len());
            if hidden > 0 && shown > 0 {
                let mut data = chunk.data.to_vec();
                data[..2].copy_from_slice(&(shown as u16).to_be_bytes());
                hidden -= chunk.len() - shown;
                chunk.data = data.into();
            } else if shown == 0 {
                hidden -= chunk.len();
                continue;
            }
            parts.push((closed.span, chunk));
        }
        parts.reverse();
        if let Some(late) = &self.out_of_order {
            let stored = late.closed.iter().cloned();
            let seen = late.waiting.iter().filter(|(_, tx)| *tx <= visible).map(|(sample, _)| sample.clone());
            let chunks = stored.chain(close(seen));
            parts.extend(
                chunks.map(|closed| (closed.span, Chunk { encoding: closed.encoding, data: closed.data })),
            );
        }
        let deleted: std::sync::Arc<[Interval]> =
            self.deleted.as_ref().map_or(&[][..], |deleted| deleted.0.as_slice()).into();
        let each = parts.into_iter().filter(|(span, _)| span.overlaps(within));
        each.map(|(span, chunk)| Part { span, place: Place::Memory(chunk), deleted: deleted.clone() })
            .collect()
    }

    /// Forgets the samples before a time of transactions up to `visible`, which a running query sees. Of later ones,
    /// only out-of-order samples are that old, and those are not in closed chunks before the query ends.
    pub(crate) fn truncate(&mut self, time: i64, visible: u64) {
        self.closed.retain(|closed| closed.span.max >= time);
        self.closed.shrink_to_fit();
        let ended =
            self.open.as_ref().is_some_and(|(_, writer)| writer.last().is_none_or(|last| last.time < time));
        if ended {
            self.open = None;
        }
        if let Some(out_of_order) = &mut self.out_of_order {
            out_of_order.closed.retain(|closed| closed.span.max >= time);
            out_of_order.waiting.retain(|(sample, tx)| sample.time >= time || *tx > visible);
            if out_of_order.closed.is_empty() && out_of_order.waiting.is_empty() {
                self.out_of_order = None;
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_none() && self.out_of_order.is_none()
    }

    /// The times of its samples.
    pub(crate) fn span(&self) -> Option<Interval> {
        let open = self.open.as_ref().map(|(first, writer)| Interval {
            min: *first,
            max: writer.last().map_or(*first, |last| last.time),
        });
        let late = self.out_of_order.iter().flat_map(|late| {
            let waiting =
                late.waiting.iter().map(|(sample, _)| Interval { min: sample.time, max: sample.time });
            late.closed.iter().map(|closed| closed.span).chain(waiting)
        });
        let all = self.closed.iter().map(|closed| closed.span).chain(open).chain(late);
        all.reduce(|a, b| Interval { min: a.min.min(b.min), max: a.max.max(b.max) })
    }

    pub(crate) fn chunks(&self) -> usize {
        self.closed.len() + usize::from(self.open.is_some())
    }

    /// Bytes that its samples take in memory.
    pub(crate) fn heap(&self) -> usize {
        let closed: usize = self.closed.iter().map(|closed| closed.data.len()).sum();
        let open = self.open.as_ref().map_or(0, |(_, writer)| writer.heap());
        closed + open + self.closed.capacity() * size_of::<Closed>()
    }
}

fn close(samples: impl IntoIterator<Item = Sample>) -> impl Iterator<Item = Closed> {
    encode(samples, CHUNK_SAMPLES).into_iter().map(|(min, max, chunk)| Closed {
        span: Interval { min, max },
        encoding: chunk.encoding,
        data: chunk.data,
    })
}
