//! Lengths of time as text.

use crate::value::{Evaluated, EvaluationError};

/// Units with their nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads `1h15m30.918s`.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let whole = &rest[..whole_end];
        rest = &rest[whole_end..];
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            fraction = &after[..end];
            rest = &after[end..];
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = &rest[..unit_end];
        rest = &rest[unit_end..];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let scale = scale.ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let mut part = whole.checked_mul(scale).ok_or_else(invalid)?;
        if !fraction.is_empty() {
            let share = format!("0.{fraction}").parse::<f64>().unwrap_or(0.0) * scale as f64;
            part = part
                .checked_add(exact_fraction(fraction, scale).unwrap_or(share as u64))
                .ok_or_else(invalid)?;
        }
        total = total.checked_add(part).filter(|total| *total <= 1 << 63).ok_or_else(invalid)?;
    }
    if negative {
        return 0i64.checked_sub_unsigned(total).ok_or_else(invalid);
    }
    i64::try_from(total).map_err(|_| invalid())
}

fn exact_fraction(digits: &str, scale: u64) -> Option<u64> {
    let digits = &digits[..digits.len().min(18)];
    let value: u128 = digits.parse().ok()?;
    let below = 10u128.checked_pow(digits.len() as u32)?;
    u64::try_from(value * u128::from(scale) / below).ok()
}

/// Reads what the format `duration` of a schema allows: also `3 days` and the like.
pub(crate) fn parse_loosely(text: &str) -> Result<i64, String> {
    if let Ok(duration) = parse(text) {
        return Ok(duration);
    }
    let unable = || format!("unable to parse {text} as duration");
    let mut rest = text.trim();
    let mut total: i64 = 0;
    if rest.is_empty() {
        return Err(unable());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0).ok_or_else(unable)?;
        let count: i64 = rest[..digits].parse().map_err(|_| unable())?;
        rest = rest[digits..].trim_start();
        let word = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let nanoseconds = long_unit(&rest[..word].to_ascii_lowercase()).ok_or_else(unable)?;
        total = count.checked_mul(nanoseconds).and_then(|part| total.checked_add(part)).ok_or_else(unable)?;
        rest = rest[word..].trim_start_matches([' ', ',']);
    }
    Ok(total)
}

fn long_unit(word: &str) -> Option<i64> {
    Some(match word {
        "ns" | "nano" => 1,
        "us" | "micro" => 1_000,
        "ms" | "milli" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" | "hr" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        "w" | "wk" => 604_800_000_000_000,
        _ if word.starts_with("nanosec") => 1,
        _ if word.starts_with("microsec") => 1_000,
        _ if word.starts_with("millisec") => 1_000_000,
        _ if word.starts_with("sec") => 1_000_000_000,
        _ if word.starts_with("min") => 60_000_000_000,
        _ if word.starts_with("hour") => 3_600_000_000_000,
        _ if word.starts_with("day") => 86_400_000_000_000,
        _ if word.starts_with("week") => 604_800_000_000_000,
        _ => return None,
    })
}

/// Seconds with as many digits as it takes.
pub(crate) fn format(nanoseconds: i64) -> String {
    let seconds = (nanoseconds / 1_000_000_000) as f64 + (nanoseconds % 1_000_000_000) as f64 / 1e9;
    format!("{seconds}s")
}

/// `a + b`, if that is a duration.
pub(crate) fn add(a: i64, b: i64) -> Evaluated<i64> {
    a.checked_add(b).ok_or_else(overflow)
}

/// `a - b`, if that is a duration.
pub(crate) fn subtract(a: i64, b: i64) -> Evaluated<i64> {
    a.checked_sub(b).ok_or_else(overflow)
}

pub(crate) fn overflow() -> EvaluationError {
    EvaluationError::new("integer overflow")
}
