//! Moves samples from the head into blocks, merges blocks, and forgets what is too old.
//!
//! Each step leaves a whole database wherever it is interrupted: a block counts once it has its name; the head forgets
//! its samples, and the log is cut, only then; blocks that were merged go only when the merged one stands, which names
//! them so that a start removes them.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use super::{Db, LATE, RetentionRule, WAL};
use crate::{
    Block, BlockWriter, Chunk, Compaction, Error, Interval, Parent, Result, Series, Ulid,
    block::tombstones::sync_directory,
    chunk::encode,
    head::{Snapshot, series::CHUNK_SAMPLES},
    series::Merge,
    wal::{checkpoint, record, record::Record},
};

/// A block is written anew when so much of a hundred of its series have deleted spans.
const DELETED_PERCENT: u64 = 5;
/// So many blocks of one size make one of the next.
const STEP: i64 = 3;

/// A line between what was there and what came later, in the head and in the log.
#[derive(Debug)]
struct Cut {
    snapshot: Snapshot,
    /// The last segment of before.
    segment: u64,
}

/// What a compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Blocks that were written, from the head or by merging.
    pub written: Vec<Ulid>,
    /// Blocks that were removed: merged, emptied, or too old.
    pub removed: Vec<Ulid>,
}

impl Db {
    /// Does what is due at a time, in milliseconds: moves what is old enough from the head into blocks, merges blocks,
    /// and forgets what is past its retention. To be called every minute or so.
    pub fn compact(&self, now: i64) -> Result<Compacted> {
        let _alone = self.shared.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = Compacted::default();
        // What is newer may still be written to.
        let range = self.shared.options.block_range;
        self.flush_heads(now, &mut done, |begin, end| begin.saturating_add(range / 2 * 3) < end)?;
        self.flush_late(now, &mut done)?;
        while self.merge_once(now, &mut done)? {}
        self.retain(now, &mut done)?;
        Ok(done)
    }

    /// Moves everything from the head into blocks, as for a snapshot or before a database is handed over.
    pub fn flush(&self, now: i64) -> Result<Compacted> {
        let _alone = self.shared.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = Compacted::default();
        self.flush_heads(now, &mut done, |begin, end| begin <= end)?;
        self.flush_late(now, &mut done)?;
        Ok(done)
    }

    /// Moves the oldest block's span of time out of the head for as long as it is due, which its first and the head's last
    /// sample tell.
    fn flush_heads(&self, now: i64, done: &mut Compacted, is_due: impl Fn(i64, i64) -> bool) -> Result<()> {
        let range = self.shared.options.block_range;
        loop {
            let span = self.shared.head.span();
            let begin = span.min.max(self.shared.head.min_valid());
            if span.min > span.max || !is_due(begin, span.max) {
                return Ok(());
            }
            let start = begin.div_euclid(range) * range;
            self.flush_head(Interval { min: start, max: start + range - 1 }, now, done)?;
        }
    }

    /// One block's span of time from the head.
    fn flush_head(&self, span: Interval, now: i64, done: &mut Compacted) -> Result<()> {
        // Nothing older than the span's end is taken in order from here on.
        let cut = self.cut(Some(span.max + 1))?;
        self.flush_before(&cut, span.min, now, done)?;
        self.flush_span(&cut, span, now, None, done)?;
        self.forget(span.max + 1, &cut)
    }

    /// Out-of-order samples that belong to spans of time which have blocks already: more blocks beside those, which
    /// merging then brings together.
    fn flush_late(&self, now: i64, done: &mut Compacted) -> Result<()> {
        let end = self.shared.head.min_valid();
        if self.shared.head.span().min >= end {
            return Ok(());
        }
        let cut = self.cut(None)?;
        self.flush_before(&cut, end, now, done)?;
        self.forget(end, &cut)
    }

