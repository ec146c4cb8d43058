//! Ranges of addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    network: Ipv4Addr,
    mask: Ipv4Addr,
}

/// A text that names no range.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no range of IPv4 addresses: write ADDRESS/LENGTH")]
pub struct RangeSyntax {
    text: String,
}

impl Range {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & u32::from(self.mask) == u32::from(self.network)
    }

    /// Its first address.
    #[must_use]
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// Ones where its addresses are the same.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        self.mask
    }
}

impl FromStr for Range {
    type Err = RangeSyntax;

    fn from_str(text: &str) -> Result<Self, RangeSyntax> {
        let bad = || RangeSyntax { text: text.chars().take(100).collect() };
        let (address, length) = text.split_once('/').ok_or_else(bad)?;
        let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
        let length: u32 = length.parse().ok().filter(|length| *length <= 32).ok_or_else(bad)?;
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        Ok(Self { network: (u32::from(address) & mask).into(), mask: mask.into() })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, u32::from(self.mask).leading_ones())
    }
}

/// A range but for parts of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// All of it.
    pub range: Range,
    /// What is left out.
    pub except: Vec<Range>,
}

impl Block {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.range.contains(address) && !self.except.iter().any(|range| range.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_what_is_in_its_range_and_in_no_exception() {
        let range = |text: &str| text.parse::<Range>().unwrap();
        let block = Block { range: range("10.0.0.7/8"), except: vec![range("10.1.0.0/16")] };
        assert_eq!(block.range.to_string(), "10.0.0.0/8");
        assert!(block.contains(Ipv4Addr::new(10, 2, 0, 1)));
        assert!(!block.contains(Ipv4Addr::new(10, 1, 255, 255)));
        assert!(!block.contains(Ipv4Addr::new(11, 0, 0, 0)));
        assert!(range("0.0.0.0/0").contains(Ipv4Addr::BROADCAST));
        assert!(range("10.0.0.1/32").contains(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(!range("10.0.0.1/32").contains(Ipv4Addr::new(10, 0, 0, 0)));
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "fd00::/8"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }
}
