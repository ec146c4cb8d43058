//! `string.format`: a template with clauses, each filled by one value.

use crate::types::Type;
use crate::value::{Evaluated, EvaluationError, List, Map, Value};
use crate::{duration, effort, timestamp};

/// The digits after the point where a clause does not say.
const USUAL_PRECISION: usize = 6;
/// The most digits that a clause may ask for.
const MOST_PRECISION: usize = 1000;

/// What a clause asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clause {
    Text,
    Decimal,
    Fixed(Option<usize>),
    Scientific(Option<usize>),
    Binary,
    Hex(bool),
    Octal,
}

enum Piece<'t> {
    Plain(&'t str),
    Clause(Clause),
}

/// The pieces of a template; a wrong clause is an error once the pieces before it are used.
struct Pieces<'t> {
    rest: &'t str,
    used: usize,
    given: usize,
}

impl<'t> Pieces<'t> {
    fn new(template: &'t str, given: usize) -> Self {
        Self { rest: template, used: 0, given }
    }

    fn clause(&mut self) -> Result<Clause, String> {
        if self.used >= self.given {
            return Err(format!("index {} out of range", self.used));
        }
        self.used += 1;
        let mut rest = &self.rest[1..];
        if rest.is_empty() {
            return Err("unexpected end of string".to_owned());
        }
        let parsing = |reason: &str| format!("could not parse formatting clause: {reason}");
        let mut precision = None;
        if let Some(after) = rest.strip_prefix('.') {
            let precise = |reason: &str| parsing(&format!("error while parsing precision: {reason}"));
            let end = after
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(|| precise("could not find end of precision specifier"))?;
            let digits: usize = after[..end].parse().map_err(|_| {
                precise(&format!(
                    "error while converting precision to integer: strconv.Atoi: parsing {:?}: invalid syntax",
                    &after[..end]
                ))
            })?;
            precision = Some(digits.min(MOST_PRECISION));
            rest = &after[end..];
        }
        let letter = rest.chars().next().unwrap_or(' ');
        let clause = match letter {
            's' => Clause::Text,
            'd' => Clause::Decimal,
            'f' => Clause::Fixed(precision),
            'e' => Clause::Scientific(precision),
            'b' => Clause::Binary,
            'x' => Clause::Hex(false),
            'X' => Clause::Hex(true),
            'o' => Clause::Octal,
            _ => return Err(parsing(&format!("unrecognized formatting clause \"{letter}\""))),
        };
        self.rest = &rest[1..];
        Ok(clause)
    }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Result<Piece<'t>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if self.rest.starts_with("%%") {
            self.rest = &self.rest[2..];
            return Some(Ok(Piece::Plain("%")));
        }
        if self.rest.starts_with('%') {
            return Some(self.clause().map(Piece::Clause));
        }
        let (plain, rest) = self.rest.split_at(self.rest.find('%').unwrap_or(self.rest.len()));
        self.rest = rest;
        Some(Ok(Piece::Plain(plain)))
    }
}

fn refusal(clause: Clause, given: &str) -> String {
    let allowed = match clause {
        Clause::Text => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
        }
        Clause::Decimal => "decimal clause can only be used on integers",
        Clause::Fixed(_) => "fixed-point clause can only be used on doubles",
        Clause::Scientific(_) => "scientific clause can only be used on doubles",
        Clause::Binary => "only integers and bools can be formatted as binary",
        Clause::Hex(_) => "only integers, byte buffers, and strings can be formatted as hex",
        Clause::Octal => "octal clause can only be used on integers",
    };
    format!("{allowed}, was given {given}")
}

/// What is wrong with a constant template and its values.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// The value; none for the template.
    pub(crate) value: Option<usize>,
    /// Whether text was asked for, so that a part of the value may be to blame.
    pub(crate) of_text: bool,
    pub(crate) message: String,
}

/// Whether `%s` can show values of that type.
pub(crate) fn has_text(t: &Type) -> bool {
    !matches!(t, Type::Opaque(..) | Type::Struct(_) | Type::Error | Type::Param(_))
}

