//! Where the bytes of a file come from.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{Error, Result};

/// Random access to bytes that do not change: a file of a block, in a directory or elsewhere.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// How many bytes there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a range, all of them or an error.
    fn read(&self, offset: u64, length: usize) -> Result<Bytes>;

    /// What it is, for messages.
    fn name(&self) -> String;
}

/// A file that is read where it lies. Several threads may read at once.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    path: PathBuf,
    length: u64,
}

impl FileSource {
    /// Opens a file to read.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        Ok(Self { file, path: path.to_owned(), length })
    }
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.length
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        check_range(self, offset, length)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).map_err(Error::io(&self.path))?;
        Ok(bytes.into())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Bytes in memory.
impl Source for Bytes {
    fn len(&self) -> u64 {
        Bytes::len(self) as u64
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        check_range(self, offset, length)?;
        let start = offset as usize;
        Ok(self.slice(start..start + length))
    }

    fn name(&self) -> String {
        "bytes in memory".into()
    }
}

/// A range comes from bytes that may be wrong: it has to be checked before memory is taken for it.
fn check_range(source: &dyn Source, offset: u64, length: usize) -> Result<()> {
    if offset.checked_add(length as u64).is_none_or(|end| end > source.len()) {
        let why = format!("{length} bytes at {offset} lie behind its end at {}", source.len());
        return Err(Error::corrupt(source.name(), why));
    }
    Ok(())
}
