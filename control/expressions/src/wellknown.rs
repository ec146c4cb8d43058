//! The few messages of protocol buffers that every environment of the language can build: they are plain values.

use crate::types::Type;
use crate::value::{Entries, Evaluated, EvaluationError, Map, Text, Value};

/// The fields of the message called `name`; none if it is not one of them.
pub(crate) fn fields(name: &str) -> Option<Vec<(&'static str, Type)>> {
    let one = |t| Some(vec![("value", t)]);
    match name.strip_prefix("google.protobuf.")? {
        "BoolValue" => one(Type::Bool),
        "BytesValue" => one(Type::Bytes),
        "DoubleValue" | "FloatValue" => one(Type::Double),
        "Int32Value" | "Int64Value" => one(Type::Int),
        "StringValue" => one(Type::String),
        "UInt32Value" | "UInt64Value" => one(Type::Uint),
        "ListValue" => Some(vec![("values", Type::list(Type::Dyn))]),
        "Struct" => Some(vec![("fields", Type::map(Type::String, Type::Dyn))]),
        "Value" => Some(vec![
            ("null_value", Type::Null),
            ("number_value", Type::Double),
            ("string_value", Type::String),
            ("bool_value", Type::Bool),
            ("struct_value", Type::map(Type::String, Type::Dyn)),
            ("list_value", Type::list(Type::Dyn)),
        ]),
        _ => None,
    }
}

/// The value of the message called `name` with these fields.
pub(crate) fn build<'a>(name: &str, given: &Entries<'a>) -> Evaluated<Value<'a>> {
    let of = |field: &str| given.find(&Value::String(Text::Borrowed(field))).cloned();
    let out_of_range = || EvaluationError::new("integer overflow");
    let value = fields(name).unwrap_or_default().iter().find_map(|(field, _)| of(field));
    Ok(match (name.strip_prefix("google.protobuf.").unwrap_or(name), value) {
        ("FloatValue", Some(Value::Double(value))) => Value::Double(f64::from(value as f32)),
        ("Int32Value", Some(Value::Int(value))) => {
            Value::Int(i32::try_from(value).map(i64::from).map_err(|_| out_of_range())?)
        }
        ("UInt32Value", Some(Value::Uint(value))) => {
            Value::Uint(u32::try_from(value).map(u64::from).map_err(|_| out_of_range())?)
        }
        (_, Some(value)) => value,
        ("BoolValue", None) => Value::Bool(false),
        ("BytesValue", None) => Value::Bytes([].into()),
        ("DoubleValue" | "FloatValue", None) => Value::Double(0.0),
        ("Int32Value" | "Int64Value", None) => Value::Int(0),
        ("UInt32Value" | "UInt64Value", None) => Value::Uint(0),
        ("StringValue", None) => Value::text(""),
        ("ListValue", None) => Value::list(Vec::new()),
        ("Struct", None) => Value::Map(Map::Entries(Entries::default().into())),
        _ => Value::Null,
    })
}