/// Judges a constant template by the types of its values, where `part` tells the type of a part of a value that has no text.
pub(crate) fn check(
    template: &str,
    given: &[&Type],
    part: impl Fn(usize) -> Option<String>,
) -> Result<(), Wrong> {
    let of_template = |message| Wrong { value: None, of_text: false, message };
    let mut pieces = Pieces::new(template, given.len());
    while let Some(piece) = pieces.next() {
        let Piece::Clause(clause) = piece.map_err(of_template)? else { continue };
        let place = pieces.used - 1;
        let t = given[place];
        let bad = match clause {
            Clause::Text => part(place),
            _ if t.is_dyn() => None,
            Clause::Decimal | Clause::Octal => {
                (!matches!(t, Type::Int | Type::Uint)).then(|| t.name().to_owned())
            }
            Clause::Fixed(_) | Clause::Scientific(_) => {
                (!matches!(t, Type::Double | Type::String)).then(|| t.name().to_owned())
            }
            Clause::Binary => {
                (!matches!(t, Type::Int | Type::Uint | Type::Bool)).then(|| t.name().to_owned())
            }
            Clause::Hex(_) => (!matches!(t, Type::Int | Type::Uint | Type::String | Type::Bytes))
                .then(|| t.name().to_owned()),
        };
        if let Some(bad) = bad {
            let message = format!("error during formatting: {}", refusal(clause, &bad));
            return Err(Wrong { value: Some(place), of_text: clause == Clause::Text, message });
        }
    }
    if given.len() > pieces.used {
        let (expected, got) = (pieces.used, given.len());
        let message =
            format!("too many arguments supplied to string.format (expected {expected}, got {got})");
        return Err(of_template(message));
    }
    Ok(())
}

/// Fills `template`.
pub(crate) fn format<'a>(template: &str, given: &Value<'a>) -> Evaluated<Value<'a>> {
    let given = given.as_list()?;
    let mut out = String::with_capacity(template.len());
    let mut pieces = Pieces::new(template, given.len());
    while let Some(piece) = pieces.next() {
        match piece.map_err(EvaluationError::new)? {
            Piece::Plain(text) => out.push_str(text),
            Piece::Clause(clause) => {
                let value = given.get(pieces.used - 1).unwrap_or(Ok(Value::Null))?;
                let text = fill(clause, &value).map_err(|reason| match EvaluationError::over_limit() {
                    limit if limit.message() == reason => limit,
                    _ => EvaluationError::new(format!("error during formatting: {reason}")),
                })?;
                effort::make_text(text.len())?;
                out.push_str(&text);
            }
        }
    }
    Ok(out.into())
}

fn fill(clause: Clause, value: &Value<'_>) -> Result<String, String> {
    let refused = || refusal(clause, value.type_name());
    Ok(match (clause, value) {
        (Clause::Text, _) => text(value).ok_or_else(refused)??,
        (Clause::Decimal, Value::Int(value)) => value.to_string(),
        (Clause::Decimal, Value::Uint(value)) => value.to_string(),
        (Clause::Octal, Value::Int(value)) => signed(*value, &format!("{:o}", value.unsigned_abs())),
        (Clause::Octal, Value::Uint(value)) => format!("{value:o}"),
        (Clause::Binary, Value::Int(value)) => signed(*value, &format!("{:b}", value.unsigned_abs())),
        (Clause::Binary, Value::Uint(value)) => format!("{value:b}"),
        (Clause::Binary, Value::Bool(value)) => u8::from(*value).to_string(),
        (Clause::Hex(upper), Value::Int(value)) => {
            signed(*value, &cased(format!("{:x}", value.unsigned_abs()), upper))
        }
        (Clause::Hex(upper), Value::Uint(value)) => cased(format!("{value:x}"), upper),
        (Clause::Hex(upper), Value::String(text)) => hex(text.as_str().as_bytes(), upper),
        (Clause::Hex(upper), Value::Bytes(bytes)) => hex(bytes, upper),
        (Clause::Fixed(precision), _) => {
            let value = float(value).ok_or_else(refused)?;
            if value.is_finite() {
                grouped(value, precision.unwrap_or(USUAL_PRECISION))
            } else {
                endless(value)
            }
        }
        (Clause::Scientific(precision), _) => {
            let value = float(value).ok_or_else(refused)?;
            if value.is_finite() {
                scientific(value, precision.unwrap_or(USUAL_PRECISION))
            } else {
                endless(value)
            }
        }
        _ => return Err(refused()),
    })
}

