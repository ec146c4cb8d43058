//! Reads an index file, version 2, in pieces as they are needed.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{ChunkMeta, LabelIndex, MAGIC, VERSION};
use crate::{
    Error, Labels, Result,
    postings::union,
    source::Source,
    wire::{Reader, crc32c},
};

/// Six references and their checksum.
const CONTENTS: u64 = 6 * 8 + 4;
/// Of so many entries of the offset table, one is held in memory.
const SAMPLED: usize = 32;
/// How much of the series section is read at once.
const WINDOW: usize = 16 << 10;

/// An index file.
#[derive(Debug)]
pub(crate) struct IndexReader {
    source: Arc<dyn Source>,
    symbols_at: u64,
    symbols: OnceLock<Symbols>,
    table: Table,
}

/// All strings of an index, read when the first of them is needed.
#[derive(Debug)]
struct Symbols {
    bytes: Bytes,
    /// Where each string begins, at its length.
    starts: Vec<u32>,
}

/// Where the list of each label pair begins.
#[derive(Debug)]
struct Table {
    /// Where its first entry is in the file.
    start: u64,
    /// In order of the names.
    names: Vec<Name>,
}

/// The part of the table that is of one label name.
#[derive(Debug)]
struct Name {
    name: Box<str>,
    /// Every 32nd value with the place of its entry, relative to the table's first.
    samples: Vec<(Box<str>, u32)>,
    end: u32,
}

impl IndexReader {
    pub(crate) fn open(source: Arc<dyn Source>) -> Result<Self> {
        let fault = |why: &str| Error::corrupt(source.name(), why);
        let header = source.read(0, 5)?;
        if header[..4] != MAGIC.to_be_bytes() {
            return Err(fault("it does not begin as an index does"));
        }
        if header[4] != VERSION {
            let found = format!("version {}", header[4]);
            return Err(Error::Unsupported { what: source.name(), found });
        }
        let at = source.len().checked_sub(CONTENTS).ok_or_else(|| fault("it has no table of contents"))?;
        let contents = source.read(at, CONTENTS as usize)?;
        let (contents, sum) = contents.split_at(CONTENTS as usize - 4);
        if crc32c(contents).to_be_bytes() != sum {
            return Err(fault("the table of contents fails its checksum"));
        }
        let mut reader = Reader::new(contents, "table of contents");
        let symbols_at = reader.u64()?;
        for _series_labels_offsets_postings in 0..4 {
            reader.u64()?;
        }
        let table_at = reader.u64()?;
        let table = Table::read(source.as_ref(), table_at)?;
        Ok(Self { source, symbols_at, symbols: OnceLock::new(), table })
    }

    fn symbols(&self) -> Result<&Symbols> {
        if let Some(symbols) = self.symbols.get() {
            return Ok(symbols);
        }
        let symbols = Symbols::parse(section(self.source.as_ref(), self.symbols_at)?)?;
        Ok(self.symbols.get_or_init(|| symbols))
    }

    /// Every string of every label, ascending.
    pub(crate) fn each_symbol(&self) -> Result<impl Iterator<Item = Result<&str>>> {
        let symbols = self.symbols()?;
        Ok((0..symbols.starts.len() as u32).map(|number| symbols.get(number)))
    }

    /// Reads series one after the other.
    pub(crate) fn cursor(self: &Arc<Self>) -> Result<SeriesCursor> {
        self.symbols()?;
        Ok(SeriesCursor { index: Arc::clone(self), window: Bytes::new(), at: 0, entry: Bytes::new() })
    }

    fn name(&self, name: &str) -> Option<&Name> {
        let at = self.table.names.binary_search_by(|found| (*found.name).cmp(name)).ok()?;
        Some(&self.table.names[at])
    }

    /// A list of series.
    fn list(&self, offset: u64) -> Result<Vec<u32>> {
        let bytes = section(self.source.as_ref(), offset)?;
        let mut reader = Reader::new(&bytes, "postings");
        let count = reader.u32()?;
        if reader.remaining() as u64 != 4 * u64::from(count) {
            return Err(Error::corrupt(self.source.name(), "a list of series is not as long as it says"));
        }
        let numbers = reader.rest().as_chunks::<4>().0.iter();
        let list: Vec<u32> = numbers.map(|number| u32::from_be_bytes(*number)).collect();
        if !list.is_sorted_by(|a, b| a < b) {
            return Err(Error::corrupt(self.source.name(), "a list of series does not ascend"));
        }
        Ok(list)
    }

