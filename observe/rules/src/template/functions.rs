//! The functions that Prometheus adds to templates.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use xebec_promql::dialect;
use xebec_promql::duration;
use xebec_promql::number::{self, general, quoted, significant};

use super::value::{Sample, Value};
use super::world::World;

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    Any,
    Text,
    Sample,
    Samples,
    Time,
    Duration,
}

impl Param {
    /// Whether nothing may stand for it.
    pub(super) fn takes_nil(self) -> bool {
        matches!(self, Self::Any | Self::Sample | Self::Samples)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Text => "string",
            Self::Sample => "*template.sample",
            Self::Samples => "template.queryResult",
            Self::Time => "time.Time",
            Self::Duration => "time.Duration",
        }
    }
}

/// A function: what it takes, and what it does.
#[derive(Clone, Copy)]
pub(super) struct Function {
    pub(super) params: &'static [Param],
    /// Of which type further arguments are, if there may be any.
    pub(super) rest: Option<Param>,
    pub(super) call: fn(&mut World<'_, '_>, &[Value]) -> Result<Value, String>,
}

type Called = Result<Value, String>;

const NULL: &str = "runtime error: invalid memory address or nil pointer dereference";

/// The function of a name.
pub(super) fn function(name: &str) -> Option<Function> {
    use Param::{Any, Sample, Samples, Text};
    type Call = fn(&mut World<'_, '_>, &[Value]) -> Called;
    let of = |params: &'static [Param], call: Call| Some(Function { params, rest: None, call });
    match name {
        "query" => of(&[Text], query),
        "first" => of(&[Samples], |_, args| match args {
            [Value::Samples(samples)] if !samples.is_empty() => Ok(Value::Sample(Arc::clone(&samples[0]))),
            _ => Err("first() called on vector with no elements".to_owned()),
        }),
        "label" => of(&[Text, Sample], |_, args| label(text(args, 0), args.get(1))),
        "strvalue" => of(&[Sample], |_, args| label("__value__", args.first())),
        "value" => of(&[Sample], |_, args| match args {
            [Value::Sample(sample)] => Ok(sample.value.clone()),
            _ => Err(NULL.to_owned()),
        }),
        "args" => Some(Function { params: &[], rest: Some(Any), call: arguments }),
        "reReplaceAll" => of(&[Text, Text, Text], replace_all),
        "safeHtml" => of(&[Text], |_, args| Ok(Value::Html(text(args, 0).into()))),
        "match" => of(&[Text, Text], |_, args| {
            Ok(Value::Bool(dialect::unanchored(text(args, 0))?.is_match(text(args, 1))))
        }),
        "title" => of(&[Text], |world, args| made(world, title(text(args, 0)))),
        "toUpper" => of(&[Text], |world, args| made(world, text(args, 0).to_uppercase())),
        "toLower" => of(&[Text], |world, args| made(world, text(args, 0).to_lowercase())),
        "graphLink" => of(&[Text], |world, args| {
            made(world, format!("/graph?g0.expr={}&g0.tab=0", query_escape(text(args, 0))))
        }),
        "tableLink" => of(&[Text], |world, args| made(world, table_link(text(args, 0)))),
        "sortByLabel" => of(&[Text, Samples], sort_by_label),
        "stripPort" => of(&[Text], |world, args| {
            let host_port = text(args, 0);
            made(world, split_host_port(host_port).map_or(host_port, |(host, _)| host).to_owned())
        }),
        "stripDomain" => of(&[Text], |world, args| made(world, strip_domain(text(args, 0)))),
        "humanize" => of(&[Any], |_, args| Ok(Value::text(humanize(float(args)?)))),
        "humanize1024" => of(&[Any], |_, args| Ok(Value::text(humanize_1024(float(args)?)))),
        "humanizeDuration" => of(&[Any], |_, args| Ok(Value::text(humanize_duration(float(args)?)))),
        "humanizePercentage" => {
            of(&[Any], |_, args| Ok(Value::text(significant(float(args)? * 100.0, 4) + "%")))
        }
        "humanizeTimestamp" => of(&[Any], |_, args| {
            let seconds = float(args)?;
            if !seconds.is_finite() {
                return Ok(Value::text(significant(seconds, 4)));
            }
            Ok(Value::text(Value::Time(time(seconds)?).shown()))
        }),
        "toTime" => of(&[Any], |_, args| {
            let seconds = float(args)?;
            match seconds.is_finite() {
                true => Ok(Value::Time(time(seconds)?)),
                false => Err("value is NaN or Inf".to_owned()),
            }
        }),
        "toDuration" => of(&[Any], |_, args| Ok(Value::Duration((float(args)? * 1e9) as i64))),
        "now" => of(&[], |world, _| Ok(Value::Float(world.surroundings.time as f64 / 1000.0))),
        "pathPrefix" => of(&[], |world, _| Ok(Value::text(path_of(world.surroundings.external_url)))),
        "externalURL" => of(&[], |world, _| Ok(Value::text(world.surroundings.external_url))),
        "parseDuration" => of(&[Text], |_, args| {
            let text = text(args, 0);
            let (sign, size) = text.strip_prefix('-').map_or((1.0, text), |size| (-1.0, size));
            // Upstream calculates in whole milliseconds.
            let millis = duration::Duration::parse(size)?.millis();
            Ok(Value::Float(sign * (millis as f64 * 1e6 / 1e9)))
        }),
        "urlQueryEscape" => of(&[Text], |world, args| made(world, query_escape(text(args, 0)))),
        _ => None,
    }
}

