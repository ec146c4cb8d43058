//! The functions that Go's templates have by themselves. `and` and `or` are the evaluator's, since they leave arguments
//! unevaluated.

use std::cmp::Ordering;
use std::sync::Arc;

use super::functions::{Function, Param, query_escape};
use super::printf;
use super::value::Value;
use super::world::World;

type Called = Result<Value, String>;

/// Whether Go's templates have a function.
pub(super) fn is_builtin(name: &str) -> bool {
    matches!(name, "and" | "or") || builtin(name).is_some()
}

/// The function of a name.
pub(super) fn builtin(name: &str) -> Option<Function> {
    use Param::{Any, Text};
    type Call = fn(&mut World<'_, '_>, &[Value]) -> Called;
    let of = |params: &'static [Param], call: Call| Some(Function { params, rest: None, call });
    let open = |params: &'static [Param], call: Call| Some(Function { params, rest: Some(Any), call });
    match name {
        "not" => of(&[Any], |_, args| Ok(Value::Bool(!args[0].truth()))),
        "eq" => open(&[Any], |_, args| equal_to_any(&args[0], &args[1..]).map(Value::Bool)),
        "ne" => of(&[Any, Any], |_, args| Ok(Value::Bool(!is_equal(&args[0], &args[1])?))),
        "lt" => of(&[Any, Any], |_, args| Ok(Value::Bool(order(args)? == Some(Ordering::Less)))),
        "le" => of(&[Any, Any], |_, args| {
            Ok(Value::Bool(matches!(order(args)?, Some(Ordering::Less | Ordering::Equal))))
        }),
        "gt" => of(&[Any, Any], |_, args| {
            // As upstream: what is not less and not equal, so that no number is greater than it.
            Ok(Value::Bool(!matches!(order(args)?, Some(Ordering::Less | Ordering::Equal))))
        }),
        "ge" => of(&[Any, Any], |_, args| Ok(Value::Bool(order(args)? != Some(Ordering::Less)))),
        "len" => of(&[Any], |_, args| length(&args[0])),
        "index" => open(&[Any], |_, args| index(&args[0], &args[1..])),
        "slice" => open(&[Any], |_, args| slice(&args[0], &args[1..])),
        "call" => open(&[Any], |_, args| match &args[0] {
            Value::Invalid => Err("call of nil".to_owned()),
            other => Err(format!("non-function of type {}", other.type_name())),
        }),
        "print" => open(&[], |world, args| made(world, printed(args))),
        "println" => open(&[], |world, args| {
            let each: Vec<String> = args.iter().map(in_print).collect();
            made(world, each.join(" ") + "\n")
        }),
        "printf" => open(&[Text], |world, args| {
            let Value::Text(format) = &args[0] else { return Ok(Value::Invalid) };
            made(world, printf::printf(format, &args[1..]))
        }),
        "html" => open(&[], |world, args| {
            let text = evaluated(args);
            made(world, escaped_html(&text))
        }),
        "js" => open(&[], |world, args| {
            let text = evaluated(args);
            made(world, escaped_js(&text))
        }),
        "urlquery" => open(&[], |world, args| {
            let text = evaluated(args);
            made(world, query_escape(&text))
        }),
        _ => None,
    }
}

fn made(world: &mut World<'_, '_>, text: String) -> Called {
    world.made(text.len())?;
    Ok(Value::text(text))
}

/// A value as printing shows it, where what a sample points to is marked.
fn in_print(value: &Value) -> String {
    match value {
        Value::Sample(_) => format!("&{}", value.shown()),
        other => other.shown(),
    }
}

/// Values one behind the other, with a space between two that are no texts.
fn printed(args: &[Value]) -> String {
    let is_text = |value: &Value| matches!(value, Value::Text(_) | Value::Html(_));
    let mut out = String::new();
    for (at, value) in args.iter().enumerate() {
        if at > 0 && !is_text(value) && !is_text(&args[at - 1]) {
            out.push(' ');
        }
        out.push_str(&in_print(value));
    }
    out
}

/// Values as a text to be escaped.
fn evaluated(args: &[Value]) -> String {
    match args {
        [value] => value.printed(),
        args => printed(args),
    }
}

fn escaped_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            _ => out.push(letter),
        }
    }
    out
}

fn escaped_js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '\'' | '"' => out.extend(['\\', letter]),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(letter))),
            _ if letter < ' ' => out.push_str(&format!("\\u{:04X}", u32::from(letter))),
            _ => out.push(letter),
        }
    }
    out
}

/// What kind of comparison a value takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Bool,
    Int,
    Float,
    Text,
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Bool(_) => Kind::Bool,
        Value::Int(_) | Value::Named(..) => Kind::Int,
        Value::Float(_) => Kind::Float,
        Value::Text(_) | Value::Html(_) => Kind::Text,
        _ => Kind::None,
    }
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(value) | Value::Named(_, value, _) => *value,
        _ => 0,
    }
}

fn str_of(value: &Value) -> &str {
    match value {
        Value::Text(text) | Value::Html(text) => text,
        _ => "",
    }
}

fn incompatible(one: &Value, two: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", one.type_name(), two.type_name())
}

