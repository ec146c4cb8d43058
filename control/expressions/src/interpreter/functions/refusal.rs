//! How it is said that no overload of a function takes the values that it got.

use crate::declaration::Overload;
use crate::function::Function;
use crate::program::Call;
use crate::types::Type;
use crate::value::{EvaluationError, Value};

/// The error of a call whose values fit no overload.
pub(super) fn of(call: &Call, args: &[Value<'_>]) -> EvaluationError {
    let plain = EvaluationError::refused;
    let Some(first) = args.first() else { return plain() };
    let name = call.declaration.name;
    if call.pattern.is_some() {
        return plain();
    }
    let Some(is_able) = judge(call.function) else {
        if takes(call, args) {
            return plain();
        }
        let types: Vec<&str> = args.iter().map(Value::type_name).collect();
        return EvaluationError::new(format!("no such overload: {name}({})", types.join(", ")));
    };
    // Text and times take calls of any name before they refuse them.
    if is_able(first) || matches!(first, Value::String(_)) || is_time(first) {
        return plain();
    }
    EvaluationError::new(format!("no such overload: {name}"))
}

/// What a function that judges its values itself asks of the first of them; nothing where it is not called with values
/// that fit none of its overloads.
fn judge(function: Function) -> Option<fn(&Value<'_>) -> bool> {
    use Function as F;
    Some(match function {
        F::Add => {
            |first| matches!(first, Value::List(_)) || is_number(first) || is_text(first) || is_time(first)
        }
        F::Subtract => |first| is_number(first) || is_time(first),
        F::Multiply | F::Divide => is_number,
        F::Modulo => |first| matches!(first, Value::Int(_) | Value::Uint(_)),
        F::Negate => {
            |first| matches!(first, Value::Bool(_) | Value::Double(_) | Value::Int(_) | Value::Duration(_))
        }
        F::Less | F::LessEquals | F::Greater | F::GreaterEquals => {
            |first| matches!(first, Value::Bool(_)) || is_number(first) || is_text(first) || is_time(first)
        }
        F::Size => |first| matches!(first, Value::List(_) | Value::Map(_)) || is_text(first),
        F::Matches => |first| matches!(first, Value::String(_)),
        F::Sort | F::SortBy => |first| matches!(first, Value::List(_)),
        F::Not
        | F::In
        | F::Equals
        | F::NotEquals
        | F::Contains
        | F::StartsWith
        | F::EndsWith
        | F::Flatten => |_| true,
        _ => return None,
    })
}

/// Whether the reference implementation looks at the values before it calls the function, and would not call it.
pub(super) fn is_guarded(call: &Call, args: &[Value<'_>]) -> bool {
    call.pattern.is_none() && !args.is_empty() && !is_open(call.function) && !takes(call, args)
}

/// Functions that judge their values themselves.
pub(crate) fn is_open(function: Function) -> bool {
    function == Function::MapInsert || judge(function).is_some()
}

/// Whether an overload of the function that can be meant takes such values.
pub(super) fn takes(call: &Call, args: &[Value<'_>]) -> bool {
    let fit = |overload: &Overload| {
        call.overload.is_none_or(|meant| meant == overload.id)
            && overload.params.len() == args.len()
            && overload.params.iter().zip(args).all(|(t, value)| fits(t, value))
    };
    call.declaration.overloads.iter().any(fit)
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

fn is_text(value: &Value<'_>) -> bool {
    matches!(value, Value::String(_) | Value::Bytes(_))
}

fn is_time(value: &Value<'_>) -> bool {
    matches!(value, Value::Timestamp(_) | Value::Duration(_))
}

/// Whether a value can be of that type, judged by its first element where it has many.
fn fits(t: &Type, value: &Value<'_>) -> bool {
    match (t, value) {
        (Type::Dyn | Type::Param(_), _) => true,
        (Type::List(item), Value::List(list)) => match list.get(0) {
            Some(Ok(first)) => fits(item, &first),
            _ => true,
        },
        (Type::Map(entry), Value::Map(map)) => match map.entries().unwrap_or_default().first() {
            Some((key, value)) => fits(&entry.0, key) && fits(&entry.1, value),
            None => true,
        },
        _ => t.name() == value.type_name(),
    }
}