fn text(args: &[Value], at: usize) -> &str {
    match args.get(at) {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

fn made(world: &mut World<'_, '_>, text: String) -> Called {
    world.made(text.len())?;
    Ok(Value::text(text))
}

fn query(world: &mut World<'_, '_>, args: &[Value]) -> Called {
    world.asked()?;
    let found = (world.surroundings.query)(text(args, 0))?;
    Ok(Value::Samples(Arc::new(found.into_iter().map(|sample| Arc::new(Sample::from(sample))).collect())))
}

fn label(name: &str, sample: Option<&Value>) -> Called {
    match sample {
        Some(Value::Sample(sample)) => Ok(Value::text(sample.labels.get(name).map_or("", String::as_str))),
        _ => Err(NULL.to_owned()),
    }
}

fn arguments(_: &mut World<'_, '_>, args: &[Value]) -> Called {
    let named = args.iter().enumerate().map(|(at, value)| (format!("arg{at}"), value.clone()));
    Ok(Value::Map(Arc::new(named.collect::<BTreeMap<_, _>>())))
}

fn replace_all(world: &mut World<'_, '_>, args: &[Value]) -> Called {
    let (pattern, with, text) = (text(args, 0), text(args, 1), text(args, 2));
    let pattern = dialect::unanchored(pattern)
        .map_err(|why| format!("regexp: Compile({}): {why}", back_quoted(pattern)))?;
    let mut out = String::new();
    let mut from = 0;
    for captures in pattern.captures_iter(text) {
        let Some(whole) = captures.get(0) else { continue };
        let filled = dialect::expand(with, &captures);
        world.made(filled.len() + whole.start() - from)?;
        out.push_str(&text[from..whole.start()]);
        out.push_str(&filled);
        from = whole.end();
    }
    out.push_str(&text[from..]);
    made(world, out)
}

/// A text in back quotes, or in double ones where those will not do.
fn back_quoted(text: &str) -> String {
    match text.contains(|letter: char| letter == '`' || (letter.is_control() && letter != '\t')) {
        true => quoted(text),
        false => format!("`{text}`"),
    }
}

fn sort_by_label(_: &mut World<'_, '_>, args: &[Value]) -> Called {
    let [Value::Text(label), Value::Samples(samples)] = args else { return Ok(Value::Invalid) };
    let mut sorted = samples.as_ref().clone();
    let of = |sample: &Sample| sample.labels.get(&**label).cloned().unwrap_or_default();
    sorted.sort_by_cached_key(|sample| of(sample));
    Ok(Value::Samples(Arc::new(sorted)))
}

/// The first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if !within && letter.is_alphabetic() {
            out.extend(letter.to_uppercase());
        } else {
            out.push(letter);
        }
        let next_is_word = letters.peek().is_some_and(|next| next.is_alphanumeric());
        within = match letter {
            // These part no words between two letters.
            '\'' | '.' | ':' | '\u{2019}' | '\u{b7}' => within && next_is_word,
            '_' => within,
            _ => letter.is_alphabetic() || (within && letter.is_numeric()),
        };
    }
    out
}

