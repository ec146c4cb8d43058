//! From protobuf to the JSON that Go would write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::wire::{Reader, Wire};
use super::{DEPTH_MAX, Envelope, Error, MAGIC, canonical};
use crate::builtin;
use crate::builtin::types::{Element, Many, Row};
use crate::timestamp::Timestamp;

/// What an object may cost, so that few bytes do not become very much memory. A message costs more than a scalar, as it
/// comes out with all the fields that Go always writes.
const COST_MAX: u32 = 400_000;
const MESSAGE_COST: u32 = 4;

pub(super) struct Decoder {
    left: u32,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { left: COST_MAX }
    }

    fn pay(&mut self, cost: u32) -> Result<(), Error> {
        self.left = self.left.checked_sub(cost).ok_or(Error::TooMany)?;
        Ok(())
    }

    pub(super) fn envelope(&mut self, bytes: &[u8], depth: usize) -> Result<Value, Error> {
        let envelope = Envelope::read(bytes)?;
        let at = envelope.place()?;
        let mut map = Map::new();
        self.message(at, envelope.raw, &mut map, depth)?;
        map.insert("apiVersion".into(), envelope.api_version.into());
        map.insert("kind".into(), envelope.kind.into());
        let mut object = Value::Object(map);
        let (group, version) = envelope.group_version();
        canonical::apply(group, version, envelope.kind, &mut object);
        Ok(object)
    }

    /// Reads the fields of a message into the map, onto what an earlier part of the same message said.
    fn message(
        &mut self,
        at: usize,
        bytes: &[u8],
        map: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        self.pay(MESSAGE_COST)?;
        let message = &builtin::types().messages[at];
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.next()? {
            let Some(row) = message.fields.iter().find(|row| row.number == number) else { continue };
            self.field(row, wire, map, depth).map_err(|error| error.within(row.json))?;
        }
        Ok(())
    }

    fn field(
        &mut self,
        row: &Row,
        wire: Wire<'_>,
        map: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Error> {
        if let (Element::Message(at), true, Wire::Bytes(bytes)) = (row.kind.of, row.json.is_empty(), wire) {
            return self.message(at, bytes, map, depth + 1);
        }
        match row.kind.many {
            Many::One => {
                let old = map.remove(row.json);
                let value = self.one(row.kind.of, wire, old, depth)?;
                map.insert(row.json.to_owned(), value);
            }
            Many::List => {
                let list = map.entry(row.json).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(list) = list else { return Ok(()) };
                match (row.kind.of, wire) {
                    (Element::Int32 | Element::Int64 | Element::Bool, Wire::Bytes(bytes)) => {
                        let mut reader = Reader::new(bytes);
                        while let Some(number) = reader.packed()? {
                            list.push(self.one(row.kind.of, Wire::Varint(number), None, depth)?);
                        }
                    }
                    _ => list.push(self.one(row.kind.of, wire, None, depth)?),
                }
            }
            Many::Map => {
                let Wire::Bytes(bytes) = wire else { return Err(Error::value("an entry of a map")) };
                let (mut key, mut value) = (String::new(), Value::Null);
                let mut reader = Reader::new(bytes);
                while let Some((number, wire)) = reader.next()? {
                    match number {
                        1 => key = string(wire)?.to_owned(),
                        2 => value = self.one(row.kind.of, wire, Some(value), depth)?,
                        _ => {}
                    }
                }
                if value.is_null() && row.kind.of == Element::Bytes {
                    value = "".into();
                }
                let entries = map.entry(row.json).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(entries) = entries {
                    entries.insert(key, value);
                }
            }
        }
        Ok(())
    }

    /// One value; a message goes on from what an earlier part said.
    fn one(&mut self, of: Element, wire: Wire<'_>, old: Option<Value>, depth: usize) -> Result<Value, Error> {
        self.pay(1)?;
        Ok(match of {
            Element::Message(at) => {
                let mut map = match old {
                    Some(Value::Object(map)) => map,
                    _ => Map::new(),
                };
                self.message(at, message_bytes(wire)?, &mut map, depth + 1)?;
                Value::Object(map)
            }
            Element::String => string(wire)?.into(),
            Element::Bool => (varint(wire)? != 0).into(),
            Element::Int32 => (varint(wire)? as i32).into(),
            Element::Int64 => (varint(wire)? as i64).into(),
            Element::Double => match wire {
                Wire::Fixed64(bits) => double(f64::from_bits(bits))?,
                _ => return Err(Error::value("a double")),
            },
            Element::Bytes => STANDARD.encode(message_bytes(wire)?).into(),
            Element::Quantity => self.texts(wire, 1)?.pop().unwrap_or_else(|| "0".into()),
            Element::IntOrString => int_or_string(message_bytes(wire)?)?,
            Element::Time | Element::MicroTime => time(of, message_bytes(wire)?)?,
            Element::Raw => self.raw(message_bytes(wire)?, depth)?,
            Element::Json | Element::Fields => json(first(message_bytes(wire)?)?)?,
            Element::Strings => Value::Array(self.texts(wire, 1)?),
            Element::PropsOrArray | Element::PropsOrBool | Element::PropsOrStrings => {
                self.union(of, message_bytes(wire)?, depth)?
            }
        })
    }

    /// The strings of one repeated field.
    fn texts(&mut self, wire: Wire<'_>, wanted: u32) -> Result<Vec<Value>, Error> {
        let mut texts = Vec::new();
        let mut reader = Reader::new(message_bytes(wire)?);
        while let Some((number, wire)) = reader.next()? {
            if number == wanted {
                self.pay(1)?;
                texts.push(string(wire)?.into());
            }
        }
        Ok(texts)
    }

    /// An object of any kind, as JSON or in an envelope of its own.
    fn raw(&mut self, bytes: &[u8], depth: usize) -> Result<Value, Error> {
        let raw = first(bytes)?;
        if !raw.starts_with(MAGIC) {
            return json(raw);
        }
        if depth >= DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        self.envelope(raw, depth + 1)
    }

    /// The types of a CustomResourceDefinition that are one of two things in JSON and have a field for each on the wire.
    fn union(&mut self, of: Element, bytes: &[u8], depth: usize) -> Result<Value, Error> {
        let props = Element::Message(builtin::types().schema_props);
        let (mut allows, mut schema, mut list) = (false, None, Vec::new());
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.next()? {
            match (of, number) {
                (Element::PropsOrBool, 1) => allows = varint(wire)? != 0,
                (Element::PropsOrBool, 2) | (_, 1) => schema = Some(self.one(props, wire, schema, depth)?),
                (Element::PropsOrArray, 2) => list.push(self.one(props, wire, None, depth)?),
                (Element::PropsOrStrings, 2) => list.push(self.one(Element::String, wire, None, depth)?),
                _ => {}
            }
        }
        Ok(match schema {
            _ if !list.is_empty() => Value::Array(list),
            Some(schema) => schema,
            None if of == Element::PropsOrBool => allows.into(),
            None => Value::Null,
        })
    }
}

