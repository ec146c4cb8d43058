//! Durations as Prometheus writes them: `1h30m`, `5ms`, `2w`.

use crate::number;

/// Nanoseconds; the language calculates in them and the engine in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(i64);

/// Units from the largest to the smallest, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3600 * 1_000_000_000),
    ("w", 7 * 24 * 3600 * 1_000_000_000),
    ("d", 24 * 3600 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
];

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);

    /// A number of milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// A number of seconds, rounded to the nanosecond; what is too large becomes the largest duration.
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1e9).round() as i64)
    }

    /// Whole milliseconds, cut towards zero.
    pub const fn millis(self) -> i64 {
        self.0 / 1_000_000
    }

    /// Seconds, with a fraction.
    pub fn seconds(self) -> f64 {
        let whole = self.0 / 1_000_000_000;
        whole as f64 + (self.0 % 1_000_000_000) as f64 / 1e9
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it points to the future.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Reads a duration without a sign: `0`, or units from the largest to the smallest.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "0" => return Ok(Self::ZERO),
            "" => return Err("empty duration string".to_owned()),
            _ => {}
        }
        let invalid = || format!("not a valid duration string: {}", number::quoted(text));
        let mut rest = text;
        let mut total: u64 = 0;
        let mut last_unit = None;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let count: u64 = rest[..digits].parse().map_err(|_| invalid())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(|byte| !byte.is_ascii_digit()).count();
            if letters == 0 {
                return Err(invalid());
            }
            let unit = &rest[..letters];
            rest = &rest[letters..];
            let Some(place) = UNITS.iter().position(|(name, _)| *name == unit) else {
                return Err(format!(
                    "unknown unit {} in duration {}",
                    number::quoted(unit),
                    number::quoted(text)
                ));
            };
            if last_unit.is_some_and(|last| place <= last) {
                return Err(invalid());
            }
            last_unit = Some(place);
            total = count
                .checked_mul(UNITS[place].1)
                .and_then(|part| total.checked_add(part))
                .filter(|&sum| sum <= i64::MAX as u64)
                .ok_or_else(|| "duration out of range".to_owned())?;
        }
        Ok(Self(total as i64))
    }
}

impl std::ops::Neg for Duration {
    type Output = Duration;

    fn neg(self) -> Duration {
        Duration(self.0.saturating_neg())
    }
}

impl std::fmt::Display for Duration {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.millis();
        if millis == 0 {
            return out.write_str("0s");
        }
        if millis < 0 {
            out.write_str("-")?;
        }
        let mut rest = millis.unsigned_abs();
        for (place, (name, nanos)) in UNITS.iter().enumerate() {
            let unit = nanos / 1_000_000;
            // Years and weeks only when nothing is left over: 90d reads better than 12w6d.
            if (place < 2 && !rest.is_multiple_of(unit)) || rest < unit {
                continue;
            }
            write!(out, "{}{name}", rest / unit)?;
            rest %= unit;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn reads_and_writes_units_in_order() {
        for text in ["0s", "5ms", "1h30m", "1y", "2w", "90d", "1d1h1m1s1ms"] {
            assert_eq!(Duration::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Duration::parse("60s").unwrap().to_string(), "1m");
        assert_eq!((-Duration::from_millis(1500)).to_string(), "-1s500ms");
    }

    #[test]
    fn refuses_what_is_no_duration() {
        assert_eq!(Duration::parse("1").unwrap_err(), "not a valid duration string: \"1\"");
        assert_eq!(Duration::parse("5x").unwrap_err(), "unknown unit \"x\" in duration \"5x\"");
        assert_eq!(Duration::parse("1s1h").unwrap_err(), "not a valid duration string: \"1s1h\"");
        assert_eq!(Duration::parse("1000y").unwrap_err(), "duration out of range");
    }
}
