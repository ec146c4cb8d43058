//! The names of blocks: ULIDs, which sort by their time.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// 48 bits of milliseconds and 80 of chance, written as 26 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Ulid(u128);

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Ulid {
    /// A new one of a time in milliseconds.
    pub fn new(time: u64) -> Self {
        // Each state has keys of its own that the operating system's randomness went into.
        let random = || u128::from(RandomState::new().hash_one(time));
        let chance = (random() << 64 | random()) & ((1 << 80) - 1);
        Self(u128::from(time & 0xffff_ffff_ffff) << 80 | chance)
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in (0..26).rev() {
            let character = ALPHABET[(self.0 >> (5 * place)) as usize & 31];
            write!(f, "{}", char::from(character))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ulid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is no ULID");
        if text.len() != 26 || text.as_bytes()[0] > b'7' {
            return Err(fault());
        }
        let digit = |byte: u8| ALPHABET.iter().position(|&known| known == byte.to_ascii_uppercase());
        let bits = text.bytes().try_fold(0u128, |bits, byte| Some(bits << 5 | digit(byte)? as u128));
        bits.map(Self).ok_or_else(fault)
    }
}

impl From<Ulid> for String {
    fn from(ulid: Ulid) -> Self {
        ulid.to_string()
    }
}

impl TryFrom<String> for Ulid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back_and_sort_by_time() {
        let ulids: Vec<Ulid> = [0, 1, 1_700_000_000_000, 0xffff_ffff_ffff].map(Ulid::new).to_vec();
        assert!(ulids.iter().map(Ulid::to_string).is_sorted());
        for ulid in ulids {
            assert_eq!(ulid.to_string().parse(), Ok(ulid));
        }
        assert_ne!(Ulid::new(5), Ulid::new(5));
        let known: Ulid = "01BX5ZZKBKACTAV9WEVGEMMVRZ".parse().unwrap();
        assert_eq!(known.to_string(), "01BX5ZZKBKACTAV9WEVGEMMVRZ");
        assert!("81BX5ZZKBKACTAV9WEVGEMMVRZ".parse::<Ulid>().is_err());
        assert!("chunks_head".parse::<Ulid>().is_err());
    }
}
