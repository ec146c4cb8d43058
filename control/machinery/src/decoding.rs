//! Whether the body of a request is an object of its kind: values of the right types, no unknown and no doubled fields.
//!
//! Go's decoder refuses the first value of a wrong type and, for `fieldValidation`, counts fields that are unknown or
//! stand twice. The words are its own, because clients show them.

mod deep;
mod order;
mod restoration;
mod syntax;
mod time;

pub use order::in_order;
pub use restoration::restore;
pub(crate) use syntax::fault as json_fault;

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::builtin;
use crate::builtin::types::{Element, Many, Row, Types};
use crate::findings::Findings;
use crate::quantity::Quantity;
use crate::status::Status;
use crate::timestamp::Timestamp;

/// The deepest nesting of what is read, as upstream has it. Values are copied, compared, written and let go by recursion: who
/// handles what others sent needs [`STACK`] for it.
pub const DEPTH_MAX: usize = 10_000;

/// How many levels of our own may stand round what is that deep: those of lists, events and reviews.
const WRAPPED: usize = 8;

/// The stack of a thread that handles values of that depth. Half of it is enough where nothing is optimized, as tests show;
/// only what is used of it takes memory.
pub const STACK: usize = 64 << 20;

/// The most unknown and doubled fields that are told, as upstream has it.
const FINDINGS_MAX: usize = 100;

/// Reads JSON and finds the fields that stand twice in one object, as `duplicate field "spec.replicas"`; the last one
/// counts. Bytes that are no UTF-8 are replaced, as Go does it.
///
/// ```
/// use xebec_machinery::decoding::parse;
///
/// let (value, doubled) = parse(br#"{"a": {"b": 1, "b": 2}}"#).unwrap();
/// assert_eq!(value["a"]["b"], 2);
/// assert_eq!(doubled, [r#"duplicate field "a.b""#]);
/// assert_eq!(parse(b"{a: 1}").unwrap_err(), "invalid character 'a' looking for beginning of object key string");
/// ```
///
/// # Errors
///
/// What Go's reader says of bytes that are no JSON, more than one value, or nested too deep.
pub fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    parse_within(bytes, DEPTH_MAX)
}

fn parse_within(bytes: &[u8], depth: usize) -> Result<(Value, Vec<String>), String> {
    let text = String::from_utf8_lossy(bytes);
    read(&text).or_else(|error| {
        let original = match &text {
            // Go tells of the byte that was there.
            Cow::Owned(_) => bytes,
            Cow::Borrowed(text) => text.as_bytes(),
        };
        match syntax::fault(original, depth) {
            Some(fault) => Err(fault),
            // It is JSON; what is left are limits of serde's.
            None if error.to_string().contains("recursion limit") => deep::read(&text, depth),
            None => Err(error.to_string()),
        }
    })
}

/// Reads JSON of our own, such as what was stored, or an event of a watch.
///
/// # Errors
///
/// It is none.
pub fn own(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).or_else(|_| Ok(parse_within(bytes, DEPTH_MAX + WRAPPED)?.0))
}

fn read(text: &str) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = value(&mut deserializer)?;
    deserializer.end()?;
    Ok(read)
}

/// [`parse`] from any format that serde reads, such as YAML.
///
/// # Errors
///
/// Those of the format.
pub fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(Value, Vec<String>), D::Error> {
    let mut doubled = Findings::new(FINDINGS_MAX);
    let value = Reader { path: Path::ROOT, doubled: &mut doubled }.deserialize(deserializer)?;
    Ok((value, doubled.into_vec()))
}

