//! Numbers and quoted strings as Prometheus writes and reads them. Its texts (label values made of samples, errors,
//! annotations) follow Go's formats, and dashboards compare them as strings.

use std::fmt::Write as _;

/// The value that marks a series as gone.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker as a number.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether a sample is the staleness marker, and not any other NaN.
pub fn is_stale_nan(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// The shortest digits that read back as `value`, without an exponent.
pub fn plain(value: f64) -> String {
    special(value).map_or_else(|| value.to_string(), str::to_owned)
}

/// The shortest digits that read back as `value`, with an exponent where it is large or small (Go's `%g`).
pub fn general(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) { value.to_string() } else { exponential(digits, exponent) }
}

fn exponential(digits: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `value` with `digits` significant digits at most (Go's `%.Ng`).
pub fn significant(value: f64, digits: usize) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        return exponential(&trimmed(mantissa), exponent);
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.decimals$}"))
}

/// A number as OpenMetrics writes it in a label: always with a point or an exponent.
pub fn open_metrics(value: f64) -> String {
    let text = general(value);
    if value.is_finite() && !text.contains(['e', '.']) { text + ".0" } else { text }
}

/// `text` in double quotes, with what cannot be printed escaped (Go's `%q`).
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        push_escaped(&mut out, letter, '"');
    }
    out.push('"');
    out
}

/// The same of bytes, of which those that are no UTF-8 are escaped one by one.
pub fn quoted_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|letter| push_escaped(&mut out, letter, '"'));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// One character in single quotes (Go's `%q` of a rune).
pub fn quoted_char(letter: char) -> String {
    let mut out = String::from("'");
    push_escaped(&mut out, letter, '\'');
    out.push('\'');
    out
}

/// One character as its code point and itself (Go's `%#U`).
pub fn code_point(letter: char) -> String {
    match unprintable(letter) {
        true => format!("U+{:04X}", letter as u32),
        false => format!("U+{:04X} '{letter}'", letter as u32),
    }
}

fn push_escaped(out: &mut String, letter: char, quote: char) {
    match letter {
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        letter if letter == quote => {
            out.push('\\');
            out.push(letter);
        }
        letter if (letter as u32) < 0x20 || letter == '\x7f' => {
            let _ = write!(out, "\\x{:02x}", letter as u32);
        }
        letter if unprintable(letter) => {
            let code = letter as u32;
            let _ = if code > 0xffff { write!(out, "\\U{code:08x}") } else { write!(out, "\\u{code:04x}") };
        }
        letter => out.push(letter),
    }
}

/// Controls, spaces other than the plain one, invisible marks, private use.
fn unprintable(letter: char) -> bool {
    letter.is_control()
        || (letter.is_whitespace() && letter != ' ')
        || matches!(letter as u32, 0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xe000..=0xf8ff
            | 0xfeff | 0xfff0..=0xfffb | 0xf0000..)
}

/// Why a text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    /// It does not read as a number.
    Syntax,
    /// It is larger than any number.
    Range,
}

/// Reads a number: a decimal, hexadecimal, octal or binary integer, a decimal or hexadecimal fraction, or `Inf` and `NaN`.
pub fn parse(text: &str) -> Result<f64, NumberError> {
    if let Some(integer) = parse_integer(text) {
        return Ok(integer as f64);
    }
    let (negative, body) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = body.to_ascii_lowercase();
    let value = match lower.as_str() {
        "nan" if body.len() == text.len() => f64::NAN,
        "inf" | "infinity" => f64::INFINITY,
        _ => match lower.strip_prefix("0x") {
            Some(digits) => hexadecimal_fraction(digits)?,
            None => decimal_fraction(&lower)?,
        },
    };
    if value.is_infinite() && !lower.starts_with('i') {
        return Err(NumberError::Range);
    }
    Ok(if negative { -value } else { value })
}

