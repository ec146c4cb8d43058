//! One step of a path that somebody can own: a field, or an element of a list told by its keys, its value or its place.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Number, Value};

use super::Error;

/// A step down an object. The order is the one in which field sets are written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A field of a structure or an entry of a map: `f:name`.
    Field(Box<str>),
    /// An element of a list of objects, told by some of its fields, sorted by name: `k:{"name":"a"}`.
    Key(Vec<(Box<str>, Key)>),
    /// An element of a set: `v:"a"`.
    Value(Key),
    /// An element told by its place: `i:0`.
    Index(i64),
}

/// A value that tells an element apart. Whole numbers and others compare as numbers.
#[derive(Debug, Clone)]
pub struct Key(Value);

impl Element {
    /// The field of this name.
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// The element of a list of objects with these values of its keys.
    pub fn keys<'a>(keys: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let mut keys: Vec<_> = keys.into_iter().map(|(name, value)| (name.into(), Key(value))).collect();
        keys.sort();
        Self::Key(keys)
    }

    /// The element of a set.
    pub fn value(value: Value) -> Self {
        Self::Value(Key(value))
    }

    /// Reads the written form. Nothing where the form is one of a future that we do not know, which is passed over.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, Error> {
        let bad = |why: String| Error::Fields(format!("{text:?}: {why}"));
        let json = |text: &str| serde_json::from_str(text).map_err(|error| bad(error.to_string()));
        Ok(Some(match text.split_at_checked(2) {
            Some(("f:", name)) => Self::Field(name.into()),
            Some(("v:", value)) => Self::value(json(value)?),
            Some(("k:", keys)) => {
                let keys: Map<String, Value> =
                    serde_json::from_str(keys).map_err(|error| bad(error.to_string()))?;
                let mut keys: Vec<_> =
                    keys.into_iter().map(|(name, value)| (name.into(), Key(value))).collect();
                keys.sort();
                Self::Key(keys)
            }
            Some(("i:", index)) => Self::Index(index.parse().map_err(|_| bad("not a number".into()))?),
            Some((other, _)) if other.ends_with(':') => return Ok(None),
            _ => return Err(bad("expected f:, k:, v: or i:".into())),
        }))
    }

    /// The written form.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                let keys: Vec<String> =
                    keys.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
                format!("k:{{{}}}", keys.join(","))
            }
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// As people read it in a conflict: `.spec`, `[name="a"]`, `[="a"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                for (index, (name, value)) in keys.iter().enumerate() {
                    write!(f, "{}{name}={}", if index == 0 { "[" } else { "," }, value.0)?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={}]", value.0),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// JSON as upstream writes it: the characters that mean something to HTML are escaped, and whole numbers have no point.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_f64().filter(|_| self.0.is_f64()) {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e21 => write!(f, "{float:.0}"),
            _ => f.write_str(&html_safe(&self.0.to_string())),
        }
    }
}

fn quoted(text: &str) -> String {
    html_safe(&Value::from(text).to_string())
}

/// JSON text in which no character means anything to HTML, as Go writes it.
pub(super) fn html_safe(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => text.push(c),
        }
    }
    text
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

/// A total order of values: numbers, strings, booleans, lists, objects, null.
fn compare(a: &Value, b: &Value) -> Ordering {
    fn rank(value: &Value) -> u8 {
        match value {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let differing = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
            differing.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let mut a: Vec<_> = a.iter().collect();
            let mut b: Vec<_> = b.iter().collect();
            a.sort_by_key(|(name, _)| *name);
            b.sort_by_key(|(name, _)| *name);
            let differing = a
                .iter()
                .zip(&b)
                .map(|((name, value), (other, with))| name.cmp(other).then_with(|| compare(value, with)))
                .find(|order| order.is_ne());
            differing.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn numbers(a: &Number, b: &Number) -> Ordering {
    let whole = |n: &Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
    }
}

/// Whether two values are the same, whatever the way in which their numbers are written.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    compare(a, b).is_eq()
}