/// A path as Go's decoder writes it.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    const ROOT: Path<'static> = Path { parent: None, step: Step::Key("") };

    fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    fn steps(&self) -> Vec<Step<'a>> {
        let (mut steps, mut at) = (Vec::new(), *self);
        while let Some(parent) = at.parent {
            steps.push(at.step);
            at = *parent;
        }
        steps.reverse();
        steps
    }

    /// The names of fields alone, which is what Go's type errors name.
    fn fields(&self) -> String {
        let names = self.steps().into_iter().filter_map(|step| match step {
            Step::Key(key) => Some(key),
            Step::Index(_) => None,
        });
        names.collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps().into_iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Reads one value at a path.
struct Reader<'a> {
    path: Path<'a>,
    doubled: &'a mut Findings,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = self.path.index(list.len());
            match items.next_element_seed(Reader { path, doubled: &mut *self.doubled })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<Value>()? {
            let key = match key {
                Value::String(key) => key,
                Value::Bool(_) | Value::Number(_) => key.to_string(),
                _ => return Err(A::Error::custom("the keys of an object must be strings")),
            };
            let path = self.path.key(&key);
            if map.contains_key(&key) {
                self.doubled.tell(format_args!("duplicate field \"{path}\""));
            }
            let value = entries.next_value_seed(Reader { path, doubled: &mut *self.doubled })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Checks an object of a built-in kind, and finds its unknown fields, as `unknown field "spec.foo"`. Objects of other
/// kinds pass.
///
/// # Errors
///
/// What Go's decoder says of the first value that has the wrong type.
pub fn check(group: &str, version: &str, kind: &str, object: &Value) -> Result<Vec<String>, String> {
    let types = builtin::types();
    let mut unknown = Findings::new(FINDINGS_MAX);
    if let Some(at) = types.object(group, version, kind) {
        let mut check = Check { types, unknown: &mut unknown };
        check.value(Element::Message(at), &Path::ROOT, None, object)?;
    }
    Ok(unknown.into_vec())
}

/// [`check`] for the `metadata` of any object, which is all that is known of the types of a custom resource.
///
/// # Errors
///
/// What Go's decoder says of the first value that has the wrong type.
pub fn check_metadata(object: &Value) -> Result<Vec<String>, String> {
    let types = builtin::types();
    let mut unknown = Findings::new(FINDINGS_MAX);
    if let (Some(at), Some(metadata)) = (types.object_meta(), object.get("metadata")) {
        let mut check = Check { types, unknown: &mut unknown };
        let name = &types.messages[at].name;
        check.value(Element::Message(at), &Path::ROOT.key("metadata"), Some(name), metadata)?;
    }
    Ok(unknown.into_vec())
}

/// The answer to a body that is no object of its kind: `Pod in version "v1" cannot be handled as a Pod: why`.
pub fn unfit(version: &str, kind: &str, why: &str) -> Status {
    Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
}

/// The answer to a body with unknown or doubled fields under `fieldValidation=Strict`.
pub fn not_strict(version: &str, kind: &str, findings: &[String]) -> Status {
    unfit(version, kind, &format!("strict decoding error: {}", findings.join(", ")))
}

struct Check<'a> {
    types: &'static Types,
    unknown: &'a mut Findings,
}

impl Check<'_> {
    fn message(&mut self, at: usize, path: &Path<'_>, map: &Map<String, Value>) -> Result<(), String> {
        let message = &self.types.messages[at];
        for (key, value) in map {
            let inner = path.key(key);
            match self.types.field(at, key) {
                Some(row) => self.field(row, &inner, message.name, value)?,
                None if message.object && matches!(key.as_str(), "apiVersion" | "kind") => {
                    self.value(Element::String, &inner, Some("TypeMeta"), value)?;
                }
                None => self.unknown.tell(format_args!("unknown field \"{inner}\"")),
            }
        }
        Ok(())
    }

    fn field(&mut self, row: &Row, path: &Path<'_>, parent: &str, value: &Value) -> Result<(), String> {
        match (row.kind.many, value) {
            (_, Value::Null) => Ok(()),
            (Many::One, value) => self.value(row.kind.of, path, Some(parent), value),
            (Many::List, Value::Array(list)) => {
                for (index, item) in list.iter().enumerate() {
                    self.value(row.kind.of, &path.index(index), Some(parent), item)?;
                }
                Ok(())
            }
            (Many::Map, Value::Object(map)) => {
                for (key, item) in map {
                    // Unknown fields below are told with the key; Go's type errors leave it out.
                    self.value(row.kind.of, &path.key(key), Some(parent), item)
                        .map_err(|why| why.replace(&path.key(key).fields(), &path.fields()))?;
                }
                Ok(())
            }
            (many, value) => {
                let inner = self.go_name(row.kind.of);
                let name =
                    if many == Many::List { format!("[]{inner}") } else { format!("map[string]{inner}") };
                Err(mismatch(value, path, Some(parent), &name))
            }
        }
    }

    fn value(
        &mut self,
        of: Element,
        path: &Path<'_>,
        parent: Option<&str>,
        value: &Value,
    ) -> Result<(), String> {
        let wrong = |check: &Self| Err(mismatch(value, path, parent, &check.go_name(of)));
        match (of, value) {
            (_, Value::Null) | (Element::Raw | Element::Json | Element::Fields, _) => Ok(()),
            (Element::Message(at), Value::Object(map)) => self.message(at, path, map),
            (Element::String, Value::String(_))
            | (Element::Bool, Value::Bool(_))
            | (Element::Double, Value::Number(_)) => Ok(()),
            (Element::Int32, Value::Number(n)) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
                Ok(())
            }
            (Element::Int64, Value::Number(n)) if n.is_i64() => Ok(()),
            (Element::IntOrString, Value::Number(n))
                if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Ok(())
            }
            (Element::IntOrString, Value::String(_)) => Ok(()),
            (Element::Bytes, Value::String(text)) => base64_error(text).map_or(Ok(()), Err),
            (Element::Quantity, Value::String(text)) => quantity(text),
            (Element::Quantity, Value::Number(number)) => quantity(&number.to_string()),
            (Element::Time | Element::MicroTime, Value::String(text)) => point_in_time(of, text),
            (Element::Strings, Value::Array(list)) => {
                list.iter().try_for_each(|item| self.value(Element::String, path, parent, item))
            }
            (Element::PropsOrArray | Element::PropsOrBool | Element::PropsOrStrings, value) => {
                let props = Element::Message(self.types.schema_props);
                match (of, value) {
                    (_, Value::Object(_)) => self.value(props, path, parent, value),
                    (Element::PropsOrBool, Value::Bool(_)) => Ok(()),
                    (Element::PropsOrArray, Value::Array(list)) => {
                        list.iter().try_for_each(|item| self.value(props, path, parent, item))
                    }
                    (Element::PropsOrStrings, Value::Array(list)) => {
                        list.iter().try_for_each(|item| self.value(Element::String, path, parent, item))
                    }
                    _ => wrong(self),
                }
            }
            _ => wrong(self),
        }
    }

    /// The name of a type in Go.
    fn go_name(&self, of: Element) -> String {
        match of {
            Element::Message(at) => {
                let message = &self.types.messages[at];
                format!("{}.{}", self.types.packages[message.package].version, message.name)
            }
            Element::Bool => "bool".into(),
            Element::Int32 | Element::IntOrString => "int32".into(),
            Element::Int64 => "int64".into(),
            Element::Double => "float64".into(),
            Element::Bytes => "[]uint8".into(),
            Element::Strings => "[]string".into(),
            Element::PropsOrArray => "v1.JSONSchemaPropsOrArray".into(),
            Element::PropsOrBool => "v1.JSONSchemaPropsOrBool".into(),
            Element::PropsOrStrings => "v1.JSONSchemaPropsOrStringArray".into(),
            _ => "string".into(),
        }
    }
}

