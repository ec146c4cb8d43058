//! Protocol buffers as they lie in a body: fields one by one, nothing copied.

use super::ParseError;

/// A field's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    /// A number of variable length.
    Number(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Four bytes, which nothing here has.
    Fixed32,
    /// A text, a message, or numbers one behind the other.
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub(super) fn number(self) -> Result<u64, ParseError> {
        match self {
            Self::Number(number) => Ok(number),
            _ => Err(broken("a field has another type than its number says")),
        }
    }

    pub(super) fn double(self) -> Result<f64, ParseError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(broken("a field has another type than its number says")),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], ParseError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(broken("a field has another type than its number says")),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, ParseError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| broken("a text is not UTF-8"))
    }

    /// A number with the sign in its last bit.
    pub(super) fn zigzag(self) -> Result<i64, ParseError> {
        self.number().map(zigzag)
    }

    /// Adds numbers, which may be packed.
    pub(super) fn numbers(self, into: &mut Vec<i64>) -> Result<(), ParseError> {
        let Self::Bytes(bytes) = self else {
            into.push(self.zigzag()?);
            return Ok(());
        };
        let mut reader = Reader(bytes);
        while !reader.0.is_empty() {
            into.push(zigzag(reader.varint()?));
        }
        Ok(())
    }

    /// Adds floating numbers, which may be packed.
    pub(super) fn doubles(self, into: &mut Vec<f64>) -> Result<(), ParseError> {
        let Self::Bytes(bytes) = self else {
            into.push(self.double()?);
            return Ok(());
        };
        let (whole, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(broken("packed numbers break off"));
        }
        into.extend(whole.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        Ok(())
    }
}

fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

pub(super) fn broken(why: &str) -> ParseError {
    ParseError(format!("proto: {why}"))
}

/// What is left of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn varint(&mut self) -> Result<u64, ParseError> {
        let mut number = 0u64;
        for (at, &byte) in self.0.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                if at == 9 && byte > 1 {
                    break;
                }
                self.0 = &self.0[at + 1..];
                return Ok(number);
            }
        }
        Err(broken("invalid varint"))
    }

    pub(super) fn take(&mut self, length: u64) -> Result<&'a [u8], ParseError> {
        let length = usize::try_from(length).ok().filter(|&length| length <= self.0.len());
        let length = length.ok_or_else(|| broken("unexpected EOF"))?;
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(taken)
    }

    /// The next field with its number.
    pub(super) fn field(&mut self) -> Result<Option<(u64, Field<'a>)>, ParseError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                let bytes = bytes.first_chunk::<8>().ok_or_else(|| broken("unexpected EOF"))?;
                Field::Fixed64(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Field::Fixed32
            }
            kind => return Err(broken(&format!("illegal wire type {kind}"))),
        };
        if tag >> 3 == 0 {
            return Err(broken("illegal tag 0"));
        }
        Ok(Some((tag >> 3, field)))
    }
}