    /// Calls back with values of a label and the places of their lists, from the sample before `from` on.
    fn each_entry(
        &self,
        name: &Name,
        from: &str,
        visit: &mut dyn FnMut(&str, u64) -> Result<bool>,
    ) -> Result<()> {
        let mut group = name.samples.partition_point(|(value, _)| **value <= *from).saturating_sub(1);
        while let Some((_, start)) = name.samples.get(group) {
            let end = name.samples.get(group + 1).map_or(name.end, |next| next.1);
            let bytes = self.source.read(self.table.start + u64::from(*start), (end - start) as usize)?;
            let mut reader = Reader::new(&bytes, "postings offset table");
            while !reader.is_empty() {
                let (_, value, offset) = entry(&mut reader)?;
                if !visit(value, offset)? {
                    return Ok(());
                }
            }
            group += 1;
        }
        Ok(())
    }
}

impl LabelIndex for IndexReader {
    fn all(&self) -> Result<Vec<u32>> {
        self.series_with("", &[""])
    }

    fn series_with(&self, name: &str, values: &[&str]) -> Result<Vec<u32>> {
        let (Some(name), Some(first)) = (self.name(name), values.first()) else { return Ok(Vec::new()) };
        let mut lists = Vec::new();
        // Few values are looked up one by one, many in one walk over the table.
        if values.len() * SAMPLED < name.samples.len() * SAMPLED / 4 {
            for wanted in values {
                self.each_entry(name, wanted, &mut |value, offset| {
                    if value == *wanted {
                        lists.push(self.list(offset)?);
                    }
                    Ok(value < *wanted)
                })?;
            }
        } else {
            let mut wanted = values.iter().peekable();
            self.each_entry(name, first, &mut |value, offset| {
                while wanted.next_if(|wanted| **wanted < value).is_some() {}
                if wanted.next_if(|wanted| **wanted == value).is_some() {
                    lists.push(self.list(offset)?);
                }
                Ok(wanted.peek().is_some())
            })?;
        }
        Ok(union(lists))
    }

    fn each_value(&self, name: &str, from: &str, visit: &mut dyn FnMut(&str) -> bool) -> Result<()> {
        let Some(name) = self.name(name) else { return Ok(()) };
        self.each_entry(name, from, &mut |value, _| Ok(visit(value)))
    }

    fn names(&self) -> Result<Vec<String>> {
        let names = self.table.names.iter().map(|name| name.name.to_string());
        Ok(names.filter(|name| !name.is_empty()).collect())
    }
}

/// Reads the entries of series, best in the order of their numbers.
#[derive(Debug)]
pub(crate) struct SeriesCursor {
    index: Arc<IndexReader>,
    window: Bytes,
    at: u64,
    entry: Bytes,
}

impl SeriesCursor {
    /// The labels and chunks of a series.
    pub(crate) fn read(&mut self, number: u32) -> Result<(Labels, Vec<ChunkMeta>)> {
        self.load(u64::from(number) * 16)?;
        let mut reader = Reader::new(&self.entry, "series of the index");
        let count = reader.uvarint()?;
        let count = reader.count(count, 2)?;
        let symbols = self.index.symbols()?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            let (name, value) = (reader.uvarint32()?, reader.uvarint32()?);
            pairs.push((symbols.get(name)?, symbols.get(value)?));
        }
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(reader.fault("the labels of a series are not sorted"));
        }
        Ok((Labels::from_sorted(pairs), read_chunks(&mut reader)?))
    }

    /// Finds the bytes of an entry and checks them.
    fn load(&mut self, offset: u64) -> Result<()> {
        let source = &self.index.source;
        let skip = offset.checked_sub(self.at).filter(|skip| *skip < self.window.len() as u64);
        let mut bytes = skip.map_or(Bytes::new(), |skip| self.window.slice(skip as usize..));
        loop {
            let mut reader = Reader::new(&bytes, "series of the index");
            let length = reader.uvarint();
            let start = bytes.len() - reader.remaining();
            let whole = length.as_ref().map_or(0, |length| length.saturating_add(start as u64 + 4));
            if let Ok(length) = length
                && whole <= bytes.len() as u64
            {
                let end = start + length as usize;
                if crc32c(&bytes[start..end]).to_be_bytes() != bytes[end..end + 4] {
                    let why = format!("the series at {offset} fails its checksum");
                    return Err(Error::corrupt(source.name(), why));
                }
                self.entry = bytes.slice(start..end);
                return Ok(());
            }
            let left = source.len().saturating_sub(offset);
            let size = whole.max(WINDOW as u64).min(left);
            if whole > left || size <= bytes.len() as u64 {
                return Err(Error::corrupt(source.name(), format!("the series at {offset} ends early")));
            }
            bytes = source.read(offset, size as usize)?;
            (self.window, self.at) = (bytes.clone(), offset);
        }
    }
}

