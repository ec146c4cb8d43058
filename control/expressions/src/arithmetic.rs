//! Sums, differences, products and quotients, with an error where a number can not hold the result.

use crate::cost::Cost;
use crate::value::{Evaluated, EvaluationError, Text, Value};
use crate::{duration, effort, timestamp};

fn int_overflow() -> EvaluationError {
    EvaluationError::new("integer overflow")
}

fn uint_overflow() -> EvaluationError {
    EvaluationError::new("unsigned integer overflow")
}

pub(crate) fn add<'a>(a: &Value<'a>, b: &Value<'a>) -> Evaluated<Value<'a>> {
    Ok(match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(*b).ok_or_else(int_overflow)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_add(*b).ok_or_else(uint_overflow)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
        (Value::String(a), Value::String(b)) => {
            let (a, b) = (a.as_str(), b.as_str());
            effort::make_text(a.len() + b.len())?;
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(a);
            text.push_str(b);
            Value::String(Text::Shared(text.into()))
        }
        (Value::Bytes(a), Value::Bytes(b)) => Value::Bytes([&**a, &**b].concat().into()),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(duration::add(*a, *b)?),
        (Value::Timestamp(time), Value::Duration(length))
        | (Value::Duration(length), Value::Timestamp(time)) => {
            Value::Timestamp(timestamp::add(*time, *length)?)
        }
        _ => return Err(EvaluationError::no_such_overload()),
    })
}

pub(crate) fn subtract<'a>(a: &Value<'a>, b: &Value<'a>) -> Evaluated<Value<'a>> {
    Ok(match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_sub(*b).ok_or_else(int_overflow)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_sub(*b).ok_or_else(uint_overflow)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a - b),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(duration::subtract(*a, *b)?),
        (Value::Timestamp(a), Value::Timestamp(b)) => Value::Duration(timestamp::between(*a, *b)?),
        (Value::Timestamp(time), Value::Duration(length)) => {
            let back = length.checked_neg().ok_or_else(duration::overflow)?;
            Value::Timestamp(timestamp::add(*time, back)?)
        }
        _ => return Err(EvaluationError::no_such_overload()),
    })
}

pub(crate) fn multiply<'a>(a: &Value<'a>, b: &Value<'a>) -> Evaluated<Value<'a>> {
    Ok(match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_mul(*b).ok_or_else(int_overflow)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_mul(*b).ok_or_else(uint_overflow)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a * b),
        _ => return Err(EvaluationError::no_such_overload()),
    })
}

pub(crate) fn divide<'a>(a: &Value<'a>, b: &Value<'a>) -> Evaluated<Value<'a>> {
    Ok(match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            return Err(EvaluationError::new("division by zero"));
        }
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_div(*b).ok_or_else(int_overflow)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a / b),
        (Value::Double(a), Value::Double(b)) => Value::Double(a / b),
        _ => return Err(EvaluationError::no_such_overload()),
    })
}

pub(crate) fn modulo<'a>(a: &Value<'a>, b: &Value<'a>) -> Evaluated<Value<'a>> {
    Ok(match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            return Err(EvaluationError::new("modulus by zero"));
        }
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_rem(*b).ok_or_else(int_overflow)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a % b),
        _ => return Err(EvaluationError::no_such_overload()),
    })
}

pub(crate) fn negate<'a>(a: &Value<'a>) -> Evaluated<Value<'a>> {
    Ok(match a {
        Value::Int(a) => Value::Int(a.checked_neg().ok_or_else(int_overflow)?),
        Value::Double(a) => Value::Double(-a),
        Value::Duration(a) => Value::Duration(a.checked_neg().ok_or_else(duration::overflow)?),
        _ => return Err(EvaluationError::no_such_overload()),
    })
}

/// The sum of a list; `kind` tells what the sum of nothing is.
pub(crate) fn sum<'a>(list: &Value<'a>, kind: Cost) -> Evaluated<Value<'a>> {
    let mut total = match kind {
        Cost::SumOfUints => Value::Uint(0),
        Cost::SumOfDoubles => Value::Double(0.0),
        Cost::SumOfDurations => Value::Duration(0),
        _ => Value::Int(0),
    };
    for (place, item) in list.as_list()?.iter().enumerate() {
        let item = item?;
        total = if place == 0 && kind == Cost::Traversal { item } else { add(&total, &item)? };
    }
    Ok(total)
}
