//! From JSON and its schema to values, and from one type to another.

use base64::Engine as _;
use serde_json::Value as Json;

use super::{Evaluated, EvaluationError, List, Map, Text, Value, fail};
use crate::schema::{Schema, Shape};
use crate::{duration, timestamp};

fn json_type(json: &Json) -> &'static str {
    match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}

/// The value of `json` as `schema` describes it.
pub(super) fn typed<'a>(json: &'a Json, schema: &'a Schema) -> Evaluated<Value<'a>> {
    if json.is_null() {
        if schema.nullable {
            return Ok(Value::Null);
        }
        fail!("invalid data, got null for schema with nullable=false");
    }
    Ok(match (&schema.shape, json) {
        (Shape::IntOrString, Json::String(text)) => Value::String(Text::Borrowed(text)),
        (Shape::IntOrString, Json::Number(number)) if number.is_i64() => Value::from_json(json),
        (Shape::IntOrString, _) => {
            fail!("invalid data, expected XIntOrString value to be either a string or integer")
        }
        (Shape::Object(_) | Shape::Map(_), Json::Object(map)) => Value::Map(Map::Typed(map, schema)),
        (Shape::Object(_) | Shape::Map(_), _) => {
            fail!("invalid data, expected a map for the provided schema with type=object")
        }
        (Shape::List(..), Json::Array(items)) => Value::List(List::Typed(items, schema)),
        (Shape::List(..), _) => {
            fail!("invalid data, expected an array for the provided schema with type=array")
        }
        (Shape::Number, Json::Number(number)) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        (Shape::Number, _) => fail!("invalid data, expected float, got {}", json_type(json)),
        (Shape::Integer, Json::Number(number)) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => fail!("invalid data, expected int, got {}", json_type(json)),
        },
        (Shape::Integer, _) => fail!("invalid data, expected int, got {}", json_type(json)),
        (Shape::Bool, Json::Bool(value)) => Value::Bool(*value),
        (Shape::Bool, _) => fail!("invalid data, expected bool, got {}", json_type(json)),
        (Shape::Any, _) => Value::from_json(json),
        (shape, Json::String(text)) => return formatted(text, shape),
        _ => fail!("invalid data, expected string, got {}", json_type(json)),
    })
}

fn formatted<'a>(text: &'a str, shape: &Shape) -> Evaluated<Value<'a>> {
    Ok(match shape {
        Shape::Duration => match duration::parse_loosely(text) {
            Ok(duration) => Value::Duration(duration),
            Err(err) => fail!("Invalid duration {text}: {err}"),
        },
        Shape::Date => match timestamp::parse_date(text) {
            Ok(time) => Value::Timestamp(time),
            Err(err) => fail!("Invalid date formatted string {text}: {err}"),
        },
        Shape::DateTime => match timestamp::parse_loosely(text) {
            Ok(time) => Value::Timestamp(time),
            Err(err) => fail!("Invalid date-time formatted string {text}: {err}"),
        },
        Shape::Bytes => match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) => Value::Bytes(bytes.into()),
            Err(err) => fail!("Invalid byte formatted string {text}: {err}"),
        },
        _ => Value::String(Text::Borrowed(text)),
    })
}

fn no_conversion(value: &Value<'_>, to: &str) -> EvaluationError {
    EvaluationError::new(format!("type conversion error from '{}' to '{to}'", value.type_name()))
}

/// The integer part of a float.
pub(crate) fn double_to_int(value: f64) -> Evaluated<i64> {
    if !value.is_finite() || value <= i64::MIN as f64 || value >= i64::MAX as f64 {
        return Err(EvaluationError::new("integer overflow"));
    }
    Ok(value as i64)
}

/// The integer part of a float that is not negative.
pub(crate) fn double_to_uint(value: f64) -> Evaluated<u64> {
    if !(0.0..18_446_744_073_709_551_616.0).contains(&value) {
        return Err(EvaluationError::new("unsigned integer overflow"));
    }
    Ok(value as u64)
}