fn mismatch(value: &Value, path: &Path<'_>, parent: Option<&str>, wanted: &str) -> String {
    let word = match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        // Go names the number where another number would do.
        Value::Number(number) if matches!(wanted, "int32" | "int64") => format!("number {number}"),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".into(),
        Value::Array(_) => "array".into(),
        Value::Object(_) => "object".into(),
    };
    match parent {
        Some(parent) => {
            format!(
                "json: cannot unmarshal {word} into Go struct field {parent}.{} of type {wanted}",
                path.fields()
            )
        }
        None => format!("json: cannot unmarshal {word} into Go value of type {wanted}"),
    }
}

fn quantity(text: &str) -> Result<(), String> {
    Quantity::parse(text).map(drop).map_err(|why| why.to_string())
}

fn point_in_time(of: Element, text: &str) -> Result<(), String> {
    match time::fault(of != Element::Time, text) {
        None if Timestamp::parse(text).is_some() => Ok(()),
        None => Err(format!("parsing time {text:?}: year out of range")),
        Some(why) => Err(why),
    }
}

/// What is wrong with a text that should be base64.
fn base64_error(text: &str) -> Option<String> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).err().map(|why| {
        let at = match why {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            _ => text.len().saturating_sub(1),
        };
        format!("illegal base64 data at input byte {at}")
    })
}

#[cfg(test)]
mod tests;
