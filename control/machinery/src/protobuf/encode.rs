//! From JSON to protobuf.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::wire::Writer;
use super::{DEPTH_MAX, Error};
use crate::builtin;
use crate::builtin::types::{Element, Many, Row};
use crate::timestamp::Timestamp;

/// The bytes of a message.
pub(super) fn message(at: usize, map: &Map<String, Value>, depth: usize) -> Result<Vec<u8>, Error> {
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    let mut writer = Writer::default();
    for row in &builtin::types().messages[at].fields {
        match row.kind.of {
            Element::Message(inner) if row.json.is_empty() => {
                writer.bytes(row.number, &message(inner, map, depth + 1)?);
            }
            _ => {
                if let Some(value) = map.get(row.json).filter(|value| !value.is_null()) {
                    field(row, value, &mut writer, depth).map_err(|error| error.within(row.json))?;
                }
            }
        }
    }
    Ok(writer.finish())
}

fn field(row: &Row, value: &Value, writer: &mut Writer, depth: usize) -> Result<(), Error> {
    match row.kind.many {
        Many::One => one(row.kind.of, row.number, value, writer, depth),
        Many::List => {
            for value in value.as_array().ok_or_else(|| Error::value("a list"))? {
                one(row.kind.of, row.number, value, writer, depth)?;
            }
            Ok(())
        }
        Many::Map => {
            for (key, value) in value.as_object().ok_or_else(|| Error::value("an object"))? {
                let mut entry = Writer::default();
                entry.bytes(1, key.as_bytes());
                one(row.kind.of, 2, value, &mut entry, depth)?;
                writer.bytes(row.number, &entry.finish());
            }
            Ok(())
        }
    }
}

fn one(of: Element, number: u32, value: &Value, writer: &mut Writer, depth: usize) -> Result<(), Error> {
    let bytes = match of {
        Element::Bool | Element::Int32 | Element::Int64 if value.is_null() => {
            writer.varint(number, 0);
            return Ok(());
        }
        Element::Double if value.is_null() => {
            writer.fixed64(number, 0);
            return Ok(());
        }
        // Within a list or map `null` is the zero value, which has no bytes.
        _ if value.is_null() => Vec::new(),
        Element::Message(at) => message(at, object(value)?, depth + 1)?,
        Element::String => text(value)?.as_bytes().to_vec(),
        Element::Bool => {
            let value = value.as_bool().ok_or_else(|| Error::value("true or false"))?;
            writer.varint(number, value.into());
            return Ok(());
        }
        Element::Int32 | Element::Int64 => {
            let value = integer(value)?;
            if of == Element::Int32 && i32::try_from(value).is_err() {
                return Err(Error::value("a number of 32 bits"));
            }
            writer.varint(number, value as u64);
            return Ok(());
        }
        Element::Double => {
            let value = value.as_f64().ok_or_else(|| Error::value("a number"))?;
            writer.fixed64(number, value.to_bits());
            return Ok(());
        }
        Element::Bytes => STANDARD.decode(text(value)?).map_err(|_| Error::value("text in base64"))?,
        Element::Quantity => match value {
            Value::Number(amount) => wrapped(amount.to_string().as_bytes()),
            _ => wrapped(text(value)?.as_bytes()),
        },
        Element::IntOrString => int_or_string(value)?,
        Element::Time | Element::MicroTime => time(of, value)?,
        Element::Raw | Element::Json | Element::Fields => wrapped(value.to_string().as_bytes()),
        Element::Strings => {
            let mut list = Writer::default();
            for value in value.as_array().ok_or_else(|| Error::value("a list"))? {
                list.bytes(1, text(value)?.as_bytes());
            }
            list.finish()
        }
        Element::PropsOrArray | Element::PropsOrBool | Element::PropsOrStrings => union(of, value, depth)?,
    };
    writer.bytes(number, &bytes);
    Ok(())
}

fn text(value: &Value) -> Result<&str, Error> {
    value.as_str().ok_or_else(|| Error::value("a string"))
}

fn object(value: &Value) -> Result<&Map<String, Value>, Error> {
    value.as_object().ok_or_else(|| Error::value("an object"))
}

fn integer(value: &Value) -> Result<i64, Error> {
    value.as_i64().ok_or_else(|| Error::value("a whole number of 64 bits"))
}

/// A message with nothing but field 1.
fn wrapped(bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.bytes(1, bytes);
    writer.finish()
}

fn int_or_string(value: &Value) -> Result<Vec<u8>, Error> {
    let mut writer = Writer::default();
    if let Value::String(text) = value {
        writer.varint(1, 1);
        writer.bytes(3, text.as_bytes());
    } else {
        let value = i32::try_from(integer(value)?).map_err(|_| Error::value("a number of 32 bits"))?;
        writer.varint(1, 0);
        writer.varint(2, i64::from(value) as u64);
    }
    Ok(writer.finish())
}

fn time(of: Element, value: &Value) -> Result<Vec<u8>, Error> {
    let time = Timestamp::parse(text(value)?).ok_or_else(|| Error::value("a time in RFC 3339"))?;
    let mut writer = Writer::default();
    writer.varint(1, time.seconds as u64);
    writer.varint(2, if of == Element::MicroTime { time.nanos.into() } else { 0 });
    Ok(writer.finish())
}

fn union(of: Element, value: &Value, depth: usize) -> Result<Vec<u8>, Error> {
    let props = builtin::types().schema_props;
    let mut writer = Writer::default();
    match (of, value) {
        (Element::PropsOrBool, Value::Bool(allows)) => writer.varint(1, (*allows).into()),
        (Element::PropsOrBool, value) => {
            writer.varint(1, 1);
            writer.bytes(2, &message(props, object(value)?, depth + 1)?);
        }
        (Element::PropsOrArray, Value::Array(list)) => {
            for value in list {
                writer.bytes(2, &message(props, object(value)?, depth + 1)?);
            }
        }
        (_, Value::Array(list)) => {
            for value in list {
                writer.bytes(2, text(value)?.as_bytes());
            }
        }
        (_, value) => writer.bytes(1, &message(props, object(value)?, depth + 1)?),
    }
    Ok(writer.finish())
}