fn signed(value: i64, magnitude: &str) -> String {
    if value < 0 { format!("-{magnitude}") } else { magnitude.to_owned() }
}

fn cased(text: String, upper: bool) -> String {
    if upper { text.to_uppercase() } else { text }
}

fn hex(bytes: &[u8], upper: bool) -> String {
    bytes.iter().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect()
}

fn float(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// As English writes what is no number.
fn endless(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value > 0.0 {
        "∞".to_owned()
    } else {
        "-∞".to_owned()
    }
}

/// As English writes it: with commas between thousands.
fn grouped(value: f64, precision: usize) -> String {
    let plain = format!("{:.precision$}", value.abs());
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), ""), |(w, f)| (w, f));
    let mut out = if value.is_sign_negative() { "-".to_owned() } else { String::new() };
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// As English writes it: a power of ten in raised digits. Six digits follow the point whatever is asked for, and what is
/// asked for is the least width: so the reference implementation has it.
fn scientific(value: f64, width: usize) -> String {
    let plain = format!("{value:.USUAL_PRECISION$e}");
    let (digits, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let raised: String = format!("{:02}", exponent.abs())
        .chars()
        .map(|digit| match digit {
            '0' => '⁰',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '4' => '⁴',
            '5' => '⁵',
            '6' => '⁶',
            '7' => '⁷',
            '8' => '⁸',
            _ => '⁹',
        })
        .collect();
    format!("{:>width$}", format!("{digits}×10{}{raised}", if exponent < 0 { "⁻" } else { "" }))
}

/// The text of the clause `%s`; none where such values have none.
fn text(value: &Value<'_>) -> Option<Result<String, String>> {
    Some(match value {
        Value::List(items) => list(items),
        Value::Map(entries @ (Map::Entries(_) | Map::Defaulted(_) | Map::Json(_) | Map::Typed(..))) => {
            map(entries)
        }
        Value::Optional(_) | Value::Library(_) | Value::Fields(_) | Value::Map(_) => return None,
        _ => match value.to_text() {
            Ok(text) => Ok(text.as_str().unwrap_or_default().to_owned()),
            Err(err) => Err(err.message().to_owned()),
        },
    })
}

/// The text of a value inside of a list or map, quoted as an expression would write it.
fn inner(value: &Value<'_>) -> Result<String, String> {
    effort::look().map_err(|err| err.message().to_owned())?;
    Ok(match value {
        Value::String(text) => format!("{:?}", text.as_str()),
        Value::Bytes(bytes) => format!("b{:?}", String::from_utf8_lossy(bytes)),
        Value::Double(value) if value.is_nan() => "\"NaN\"".to_owned(),
        Value::Double(value) if value.is_infinite() => {
            if *value > 0.0 {
                "\"+Inf\"".to_owned()
            } else {
                "\"-Inf\"".to_owned()
            }
        }
        Value::Double(value) => format!("{value:.USUAL_PRECISION$}"),
        Value::Timestamp(time) => format!("timestamp({:?})", timestamp::format(*time)),
        Value::Duration(nanoseconds) => format!("duration({:?})", duration::format(*nanoseconds)),
        _ => text(value).ok_or_else(|| format!("no formatting function for {}", value.type_name()))??,
    })
}

fn list(items: &List<'_>) -> Result<String, String> {
    let mut shown = Vec::with_capacity(items.len());
    for item in items.iter() {
        shown.push(inner(&item.map_err(|err| err.message().to_owned())?)?);
    }
    Ok(format!("[{}]", shown.join(", ")))
}

fn map(entries: &Map<'_>) -> Result<String, String> {
    let mut shown = Vec::with_capacity(entries.len());
    for (key, value) in entries.entries().map_err(|err| err.message().to_owned())? {
        if !matches!(key, Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_)) {
            return Err(format!("no formatting function for map key of type {}", key.type_name()));
        }
        shown.push((inner(&key)?, inner(&value)?));
    }
    shown.sort();
    let shown: Vec<String> = shown.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
    Ok(format!("{{{}}}", shown.join(", ")))
}
