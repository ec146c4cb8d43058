//! What of a block is deleted but still in its chunks (`tombstones.md`).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::Path,
};

use crate::{
    Error, Interval, Result,
    interval::insert,
    wire::{Reader, crc32c, put_uvarint, put_varint},
};

const MAGIC: u32 = 0x0130_BA30;
const VERSION: u8 = 1;
/// Magic number and version, which the checksum leaves out.
const HEADER: usize = 5;
pub(crate) const FILE: &str = "tombstones";

/// Deleted spans of time by the number of the series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tombstones(BTreeMap<u32, Vec<Interval>>);

impl Tombstones {
    pub(crate) fn add(&mut self, series: u32, deleted: Interval) {
        insert(self.0.entry(series).or_default(), deleted);
    }

    pub(crate) fn of(&self, series: u32) -> &[Interval] {
        self.0.get(&series).map_or(&[], Vec::as_slice)
    }

    /// How many spans there are.
    pub(crate) fn len(&self) -> u64 {
        self.0.values().map(|spans| spans.len() as u64).sum()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_be_bytes().to_vec();
        bytes.push(VERSION);
        for (&series, spans) in &self.0 {
            for span in spans {
                put_uvarint(&mut bytes, series.into());
                put_varint(&mut bytes, span.min);
                put_varint(&mut bytes, span.max);
            }
        }
        let sum = crc32c(&bytes[HEADER..]);
        bytes.extend_from_slice(&sum.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "tombstones");
        if reader.u32()? != MAGIC {
            return Err(reader.fault("it does not begin as tombstones do"));
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(Error::Unsupported {
                what: "tombstones".into(),
                found: format!("version {version}"),
            });
        }
        let Some((body, sum)) = reader.rest().split_last_chunk::<4>() else {
            return Err(reader.fault("it ends early"));
        };
        if crc32c(body).to_be_bytes() != *sum {
            return Err(reader.fault("it fails its checksum"));
        }
        let mut reader = Reader::new(body, "tombstones");
        let mut tombstones = Self::default();
        while !reader.is_empty() {
            let series = reader.uvarint32()?;
            tombstones.add(series, Interval { min: reader.varint()?, max: reader.varint()? });
        }
        Ok(tombstones)
    }

    /// Of a block; one without the file has none.
    pub(crate) fn read(block: &Path) -> Result<Self> {
        let path = block.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => Self::decode(&bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io(&path)(error)),
        }
    }

    /// Replaces those of a block, or leaves them as they were.
    pub(crate) fn write(&self, block: &Path) -> Result<()> {
        replace(&block.join(FILE), &self.encode())
    }
}

/// Writes a file whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.to_owned();
    temporary.as_mut_os_string().push(".tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(Error::io(path))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes the names in a directory safe.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_come_back_and_flipped_bits_are_found() {
        let mut tombstones = Tombstones::default();
        tombstones.add(7, Interval { min: -5, max: 20 });
        tombstones.add(7, Interval { min: 15, max: 30 });
        tombstones.add(9, Interval::ALL);
        let bytes = tombstones.encode();
        let back = Tombstones::decode(&bytes).unwrap();
        assert_eq!(back, tombstones);
        assert_eq!(back.of(7), [Interval { min: -5, max: 30 }]);
        assert_eq!(back.len(), 2);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(Tombstones::decode(&bytes).is_err(), "byte {at}");
            assert!(Tombstones::decode(&bytes[..at]).is_err());
        }
    }
}
