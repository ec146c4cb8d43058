//! Chunks of floats.

use bytes::Bytes;

use super::bits::{BitReader, BitWriter, Xor};
use crate::{Error, Result};

/// An open chunk of floats.
#[derive(Clone, Debug)]
pub(crate) struct XorWriter {
    bits: BitWriter,
    time: i64,
    delta: i64,
    value: Xor,
}

impl XorWriter {
    pub(crate) fn new() -> Self {
        Self { bits: BitWriter::after(&[0, 0]), time: 0, delta: 0, value: Xor::first(0.0) }
    }

    pub(crate) fn count(&self) -> u16 {
        count(self.bits.bytes())
    }

    pub(crate) fn bits(&self) -> &BitWriter {
        &self.bits
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bits.into_bytes()
    }

    pub(crate) fn last(&self) -> (i64, f64) {
        (self.time, self.value.value)
    }

    pub(crate) fn push(&mut self, time: i64, value: f64) {
        let count = self.count();
        let delta = time.wrapping_sub(self.time);
        match count {
            0 => {
                self.bits.varint(time);
                self.bits.bits(value.to_bits(), 64);
                self.value = Xor::first(value);
            }
            1 => {
                self.bits.uvarint(delta as u64);
                self.value.write(&mut self.bits, value);
            }
            _ => {
                self.bits.time_dod(delta.wrapping_sub(self.delta));
                self.value.write(&mut self.bits, value);
            }
        }
        self.time = time;
        self.delta = if count == 0 { 0 } else { delta };
        self.bits.header()[..2].copy_from_slice(&(count + 1).to_be_bytes());
    }
}

/// The number of samples that a chunk's first two bytes tell.
pub(crate) fn count(chunk: &[u8]) -> u16 {
    chunk.first_chunk().map_or(0, |two| u16::from_be_bytes(*two))
}

/// Reads a chunk of floats.
#[derive(Clone, Debug)]
pub(crate) struct XorReader {
    bits: BitReader,
    total: u16,
    done: u16,
    time: i64,
    delta: i64,
    value: Xor,
}

impl XorReader {
    pub(crate) fn new(chunk: &Bytes) -> Result<Self> {
        if chunk.len() < 2 {
            return Err(Error::corrupt("chunk", "it is shorter than its header"));
        }
        let bits = BitReader::new(chunk.slice(2..));
        Ok(Self { bits, total: count(chunk), done: 0, time: 0, delta: 0, value: Xor::first(0.0) })
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(i64, f64)>> {
        if self.done == self.total {
            return Ok(None);
        }
        match self.done {
            0 => {
                self.time = self.bits.varint()?;
                self.value = Xor::first(self.bits.f64()?);
            }
            1 => {
                self.delta = self.bits.uvarint()? as i64;
                self.time = self.time.wrapping_add(self.delta);
                self.value.read(&mut self.bits)?;
            }
            _ => {
                self.delta = self.delta.wrapping_add(self.bits.time_dod()?);
                self.time = self.time.wrapping_add(self.delta);
                self.value.read(&mut self.bits)?;
            }
        }
        self.done += 1;
        Ok(Some((self.time, self.value.value)))
    }
}
