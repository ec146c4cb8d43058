//! The bytes of a record and of the head, each behind a CRC-32 that covers everything it means.
//!
//! A record is `crc:u32 kind:u8 created:u64 version:u64 value…`, little endian. The checksum also runs over the
//! revision and the key under which the record lies, so that a record cannot pass for another.

use bytes::Bytes;

use crate::{Event, EventKind, Revision};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const PREFIX: usize = 4 + 1 + 8 + 8;
const HEAD_FORMAT: u32 = 1;
const HEAD: usize = 4 + 4 + 8 + 8 + 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Put { created: Revision, version: u64, value: Bytes },
    Delete,
}

impl Record {
    /// What is kept of an event.
    pub(crate) fn of(event: &Event) -> Self {
        match &event.kind {
            EventKind::Put { entry } => {
                Self::Put { created: entry.created, version: entry.version, value: entry.value.clone() }
            }
            EventKind::Delete { .. } => Self::Delete,
        }
    }

    pub(crate) fn encode(&self, revision: Revision, key: &str, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[0; 4]);
        let (kind, created, version, value): (u8, Revision, u64, &[u8]) = match self {
            Self::Put { created, version, value } => (PUT, *created, *version, value),
            Self::Delete => (DELETE, Revision(0), 0, &[]),
        };
        out.push(kind);
        out.extend_from_slice(&created.0.to_le_bytes());
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(value);
        let crc = checksum(revision, key, &out[4..]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
    }

    /// The record, or what is wrong with it.
    pub(crate) fn decode(revision: Revision, key: &str, bytes: &[u8]) -> Result<Self, String> {
        let whose = || format!("the record of key {key:?} at revision {revision}");
        if bytes.len() < PREFIX {
            return Err(format!("{} has {} bytes, too few", whose(), bytes.len()));
        }
        if word(bytes, 0) != checksum(revision, key, &bytes[4..]) {
            return Err(format!("{} does not match its checksum", whose()));
        }
        match bytes[4] {
            PUT => Ok(Self::Put {
                created: Revision(long(bytes, 5)),
                version: long(bytes, 13),
                value: Bytes::copy_from_slice(&bytes[PREFIX..]),
            }),
            DELETE => Ok(Self::Delete),
            kind => Err(format!("{} is of unknown kind {kind}", whose())),
        }
    }
}

/// What the store says about itself in every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Head {
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) records: u64,
}

impl Head {
    pub(crate) fn encode(&self) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        out[4..8].copy_from_slice(&HEAD_FORMAT.to_le_bytes());
        out[8..16].copy_from_slice(&self.revision.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.compacted.0.to_le_bytes());
        out[24..].copy_from_slice(&self.records.to_le_bytes());
        let crc = crc32fast::hash(&out[4..]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() != HEAD || word(bytes, 0) != crc32fast::hash(&bytes[4..]) {
            return Err("the head does not match its checksum".to_owned());
        }
        if word(bytes, 4) != HEAD_FORMAT {
            return Err(format!("the head has format {}, this program knows {HEAD_FORMAT}", word(bytes, 4)));
        }
        Ok(Self {
            revision: Revision(long(bytes, 8)),
            compacted: Revision(long(bytes, 16)),
            records: long(bytes, 24),
        })
    }
}

fn checksum(revision: Revision, key: &str, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&revision.0.to_le_bytes());
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key.as_bytes());
    hasher.update(body);
    hasher.finalize()
}

pub(crate) fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes[offset..offset + 4].iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

pub(crate) fn long(bytes: &[u8], offset: usize) -> u64 {
    bytes[offset..offset + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
