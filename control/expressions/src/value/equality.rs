//! When two values are equal, and which comes first.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::{Evaluated, EvaluationError, Library, List, Map, Value};
use crate::effort;
use crate::schema::{ListKind, Schema, Shape};

/// Whether two values are equal; values of different kinds are not, but an error where a library says so.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>) -> Evaluated<bool> {
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => a.as_str() == b.as_str(),
        (
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
        ) => order_numbers(a, b) == Some(Ordering::Equal),
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a.name() == b.name(),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => equal(a, b)?,
            _ => false,
        },
        (Value::List(a), Value::List(b)) => equal_lists(a, b)?,
        (Value::Map(a), Value::Map(b)) => equal_maps(a, b)?,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Library(a), Value::Library(b)) => return equal_of_library(a, b),
        (Value::Library(_), _) => return Err(EvaluationError::no_such_overload()),
        (Value::List(List::Typed(..)) | Value::Map(Map::Typed(..)), _) => {
            return Err(EvaluationError::no_such_overload());
        }
        _ => false,
    })
}

fn equal_of_library(a: &Library<'_>, b: &Library<'_>) -> Evaluated<bool> {
    Ok(match (a, b) {
        (Library::Url(a), Library::Url(b)) => a.to_string() == b.to_string(),
        (Library::Ip(a), Library::Ip(b)) => a == b,
        (Library::Cidr(a), Library::Cidr(b)) => a == b,
        (Library::Quantity(a), Library::Quantity(b)) => a.compare(b) == Ordering::Equal,
        (Library::Semver(a), Library::Semver(b)) => a.compare(b) == Ordering::Equal,
        (Library::Format(a), Library::Format(b)) => a.name == b.name,
        _ => return Err(EvaluationError::no_such_overload()),
    })
}

fn equal_lists(a: &List<'_>, b: &List<'_>) -> Evaluated<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    if let List::Typed(items, schema) = a
        && let Shape::List(_, kind) = &schema.shape
    {
        match kind {
            ListKind::Set => return contains_all(a, b),
            ListKind::Map(keys) => return equal_by_keys(items, schema, keys, b),
            ListKind::Atomic => {}
        }
    }
    for (a, b) in a.iter().zip(b.iter()) {
        effort::look()?;
        if !equal(&a?, &b?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains_all(a: &List<'_>, b: &List<'_>) -> Evaluated<bool> {
    let have = a.values()?;
    for wanted in b.iter() {
        let wanted = wanted?;
        effort::look()?;
        if !have.iter().any(|value| equal(value, &wanted).unwrap_or(false)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_by_keys(items: &[Json], schema: &Schema, keys: &[String], b: &List<'_>) -> Evaluated<bool> {
    let Shape::List(element, _) = &schema.shape else { return Ok(false) };
    for wanted in b.iter() {
        let wanted = wanted?;
        let same_keys = |item: &&Json| {
            keys.iter().all(|key| match (&wanted, item.get(key)) {
                (Value::Map(map), Some(have)) => map
                    .field(&crate::names::escape(key).unwrap_or_else(|| key.clone()))
                    .ok()
                    .flatten()
                    .is_some_and(|value| equal(&value, &Value::from_json(have)).unwrap_or(false)),
                (Value::Map(map), None) => map.field(key).ok().flatten().is_none(),
                _ => false,
            })
        };
        // The last of several with the same keys counts.
        let Some(item) = items.iter().rev().find(same_keys) else { return Ok(false) };
        if !equal(&Value::typed(item, element)?, &wanted)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_maps(a: &Map<'_>, b: &Map<'_>) -> Evaluated<bool> {
    if let (Map::Json(a), Map::Json(b)) = (a, b)
        && std::ptr::eq(*a, *b)
    {
        return Ok(true);
    }
    if a.len() != b.len() {
        return Ok(false);
    }
    if let (Map::Object(a, _), Map::Object(b, _)) = (a, b)
        && a != b
    {
        return Ok(false);
    }
    for key in a.keys() {
        effort::look()?;
        match (a.find(&key)?, b.find(&key)?) {
            (Some(a), Some(b)) if equal(&a, &b)? => {}
            (None, None) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Which of two values comes first.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Evaluated<Ordering> {
    Ok(match (a, b) {
        (
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
        ) => {
            return order_numbers(a, b).ok_or_else(|| EvaluationError::new("NaN values cannot be ordered"));
        }
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.as_str().cmp(b.as_str()),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Double(value), _) if value.is_nan() => {
            return Err(EvaluationError::new("NaN values cannot be ordered"));
        }
        _ => return Err(EvaluationError::no_such_overload()),
    })
}

/// The order of two numbers of any types; none where one is not a number at all.
fn order_numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Int(a), Value::Double(b)) => order_with_double(i128::from(*a), *b),
        (Value::Uint(a), Value::Double(b)) => order_with_double(i128::from(*a), *b),
        (Value::Double(_), _) => order_numbers(b, a).map(Ordering::reverse),
        _ => None,
    }
}

fn order_with_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double >= 2e19 {
        return Some(Ordering::Less);
    }
    if double <= -2e19 {
        return Some(Ordering::Greater);
    }
    // The reference implementation compares as floats.
    (whole as f64).partial_cmp(&double)
}
