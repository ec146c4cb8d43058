//! Writes a block: under another name first, so that a half-written one is never taken for a whole.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    BlockMeta, BlockStats, CHUNKS, Compaction, INDEX, Ulid,
    segment::{MOST_BYTES, SegmentWriter},
    tombstones::{Tombstones, sync_directory},
};
use crate::{
    Chunk, Encoding, Error, Interval, Labels, Result,
    index::{ChunkMeta, IndexWriter},
};

/// What a block in the making is called, as Prometheus calls it: left over, it is removed at the next start.
pub(crate) const UNFINISHED: &str = ".tmp-for-creation";

/// Writes one block. Left unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct BlockWriter {
    parent: PathBuf,
    directory: PathBuf,
    index: Option<IndexWriter>,
    segments: Option<SegmentWriter>,
    meta: BlockMeta,
    finished: bool,
}

impl BlockWriter {
    /// Begins a block in the directory of blocks. `span` is the time that it covers, `symbols` are all strings of all
    /// labels that will come.
    pub fn create(
        parent: &Path,
        ulid: Ulid,
        span: Interval,
        symbols: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<Self> {
        let directory = parent.join(format!("{ulid}{UNFINISHED}"));
        fs::create_dir_all(&directory).map_err(Error::io(&directory))?;
        let meta = BlockMeta {
            ulid,
            min_time: span.min,
            max_time: span.max.saturating_add(1),
            stats: BlockStats::default(),
            compaction: Compaction { level: 1, sources: vec![ulid], ..Compaction::default() },
            version: 1,
            others: serde_json::Map::new(),
        };
        let mut writer =
            Self { parent: parent.to_owned(), directory, index: None, segments: None, meta, finished: false };
        writer.index = Some(IndexWriter::create(&writer.directory.join(INDEX), symbols)?);
        writer.segments = Some(SegmentWriter::create(&writer.directory.join(CHUNKS), MOST_BYTES)?);
        Ok(writer)
    }

    /// Adds a series with its chunks, each with its first and last time. Series come in the order of their labels,
    /// chunks in the order of time.
    pub fn push(&mut self, labels: &Labels, chunks: &[(i64, i64, Chunk)]) -> Result<()> {
        let (Some(index), Some(segments)) = (&mut self.index, &mut self.segments) else { return Ok(()) };
        let stats = &mut self.meta.stats;
        let mut metas = Vec::with_capacity(chunks.len());
        for (min_time, max_time, chunk) in chunks {
            let reference = segments.push(chunk.encoding, &chunk.data)?;
            metas.push(ChunkMeta { min_time: *min_time, max_time: *max_time, reference });
            let count = chunk.len() as u64;
            stats.num_samples += count;
            match chunk.encoding {
                Encoding::Xor => stats.num_float_samples += count,
                Encoding::Histogram | Encoding::FloatHistogram => stats.num_histogram_samples += count,
            }
        }
        stats.num_chunks += chunks.len() as u64;
        stats.num_series += 1;
        index.push(labels, &metas)
    }

    /// What is in it so far.
    pub fn stats(&self) -> &BlockStats {
        &self.meta.stats
    }

    /// Makes all of it safe and gives it its name. `compaction` says where it came from, if it was made of others.
    pub fn finish(mut self, compaction: Option<Compaction>) -> Result<PathBuf> {
        if let (Some(index), Some(segments)) = (self.index.take(), self.segments.take()) {
            segments.finish()?;
            index.finish()?;
        }
        if let Some(compaction) = compaction {
            self.meta.compaction = compaction;
        }
        Tombstones::default().write(&self.directory)?;
        self.meta.write(&self.directory)?;
        sync_directory(&self.directory.join(CHUNKS))?;
        sync_directory(&self.directory)?;
        let path = self.parent.join(self.meta.ulid.to_string());
        fs::rename(&self.directory, &path).map_err(Error::io(&path))?;
        self.finished = true;
        sync_directory(&self.parent)?;
        Ok(path)
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
