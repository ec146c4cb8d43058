//! The suffixes of quantities and their canonical text.

use std::fmt;

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// `Ki`, `Mi`, …
    Binary,
    /// `m`, `k`, `M`, …
    Decimal,
    /// `e3`, …
    Exponent,
}

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i64); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// The notation, base and power that a suffix means.
pub(crate) fn suffix(text: &str) -> Option<(Notation, u32, i64)> {
    if let Some(place) = BINARY.iter().position(|name| *name == text) {
        return Some((Notation::Binary, 2, (place as i64 + 1) * 10));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == text) {
        return Some((Notation::Decimal, 10, *power));
    }
    let power = text.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
    Some((Notation::Exponent, 10, i64::from(power)))
}

/// Writes `nanos` billionths with the suffix that leaves the fewest digits.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, nanos: i128, notation: Notation) -> fmt::Result {
    const BILLION: i128 = 1_000_000_000;
    if nanos == 0 {
        return f.write_str("0");
    }
    if notation == Notation::Binary && nanos % BILLION == 0 && (nanos / BILLION).abs() >= 1024 {
        let mut value = nanos / BILLION;
        let mut place = 0;
        while value % 1024 == 0 && place < BINARY.len() {
            value /= 1024;
            place += 1;
        }
        return write!(f, "{value}{}", place.checked_sub(1).map_or("", |place| BINARY[place]));
    }
    let mut value = nanos;
    let mut power = -9;
    while value % 1000 == 0 && power < 18 {
        value /= 1000;
        power += 3;
    }
    if notation == Notation::Exponent {
        return if power == 0 { write!(f, "{value}") } else { write!(f, "{value}e{power}") };
    }
    let name = DECIMAL.iter().find(|(_, p)| *p == power).map_or("", |(name, _)| name);
    write!(f, "{value}{name}")
}
