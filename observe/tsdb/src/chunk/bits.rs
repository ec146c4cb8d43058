//! Streams of bits, highest bit first, and the number encodings of chunks on top of them.

use bytes::Bytes;

use crate::{Error, Result};

/// Bits on their way into a chunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Unused low bits of the last byte.
    free: u8,
}

impl BitWriter {
    /// Continues behind a header of whole bytes.
    pub(crate) fn after(header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(header.len() + 32);
        bytes.extend_from_slice(header);
        Self { bytes, free: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn header(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The lowest `count` bits of `value`.
    pub(crate) fn bits(&mut self, value: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.grow();
                self.bytes.push(0);
                self.free = 8;
            }
            let now = left.min(u32::from(self.free));
            let piece = (value >> (left - now)) & ((1 << now) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (piece as u8) << (u32::from(self.free) - now);
            }
            self.free -= now as u8;
            left -= now;
        }
    }

    /// A chunk stays open for half an hour and more: doubling its buffer would leave much of memory unused.
    fn grow(&mut self) {
        if self.bytes.len() == self.bytes.capacity() {
            self.bytes.reserve_exact((self.bytes.len() / 4).max(32));
        }
    }

    pub(crate) fn bit(&mut self, bit: bool) {
        self.bits(u64::from(bit), 1);
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bits(u64::from(byte), 8);
    }

    pub(crate) fn uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    pub(crate) fn varint(&mut self, value: i64) {
        self.uvarint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// A signed number in a class of width that ones, ended by a zero, tell.
    fn class(&mut self, value: u64, ones: u32, width: u32) {
        self.bits((1 << (ones + 1)) - 2, ones + 1);
        self.bits(value, width);
    }

    /// The difference between differences of time in float chunks.
    pub(crate) fn time_dod(&mut self, value: i64) {
        match value {
            0 => self.bit(false),
            _ if fits(value, 14) => self.class(value as u64, 1, 14),
            _ if fits(value, 17) => self.class(value as u64, 2, 17),
            _ if fits(value, 20) => self.class(value as u64, 3, 20),
            _ => {
                self.bits(0b1111, 4);
                self.bits(value as u64, 64);
            }
        }
    }

    /// `varbit_int` of the format.
    pub(crate) fn varbit(&mut self, value: i64) {
        match WIDTHS.iter().position(|&width| fits(value, width)) {
            _ if value == 0 => self.bit(false),
            Some(class) => self.class(value as u64, class as u32 + 1, WIDTHS[class]),
            None => {
                self.bits(0xff, 8);
                self.bits(value as u64, 64);
            }
        }
    }

    /// `varbit_uint` of the format.
    pub(crate) fn varbit_unsigned(&mut self, value: u64) {
        match WIDTHS.iter().position(|&width| value >> width == 0) {
            _ if value == 0 => self.bit(false),
            Some(class) => self.class(value, class as u32 + 1, WIDTHS[class]),
            None => {
                self.bits(0xff, 8);
                self.bits(value, 64);
            }
        }
    }
}

/// The widths that `varbit` numbers come in; the longer a run of ones before it, the wider the number.
const WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];

/// Whether a number is within the format's range of a width, which is -(2^(n-1)-1) to 2^(n-1).
fn fits(value: i64, width: u32) -> bool {
    let top = 1i64 << (width - 1);
    -top < value && value <= top
}

/// Bits out of a chunk.
#[derive(Clone, Debug)]
pub(crate) struct BitReader {
    bytes: Bytes,
    /// The next byte to fetch.
    at: usize,
    /// Fetched bits, the lowest `valid` of which are still to be read.
    window: u64,
    valid: u32,
}

impl BitReader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0, window: 0, valid: 0 }
    }

    #[inline]
    pub(crate) fn bits(&mut self, count: u32) -> Result<u64> {
        if count <= self.valid {
            self.valid -= count;
            return Ok((self.window >> self.valid) & mask(count));
        }
        let high = self.window & mask(self.valid);
        let left = count - self.valid;
        self.refill();
        if self.valid < left {
            self.valid = 0;
            return Err(Error::corrupt("chunk", "it ends early"));
        }
        self.valid -= left;
        let low = (self.window >> self.valid) & mask(left);
        // All 64 bits from the new window leave nothing in the high part.
        Ok(high.checked_shl(left).unwrap_or(0) | low)
    }

    fn refill(&mut self) {
        let rest = &self.bytes[self.at..];
        if let Some(eight) = rest.first_chunk::<8>() {
            self.window = u64::from_be_bytes(*eight);
            self.valid = 64;
            self.at += 8;
            return;
        }
        self.window = rest.iter().fold(0, |window, &byte| (window << 8) | u64::from(byte));
        self.valid = 8 * rest.len() as u32;
        self.at = self.bytes.len();
    }

    #[inline]
    pub(crate) fn bit(&mut self) -> Result<bool> {
        Ok(self.bits(1)? == 1)
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        Ok(self.bits(8)? as u8)
    }

    pub(crate) fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_bits(self.bits(64)?))
    }

    pub(crate) fn uvarint(&mut self) -> Result<u64> {
        let mut value = 0;
        for i in 0..10 {
            let byte = self.byte()?;
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::corrupt("chunk", "a number is longer than 64 bits"))
    }

    pub(crate) fn varint(&mut self) -> Result<i64> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Ones up to a zero or up to `most` of them.
    #[inline]
    fn ones(&mut self, most: usize) -> Result<usize> {
        for ones in 0..most {
            if !self.bit()? {
                return Ok(ones);
            }
        }
        Ok(most)
    }

    #[inline]
    fn signed(&mut self, width: u32) -> Result<i64> {
        let raw = self.bits(width)?;
        // The range is one off two's complement: the top value is positive.
        Ok(if raw > 1 << (width - 1) { raw.wrapping_sub(1 << width) as i64 } else { raw as i64 })
    }

    #[inline]
    pub(crate) fn time_dod(&mut self) -> Result<i64> {
        match self.ones(4)? {
            0 => Ok(0),
            4 => Ok(self.bits(64)? as i64),
            class => self.signed([14, 17, 20][class - 1]),
        }
    }

    pub(crate) fn varbit(&mut self) -> Result<i64> {
        match self.ones(8)? {
            0 => Ok(0),
            8 => Ok(self.bits(64)? as i64),
            class => self.signed(WIDTHS[class - 1]),
        }
    }

    pub(crate) fn varbit_unsigned(&mut self) -> Result<u64> {
        match self.ones(8)? {
            0 => Ok(0),
            8 => self.bits(64),
            class => self.bits(WIDTHS[class - 1]),
        }
    }
}