    fn flush_before(&self, cut: &Cut, end: i64, now: i64, done: &mut Compacted) -> Result<()> {
        let range = self.shared.options.block_range;
        let begin = self.shared.head.span().min;
        let mut start = begin.div_euclid(range) * range;
        while start < end && begin < end {
            let span = Interval { min: start, max: (start + range - 1).min(end - 1) };
            self.flush_span(cut, span, now, Some(LATE.into()), done)?;
            start += range;
        }
        Ok(())
    }

    /// Draws a line between what a block will have and what comes later.
    fn cut(&self, min_valid: Option<i64>) -> Result<Cut> {
        let head = &self.shared.head;
        self.shared.committer.pause(|log| {
            min_valid.into_iter().for_each(|time| head.set_min_valid(time));
            Ok(Cut { snapshot: head.snapshot(), segment: log.next_segment()? })
        })
    }

    fn flush_span(
        &self,
        cut: &Cut,
        span: Interval,
        now: i64,
        hint: Option<String>,
        done: &mut Compacted,
    ) -> Result<()> {
        let series = cut.snapshot.select(&[], span)?;
        let symbols: Vec<Arc<str>> = self.shared.head.index().symbols().collect();
        let ulid = Ulid::new(now.max(0) as u64);
        let hints = hint.into_iter().collect();
        let from = Compaction { level: 1, sources: vec![ulid], hints, ..Compaction::default() };
        if self.write_block(ulid, span, symbols, [series.into_iter().map(Ok)], Some(from))? {
            done.written.push(ulid);
        }
        Ok(())
    }

    /// Writes a block of what is in a span of time, unless that is nothing, and opens it.
    fn write_block<I: Iterator<Item = Result<Series>>>(
        &self,
        ulid: Ulid,
        span: Interval,
        symbols: Vec<Arc<str>>,
        inputs: impl IntoIterator<Item = I>,
        from: Option<Compaction>,
    ) -> Result<bool> {
        let directory = &self.shared.directory;
        let mut writer = BlockWriter::create(directory, ulid, span, symbols)?;
        for series in Merge::new(inputs) {
            let series = series?;
            let chunks = chunks_within(&series, span)?;
            if !chunks.is_empty() {
                writer.push(&series.labels, &chunks)?;
            }
        }
        if writer.stats().num_samples == 0 {
            return Ok(false);
        }
        let block = Arc::new(Block::open(&writer.finish(from)?)?);
        let mut blocks = self.shared.blocks.write().unwrap_or_else(PoisonError::into_inner);
        blocks.push(block);
        blocks.sort_by_key(|block| (block.meta().min_time, block.meta().ulid));
        Ok(true)
    }

    /// Makes head and log forget what blocks have: the samples before a time that were there at the cut.
    fn forget(&self, time: i64, cut: &Cut) -> Result<()> {
        let head = &self.shared.head;
        self.shared.committer.pause(|_| {
            head.truncate(time, &cut.snapshot);
            self.shared.generation.fetch_add(1, Ordering::AcqRel);
            Ok(())
        })?;
        let min_valid = head.min_valid();
        let needed = |sample_time: i64| sample_time >= min_valid;
        checkpoint(&self.shared.directory.join(WAL), cut.segment, &[record::min_valid(min_valid)], |record| {
            let index = head.index();
            match record {
                Record::Series(mut series) => {
                    series.retain(|(number, _)| index.knows(*number));
                    not_empty(series, |series| record::series(&series))
                }
                Record::Samples(mut samples) => {
                    samples.retain(|(number, sample)| needed(sample.time) && index.knows(*number));
                    record::samples_of(samples, false)
                }
                Record::Late(mut samples) => {
                    samples.retain(|(number, sample)| sample.time >= time && index.knows(*number));
                    record::samples_of(samples, true)
                }
                Record::Tombstones(mut deleted) => {
                    deleted.retain(|(number, span)| needed(span.max) && index.knows(*number));
                    not_empty(deleted, |deleted| record::tombstones(&deleted))
                }
                Record::Exemplars(mut exemplars) => {
                    exemplars.retain(|(number, exemplar)| needed(exemplar.time) && index.knows(*number));
                    not_empty(exemplars, |exemplars| record::exemplars(&exemplars))
                }
                Record::Metadata(mut metadata) => {
                    metadata.retain(|(number, _)| index.knows(*number));
                    not_empty(metadata, |metadata| record::metadata(&metadata))
                }
                Record::MinValid(_) | Record::Commit | Record::Other => Vec::new(),
            }
        })
    }

