//! Which series there are and where their chunks lie (`index.md`).

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use reader::IndexReader;
pub(crate) use writer::IndexWriter;

const MAGIC: u32 = 0xBAAA_D700;
const VERSION: u8 = 2;

/// A chunk as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkMeta {
    pub(crate) min_time: i64,
    pub(crate) max_time: i64,
    /// Where it lies in the chunk files.
    pub(crate) reference: u64,
}

/// What selects series: the lists of a block's index file, or of the head.
pub(crate) trait LabelIndex {
    /// All series.
    fn all(&self) -> crate::Result<Vec<u32>>;

    /// The series that have a label at one of some values, which ascend.
    fn series_with(&self, name: &str, values: &[&str]) -> crate::Result<Vec<u32>>;

    /// Calls back with each value of a label, ascending, until it says to stop by `false`. With `from`, values
    /// before it may be left out.
    fn each_value(&self, name: &str, from: &str, visit: &mut dyn FnMut(&str) -> bool) -> crate::Result<()>;

    /// The names of labels, ascending.
    fn names(&self) -> crate::Result<Vec<String>>;
}
