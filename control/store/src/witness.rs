//! The witness: a small file that remembers the newest acknowledged revision.
//!
//! A database file whose newest commit is damaged, or a journal whose last one is, may come up in the state before it, whole
//! and consistent, with acknowledged writes missing. The witness tells. It is written behind each commit and not synced, so that it costs no
//! second sync: a killed process leaves it exact, and after a power cut it is at worst older than the database.
//! A witness that is missing or damaged proves nothing, and is written anew.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::Revision;

const SIZE: usize = 12;

#[derive(Debug)]
pub(crate) struct Witness {
    file: File,
}

impl Witness {
    /// Opens the witness of a store; `is_new` tells one that was just made, or was never written to.
    pub(crate) fn open(path: &Path, is_new: bool) -> io::Result<(Self, Option<Revision>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; SIZE];
        let seen = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        // One that was just made is empty; so is one that was cut short, beside a store that has been written.
        if seen.is_none() && (file.metadata()?.len() > 0 || !is_new) {
            tracing::warn!(
                path = %path.display(),
                "the witness is damaged and is written anew: whether the store fell back cannot be told"
            );
        }
        Ok((Self { file }, seen))
    }

    pub(crate) fn record(&self, revision: Revision) -> io::Result<()> {
        self.file.write_all_at(&encode(revision), 0)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn encode(revision: Revision) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[4..].copy_from_slice(&revision.0.to_le_bytes());
    let crc = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: [u8; SIZE]) -> Option<Revision> {
    let revision = bytes[4..].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    (encode(Revision(revision)) == bytes).then_some(Revision(revision))
}