    /// Merges the blocks that are due first. Tells whether there were any.
    fn merge_once(&self, now: i64, done: &mut Compacted) -> Result<bool> {
        let blocks = self.blocks();
        let chosen = overlapping(&blocks)
            .or_else(|| self.of_one_level(&blocks))
            .or_else(|| much_deleted(&blocks).map(|block| vec![block]));
        let Some(chosen) = chosen else { return Ok(false) };
        let span = Interval {
            min: chosen.iter().map(|block| block.meta().min_time).min().unwrap_or(0),
            max: chosen.iter().map(|block| block.meta().max_time).max().unwrap_or(0).saturating_sub(1),
        };
        let mut symbols: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut inputs = Vec::new();
        for block in &chosen {
            for symbol in block.symbols()? {
                let symbol = symbol?;
                if !symbols.contains(symbol) {
                    symbols.insert(symbol.into());
                }
            }
            inputs.push(block.select(&[], Interval::ALL)?);
        }
        let metas: Vec<_> = chosen.iter().map(|block| block.meta()).collect();
        let sources: BTreeSet<Ulid> =
            metas.iter().flat_map(|meta| meta.compaction.sources.iter().copied()).collect();
        let late = metas.iter().all(|meta| meta.compaction.hints.iter().any(|hint| hint == LATE));
        let from = Compaction {
            level: metas.iter().map(|meta| meta.compaction.level).max().unwrap_or(0) + 1,
            sources: sources.into_iter().collect(),
            parents: metas
                .iter()
                .map(|meta| Parent { ulid: meta.ulid, min_time: meta.min_time, max_time: meta.max_time })
                .collect(),
            hints: if late { vec![LATE.into()] } else { Vec::new() },
            ..Compaction::default()
        };
        let ulid = Ulid::new(now.max(0) as u64);
        if self.write_block(ulid, span, symbols.into_iter().collect(), inputs, Some(from))? {
            done.written.push(ulid);
        }
        self.remove(&chosen, done)?;
        Ok(true)
    }

    /// Blocks that together fill a span of the next size, the newest block aside.
    fn of_one_level(&self, blocks: &[Arc<Block>]) -> Option<Vec<Arc<Block>>> {
        let (_, older) = blocks.split_last()?;
        let mut size = self.shared.options.block_range.checked_mul(STEP)?;
        while size <= self.shared.options.longest_block {
            let within = |block: &Arc<Block>| {
                let meta = block.meta();
                let start = meta.min_time.div_euclid(size) * size;
                (meta.max_time <= start + size && meta.max_time - meta.min_time < size).then_some(start)
            };
            for run in older.chunk_by(|a, b| within(a).is_some() && within(a) == within(b)) {
                let end = within(&run[0]).map(|start| start + size);
                // The span must be over: the newest block begins behind it.
                let over = blocks.last().is_some_and(|last| Some(last.meta().min_time) >= end);
                if run.len() > 1 && over {
                    return Some(run.to_vec());
                }
            }
            size = size.checked_mul(STEP)?;
        }
        None
    }

    /// Takes blocks out of use, and their files with them.
    fn remove(&self, gone: &[Arc<Block>], done: &mut Compacted) -> Result<()> {
        let ulids: Vec<Ulid> = gone.iter().map(|block| block.meta().ulid).collect();
        let mut blocks = self.shared.blocks.write().unwrap_or_else(PoisonError::into_inner);
        blocks.retain(|block| !ulids.contains(&block.meta().ulid));
        drop(blocks);
        for block in gone {
            // Queries that have the files open read on.
            remove_block(block.directory())?;
        }
        done.removed.extend(ulids);
        Ok(())
    }

