//! Blocks: directories that hold the samples of a span of time and do not change, as Prometheus has them.

pub(crate) mod meta;
mod segment;
pub(crate) mod tombstones;
mod ulid;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

pub use meta::{BlockMeta, BlockStats, Compaction, Parent};
pub(crate) use segment::SegmentReader;
pub use ulid::Ulid;
pub use writer::BlockWriter;

use crate::{
    Interval, Labels, Matcher, Result, Series,
    index::{ChunkMeta, IndexReader, LabelIndex as _},
    matcher::{all_values, select},
    series::Part,
    source::{FileSource, Source},
};
use tombstones::Tombstones;

const CHUNKS: &str = "chunks";
const INDEX: &str = "index";

/// A block that is open to read.
#[derive(Debug)]
pub struct Block {
    directory: PathBuf,
    meta: BlockMeta,
    index: Arc<IndexReader>,
    segments: Arc<SegmentReader>,
    tombstones: RwLock<Arc<Tombstones>>,
    bytes: u64,
}

impl Block {
    /// Opens the block in a directory.
    pub fn open(directory: &Path) -> Result<Self> {
        let meta = BlockMeta::read(directory)?;
        let index = FileSource::open(&directory.join(INDEX))?;
        let segments = SegmentReader::open(&directory.join(CHUNKS))?;
        let bytes = index.len() + segments.bytes();
        let tombstones = RwLock::new(Arc::new(Tombstones::read(directory)?));
        Ok(Self {
            directory: directory.to_owned(),
            meta,
            index: Arc::new(IndexReader::open(Arc::new(index))?),
            segments: Arc::new(segments),
            tombstones,
            bytes,
        })
    }

    /// What it says of itself.
    pub fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What its index and chunks take on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every string of every label, ascending.
    pub(crate) fn symbols(&self) -> Result<impl Iterator<Item = Result<&str>>> {
        self.index.each_symbol()
    }

    fn tombstones(&self) -> Arc<Tombstones> {
        Arc::clone(&self.tombstones.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many deleted spans its chunks still hold.
    pub fn deleted(&self) -> u64 {
        self.tombstones().len()
    }

    /// The series that fulfil all matchers and have chunks within a span of time, by their labels.
    pub fn select(
        self: &Arc<Self>,
        matchers: &[Matcher],
        within: Interval,
    ) -> Result<impl Iterator<Item = Result<Series>> + Send + use<>> {
        let numbers = select(self.index.as_ref(), matchers)?;
        let mut cursor = self.index.cursor()?;
        let block = Arc::clone(self);
        let tombstones = self.tombstones();
        Ok(numbers.into_iter().filter_map(move |number| {
            let (labels, chunks) = match cursor.read(number) {
                Ok(read) => read,
                Err(error) => return Some(Err(error)),
            };
            let parts = block.parts(&chunks, within, tombstones.of(number));
            (!parts.is_empty()).then(|| Ok(Series { labels, parts }))
        }))
    }

    fn parts(&self, chunks: &[ChunkMeta], within: Interval, deleted: &[Interval]) -> Vec<Part> {
        let deleted: Arc<[Interval]> = deleted.into();
        // A chunk ends where the next begins, if that is in the same file.
        let length = |at: usize| {
            let next = chunks.get(at + 1).map_or(0, |next| next.reference);
            next.checked_sub(chunks[at].reference).filter(|length| *length < 1 << 20).unwrap_or(1 << 9)
        };
        let each = chunks.iter().enumerate();
        each.filter(|(_, chunk)| Interval { min: chunk.min_time, max: chunk.max_time }.overlaps(within))
            .map(|(at, chunk)| Part::stored(&self.segments, chunk, length(at) as usize, &deleted))
            .collect()
    }

    /// Marks samples as deleted. They are hidden at once and gone with the next compaction.
    pub(crate) fn delete(&self, matchers: &[Matcher], span: Interval) -> Result<()> {
        let numbers = select(self.index.as_ref(), matchers)?;
        let mut cursor = self.index.cursor()?;
        let mut current = self.tombstones.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Tombstones::clone(&current);
        for number in numbers {
            let (_, chunks) = cursor.read(number)?;
            if let (Some(first), Some(last)) = (chunks.first(), chunks.last()) {
                let min = span.min.max(first.min_time);
                let max = span.max.min(last.max_time);
                if min <= max {
                    changed.add(number, Interval { min, max });
                }
            }
        }
        if changed != **current {
            changed.write(&self.directory)?;
            let mut meta = self.meta.clone();
            meta.stats.num_tombstones = changed.len();
            meta.write(&self.directory)?;
            *current = Arc::new(changed);
        }
        Ok(())
    }

    /// The names of labels of series that fulfil all matchers, ascending.
    pub fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>> {
        if matchers.is_empty() {
            return self.index.names();
        }
        let mut names = std::collections::BTreeSet::new();
        self.each_label_set(matchers, |labels| {
            for (name, _) in labels {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        })?;
        Ok(names.into_iter().collect())
    }

    /// The values of a label among series that fulfil all matchers, ascending.
    pub fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>> {
        if matchers.is_empty() {
            return all_values(self.index.as_ref(), name);
        }
        let mut values = std::collections::BTreeSet::new();
        self.each_label_set(matchers, |labels| {
            let value = labels.get(name);
            if !value.is_empty() && !values.contains(value) {
                values.insert(value.to_owned());
            }
        })?;
        Ok(values.into_iter().collect())
    }

    fn each_label_set(&self, matchers: &[Matcher], mut visit: impl FnMut(&Labels)) -> Result<()> {
        let numbers = select(self.index.as_ref(), matchers)?;
        let mut cursor = self.index.cursor()?;
        for number in numbers {
            visit(&cursor.read(number)?.0);
        }
        Ok(())
    }
}