fn equal_to_any(one: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if is_equal(one, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_equal(one: &Value, two: &Value) -> Result<bool, String> {
    if kind(one) != kind(two) {
        return match one.is_valid() && two.is_valid() {
            true => Err(incompatible(one, two)),
            false => Ok(false),
        };
    }
    Ok(match (one, two) {
        (Value::Bool(one), Value::Bool(two)) => one == two,
        (Value::Float(one), Value::Float(two)) => one == two,
        _ if kind(one) == Kind::Int => int(one) == int(two),
        _ if kind(one) == Kind::Text => str_of(one) == str_of(two),
        (Value::Invalid, Value::Invalid) => true,
        (Value::Invalid, _) | (_, Value::Invalid) => false,
        (Value::Sample(one), Value::Sample(two)) => Arc::ptr_eq(one, two),
        (Value::Histogram(one), Value::Histogram(two)) => Arc::ptr_eq(one, two),
        (Value::Time(one), Value::Time(two)) | (Value::Duration(one), Value::Duration(two)) => one == two,
        (one, two) => {
            let (name, other) = (one.type_name(), two.type_name());
            return Err(match name == other {
                true => format!("non-comparable type {}: {name}", one.shown()),
                false => format!("non-comparable types {}: {name}, {other}: {}", one.shown(), two.shown()),
            });
        }
    })
}

/// How two values are ordered; none if they are not, as no number is to any.
fn order(args: &[Value]) -> Result<Option<Ordering>, String> {
    let (one, two) = (&args[0], &args[1]);
    if kind(one) == Kind::None || kind(two) == Kind::None {
        return Err("invalid type for comparison".to_owned());
    }
    match (one, two) {
        _ if kind(one) != kind(two) => Err(incompatible(one, two)),
        (Value::Bool(_), _) => Err("invalid type for comparison".to_owned()),
        (Value::Float(one), Value::Float(two)) => Ok(one.partial_cmp(two)),
        _ if kind(one) == Kind::Int => Ok(Some(int(one).cmp(&int(two)))),
        _ => Ok(Some(str_of(one).cmp(str_of(two)))),
    }
}

fn length(value: &Value) -> Called {
    let length = match value {
        Value::Text(text) | Value::Html(text) => text.len(),
        Value::Texts(map) => map.len(),
        Value::Map(map) => map.len(),
        Value::Samples(samples) => samples.len(),
        Value::Invalid => return Err("reflect: call of reflect.Value.Type on zero Value".to_owned()),
        other => return Err(format!("len of type {}", other.type_name().trim_start_matches('*'))),
    };
    Ok(Value::Int(length as i64))
}

/// An index into something so long, of which the end itself is one too.
fn place(index: &Value, length: usize) -> Result<usize, String> {
    match index {
        Value::Int(at) | Value::Named(_, at, _) => match usize::try_from(*at) {
            Ok(at) if at <= length => Ok(at),
            _ => Err(format!("index out of range: {at}")),
        },
        Value::Invalid => Err("cannot index slice/array with nil".to_owned()),
        other => Err(format!("cannot index slice/array with type {}", other.type_name())),
    }
}

fn index(value: &Value, indexes: &[Value]) -> Called {
    if !value.is_valid() {
        return Err("index of untyped nil".to_owned());
    }
    let mut value = value.clone();
    for index in indexes {
        let key = || match index {
            Value::Text(key) => Ok(&**key),
            Value::Invalid => Err("value is nil; should be of type string".to_owned()),
            other => Err(format!("value has type {}; should be string", other.type_name())),
        };
        let past =
            |at: usize, length: usize| format!("reflect: slice index out of range: index {at} of {length}");
        value = match &value {
            Value::Texts(map) => Value::text(map.get(key()?).map_or("", String::as_str)),
            Value::Map(map) => map.get(key()?).cloned().unwrap_or_default(),
            Value::Samples(samples) => {
                let at = place(index, samples.len())?;
                let sample = samples.get(at).ok_or_else(|| past(at, samples.len()))?;
                Value::Sample(Arc::clone(sample))
            }
            Value::Text(text) => {
                let at = place(index, text.len())?;
                let byte = text.as_bytes().get(at).ok_or_else(|| past(at, text.len()))?;
                Value::Int(i64::from(*byte))
            }
            Value::Invalid => return Err("index of nil pointer".to_owned()),
            other => {
                let kind = other.type_name().trim_start_matches('*');
                return Err(format!("can't index item of type {kind}"));
            }
        };
    }
    Ok(value)
}

fn slice(value: &Value, indexes: &[Value]) -> Called {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Samples(samples) => samples.len(),
        Value::Invalid => return Err("slice of untyped nil".to_owned()),
        other => {
            let kind = other.type_name().trim_start_matches('*');
            return Err(format!("can't slice item of type {kind}"));
        }
    };
    match (value, indexes.len()) {
        (_, 4..) => return Err(format!("too many slice indexes: {}", indexes.len())),
        (Value::Text(_), 3) => return Err("cannot 3-index slice a string".to_owned()),
        _ => {}
    }
    let from = indexes.first().map_or(Ok(0), |index| place(index, length))?;
    let to = indexes.get(1).map_or(Ok(length), |index| place(index, length))?;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if let Some(most) = indexes.get(2) {
        let most = place(most, length)?;
        if to > most {
            return Err(format!("invalid slice index: {to} > {most}"));
        }
    }
    Ok(match value {
        Value::Samples(samples) => Value::Samples(Arc::new(samples[from..to].to_vec())),
        Value::Text(text) => Value::text(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned()),
        _ => Value::Invalid,
    })
}