/// A text as a part of a URL's query.
pub(super) fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The page that shows an expression as a table.
pub fn table_link(expr: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab=1", query_escape(expr))
}

/// The path of a URL.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |slash| &rest[slash..]);
    path.split(['?', '#']).next().unwrap_or("")
}

/// `host:port` and `[host]:port`, as Go parts them.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (before, port) = text.rsplit_once(':')?;
    if let Some(inner) = before.strip_prefix('[') {
        let host = inner.strip_suffix(']')?;
        return (!host.contains([']', '[']) && !port.contains(['[', ']'])).then_some((host, port));
    }
    (!before.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((before, port))
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let first = host.split('.').next().unwrap_or("");
    match port {
        "" => first.to_owned(),
        port if first.contains(':') => format!("[{first}]:{port}"),
        port => format!("{first}:{port}"),
    }
}

/// A value as a number.
fn float(args: &[Value]) -> Result<f64, String> {
    match args.first() {
        Some(Value::Float(value)) => Ok(*value),
        Some(Value::Int(value)) => Ok(*value as f64),
        Some(Value::Text(text)) => parse_float(text),
        Some(other) => Err(format!("can't convert {} to float", other.type_name())),
        None => Err("can't convert <nil> to float".to_owned()),
    }
}

fn parse_float(text: &str) -> Result<f64, String> {
    let failed = |why: &str| format!("strconv.ParseFloat: parsing {}: {why}", quoted(text));
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = body.to_ascii_lowercase();
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    match lower.as_str() {
        "inf" | "infinity" => return Ok(sign * f64::INFINITY),
        "nan" if body.len() == text.len() => return Ok(f64::NAN),
        _ => {}
    }
    if lower.starts_with("0x") {
        return number::parse(text).map_err(|_| failed("invalid syntax"));
    }
    let plain = lower.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.')
        && lower.bytes().all(|byte| byte.is_ascii_digit() || b".e+-".contains(&byte));
    let value: f64 = plain.then(|| lower.parse().ok()).flatten().ok_or_else(|| failed("invalid syntax"))?;
    if value.is_infinite() { Err(failed("value out of range")) } else { Ok(sign * value) }
}

/// Seconds since 1970 as milliseconds.
fn time(seconds: f64) -> Result<i64, String> {
    let nanos = seconds * 1e9;
    if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
        let shown = general(seconds);
        return Err(format!(
            "{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    // Whole milliseconds, cut towards zero, as upstream's times are.
    Ok(nanos as i64 / 1_000_000)
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// A number below one with a prefix that makes it larger.
fn enlarged(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

fn reduced(mut value: f64, by: f64, prefixes: [&'static str; 8]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < by {
            break;
        }
        prefix = next;
        value /= by;
    }
    (value, prefix)
}

fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return significant(value, 4);
    }
    let (value, prefix) = match value.abs() >= 1.0 {
        true => reduced(value, 1000.0, ["k", "M", "G", "T", "P", "E", "Z", "Y"]),
        false => enlarged(value),
    };
    significant(value, 4) + prefix
}

fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return significant(value, 4);
    }
    let (value, prefix) = reduced(value, 1024.0, ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]);
    significant(value, 4) + prefix
}

fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return significant(value, 4);
    }
    if value == 0.0 {
        return significant(value, 4) + "s";
    }
    if value.abs() < 1.0 {
        let (value, prefix) = enlarged(value);
        return format!("{}{prefix}s", significant(value, 4));
    }
    let (sign, value) = if value < 0.0 { ("-", -value) } else { ("", value) };
    let whole = value as i64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", significant(value, 4)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}
