//! Writes an index file, version 2.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{ChunkMeta, MAGIC, VERSION};
use crate::{
    Error, Labels, Result,
    wire::{crc32c, put_str, put_uvarint, put_varint},
};

/// Series begin at multiples of this, and their number is their place divided by it.
const ALIGNMENT: u64 = 16;

/// Takes series in the order of their labels and writes them with what finds them.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    out: Output,
    symbols: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    /// By the symbols of name and value, whose order is that of the strings.
    postings: BTreeMap<(u32, u32), Vec<u32>>,
    all: Vec<u32>,
    last: Labels,
    symbols_at: u64,
    series_at: u64,
}

impl IndexWriter {
    /// Begins a file. `symbols` are all strings of all labels, in any order.
    pub(crate) fn create(path: &Path, symbols: impl IntoIterator<Item = Arc<str>>) -> Result<Self> {
        let mut names: Vec<Arc<str>> = symbols.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let mut out = Output::create(path)?;
        out.write(&MAGIC.to_be_bytes())?;
        out.write(&[VERSION])?;
        let symbols_at = out.at;
        write_symbols(&mut out, &names)?;
        let symbols = names.iter().zip(0..).map(|(name, number)| (Arc::clone(name), number)).collect();
        let series_at = out.at;
        Ok(Self {
            out,
            symbols,
            names,
            postings: BTreeMap::new(),
            all: Vec::new(),
            last: Labels::default(),
            symbols_at,
            series_at,
        })
    }

    /// Adds a series, whose labels come behind those of the one before.
    pub(crate) fn push(&mut self, labels: &Labels, chunks: &[ChunkMeta]) -> Result<()> {
        if !self.all.is_empty() && *labels <= self.last {
            return Err(Error::corrupt(
                "index being written",
                format!("{labels} does not follow {}", self.last),
            ));
        }
        self.out.pad(ALIGNMENT)?;
        let number = u32::try_from(self.out.at / ALIGNMENT)
            .map_err(|_| Error::Limit("an index of over 64 GiB has no format".into()))?;
        let mut entry = Vec::with_capacity(256);
        put_uvarint(&mut entry, labels.len() as u64);
        for (name, value) in labels {
            let pair = (self.symbol(name)?, self.symbol(value)?);
            put_uvarint(&mut entry, pair.0.into());
            put_uvarint(&mut entry, pair.1.into());
            self.postings.entry(pair).or_default().push(number);
        }
        write_chunks(&mut entry, chunks);
        let mut length = Vec::with_capacity(5);
        put_uvarint(&mut length, entry.len() as u64);
        self.out.write(&length)?;
        self.out.write_summed(&entry)?;
        self.all.push(number);
        self.last = labels.clone();
        Ok(())
    }

    fn symbol(&self, text: &str) -> Result<u32> {
        let found = self.symbols.get(text).copied();
        found.ok_or_else(|| {
            Error::corrupt("index being written", format!("{text:?} is not among its symbols"))
        })
    }

    /// Writes what finds the series, makes the file safe, and tells its size.
    pub(crate) fn finish(mut self) -> Result<u64> {
        let label_indices_at = self.out.at;
        let mut table = Vec::new();
        let all = ("", "", std::mem::take(&mut self.all));
        let each = std::mem::take(&mut self.postings);
        let name = |symbol: u32| &*self.names[symbol as usize];
        let each = each.into_iter().map(|((n, v), list)| (name(n), name(v), list));
        // Lists begin at multiples of four, for readers that map the file.
        self.out.pad(4)?;
        let postings_at = self.out.at;
        let mut entries = 0u32;
        for (name, value, list) in std::iter::once(all).chain(each) {
            self.out.pad(4)?;
            table.push(2);
            put_str(&mut table, name);
            put_str(&mut table, value);
            put_uvarint(&mut table, self.out.at);
            entries += 1;
            let mut section = Vec::with_capacity(4 * list.len() + 4);
            section.extend_from_slice(&(list.len() as u32).to_be_bytes());
            section.extend(list.iter().flat_map(|number| number.to_be_bytes()));
            self.out.section(&[&section])?;
        }
        let table_at = self.out.at;
        self.out.section(&[&entries.to_be_bytes(), &table])?;
        // The label indices of older versions are no longer written, nor read by version 2.
        let contents = [self.symbols_at, self.series_at, label_indices_at, table_at, postings_at, table_at];
        self.out.write_summed(&contents.map(u64::to_be_bytes).concat())?;
        self.out.finish()
    }
}

fn write_symbols(out: &mut Output, names: &[Arc<str>]) -> Result<()> {
    let mut section = (names.len() as u32).to_be_bytes().to_vec();
    for name in names {
        put_str(&mut section, name);
    }
    out.section(&[&section])
}

fn write_chunks(entry: &mut Vec<u8>, chunks: &[ChunkMeta]) {
    put_uvarint(entry, chunks.len() as u64);
    let mut before: Option<&ChunkMeta> = None;
    for chunk in chunks {
        match before {
            None => put_varint(entry, chunk.min_time),
            Some(before) => put_uvarint(entry, chunk.min_time.wrapping_sub(before.max_time) as u64),
        }
        put_uvarint(entry, chunk.max_time.wrapping_sub(chunk.min_time) as u64);
        match before {
            None => put_uvarint(entry, chunk.reference),
            Some(before) => put_varint(entry, chunk.reference.wrapping_sub(before.reference) as i64),
        }
        before = Some(chunk);
    }
}

/// A file that knows how far it is.
#[derive(Debug)]
struct Output {
    file: BufWriter<File>,
    path: PathBuf,
    at: u64,
}

impl Output {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create_new(path).map_err(Error::io(path))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 20, file), path: path.to_owned(), at: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.path))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn write_summed(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(bytes)?;
        self.write(&crc32c(bytes).to_be_bytes())
    }

    /// Length, content, checksum.
    fn section(&mut self, parts: &[&[u8]]) -> Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(length)
            .map_err(|_| Error::Limit("a section of the index would have over 4 GiB".into()))?;
        self.write(&length.to_be_bytes())?;
        let mut sum = 0;
        for part in parts {
            self.write(part)?;
            sum = crc32c::crc32c_append(sum, part);
        }
        self.write(&sum.to_be_bytes())
    }

    fn pad(&mut self, to: u64) -> Result<()> {
        let missing = self.at.next_multiple_of(to) - self.at;
        self.write(&[0; ALIGNMENT as usize][..missing as usize])
    }

    fn finish(self) -> Result<u64> {
        let path = self.path;
        let file = self.file.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?;
        file.sync_all().map_err(Error::io(&path))?;
        Ok(self.at)
    }
}