/// Go's parsers of numbers take no more than Rust's, but underscores and signs differ.
fn go_float(text: &str) -> Option<f64> {
    let plain = text.trim_start_matches(['+', '-']);
    if plain.len() + 1 < text.len() || plain.is_empty() {
        return None;
    }
    match plain.to_ascii_lowercase().as_str() {
        "inf" | "infinity" | "nan" => {}
        lower if lower.contains("inf") || lower.contains("nan") => return None,
        _ => {}
    }
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite() || !plain.starts_with(|c: char| c.is_ascii_digit()))
}

impl<'a> Value<'a> {
    pub(crate) fn to_int(&self) -> Evaluated<Self> {
        Ok(Value::Int(match self {
            Value::Int(value) => *value,
            Value::Uint(value) => {
                i64::try_from(*value).map_err(|_| EvaluationError::new("integer overflow"))?
            }
            Value::Double(value) => double_to_int(*value)?,
            Value::String(text) => text.as_str().parse().map_err(|_| no_conversion(self, "int"))?,
            Value::Timestamp(time) => time.seconds,
            Value::Duration(nanoseconds) => *nanoseconds,
            _ => return Err(no_conversion(self, "int")),
        }))
    }

    pub(crate) fn to_uint(&self) -> Evaluated<Self> {
        let overflow = |_| EvaluationError::new("unsigned integer overflow");
        Ok(Value::Uint(match self {
            Value::Uint(value) => *value,
            Value::Int(value) => u64::try_from(*value).map_err(overflow)?,
            Value::Double(value) => double_to_uint(*value)?,
            Value::String(text) if !text.as_str().starts_with('+') => {
                text.as_str().parse().map_err(|_| no_conversion(self, "uint"))?
            }
            _ => return Err(no_conversion(self, "uint")),
        }))
    }

    pub(crate) fn to_double(&self) -> Evaluated<Self> {
        Ok(Value::Double(match self {
            Value::Double(value) => *value,
            Value::Int(value) => *value as f64,
            Value::Uint(value) => *value as f64,
            Value::String(text) => go_float(text.as_str()).ok_or_else(|| no_conversion(self, "double"))?,
            _ => return Err(no_conversion(self, "double")),
        }))
    }

    pub(crate) fn to_bool(&self) -> Evaluated<Self> {
        Ok(Value::Bool(match self {
            Value::Bool(value) => *value,
            Value::String(text) => match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                _ => return Err(no_conversion(self, "bool")),
            },
            _ => return Err(no_conversion(self, "bool")),
        }))
    }

    pub(crate) fn to_bytes(&self) -> Evaluated<Self> {
        match self {
            Value::Bytes(_) => Ok(self.clone()),
            Value::String(text) => Ok(Value::Bytes(text.as_str().as_bytes().into())),
            _ => Err(no_conversion(self, "bytes")),
        }
    }

    pub(crate) fn to_text(&self) -> Evaluated<Self> {
        Ok(match self {
            Value::String(_) => self.clone(),
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Value::owned_text(text),
                Err(_) => fail!("invalid UTF-8 in bytes, cannot convert to string"),
            },
            _ => match super::render::plain(self) {
                Some(text) => text.into(),
                None => return Err(no_conversion(self, "string")),
            },
        })
    }

    pub(crate) fn to_timestamp(&self) -> Evaluated<Self> {
        match self {
            Value::Timestamp(_) => Ok(self.clone()),
            Value::Int(seconds) => timestamp::from_seconds(*seconds).map(Value::Timestamp),
            Value::String(text) => match timestamp::parse(text.as_str()) {
                Ok(time) => timestamp::in_range(time).map(Value::Timestamp),
                Err(_) => Err(no_conversion(self, "google.protobuf.Timestamp")),
            },
            _ => Err(no_conversion(self, "google.protobuf.Timestamp")),
        }
    }

    pub(crate) fn to_duration(&self) -> Evaluated<Self> {
        match self {
            Value::Duration(_) => Ok(self.clone()),
            Value::String(text) => duration::parse(text.as_str())
                .map(Value::Duration)
                .map_err(|_| no_conversion(self, "google.protobuf.Duration")),
            _ => Err(no_conversion(self, "google.protobuf.Duration")),
        }
    }
}