fn varint(wire: Wire<'_>) -> Result<u64, Error> {
    match wire {
        Wire::Varint(value) => Ok(value),
        _ => Err(Error::value("a whole number")),
    }
}

fn message_bytes(wire: Wire<'_>) -> Result<&[u8], Error> {
    match wire {
        Wire::Bytes(bytes) => Ok(bytes),
        _ => Err(Error::value("a length and bytes")),
    }
}

fn string(wire: Wire<'_>) -> Result<&str, Error> {
    std::str::from_utf8(message_bytes(wire)?).map_err(|_| Error::value("text in UTF-8"))
}

/// Field 1, as the types have it that carry nothing but bytes.
fn first(bytes: &[u8]) -> Result<&[u8], Error> {
    let (mut found, mut reader) = (&[][..], Reader::new(bytes));
    while let Some((number, wire)) = reader.next()? {
        if number == 1 {
            found = message_bytes(wire)?;
        }
    }
    Ok(found)
}

fn json(bytes: &[u8]) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes).map_err(|_| Error::value("JSON"))
}

/// Go writes whole numbers with no fraction.
fn double(value: f64) -> Result<Value, Error> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Ok((value as i64).into());
    }
    Number::from_f64(value).map(Value::Number).ok_or_else(|| Error::value("a finite number"))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Error> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    let mut reader = Reader::new(bytes);
    while let Some((field, wire)) = reader.next()? {
        match field {
            1 => is_text = varint(wire)? != 0,
            2 => number = varint(wire)? as i32,
            3 => text = string(wire)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// A message with no fields is Go's zero time.
fn time(of: Element, bytes: &[u8]) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((field, wire)) = reader.next()? {
        match field {
            1 => seconds = varint(wire)? as i64,
            2 => nanos = varint(wire)? as i32,
            _ => {}
        }
    }
    let nanos = u32::try_from(nanos).map_err(|_| Error::value("nanoseconds from 0 to 999999999"))?;
    let time = Timestamp::new(seconds, nanos).ok_or_else(|| Error::value("a time of the years 1 to 9999"))?;
    Ok(if of == Element::Time { time.to_string() } else { time.micro() }.into())
}
