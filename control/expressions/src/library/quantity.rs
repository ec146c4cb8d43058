//! Quantities such as `1.5Gi`, exact to a billionth.

use std::cmp::Ordering;
use std::fmt;

use super::decimal::Notation;

/// A quantity.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    /// Billionths.
    nanos: i128,
    notation: Notation,
    /// Value and power of ten, if upstream would keep it so; only such quantities are ever integers.
    short: Option<(i64, i64)>,
}

const BILLION: i128 = 1_000_000_000;

impl Quantity {
    /// A whole number.
    pub(crate) fn whole(value: i64) -> Self {
        Self { nanos: i128::from(value) * BILLION, notation: Notation::Exponent, short: Some((value, 0)) }
    }

    pub(crate) fn sign(&self) -> i64 {
        self.nanos.signum() as i64
    }

    /// The value, if it is written as a whole number of 64 bits.
    pub(crate) fn integer(&self) -> Option<i64> {
        let (value, power) = self.short?;
        value.checked_mul(10i64.checked_pow(u32::try_from(power).ok()?)?)
    }

    pub(crate) fn float(&self) -> f64 {
        if self.nanos % BILLION == 0 { (self.nanos / BILLION) as f64 } else { self.nanos as f64 / 1e9 }
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        let short = self.short.zip(other.short).and_then(|(a, b)| sum(a, b));
        Self { nanos: self.nanos.saturating_add(other.nanos), notation: self.notation_with(other), short }
    }

    pub(crate) fn subtract(&self, other: &Self) -> Self {
        let negated = other.short.and_then(|(value, power)| Some((value.checked_neg()?, power)));
        let short = self.short.zip(negated).and_then(|(a, b)| sum(a, b));
        Self { nanos: self.nanos.saturating_sub(other.nanos), notation: self.notation_with(other), short }
    }

    fn notation_with(&self, other: &Self) -> Notation {
        if self.nanos == 0 { other.notation } else { self.notation }
    }
}

/// The sum with the smaller power.
fn sum(a: (i64, i64), b: (i64, i64)) -> Option<(i64, i64)> {
    if a.0 == 0 || b.0 == 0 {
        return Some(if a.0 == 0 { b } else { a });
    }
    let power = a.1.min(b.1);
    let value =
        |(value, own): (i64, i64)| value.checked_mul(10i64.checked_pow(u32::try_from(own - power).ok()?)?);
    Some((value(a)?.checked_add(value(b)?)?, power))
}

/// Value and power of ten, if 18 digits hold them.
fn short(whole: &str, fraction: &str, base: u32, power: i64) -> Option<(i64, i64)> {
    let digits = (whole.len() + fraction.len()) as i64;
    let (room, factor, power) = match base {
        10 => (18 - digits, 1, power),
        _ if fraction.is_empty() => {
            (14 - digits - power * 3 / 10, 1i64.checked_shl(u32::try_from(power).ok()?)?, 0)
        }
        _ => return None,
    };
    let power = power - fraction.len() as i64;
    if room < 0 || power < -9 {
        return None;
    }
    let value: i64 = format!("0{whole}{fraction}").parse().ok()?;
    Some((value.checked_mul(factor)?, power))
}

const NO_QUANTITY: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NO_SUFFIX: &str = "unable to parse quantity's suffix";

/// Reads a quantity.
pub(crate) fn parse(text: &str) -> Result<Quantity, &'static str> {
    if text.is_empty() {
        return Err(NO_QUANTITY);
    }
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole_end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let (whole, after) = unsigned.split_at(whole_end);
    let (fraction, suffix) = match after.strip_prefix('.') {
        Some(after) => after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())),
        None => ("", after),
    };
    let letters = suffix.bytes().take_while(|b| b"eEinumkKMGTP".contains(b)).count();
    let exponent = suffix[letters..].strip_prefix(['+', '-']).unwrap_or(&suffix[letters..]);
    if !exponent.bytes().all(|b| b.is_ascii_digit()) || whole.is_empty() && fraction.is_empty() {
        return Err(NO_QUANTITY);
    }
    let (notation, base, power) = super::decimal::suffix(suffix).ok_or(NO_SUFFIX)?;
    // More digits than can count are judged by their leading ones.
    let whole = whole.trim_start_matches('0');
    let digits: String = whole.chars().chain(fraction.chars()).take(36).collect();
    let mantissa: i128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| NO_QUANTITY)? };
    let kept_fraction = digits.len() as i64 - whole.len() as i64;
    let exact = fraction.len() as i64 <= kept_fraction
        || fraction.bytes().skip(kept_fraction.max(0) as usize).all(|b| b == b'0');
    let nanos = scale(mantissa, 9 - kept_fraction, base, power, !exact);
    let short = short(whole, fraction, base, power)
        .map(|(value, power)| (if negative { -value } else { value }, power));
    Ok(Quantity { nanos: if negative { -nanos } else { nanos }, notation, short })
}

/// `mantissa · 10^tens · base^power`, rounded up.
fn scale(mantissa: i128, tens: i64, base: u32, power: i64, mut inexact: bool) -> i128 {
    const MOST: i128 = i128::MAX;
    let mut value = mantissa;
    let (ten_power, two_power) = if base == 10 { (tens + power, 0) } else { (tens, power) };
    for _ in 0..two_power {
        value = value.checked_mul(2).unwrap_or(MOST);
    }
    for _ in 0..ten_power.min(60) {
        value = value.checked_mul(10).unwrap_or(MOST);
    }
    for _ in 0..(-ten_power).min(60) {
        inexact |= value % 10 != 0;
        value /= 10;
    }
    if inexact { value.saturating_add(1) } else { value }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::decimal::write(f, self.nanos, self.notation)
    }
}
