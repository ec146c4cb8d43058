//! `printf` as Go's package `fmt` writes it, complaints about wrong verbs included.

use std::fmt::Write as _;

use xebec_promql::number::{general, quoted, quoted_char, significant};

use super::value::Value;

/// Widths and precisions above this are refused, as in `fmt`; smaller than there, since texts are bounded here.
const MOST_WIDTH: i64 = 10_000;

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printer<'a> {
    args: &'a [Value],
    next: usize,
    out: String,
    /// Whether arguments were chosen by `[n]`.
    reordered: bool,
    /// Whether a choice was none.
    good_choice: bool,
}

/// Writes values as a format says.
pub(super) fn printf(format: &str, args: &[Value]) -> String {
    let mut printer = Printer { args, next: 0, out: String::new(), reordered: false, good_choice: true };
    let mut rest = format;
    let mut after_choice = false;
    while let Some(percent) = rest.find('%') {
        printer.out.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        rest = printer.directive(rest, &mut after_choice);
    }
    printer.out.push_str(rest);
    if !printer.reordered && printer.next < args.len() {
        let extra: Vec<String> = args[printer.next..].iter().map(bad_value).collect();
        let _ = write!(printer.out, "%!(EXTRA {})", extra.join(", "));
    }
    printer.out
}

/// A value with its type, as complaints show it.
fn bad_value(value: &Value) -> String {
    match value {
        Value::Invalid => "<nil>".to_owned(),
        other => format!("{}={}", other.type_name(), other.shown()),
    }
}

impl<'a> Printer<'a> {
    /// Writes what stands behind a percent sign; returns what follows.
    fn directive<'f>(&mut self, mut rest: &'f str, after_choice: &mut bool) -> &'f str {
        let mut flags = Flags::default();
        self.good_choice = true;
        loop {
            match rest.as_bytes().first() {
                Some(b'+') => flags.plus = true,
                Some(b'-') => (flags.minus, flags.zero) = (true, false),
                Some(b'#') => flags.sharp = true,
                Some(b' ') => flags.space = true,
                Some(b'0') => flags.zero = !flags.minus,
                _ => break,
            }
            rest = &rest[1..];
        }
        rest = self.choice(rest, after_choice);
        if let Some(tail) = rest.strip_prefix('*') {
            rest = tail;
            match self.number() {
                None => self.out.push_str("%!(BADWIDTH)"),
                Some(width) => {
                    flags.width = Some(width.unsigned_abs() as usize);
                    if width < 0 {
                        (flags.minus, flags.zero) = (true, false);
                    }
                }
            }
            *after_choice = false;
        } else {
            let (width, tail) = digits(rest);
            if *after_choice && width.is_some() {
                self.good_choice = false;
            }
            (flags.width, rest) = (width, tail);
        }
        if let Some(tail) = rest.strip_prefix('.') {
            rest = tail;
            if *after_choice {
                self.good_choice = false;
            }
            rest = self.choice(rest, after_choice);
            if let Some(tail) = rest.strip_prefix('*') {
                rest = tail;
                match self.number() {
                    Some(precision) if precision >= 0 => flags.precision = Some(precision as usize),
                    Some(_) => {}
                    None => self.out.push_str("%!(BADPREC)"),
                }
                *after_choice = false;
            } else {
                let (precision, tail) = digits(rest);
                flags.precision = Some(precision.unwrap_or(0));
                rest = tail;
            }
        }
        if !*after_choice {
            rest = self.choice(rest, after_choice);
        }
        let Some(verb) = rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return rest;
        };
        rest = &rest[verb.len_utf8()..];
        *after_choice = false;
        if verb == '%' {
            self.out.push('%');
        } else if !self.good_choice {
            let _ = write!(self.out, "%!{verb}(BADINDEX)");
        } else if let Some(value) = self.args.get(self.next) {
            self.next += 1;
            let text = formatted(value, verb, &flags);
            self.out.push_str(&text);
        } else {
            let _ = write!(self.out, "%!{verb}(MISSING)");
        }
        rest
    }

    /// `[n]`, which chooses the next argument.
    fn choice<'f>(&mut self, rest: &'f str, after_choice: &mut bool) -> &'f str {
        *after_choice = false;
        let Some(inner) = rest.strip_prefix('[') else { return rest };
        self.reordered = true;
        let Some((number, tail)) = inner.split_once(']') else {
            self.good_choice = false;
            return inner;
        };
        match number.parse::<usize>() {
            Ok(number) if number >= 1 && number <= self.args.len() => {
                self.next = number - 1;
                *after_choice = true;
            }
            _ => self.good_choice = false,
        }
        tail
    }

    /// The next argument as a width or a precision.
    fn number(&mut self) -> Option<i64> {
        let value = self.args.get(self.next)?;
        self.next += 1;
        match value {
            Value::Int(number) if number.abs() <= MOST_WIDTH => Some(*number),
            _ => None,
        }
    }
}

