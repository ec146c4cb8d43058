//! The chunk files of a block (`chunks.md`).

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    Chunk, Encoding, Error, Result,
    source::{FileSource, Source},
    wire::{Reader, crc32c, put_uvarint},
};

const MAGIC: u32 = 0x85BD_40DD;
const HEADER: u64 = 8;
/// What a file may have at most, as the format says.
pub(crate) const MOST_BYTES: u64 = 512 << 20;
/// A length takes at most five bytes; the encoding one, the checksum four.
const MOST_LENGTH_BYTES: usize = 5;
/// A chunk is longer than this only where it is corrupt.
const MOST_CHUNK: u64 = 64 << 20;

/// Writes chunks one behind the other into numbered files.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    directory: PathBuf,
    /// The files so far, the last of which is being written.
    number: u32,
    file: Option<BufWriter<File>>,
    at: u64,
    most: u64,
    bytes: u64,
    scratch: Vec<u8>,
}

impl SegmentWriter {
    pub(crate) fn create(directory: &Path, most: u64) -> Result<Self> {
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let directory = directory.to_owned();
        Ok(Self { directory, number: 0, file: None, at: 0, most, bytes: 0, scratch: Vec::new() })
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{:06}", self.number))
    }

    /// Appends a chunk and gives its reference.
    pub(crate) fn push(&mut self, encoding: Encoding, data: &[u8]) -> Result<u64> {
        self.scratch.clear();
        put_uvarint(&mut self.scratch, data.len() as u64);
        let start = self.scratch.len();
        self.scratch.push(encoding as u8);
        self.scratch.extend_from_slice(data);
        let sum = crc32c(&self.scratch[start..]);
        self.scratch.extend_from_slice(&sum.to_be_bytes());
        if self.file.is_none() || self.at + self.scratch.len() as u64 > self.most {
            self.next_file()?;
        }
        let reference = u64::from(self.number - 1) << 32 | self.at;
        let path = self.path();
        if let Some(file) = &mut self.file {
            file.write_all(&self.scratch).map_err(Error::io(&path))?;
        }
        self.at += self.scratch.len() as u64;
        self.bytes += self.scratch.len() as u64;
        Ok(reference)
    }

    fn next_file(&mut self) -> Result<()> {
        self.close_file()?;
        self.number += 1;
        let path = self.path();
        let mut file = BufWriter::with_capacity(1 << 20, File::create_new(&path).map_err(Error::io(&path))?);
        let mut header = MAGIC.to_be_bytes().to_vec();
        header.extend_from_slice(&[1, 0, 0, 0]);
        file.write_all(&header).map_err(Error::io(&path))?;
        self.file = Some(file);
        self.at = HEADER;
        self.bytes += HEADER;
        Ok(())
    }

    fn close_file(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let path = self.path();
        let file = file.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?;
        file.sync_all().map_err(Error::io(&path))
    }

    /// Makes all that was written safe, and tells how many bytes it was.
    pub(crate) fn finish(mut self) -> Result<u64> {
        self.close_file()?;
        Ok(self.bytes)
    }
}

/// Reads the chunks of a block.
#[derive(Clone, Debug)]
pub(crate) struct SegmentReader {
    files: Vec<Arc<dyn Source>>,
}

