//! Values as text and as JSON.

use base64::Engine as _;
use serde_json::{Map as JsonMap, Number, Value as Json};

use super::{Library, Value};
use crate::{duration, timestamp};

/// The text of `string(value)`, where values of the kind have one.
pub(super) fn plain(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => general(*value),
        Value::String(text) => text.as_str().to_owned(),
        Value::Timestamp(time) => timestamp::format(*time),
        Value::Duration(nanoseconds) => duration::format(*nanoseconds),
        Value::Type(t) => t.name().to_owned(),
        Value::Library(Library::Ip(ip)) => ip.to_string(),
        Value::Library(Library::Cidr(cidr)) => cidr.to_string(),
        _ => return None,
    })
}

/// A float as C's `%g` with as many digits as it takes: an exponent below 1e-4 and from 1e6 on.
pub(crate) fn general(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

/// How errors show a value.
impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::String(text) => f.write_str(text.as_str()),
            Value::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Value::Map(map) => {
                let mut shown: Vec<String> =
                    map.entries().unwrap_or_default().iter().map(|(k, v)| format!("{k}: {v}")).collect();
                shown.sort();
                write!(f, "{{{}}}", shown.join(", "))
            }
            Value::List(list) => {
                let shown: Vec<String> = list
                    .iter()
                    .map(|item| item.map_or_else(|err| err.to_string(), |item| item.to_string()))
                    .collect();
                write!(f, "[{}]", shown.join(", "))
            }
            Value::Optional(None) => f.write_str("optional.none()"),
            Value::Optional(Some(value)) => write!(f, "optional({value})"),
            _ => f.write_str(&plain(self).unwrap_or_else(|| self.type_name().to_owned())),
        }
    }
}

/// The most values that are copied into JSON.
const LARGEST_JSON: u32 = 1_000_000;

/// The JSON of a value; none where it has none or a far too large one.
pub(super) fn to_json(value: &Value<'_>) -> Option<Json> {
    let mut left = LARGEST_JSON;
    copy(value, &mut left)
}

fn copy(value: &Value<'_>, left: &mut u32) -> Option<Json> {
    *left = left.checked_sub(1)?;
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::Number((*value).into()),
        Value::Uint(value) => Json::Number((*value).into()),
        Value::Double(value) => Json::Number(Number::from_f64(*value)?),
        Value::Bytes(bytes) => Json::String(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::List(list) => {
            Json::Array(list.iter().map(|item| copy(&item.ok()?, left)).collect::<Option<Vec<Json>>>()?)
        }
        Value::Map(map) => {
            let mut object = JsonMap::new();
            for (key, value) in map.entries().ok()? {
                object.insert(plain(&key)?, copy(&value, left)?);
            }
            Json::Object(object)
        }
        Value::Library(Library::Quantity(quantity)) => Json::String(quantity.to_string()),
        Value::Optional(Some(value)) => copy(value, left)?,
        Value::Optional(None) => Json::Null,
        _ => Json::String(plain(value)?),
    })
}