fn digits(text: &str) -> (Option<usize>, &str) {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(count);
    match number.parse::<i64>() {
        Ok(number) if number <= MOST_WIDTH => (Some(number as usize), rest),
        _ => (None, rest),
    }
}

fn padded(text: String, flags: &Flags) -> String {
    let length = text.chars().count();
    let Some(missing) = flags.width.and_then(|width| width.checked_sub(length)) else { return text };
    match (flags.minus, flags.zero) {
        (true, _) => text + &" ".repeat(missing),
        (false, true) => "0".repeat(missing) + &text,
        (false, false) => " ".repeat(missing) + &text,
    }
}

fn bad_verb(value: &Value, verb: char) -> String {
    format!("%!{verb}({})", bad_value(value))
}

fn formatted(value: &Value, verb: char, flags: &Flags) -> String {
    match (value, verb) {
        (Value::Invalid, 'v') => padded("<nil>".to_owned(), flags),
        (_, 'T') => padded(value.type_name().to_owned(), flags),
        (Value::Invalid, _) => format!("%!{verb}(<nil>)"),
        (Value::Bool(value), 't' | 'v') => padded(value.to_string(), flags),
        (Value::Int(number), _) => integer(*number, verb, flags).unwrap_or_else(|| bad_verb(value, verb)),
        (Value::Float(number), _) => float(*number, verb, flags).unwrap_or_else(|| bad_verb(value, verb)),
        (Value::Text(text) | Value::Html(text), _) => {
            string(text, verb, flags).unwrap_or_else(|| bad_verb(value, verb))
        }
        // What has a text of its own is that text to these verbs.
        (
            Value::Time(_) | Value::Duration(_) | Value::Named(..) | Value::Histogram(_),
            'v' | 's' | 'q' | 'x' | 'X',
        ) => string(&value.shown(), verb, flags).unwrap_or_default(),
        (Value::Duration(number) | Value::Named(_, number, _), _) => {
            integer(*number, verb, flags).unwrap_or_else(|| bad_verb(value, verb))
        }
        (Value::Texts(map), _) => {
            let each = map.iter().map(|(name, value)| {
                let part = |text: &str| formatted(&Value::text(text), verb, flags);
                format!("{}:{}", part(name), part(value))
            });
            format!("map[{}]", each.collect::<Vec<_>>().join(" "))
        }
        (Value::Map(map), _) => {
            let each = map.iter().map(|(name, value)| {
                format!(
                    "{}:{}",
                    formatted(&Value::text(name.as_str()), verb, flags),
                    formatted(value, verb, flags)
                )
            });
            format!("map[{}]", each.collect::<Vec<_>>().join(" "))
        }
        (other, 'v' | 's') => padded(other.shown(), flags),
        (other, _) => bad_verb(other, verb),
    }
}