    /// Forgets what is past its retention.
    fn retain(&self, now: i64, done: &mut Compacted) -> Result<()> {
        let options = &self.shared.options;
        let mut blocks = self.blocks();
        let mut gone = Vec::new();
        if let Some(keep) = options.retention {
            let oldest = now.saturating_sub(keep);
            gone.extend(blocks.extract_if(.., |block| block.meta().max_time <= oldest));
        }
        if let Some(most) = options.retention_bytes {
            let mut bytes = 0;
            // From the newest back: what does not fit goes with all that is older.
            let fits = blocks.iter().rev().take_while(|block| {
                bytes += block.bytes();
                bytes <= most
            });
            let kept = fits.count();
            gone.extend(blocks.drain(..blocks.len() - kept));
        }
        self.remove(&gone, done)?;
        for RetentionRule { matchers, keep } in &options.retention_rules {
            // In steps, so that blocks are not changed each time.
            let range = options.block_range;
            let old =
                Interval { min: i64::MIN, max: now.saturating_sub(*keep).div_euclid(range) * range - 1 };
            for block in blocks.iter().filter(|block| block.meta().interval().overlaps(old)) {
                block.delete(matchers, old)?;
            }
        }
        Ok(())
    }
}

fn not_empty<T>(entries: Vec<T>, encode: impl FnOnce(Vec<T>) -> Vec<u8>) -> Vec<Vec<u8>> {
    if entries.is_empty() { Vec::new() } else { vec![encode(entries)] }
}

/// Takes a block's name away and then its files, so that a half-removed block is never taken for a whole.
pub(crate) fn remove_block(directory: &Path) -> Result<()> {
    let mut gone = directory.to_owned();
    gone.as_mut_os_string().push(".tmp-for-deletion");
    fs::rename(directory, &gone).map_err(Error::io(directory))?;
    if let Some(parent) = directory.parent() {
        sync_directory(parent)?;
    }
    fs::remove_dir_all(&gone).map_err(Error::io(&gone))
}

/// The chunks of a series in a span: as they are where they lie within it one behind the other, else made anew.
fn chunks_within(series: &Series, span: Interval) -> Result<Vec<(i64, i64, Chunk)>> {
    let mut parts: Vec<_> = series.parts.iter().collect();
    parts.sort_by_key(|part| part.span.min);
    let apart = parts.windows(2).all(|two| two[0].span.max < two[1].span.min);
    let whole = parts.iter().all(|part| {
        span.covers(part.span) && !part.deleted.iter().any(|deleted| deleted.overlaps(part.span))
    });
    if apart && whole {
        return parts.into_iter().map(|part| Ok((part.span.min, part.span.max, part.load()?))).collect();
    }
    let samples: Vec<_> = series.samples(span).collect::<Result<_>>()?;
    Ok(encode(samples, CHUNK_SAMPLES))
}

/// The first blocks that overlap.
fn overlapping(blocks: &[Arc<Block>]) -> Option<Vec<Arc<Block>>> {
    let mut run: Vec<Arc<Block>> = Vec::new();
    let mut end = i64::MIN;
    for block in blocks {
        if !run.is_empty() && block.meta().min_time >= end {
            if run.len() > 1 {
                break;
            }
            run.clear();
        }
        end = end.max(block.meta().max_time);
        run.push(Arc::clone(block));
    }
    (run.len() > 1).then_some(run)
}

/// A block whose chunks hold much that is deleted.
fn much_deleted(blocks: &[Arc<Block>]) -> Option<Arc<Block>> {
    let much = |block: &&Arc<Block>| {
        let deleted = block.deleted();
        deleted > 0 && deleted * 100 >= block.meta().stats.num_series * DELETED_PERCENT
    };
    blocks.iter().find(much).cloned()
}