fn parse_integer(text: &str) -> Option<i64> {
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = body.to_ascii_lowercase();
    let (radix, digits, prefixed) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..], true),
        [b'0', b'b', ..] => (2, &lower[2..], true),
        [b'0', b'o', ..] => (8, &lower[2..], true),
        [b'0', _, ..] => (8, &lower[1..], true),
        _ => (10, lower.as_str(), false),
    };
    if !underscores_separate(digits, prefixed) {
        return None;
    }
    let digits: String = digits.chars().filter(|&letter| letter != '_').collect();
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// Underscores stand between two digits, or between the base's prefix and a digit.
fn underscores_separate(digits: &str, prefixed: bool) -> bool {
    let mut before_is_digit = prefixed;
    let mut after_underscore = false;
    for letter in digits.chars() {
        if letter == '_' {
            if !before_is_digit {
                return false;
            }
            (before_is_digit, after_underscore) = (false, true);
        } else {
            let digit = letter.is_ascii_hexdigit();
            if after_underscore && !digit {
                return false;
            }
            (before_is_digit, after_underscore) = (digit, false);
        }
    }
    !after_underscore
}

fn decimal_fraction(lower: &str) -> Result<f64, NumberError> {
    let sound = lower.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.');
    if !sound || !underscores_separate(lower, false) {
        return Err(NumberError::Syntax);
    }
    lower.replace('_', "").parse().map_err(|_| NumberError::Syntax)
}

fn hexadecimal_fraction(digits: &str) -> Result<f64, NumberError> {
    let (mantissa, exponent) = digits.split_once('p').ok_or(NumberError::Syntax)?;
    if !underscores_separate(mantissa, true) {
        return Err(NumberError::Syntax);
    }
    let exponent: i32 = exponent.parse().map_err(|_| NumberError::Syntax)?;
    let mut value = 0.0f64;
    for letter in mantissa.chars().filter(|&letter| letter != '_') {
        let digit = letter.to_digit(16).ok_or(NumberError::Syntax)?;
        value = value * 16.0 + f64::from(digit);
    }
    Ok(value * f64::from(exponent.clamp(-2000, 2000)).exp2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_as_go_does() {
        assert_eq!(general(100_000.0), "100000");
        assert_eq!(general(1_234_567.0), "1.234567e+06");
        assert_eq!(general(0.0001), "0.0001");
        assert_eq!(general(0.000_012_345), "1.2345e-05");
        assert_eq!(general(f64::NEG_INFINITY), "-Inf");
        assert_eq!(significant(123_456.0, 2), "1.2e+05");
        assert_eq!(significant(0.001_234, 2), "0.0012");
        assert_eq!(significant(1.0, 2), "1");
        assert_eq!(plain(1e21), "1000000000000000000000");
        assert_eq!(open_metrics(1.0), "1.0");
        assert_eq!(open_metrics(0.95), "0.95");
    }

    #[test]
    fn reads_numbers_in_every_base() {
        assert_eq!(parse("0x1f"), Ok(31.0));
        assert_eq!(parse("010"), Ok(8.0));
        assert_eq!(parse("08"), Ok(8.0));
        assert_eq!(parse("1_000"), Ok(1000.0));
        assert_eq!(parse("0X_1FFFP-16"), Ok(0.124_984_741_210_937_5));
        assert_eq!(parse("+Inf"), Ok(f64::INFINITY));
        assert!(parse("NaN").is_ok_and(f64::is_nan));
        assert_eq!(parse("1e1000"), Err(NumberError::Range));
        assert_eq!(parse("1_"), Err(NumberError::Syntax));
        assert_eq!(parse(""), Err(NumberError::Syntax));
    }

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(quoted("a\"b\n\u{1}"), "\"a\\\"b\\n\\x01\"");
        assert_eq!(quoted_char('\''), "'\\''");
        assert_eq!(code_point('x'), "U+0078 'x'");
    }
}