impl SegmentReader {
    /// Over the files of a block, in the order of their numbers.
    pub(crate) fn new(files: Vec<Arc<dyn Source>>) -> Result<Self> {
        for file in &files {
            let header = file.read(0, HEADER as usize)?;
            let mut reader = Reader::new(&header, "chunk file");
            if reader.u32()? != MAGIC {
                return Err(Error::corrupt(file.name(), "it does not begin as a chunk file does"));
            }
            let version = reader.u8()?;
            if version != 1 {
                return Err(Error::Unsupported { what: file.name(), found: format!("version {version}") });
            }
        }
        Ok(Self { files })
    }

    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
            let path = entry.map_err(Error::io(directory))?.path();
            let numbered = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_digit()));
            if numbered {
                paths.push(path);
            }
        }
        paths.sort();
        let files = paths.iter().map(|path| Ok(Arc::new(FileSource::open(path)?) as Arc<dyn Source>));
        Self::new(files.collect::<Result<_>>()?)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len()).sum()
    }

    /// The chunk that a reference of the index names. `hint` says how long it seems to be.
    pub(crate) fn chunk(&self, reference: u64, hint: usize) -> Result<Chunk> {
        let (number, offset) = ((reference >> 32) as usize, reference & 0xffff_ffff);
        let Some(file) = self.files.get(number) else {
            let why = format!("a chunk is in file {}, and there are {}", number + 1, self.files.len());
            return Err(Error::corrupt("block", why));
        };
        let left =
            file.len().checked_sub(offset).filter(|_| offset >= HEADER).ok_or_else(|| {
                Error::corrupt(file.name(), format!("a chunk is at {offset}, outside of it"))
            })?;
        let guess = hint.max(MOST_LENGTH_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut bytes = file.read(offset, guess)?;
        let (length, whole) = parse_length(&bytes, file.as_ref(), left)?;
        if whole > bytes.len() {
            bytes = file.read(offset, whole)?;
        }
        parse(&bytes.slice(..whole), length, file.as_ref(), offset)
    }
}

/// The length of the data and of the whole chunk with it.
fn parse_length(bytes: &[u8], file: &dyn Source, left: u64) -> Result<(usize, usize)> {
    let mut reader = Reader::new(bytes, "chunk");
    let length = reader.uvarint()?;
    let start = bytes.len() - reader.remaining();
    let whole = length.saturating_add(start as u64 + 5);
    if length > MOST_CHUNK || whole > left {
        return Err(Error::corrupt(file.name(), format!("a chunk of {length} bytes does not fit into it")));
    }
    Ok((length as usize, whole as usize))
}

fn parse(whole: &Bytes, length: usize, file: &dyn Source, offset: u64) -> Result<Chunk> {
    let sum_at = whole.len() - 4;
    let summed = &whole[sum_at - length - 1..sum_at];
    if crc32c(summed).to_be_bytes() != whole[sum_at..] {
        return Err(Error::corrupt(file.name(), format!("the chunk at {offset} fails its checksum")));
    }
    let encoding = Encoding::from_byte(summed[0])?;
    Ok(Chunk { encoding, data: whole.slice(sum_at - length..sum_at) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_and_files_stay_below_their_limit() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = SegmentWriter::create(directory.path(), 1000).unwrap();
        let data: Vec<Vec<u8>> = (0..50u8).map(|i| vec![i; usize::from(i) * 7]).collect();
        let references: Vec<u64> =
            data.iter().map(|data| writer.push(Encoding::Xor, data).unwrap()).collect();
        let written = writer.finish().unwrap();
        let reader = SegmentReader::open(directory.path()).unwrap();
        assert_eq!(reader.bytes(), written);
        assert!(reader.files.len() > 5 && reader.files.iter().all(|file| file.len() <= 1000));
        for (data, &reference) in data.iter().zip(&references) {
            for hint in [0, 100, 1 << 20] {
                assert_eq!(reader.chunk(reference, hint).unwrap().data, data);
            }
        }
        assert!(references.is_sorted());
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = SegmentWriter::create(directory.path(), MOST_BYTES).unwrap();
        let reference = writer.push(Encoding::Xor, b"some data").unwrap();
        writer.finish().unwrap();
        let path = directory.path().join("000001");
        let sound = fs::read(&path).unwrap();
        for at in 8..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 4;
            let reader = SegmentReader::new(vec![Arc::new(Bytes::from(bytes))]).unwrap();
            assert!(reader.chunk(reference, 0).is_err(), "byte {at}");
        }
        let reader = SegmentReader::open(directory.path()).unwrap();
        for reference in [0, 7, 1 << 40, reference + 1, u64::MAX] {
            assert!(reader.chunk(reference, 0).is_err());
        }
    }
}
