//! Resource quantities such as `500m`, `1.5Gi` or `2e3`, and their canonical writing.
//!
//! A quantity is held exactly, in billionths, as the API allows nothing finer (what is finer is rounded away from zero).

use std::fmt;

/// How a quantity was written, and so how it is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `m`, `k`, `M`, …
    Decimal,
    /// `Ki`, `Mi`, …
    Binary,
    /// `e3`
    Exponent,
}

/// An amount of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    nanos: i128,
    format: Format,
    /// The text that it was read from, where that is written again as it is.
    text: Option<Box<str>>,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// There is a number, and something after it that is no suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// The number is too large to be held exactly.
    #[error("the quantity is too large: use at most 28 digits before the point")]
    TooLarge,
}

const NANO: i128 = 1_000_000_000;
/// Longer digit strings cannot be amounts of anything, and their parsing must not cost much.
const DIGITS_MAX: usize = 36;
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Quantity {
    /// Reads a quantity.
    ///
    /// ```
    /// use xebec_machinery::quantity::Quantity;
    /// assert_eq!(Quantity::parse("1024Mi").unwrap().to_string(), "1Gi");
    /// assert_eq!(Quantity::parse("0.5").unwrap().to_string(), "500m");
    /// ```
    ///
    /// # Errors
    ///
    /// The text is no quantity, or one too large.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.is_empty() || number == "." || fraction.contains('.') {
            return Err(Error::Format);
        }
        let whole = whole.trim_start_matches('0');
        let digits = format!("{whole}{fraction}");
        let (format, shift, scale) = interpret(suffix)?;
        if digits.len() > DIGITS_MAX {
            return Err(Error::TooLarge);
        }
        let value: i128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| Error::TooLarge)? };
        let places = i32::try_from(fraction.len()).map_err(|_| Error::TooLarge)?;
        let scale = scale.saturating_sub(places);
        let shifted = value.checked_mul(1_i128 << shift).ok_or(Error::TooLarge)?;
        let mut nanos = scaled(shifted, scale.saturating_add(9)).ok_or(Error::TooLarge)?;
        if text.starts_with('-') {
            nanos = -nanos;
        }
        let small = nanos != 0 && nanos.abs() < NANO;
        let format = if format == Format::Binary && small { Format::Decimal } else { format };
        let kept = match format {
            Format::Binary => fraction.is_empty() && value & 7 != 0,
            _ => {
                scale % 3 == 0
                    && scale >= -9
                    && !digits.ends_with("000")
                    && !digits.starts_with('0')
                    && value != 0
            }
        };
        let kept = kept && digits.len() < 18;
        Ok(Self { nanos, format, text: kept.then(|| text.into()) })
    }

    /// The amount in billionths.
    pub fn nanos(&self) -> i128 {
        self.nanos
    }

    /// Whether there is no fraction.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANO == 0
    }

    /// The sum, in this quantity's format; at most what can be held.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos), format: self.format, text: None }
    }

    /// The difference, in this quantity's format.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self { nanos: self.nanos.saturating_sub(other.nanos), format: self.format, text: None }
    }

    /// This amount, rounded away from zero to thousandths, as the API keeps amounts of resources.
    #[must_use]
    pub fn in_thousandths(self) -> Self {
        const STEP: i128 = 1_000_000;
        if self.nanos % STEP == 0 {
            return self;
        }
        let nanos = (self.nanos / STEP + self.nanos.signum()) * STEP;
        Self { nanos, format: self.format, text: None }
    }
}

/// What a suffix says: the format, a power of two and a power of ten.
fn interpret(suffix: &str) -> Result<(Format, u32, i32), Error> {
    if let Some((_, scale)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Format::Decimal, 0, *scale));
    }
    if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((Format::Binary, *shift, 0));
    }
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']) {
        return exponent.parse().map(|scale| (Format::Exponent, 0, scale)).map_err(|_| Error::Suffix);
    }
    let known = |c: char| "eEinumkKMGTP".contains(c);
    let rest = suffix.trim_start_matches(known);
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    Err(if rest.chars().all(|c| c.is_ascii_digit()) { Error::Suffix } else { Error::Format })
}

/// `value` times a power of ten, rounded up where the power is negative; nothing where it is too large.
fn scaled(value: i128, power: i32) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    if power >= 0 {
        return value.checked_mul(factor?);
    }
    Some(factor.map_or(1, |factor| value / factor + i128::from(value % factor != 0)))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.nanos == 0 {
            return f.write_str("0");
        }
        if self.format == Format::Binary && self.is_whole() && self.nanos.abs() >= 1024 * NANO {
            let mut amount = self.nanos / NANO;
            let mut suffix = "";
            for (name, _) in BINARY {
                if amount % 1024 != 0 {
                    break;
                }
                amount /= 1024;
                suffix = name;
            }
            return write!(f, "{amount}{suffix}");
        }
        let (mut amount, mut exponent) = (self.nanos, -9);
        while amount % 1000 == 0 && exponent < 18 {
            amount /= 1000;
            exponent += 3;
        }
        if self.format == Format::Exponent {
            return if exponent == 0 { write!(f, "{amount}") } else { write!(f, "{amount}e{exponent}") };
        }
        let suffix = DECIMAL.iter().find(|(_, scale)| *scale == exponent).map_or("", |(name, _)| name);
        write!(f, "{amount}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_in_their_canonical_form() {
        let cases = [
            ("0", "0"),
            ("-0", "0"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.5", "1500m"),
            ("1.500", "1.500"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("2000", "2k"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("0.3Gi", "322122547200m"),
            ("1025Ki", "1025Ki"),
            ("512Ki", "512Ki"),
            ("1024", "1024"),
            ("2e3", "2e3"),
            ("2000e0", "2e3"),
            ("1E3", "1E3"),
            ("1E", "1E"),
            ("-1500m", "-1500m"),
            ("0.1n", "1n"),
            ("12345678901", "12345678901"),
        ];
        for (text, canonical) in cases {
            assert_eq!(Quantity::parse(text).map(|q| q.to_string()).as_deref(), Ok(canonical), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_says_so() {
        let suffix = ["1mm", "1e", "5kk", "1ki"];
        for text in suffix {
            assert_eq!(Quantity::parse(text), Err(Error::Suffix), "{text}");
        }
        for text in ["", "-", ".", "abc", "1.2.3", "1 Gi", "1x", "1Zi"] {
            assert_eq!(Quantity::parse(text), Err(Error::Format), "{text}");
        }
        for text in ["9".repeat(200), "1e99".into(), "1e999999999".into()] {
            assert_eq!(Quantity::parse(&text), Err(Error::TooLarge), "{text}");
        }
        assert_eq!(Quantity::parse("1e-999999999").unwrap().nanos(), 1);
    }

    #[test]
    fn a_difference_is_written_like_what_it_is_taken_from() {
        let quantity = |text: &str| Quantity::parse(text).unwrap();
        assert_eq!(quantity("3Gi").minus(&quantity("1024Mi")).to_string(), "2Gi");
        assert_eq!(quantity("1").minus(&quantity("250m")).to_string(), "750m");
    }

    #[test]
    fn amounts_of_resources_are_rounded_up_to_thousandths() {
        let rounded = |text: &str| Quantity::parse(text).unwrap().in_thousandths().to_string();
        assert_eq!(
            (rounded("1u"), rounded("-1u"), rounded("1500u")),
            ("1m".into(), "-1m".into(), "2m".into())
        );
        assert_eq!(rounded("1.500"), "1.500");
    }
}
