//! Merging lists: objects by their merge key, scalars by their value; and the order of the result.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Error, PATCH, kind, merge_object, plain};
use crate::schema::Node;

/// Where the element with a key stands.
pub(super) type Places = HashMap<Value, usize>;

/// A merged list, and what tells its elements apart.
pub(super) struct Elements<'a> {
    /// The field that holds the list.
    pub(super) list: &'a str,
    /// The field that tells objects apart; absent in lists of scalars.
    pub(super) merge_key: Option<&'a str>,
}

impl Elements<'_> {
    /// What tells this element apart: the value of its merge key, or the scalar itself.
    fn key<'v>(&self, element: &'v Value) -> Result<&'v Value, Error> {
        let Some(merge_key) = self.merge_key else { return Ok(element) };
        let Value::Object(fields) = element else {
            return Err(Error::Type {
                field: self.list.to_owned(),
                expected: "an object",
                received: kind(element),
            });
        };
        let missing = || Error::NoMergeKey { list: self.list.to_owned(), key: merge_key.to_owned() };
        fields.get(merge_key).ok_or_else(missing)
    }

    /// The place of each element; the first one counts where a key is there twice.
    pub(super) fn places(&self, list: &[Value]) -> Result<Places, Error> {
        let mut places = HashMap::with_capacity(list.len());
        for (place, element) in list.iter().enumerate() {
            places.entry(self.key(element)?.clone()).or_insert(place);
        }
        Ok(places)
    }

    /// The elements of a patch stand in the order that its directive gives.
    pub(super) fn check_order(&self, patch: &[Value], order: &[Value]) -> Result<(), Error> {
        if order.is_empty() {
            return Ok(());
        }
        let mut order = order.iter();
        'elements: for element in patch {
            match element.get(PATCH) {
                Some(directive) if directive == "delete" => continue,
                // Upstream lets nothing but deletions stand behind the last element of the order.
                Some(_) if order.len() > 0 => continue,
                Some(_) => return Err(Error::Order(self.list.to_owned())),
                None => {}
            }
            let key = self.key(element)?;
            for next in order.by_ref() {
                if self.key(next)? == key {
                    continue 'elements;
                }
            }
            return Err(Error::Order(self.list.to_owned()));
        }
        Ok(())
    }

    /// Puts a merged list in order: what the client named in the client's order, the rest in the server's, and the two
    /// woven so that an element of the server's stays before those that it stood before.
    pub(super) fn arrange(
        &self,
        merged: Vec<Value>,
        client: &Places,
        server: &Places,
    ) -> Result<Vec<Value>, Error> {
        let mut named = Vec::new();
        let mut others = Vec::new();
        for element in merged {
            let key = self.key(&element)?;
            let at_server = server.get(key).copied();
            match client.get(key) {
                Some(&place) => named.push((place, at_server, element)),
                None => others.push((at_server, element)),
            }
        }
        named.sort_by_key(|(place, ..)| *place);
        others.sort_by_key(|(place, _)| place.unwrap_or(usize::MAX));
        let mut result = Vec::with_capacity(named.len() + others.len());
        let mut others = others.into_iter().peekable();
        for (_, at_server, element) in named {
            while let Some((before, _)) = others.peek() {
                if !matches!((before, at_server), (Some(before), Some(at)) if *before < at) {
                    break;
                }
                result.extend(others.next().map(|(_, other)| other));
            }
            result.push(element);
        }
        result.extend(others.map(|(_, other)| other));
        Ok(result)
    }
}

/// A list of the object with that of the patch merged in.
pub(super) struct Merged {
    /// The elements, in the order that they have where the patch says nothing about it.
    pub(super) list: Vec<Value>,
    /// Where the server had each element, for a patch that does say something about the order: what is new stands where
    /// something was deleted, so that a renamed element keeps its place.
    pub(super) server: Places,
}

