//! Which part of an old object a part of the new one replaces.
//!
//! Entries of objects belong together by their names, elements of a list by its keys; elements of other lists have no old
//! value, since nothing tells which it was. What the schema does not describe is never the same as before.

use serde_json::Value;
use xebec_expressions::rules::{KeyedList, Step};

use super::{Additional, Schema};
use crate::schema::ListType;

/// A value beside the one that it replaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    schema: &'a Schema,
    new: &'a Value,
    old: &'a Value,
}

impl<'a> Pair<'a> {
    pub(super) fn new(schema: &'a Schema, new: &'a Value, old: &'a Value) -> Self {
        Self { schema, new, old }
    }

    /// The entry of an object.
    pub(super) fn entry(self, name: &str) -> Option<Self> {
        let (new, old) = (self.new.as_object()?.get(name)?, self.old.as_object()?.get(name)?);
        let schema = match (self.schema.properties.get(name), &self.schema.additional) {
            (Some(schema), _) => schema,
            (None, Additional::Schema(schema)) => schema,
            (None, Additional::None | Additional::Any) => return None,
        };
        Some(Self { schema, new, old })
    }

    /// The elements of a list.
    pub(super) fn elements(self) -> Elements<'a> {
        let keyed = match (&self.schema.list_type, self.old) {
            (Some(ListType::Map(keys)), Value::Array(old)) => Some(KeyedList::new(keys, old)),
            _ => None,
        };
        Elements { schema: self.schema.items.as_deref(), new: self.new, keyed }
    }

    /// Whether the new value is the old one.
    pub(super) fn same(self) -> bool {
        match (self.new, self.old) {
            (Value::Array(new), Value::Array(old)) if new.len() == old.len() => match self.schema.list_type {
                Some(ListType::Map(_)) => {
                    let elements = self.elements();
                    (0..new.len()).all(|index| elements.get(index).is_some_and(Pair::same))
                }
                _ => new == old,
            },
            (Value::Array(_), Value::Array(_)) => false,
            (Value::Object(new), Value::Object(old)) => {
                new.len() == old.len() && new.keys().all(|name| self.entry(name).is_some_and(Pair::same))
            }
            (new, old) => new == old,
        }
    }

    /// Whether the value that `steps` lead to, or the closest one around it whose old value can be told, is what it was.
    pub(super) fn unchanged(self, steps: &[Step<'_>]) -> bool {
        let (mut current, mut nearest) = (Some(self), None);
        for step in steps {
            let Some(here) = current else { break };
            match step {
                // Both versions of an object were given the same type, so it tells nothing.
                Step::Property("apiVersion" | "kind") if nearest.is_none() => return false,
                Step::Property(name) | Step::Entry(name) => {
                    (current, nearest) = (here.entry(name), Some(here));
                }
                Step::Element(index) => (current, nearest) = (here.elements().get(*index), Some(here)),
                Step::Part => current = None,
            }
        }
        current.or(nearest).is_some_and(Pair::same)
    }
}

/// The elements of a list beside those that they replace.
pub(super) struct Elements<'a> {
    schema: Option<&'a Schema>,
    new: &'a Value,
    keyed: Option<KeyedList<'a, Box<str>>>,
}

impl<'a> Elements<'a> {
    pub(super) fn get(&self, index: usize) -> Option<Pair<'a>> {
        let new = self.new.as_array()?.get(index)?;
        let old = self.keyed.as_ref()?.find(new)?;
        Some(Pair { schema: self.schema?, new, old })
    }
}
