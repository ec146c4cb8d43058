//! An object with what a manager applies merged in, and an object with fields taken out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::element::Element;
use super::fields::FieldSet;
use super::shape::{Form, Type, list, object};

/// Merges `applied` into `live`. Nothing is removed by this; where both say something, `applied` wins.
pub(super) fn merge(ty: Type<'_>, live: Option<&Value>, applied: Option<&Value>) -> Option<Value> {
    let kept = applied.or(live)?;
    match ty.form(kept) {
        Form::Object => {
            let (old, new) = (live.and_then(object), applied.and_then(object));
            if old.is_none() && new.is_none() {
                return Some(kept.clone());
            }
            let mut merged = Map::new();
            let names = old.into_iter().chain(new).flat_map(Map::keys);
            for name in names {
                if merged.contains_key(name) {
                    continue;
                }
                let (ty, _) = ty.field(name).unwrap_or((Type::UNKNOWN, false));
                if let Some(value) = merge(ty, get(old, name), get(new, name)) {
                    merged.insert(name.clone(), value);
                }
            }
            (!merged.is_empty()).then_some(Value::Object(merged))
        }
        Form::List => {
            let (old, new) = (live.map(list).unwrap_or_default(), applied.map(list).unwrap_or_default());
            if old.is_empty() && new.is_empty() {
                return Some(kept.clone());
            }
            let merged = merge_lists(ty, old, new);
            (!merged.is_empty()).then_some(Value::Array(merged))
        }
        Form::Whole => Some(kept.clone()),
    }
}

fn get<'v>(fields: Option<&'v Map<String, Value>>, name: &str) -> Option<&'v Value> {
    fields.and_then(|fields| fields.get(name))
}

/// The elements of both lists. Those that are in both stand in the order of `applied`; those of `live` alone stay where they
/// are among them.
fn merge_lists(ty: Type<'_>, live: &[Value], applied: &[Value]) -> Vec<Value> {
    // Both lists were validated, so every element can be told apart.
    let tell =
        |items: &[Value]| -> Vec<Element> { items.iter().filter_map(|item| ty.element(item).ok()).collect() };
    let (old, new) = (tell(live), tell(applied));
    let mut before: BTreeMap<&Element, Option<&Value>> = BTreeMap::new();
    for (element, item) in old.iter().zip(live) {
        // An element that is there twice is not merged: what is applied takes the place of both.
        before.entry(element).and_modify(|found| *found = None).or_insert(Some(item));
    }
    let after: BTreeMap<&Element, &Value> = new.iter().zip(applied).collect();
    let mut shared = new.iter().filter(|element| before.contains_key(element));
    let mut next_shared = shared.next();
    let mut done: BTreeSet<&Element> = BTreeSet::new();
    let mut merged = Vec::with_capacity(old.len().max(new.len()));
    let take = |element: &Element| {
        let old = before.get(element).copied().flatten();
        merge(ty.items(), old, after.get(element).copied())
    };
    let (mut left, mut right) = (0, 0);
    loop {
        match (old.get(left), new.get(right)) {
            (None, None) => return merged,
            (Some(element), Some(wanted)) if element == wanted => {
                merged.extend(take(element));
                done.insert(element);
                next_shared = shared.next();
                left += 1;
                right += 1;
            }
            // It will come when it is its turn in the order of what is applied.
            (Some(element), Some(_))
                if after.contains_key(element) && next_shared.is_some_and(|next| next != element) =>
            {
                left += 1;
            }
            (Some(element), _) if !after.contains_key(element) => {
                merged.extend(live.get(left).and_then(|item| merge(ty.items(), Some(item), None)));
                left += 1;
            }
            (at, wanted) => {
                if at.is_some_and(|element| done.contains(element)) || wanted.is_none() {
                    left += 1;
                }
                let Some(wanted) = wanted else { continue };
                merged.extend(take(wanted));
                done.insert(wanted);
                if next_shared == Some(wanted) {
                    next_shared = shared.next();
                }
                right += 1;
            }
        }
    }
}

/// What stands for a list or object that was emptied by taking things out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emptied {
    /// `null`, so that the field still counts as being there.
    Null,
    /// Nothing.
    Gone,
}

/// Takes fields and elements out of a value.
pub(super) fn remove(ty: Type<'_>, value: &Value, fields: &FieldSet, emptied: Emptied) -> Option<Value> {
    match ty.form(value) {
        Form::Whole => Some(value.clone()),
        Form::Object => {
            let mut kept = Map::new();
            // A field that was emptied is a field still, if one without a value: what holds it is not empty by that.
            let mut held = false;
            for (name, value) in value.as_object().into_iter().flatten() {
                let (ty, _) = ty.field(name).unwrap_or((Type::UNKNOWN, false));
                match remove_one(ty, value, &Element::field(name), fields, emptied) {
                    Rest::Value(value) => {
                        kept.insert(name.clone(), value);
                    }
                    Rest::Emptied if emptied == Emptied::Null => {
                        kept.insert(name.clone(), Value::Null);
                    }
                    Rest::Emptied => held = true,
                    Rest::Nothing => {}
                }
            }
            (held || !kept.is_empty()).then_some(Value::Object(kept))
        }
        Form::List => {
            let mut kept = Vec::new();
            for item in list(value) {
                // An element that cannot be told apart is in nobody's set.
                let rest = match ty.element(item) {
                    Ok(element) => remove_one(ty.items(), item, &element, fields, emptied),
                    Err(_) => Rest::Value(item.clone()),
                };
                match rest {
                    Rest::Value(item) => kept.push(item),
                    Rest::Emptied if emptied == Emptied::Null => kept.push(Value::Null),
                    Rest::Emptied | Rest::Nothing => {}
                }
            }
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
    }
}

/// What is left of a field or element.
enum Rest {
    Value(Value),
    /// All that it held was taken out.
    Emptied,
    /// It was taken out itself.
    Nothing,
}

fn remove_one(ty: Type<'_>, value: &Value, element: &Element, fields: &FieldSet, emptied: Emptied) -> Rest {
    match fields.get(element) {
        None => Rest::Value(value.clone()),
        Some(branch) if branch.member => Rest::Nothing,
        Some(branch) => match remove(ty, value, &branch.below, emptied) {
            Some(value) => Rest::Value(value),
            None => Rest::Emptied,
        },
    }
}