fn mask(count: u32) -> u64 {
    1u64.checked_shl(count).map_or(u64::MAX, |top| top - 1)
}

/// The state of a run of floats that are written as their difference, bit by bit, to the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Xor {
    pub(crate) value: f64,
    leading: u8,
    trailing: u8,
}

/// No window of significant bits is known yet.
const NO_WINDOW: u8 = 0xff;

impl Xor {
    pub(crate) fn first(value: f64) -> Self {
        Self { value, leading: NO_WINDOW, trailing: 0 }
    }

    pub(crate) fn write(&mut self, out: &mut BitWriter, value: f64) {
        let difference = value.to_bits() ^ self.value.to_bits();
        self.value = value;
        if difference == 0 {
            return out.bit(false);
        }
        // Five bits hold at most 31.
        let leading = difference.leading_zeros().min(31) as u8;
        let trailing = difference.trailing_zeros() as u8;
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            out.bits(0b10, 2);
            out.bits(difference >> self.trailing, 64 - u32::from(self.leading) - u32::from(self.trailing));
            return;
        }
        (self.leading, self.trailing) = (leading, trailing);
        let width = 64 - u32::from(leading) - u32::from(trailing);
        out.bits(0b11, 2);
        out.bits(u64::from(leading), 5);
        // 64 does not fit into six bits and becomes 0, which cannot occur otherwise.
        out.bits(u64::from(width), 6);
        out.bits(difference >> trailing, width);
    }

    #[inline]
    pub(crate) fn read(&mut self, input: &mut BitReader) -> Result<()> {
        if !input.bit()? {
            return Ok(());
        }
        if input.bit()? {
            let leading = input.bits(5)? as u8;
            let width = match input.bits(6)? as u8 {
                0 => 64,
                width => width,
            };
            if leading + width > 64 {
                return Err(Error::corrupt("chunk", "a float has more than 64 bits"));
            }
            (self.leading, self.trailing) = (leading, 64 - leading - width);
        } else if self.leading == NO_WINDOW {
            return Err(Error::corrupt("chunk", "a float takes up a window of bits that was never set"));
        }
        let width = 64 - u32::from(self.leading) - u32::from(self.trailing);
        let difference = input.bits(width)? << self.trailing;
        self.value = f64::from_bits(self.value.to_bits() ^ difference);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(writer: BitWriter) -> BitReader {
        BitReader::new(writer.into_bytes().into())
    }

    proptest! {
        #[test]
        fn numbers_come_back_in_every_encoding(values: Vec<i64>, shift in 0u32..64) {
            let values: Vec<i64> = values.into_iter().map(|value| value >> shift).collect();
            let mut writer = BitWriter::default();
            for &value in &values {
                writer.varbit(value);
                writer.varbit_unsigned(value as u64);
                writer.time_dod(value);
                writer.varint(value);
                writer.bits(value as u64, 64);
            }
            let mut reader = read(writer);
            for &value in &values {
                prop_assert_eq!(reader.varbit().unwrap(), value);
                prop_assert_eq!(reader.varbit_unsigned().unwrap(), value as u64);
                prop_assert_eq!(reader.time_dod().unwrap(), value);
                prop_assert_eq!(reader.varint().unwrap(), value);
                prop_assert_eq!(reader.bits(64).unwrap(), value as u64);
            }
            prop_assert!(reader.bits(8).is_err());
        }

        #[test]
        fn floats_come_back_bit_by_bit(first: u64, others: Vec<u64>) {
            let mut writer = BitWriter::default();
            let mut state = Xor::first(f64::from_bits(first));
            for &other in &others {
                state.write(&mut writer, f64::from_bits(other));
            }
            let mut reader = read(writer);
            let mut state = Xor::first(f64::from_bits(first));
            for &other in &others {
                state.read(&mut reader).unwrap();
                prop_assert_eq!(state.value.to_bits(), other);
            }
        }
    }

    #[test]
    fn the_edges_of_a_class_are_where_the_format_has_them() {
        for (value, bits) in [(4, 5), (-3, 5), (5, 9), (-4, 9), (131_072, 24), (131_073, 32), (1 << 55, 64)] {
            let mut writer = BitWriter::default();
            writer.varbit(value);
            assert_eq!(writer.bytes.len() * 8 - usize::from(writer.free), bits, "{value}");
        }
    }
}
