//! Lists and maps: made by the expression, or views of JSON with or without a schema.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use super::{Evaluated, EvaluationError, Text, Value};
use crate::names;
use crate::schema::{Schema, Shape};

/// A list.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// Of values.
    Values(Arc<Vec<Value<'a>>>),
    /// Of JSON without a schema.
    Json(&'a [Json]),
    /// Of JSON as this schema (of the list) describes it.
    Typed(&'a [Json], &'a Schema),
}

impl<'a> List<'a> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Json(items) | Self::Typed(items, _) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`, or why it has no value.
    pub fn get(&self, index: usize) -> Option<Result<Value<'a>, EvaluationError>> {
        match self {
            Self::Values(values) => values.get(index).cloned().map(Ok),
            Self::Json(items) => items.get(index).map(|item| Ok(Value::from_json(item))),
            Self::Typed(items, schema) => {
                let item = items.get(index)?;
                Some(match &schema.shape {
                    Shape::List(element, _) => Value::typed(item, element),
                    _ => Ok(Value::from_json(item)),
                })
            }
        }
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvaluationError>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn values(&self) -> Evaluated<Vec<Value<'a>>> {
        self.iter().collect()
    }
}

/// A map's key in the form by which keys are equal: a number is the same whatever its type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Bool(bool),
    Number(i128),
    /// A float without an integer's value, by its bits.
    Fraction(u64),
    String(Arc<str>),
    Null,
    Duration(i64),
    Timestamp(i64, u32),
}

impl Key {
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Number(i128::from(*value)),
            Value::Uint(value) => Self::Number(i128::from(*value)),
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 2e19 => {
                Self::Number(*value as i128)
            }
            Value::Double(value) => Self::Fraction(value.to_bits()),
            Value::String(Text::Shared(text)) => Self::String(text.clone()),
            Value::String(text) => Self::String(text.as_str().into()),
            Value::Null => Self::Null,
            Value::Duration(nanoseconds) => Self::Duration(*nanoseconds),
            Value::Timestamp(time) => Self::Timestamp(time.seconds, time.nanoseconds),
            _ => return None,
        })
    }
}

/// The entries of a map that the expression made, in their order.
#[derive(Debug, Clone, Default)]
pub struct Entries<'a> {
    entries: Vec<(Value<'a>, Value<'a>)>,
    places: HashMap<Key, usize>,
}

impl<'a> Entries<'a> {
    /// Sets the value of `key`. A key that is no plain value is like no other.
    pub(crate) fn set(&mut self, key: Value<'a>, value: Value<'a>) {
        let Some(place) = Key::of(&key) else {
            self.entries.push((key, value));
            return;
        };
        match self.places.get(&place) {
            Some(place) => self.entries[*place].1 = value,
            None => {
                self.places.insert(place, self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    pub(crate) fn find(&self, key: &Value<'_>) -> Option<&Value<'a>> {
        let place = self.places.get(&Key::of(key)?)?;
        self.entries.get(*place).map(|(_, value)| value)
    }
}

/// A map or an object.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// Of values.
    Entries(Arc<Entries<'a>>),
    /// An object that the expression made, with the name of its type.
    Object(Arc<str>, Arc<Entries<'a>>),
    /// Of values; what is not there is an empty map.
    Defaulted(Arc<Entries<'a>>),
    /// Of JSON without a schema.
    Json(&'a JsonMap<String, Json>),
    /// Of JSON as this schema (of the map or object) describes it.
    Typed(&'a JsonMap<String, Json>, &'a Schema),
}

impl<'a> Map<'a> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Entries(entries) | Self::Object(_, entries) | Self::Defaulted(entries) => {
                entries.entries.len()
            }
            Self::Json(map) | Self::Typed(map, _) => map.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn type_name(&self) -> &str {
        match self {
            Self::Object(name, _) => name,
            _ => "map",
        }
    }

    /// The value of a text key.
    pub(crate) fn field(&self, name: &str) -> Evaluated<Option<Value<'a>>> {
        match self {
            Self::Entries(entries) | Self::Object(_, entries) => {
                Ok(entries.find(&Value::String(Text::Borrowed(name))).cloned())
            }
            Self::Defaulted(entries) => {
                let found = entries.find(&Value::String(Text::Borrowed(name))).cloned();
                Ok(found.or_else(|| Some(Value::Map(Self::Entries(Arc::default())))))
            }
            Self::Json(map) => Ok(map.get(name).map(Value::from_json)),
            Self::Typed(map, schema) => match &schema.shape {
                Shape::Object(fields) => {
                    let Some(field) = fields.get(name) else { return Ok(None) };
                    match map.get(&field.property) {
                        None | Some(Json::Null) => Ok(None),
                        Some(value) => Value::typed(value, &field.schema).map(Some),
                    }
                }
                Shape::Map(values) => map.get(name).map(|value| Value::typed(value, values)).transpose(),
                _ => Ok(None),
            },
        }
    }

    /// The value of any key.
    pub(crate) fn find(&self, key: &Value<'_>) -> Evaluated<Option<Value<'a>>> {
        match (self, key) {
            (_, Value::String(name)) => self.field(name.as_str()),
            (Self::Entries(entries), _) => Ok(entries.find(key).cloned()),
            (Self::Typed(..), _) => Err(EvaluationError::no_such_overload()),
            _ => Ok(None),
        }
    }

    /// Calls `visit` for each key until it says to stop.
    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Entries(entries) | Self::Object(_, entries) | Self::Defaulted(entries) => {
                entries.entries.iter().map(|(key, _)| key.clone()).collect()
            }
            Self::Json(map) => map.keys().map(|key| Value::text(key)).collect(),
            Self::Typed(map, schema) => match &schema.shape {
                Shape::Object(fields) => map
                    .keys()
                    .filter_map(|key| {
                        let escaped = names::escape(key)?;
                        let (name, _) = fields.get_key_value(&escaped)?;
                        Some(Value::text(name))
                    })
                    .collect(),
                _ => map.keys().map(|key| Value::text(key)).collect(),
            },
        }
    }

    /// The entries as values.
    pub fn entries(&self) -> Result<Vec<(Value<'a>, Value<'a>)>, EvaluationError> {
        if let Self::Entries(entries) | Self::Object(_, entries) | Self::Defaulted(entries) = self {
            return Ok(entries.entries.clone());
        }
        let mut entries = Vec::with_capacity(self.len());
        for key in self.keys() {
            if let Some(value) = self.find(&key)? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }
}