fn string(text: &str, verb: char, flags: &Flags) -> Option<String> {
    let cut: String = match flags.precision {
        Some(most) => text.chars().take(most).collect(),
        None => text.to_owned(),
    };
    Some(match verb {
        'v' | 's' => padded(cut, flags),
        'q' if flags.sharp && !cut.contains(|letter: char| letter == '`' || letter.is_control()) => {
            padded(format!("`{cut}`"), flags)
        }
        'q' => padded(quoted(&cut), flags),
        'x' | 'X' => {
            let bytes = text.as_bytes();
            let bytes = &bytes[..flags.precision.map_or(bytes.len(), |most| most.min(bytes.len()))];
            let each = bytes.iter().map(|byte| match verb {
                'x' => format!("{byte:02x}"),
                _ => format!("{byte:02X}"),
            });
            let separator = if flags.space { " " } else { "" };
            let prefix =
                if flags.sharp && !bytes.is_empty() { if verb == 'x' { "0x" } else { "0X" } } else { "" };
            padded(format!("{prefix}{}", each.collect::<Vec<_>>().join(separator)), flags)
        }
        _ => return None,
    })
}

fn integer(number: i64, verb: char, flags: &Flags) -> Option<String> {
    let size = number.unsigned_abs();
    let (mut digits, prefix) = match verb {
        'v' | 'd' => (size.to_string(), ""),
        'b' => (format!("{size:b}"), "0b"),
        'o' => (format!("{size:o}"), "0"),
        'O' => (format!("{size:o}"), ""),
        'x' => (format!("{size:x}"), "0x"),
        'X' => (format!("{size:X}"), "0X"),
        'c' | 'q' | 'U' => {
            let letter = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            return Some(padded(
                match verb {
                    'c' => letter.to_string(),
                    'q' => quoted_char(letter),
                    _ => format!("U+{number:04X}"),
                },
                flags,
            ));
        }
        _ => return None,
    };
    let sign = match (number < 0, flags.plus, flags.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    };
    if flags.precision == Some(0) && number == 0 {
        return Some(padded(String::new(), &Flags { zero: false, ..*flags }));
    }
    let least = match (flags.precision, flags.zero, flags.width) {
        (Some(precision), ..) => precision,
        (None, true, Some(width)) => width.saturating_sub(sign.len()),
        _ => 0,
    };
    if digits.len() < least {
        digits = "0".repeat(least - digits.len()) + &digits;
    }
    let octal = if verb == 'O' { "0o" } else { "" };
    let prefix = match prefix {
        "0" if digits.starts_with('0') => "",
        prefix if flags.sharp => prefix,
        _ => octal,
    };
    Some(padded(format!("{sign}{prefix}{digits}"), &Flags { zero: false, ..*flags }))
}

fn exponential(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn float(number: f64, verb: char, flags: &Flags) -> Option<String> {
    let size = number.abs();
    let special = !number.is_finite();
    let text = match verb {
        'v' | 'g' | 'G' | 'e' | 'E' | 'f' | 'F' if special => {
            if number.is_nan() { "NaN" } else { "Inf" }.to_owned()
        }
        'v' | 'g' | 'G' => match flags.precision {
            None => general(size),
            Some(digits) => significant(size, digits.max(1)),
        },
        'e' | 'E' => exponential(size, flags.precision.unwrap_or(6)),
        'f' | 'F' => format!("{size:.*}", flags.precision.unwrap_or(6)),
        _ => return None,
    };
    let text = if matches!(verb, 'E' | 'G') && !special { text.replace('e', "E") } else { text };
    let sign = match (number.is_sign_negative() && !number.is_nan(), flags.plus, flags.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        // Infinity has its sign even where none is asked for.
        (false, ..) if number == f64::INFINITY => "+",
        _ => "",
    };
    if flags.zero && !special {
        let missing = flags.width.unwrap_or(0).saturating_sub(sign.len() + text.len());
        return Some(format!("{sign}{}{text}", "0".repeat(missing)));
    }
    Some(padded(format!("{sign}{text}"), &Flags { zero: false, ..*flags }))
}