fn read_chunks(reader: &mut Reader<'_>) -> Result<Vec<ChunkMeta>> {
    let count = reader.uvarint()?;
    let count = reader.count(count, 3)?;
    let mut chunks: Vec<ChunkMeta> = Vec::with_capacity(count);
    for _ in 0..count {
        let before = chunks.last().copied();
        let min_time = match before {
            None => reader.varint()?,
            Some(before) => before.max_time.wrapping_add(reader.uvarint()? as i64),
        };
        let max_time = min_time.wrapping_add(reader.uvarint()? as i64);
        let reference = match before {
            None => reader.uvarint()?,
            Some(before) => before.reference.wrapping_add(reader.varint()? as u64),
        };
        if max_time < min_time || before.is_some_and(|before| min_time < before.max_time) {
            return Err(reader.fault("the chunks of a series run backwards"));
        }
        chunks.push(ChunkMeta { min_time, max_time, reference });
    }
    Ok(chunks)
}

impl Symbols {
    fn parse(bytes: Bytes) -> Result<Self> {
        let mut reader = Reader::new(&bytes, "symbol table");
        let count = reader.u32()?;
        let count = reader.count(count.into(), 1)?;
        let mut starts = Vec::with_capacity(count);
        for _ in 0..count {
            starts.push((bytes.len() - reader.remaining()) as u32);
            reader.str()?;
        }
        Ok(Self { bytes, starts })
    }

    fn get(&self, number: u32) -> Result<&str> {
        let Some(&start) = self.starts.get(number as usize) else {
            return Err(Error::corrupt("index", format!("symbol {number} is not in its table")));
        };
        Reader::new(&self.bytes[start as usize..], "symbol table").str()
    }
}

impl Table {
    fn read(source: &dyn Source, at: u64) -> Result<Self> {
        let bytes = section(source, at)?;
        let mut reader = Reader::new(&bytes, "postings offset table");
        let count = reader.u32()?;
        let first = bytes.len() - reader.remaining();
        let mut names: Vec<Name> = Vec::new();
        let mut seen = 0;
        let mut last: Option<(&str, &str)> = None;
        for _ in 0..count {
            let place = (bytes.len() - reader.remaining() - first) as u32;
            let (name, value, _) = entry(&mut reader)?;
            if last.is_some_and(|last| last >= (name, value)) {
                return Err(reader.fault("its entries do not ascend"));
            }
            if last.is_none_or(|last| last.0 != name) {
                names.push(Name { name: name.into(), samples: Vec::new(), end: 0 });
                seen = 0;
            }
            last = Some((name, value));
            let end = (bytes.len() - reader.remaining() - first) as u32;
            if let Some(name) = names.last_mut() {
                if seen % SAMPLED == 0 {
                    name.samples.push((value.into(), place));
                }
                name.end = end;
            }
            seen += 1;
        }
        Ok(Self { start: at + 4 + first as u64, names })
    }
}

/// A label pair and the place of its list.
fn entry<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, &'a str, u64)> {
    if reader.uvarint()? != 2 {
        return Err(reader.fault("an entry is not of a name and a value"));
    }
    Ok((reader.str()?, reader.str()?, reader.uvarint()?))
}

/// Reads a section: length, content, checksum.
fn section(source: &dyn Source, at: u64) -> Result<Bytes> {
    let head = source.read(at, 4)?;
    let length = Reader::new(&head, "section").u32()? as usize;
    let bytes = source.read(at + 4, length + 4)?;
    if crc32c(&bytes[..length]).to_be_bytes() != bytes[length..] {
        return Err(Error::corrupt(source.name(), format!("the section at {at} fails its checksum")));
    }
    Ok(bytes.slice(..length))
}