/// Merges the list of a patch into the list of the object.
pub(super) fn merge_list(
    elements: &Elements<'_>,
    old: Vec<Value>,
    new: Vec<Value>,
    items: Option<&Node>,
) -> Result<Merged, Error> {
    let Some(objects) = of_objects(elements.list, old.iter().chain(&new))? else {
        return Ok(Merged { list: old, server: Places::new() });
    };
    if !objects {
        let mut seen = HashSet::new();
        let merged = old.iter().chain(&new).filter(|value| seen.insert(*value)).cloned().collect();
        let server = elements.places(&old)?;
        return Ok(Merged { list: elements.arrange(merged, &elements.places(&new)?, &server)?, server });
    }
    if elements.merge_key.is_none() {
        return Err(Error::NoMergeKey { list: elements.list.to_owned(), key: "none".to_owned() });
    }
    let length = old.len();
    let server = elements.places(&old)?;
    let (replaced, old, new) = direct(elements, old, new)?;
    if replaced {
        let order = elements.places(&new)?;
        let list = elements.arrange(new.into_iter().map(plain).collect(), &Places::new(), &order)?;
        return Ok(Merged { list, server });
    }
    let before = elements.places(&old)?;
    let named = elements.places(&new)?;
    let mut places = before.clone();
    let mut merged = old;
    for element in new {
        let key = elements.key(&element)?;
        match places.get(key) {
            Some(&place) => {
                let (Value::Object(into), Value::Object(patch)) = (merged[place].take(), element) else {
                    return Err(Error::Elements(elements.list.to_owned()));
                };
                merged[place] = Value::Object(merge_object(into, patch, items)?);
            }
            None => {
                places.insert(key.clone(), merged.len());
                merged.push(plain(element));
            }
        }
    }
    places.retain(|_, place| *place < length);
    Ok(Merged { list: elements.arrange(merged, &named, &before)?, server: places })
}

/// Does what the elements with `$patch` say and takes them out of the patch. Tells whether the patch replaces the list.
fn direct(
    elements: &Elements<'_>,
    old: Vec<Value>,
    new: Vec<Value>,
) -> Result<(bool, Vec<Value>, Vec<Value>), Error> {
    let mut replace = false;
    let mut rest = Vec::with_capacity(new.len());
    let mut deleted = HashSet::new();
    for element in new {
        match element.get(PATCH) {
            None => rest.push(element),
            Some(directive) => match directive.as_str() {
                Some("replace") => replace = true,
                Some("delete") => {
                    deleted.insert(elements.key(&element)?.clone());
                }
                _ => return Err(Error::PatchType(directive.to_string())),
            },
        }
    }
    let mut kept = Vec::with_capacity(old.len());
    for element in old {
        if !deleted.contains(elements.key(&element)?) {
            kept.push(element);
        }
    }
    Ok((replace, kept, rest))
}

/// `$deleteFromPrimitiveList`.
pub(super) fn delete_scalars(field: &str, list: &mut Vec<Value>, unwanted: &[Value]) -> Result<(), Error> {
    if of_objects(field, list.iter().chain(unwanted))? == Some(true) {
        return Err(Error::Directive("primitive list"));
    }
    let unwanted: HashSet<&Value> = unwanted.iter().collect();
    list.retain(|value| !unwanted.contains(value));
    Ok(())
}

/// Whether the elements are objects rather than scalars; nothing where there are none.
fn of_objects<'v>(list: &str, elements: impl Iterator<Item = &'v Value>) -> Result<Option<bool>, Error> {
    let mut first: Option<u8> = None;
    for element in elements {
        let kind = match element {
            Value::Bool(_) => 0,
            Value::Number(number) if number.is_f64() => 1,
            Value::Number(_) => 2,
            Value::String(_) => 3,
            Value::Object(_) => 4,
            Value::Null | Value::Array(_) => return Err(Error::Elements(list.to_owned())),
        };
        if *first.get_or_insert(kind) != kind {
            return Err(Error::Elements(list.to_owned()));
        }
    }
    Ok(first.map(|kind| kind == 4))
}
