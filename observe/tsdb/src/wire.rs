//! Bytes as the formats write them: big-endian numbers, Go's varints, CRC-32C.

use crate::{Error, Result};

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Zigzag, as Go's `binary.PutVarint`.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_str(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A reader over bytes that were written by somebody else: every step is checked.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// What is being read, for the error.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn fault(&self, why: &str) -> Error {
        Error::corrupt(self.what, why)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((head, tail)) = self.bytes.split_at_checked(length) else {
            return Err(self.fault("it ends early"));
        };
        self.bytes = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, tail)) = self.bytes.split_first_chunk::<N>() else {
            return Err(self.fault("it ends early"));
        };
        self.bytes = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_bits(self.u64()?))
    }

    pub(crate) fn uvarint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (i, &byte) in self.bytes.iter().enumerate().take(10) {
            if i == 9 && byte > 1 {
                return Err(self.fault("a number is longer than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.bytes = &self.bytes[i + 1..];
                return Ok(value);
            }
        }
        Err(self.fault(if self.bytes.len() < 10 {
            "it ends early"
        } else {
            "a number is longer than 64 bits"
        }))
    }

    pub(crate) fn uvarint32(&mut self) -> Result<u32> {
        u32::try_from(self.uvarint()?).map_err(|_| self.fault("a number is longer than 32 bits"))
    }

    pub(crate) fn varint(&mut self) -> Result<i64> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.uvarint()?).map_err(|_| self.fault("a length is absurd"))?;
        self.take(length)
    }

    pub(crate) fn str(&mut self) -> Result<&'a str> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.fault("a string is not UTF-8"))
    }

    /// How many entries to reserve for, where the input says it has `count` of at least `size` bytes each.
    pub(crate) fn count(&self, count: u64, size: usize) -> Result<usize> {
        let most = self.bytes.len() / size.max(1);
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= most)
            .ok_or_else(|| self.fault("it says to have more entries than bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_come_back(signed: i64, unsigned: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, signed);
            put_uvarint(&mut out, unsigned);
            let mut reader = Reader::new(&out, "test");
            prop_assert_eq!(reader.varint().unwrap(), signed);
            prop_assert_eq!(reader.uvarint().unwrap(), unsigned);
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn an_overlong_number_is_refused() {
        assert!(Reader::new(&[0xff; 11], "test").uvarint().is_err());
        assert!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], "test")
                .uvarint()
                .is_err()
        );
        assert!(Reader::new(&[0x80], "test").uvarint().is_err());
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
