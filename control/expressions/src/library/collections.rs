//! Functions of lists, also as sets.

use std::cmp::Ordering;

use crate::effort;
use crate::value::{Evaluated, EvaluationError, List, Value, compare, equal, fail};

pub(crate) fn is_sorted<'a>(list: &Value<'a>) -> Evaluated<Value<'a>> {
    let items = list.as_list()?.values()?;
    for pair in items.windows(2) {
        if compare(&pair[0], &pair[1])? == Ordering::Greater {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

/// The first of the elements that come before all others in that order.
pub(crate) fn extreme<'a>(list: &Value<'a>, name: &str, better: Ordering) -> Evaluated<Value<'a>> {
    let mut best: Option<Value<'a>> = None;
    for item in list.as_list()?.iter() {
        let item = item?;
        best = Some(match best {
            None => item,
            Some(best) => match compare(&best, &item) {
                Ok(order) if order == better.reverse() => item,
                // What can be compared with others of its own kind alone is passed over.
                Err(err) if err.is_cancelled() || compare(&item, &item).is_err() => return Err(err),
                _ => best,
            },
        });
    }
    best.ok_or_else(|| EvaluationError::new(format!("{name} called on empty list")))
}

pub(crate) fn index_of<'a>(list: &List<'a>, item: &Value<'a>, last: bool) -> Evaluated<Value<'a>> {
    effort::make_list(list.len() / 8)?;
    let places: Vec<usize> = if last { (0..list.len()).rev().collect() } else { (0..list.len()).collect() };
    for place in places {
        if let Some(element) = list.get(place)
            && equal(&element?, item).unwrap_or(false)
        {
            return Ok(Value::Int(place as i64));
        }
    }
    Ok(Value::Int(-1))
}

pub(crate) fn slice<'a>(list: &Value<'a>, start: i64, end: i64) -> Evaluated<Value<'a>> {
    let list = list.as_list()?;
    if start < 0 || end < 0 {
        fail!("cannot slice({start}, {end}), negative indexes not supported");
    }
    if start > end {
        fail!("cannot slice({start}, {end}), start index must be less than or equal to end index");
    }
    if (list.len() as i64) < end {
        fail!("cannot slice({start}, {end}), list is length {}", list.len());
    }
    effort::make_list((end - start) as usize)?;
    Ok(Value::list((start..end).filter_map(|i| list.get(i as usize)).collect::<Evaluated<_>>()?))
}

pub(crate) fn flatten<'a>(list: &Value<'a>, depth: i64) -> Evaluated<Value<'a>> {
    if depth < 0 {
        fail!("level must be non-negative");
    }
    let mut flat = Vec::new();
    flatten_into(list.as_list()?, depth, &mut flat)?;
    Ok(Value::list(flat))
}

fn flatten_into<'a>(list: &List<'a>, depth: i64, flat: &mut Vec<Value<'a>>) -> Evaluated<()> {
    for item in list.iter() {
        match item? {
            Value::List(nested) if depth > 0 => flatten_into(&nested, depth - 1, flat)?,
            other => {
                effort::make_list(1)?;
                flat.push(other);
            }
        }
    }
    Ok(())
}

pub(crate) fn range<'a>(count: i64) -> Evaluated<Value<'a>> {
    Ok(Value::list((0..count).map(Value::Int).collect()))
}

pub(crate) fn reverse<'a>(list: &Value<'a>) -> Evaluated<Value<'a>> {
    let list = list.as_list()?;
    effort::make_list(list.len())?;
    let mut items = list.values()?;
    items.reverse();
    Ok(Value::list(items))
}

pub(crate) fn distinct<'a>(list: &Value<'a>) -> Evaluated<Value<'a>> {
    let mut kept: Vec<Value<'a>> = Vec::new();
    for item in list.as_list()?.iter() {
        let item = item?;
        effort::make_list(1)?;
        if !kept.iter().any(|have| equal(&item, have).unwrap_or(false)) {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
}

pub(crate) fn sort<'a>(list: &Value<'a>, keys: &Value<'a>) -> Evaluated<Value<'a>> {
    effort::make_list(list.as_list()?.len())?;
    let (items, keys) = (list.as_list()?.values()?, keys.as_list()?.values()?);
    if items.len() != keys.len() {
        fail!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            items.len(),
            keys.len()
        );
    }
    let Some(first) = keys.first() else { return Ok(list.clone()) };
    if matches!(
        first,
        Value::List(_)
            | Value::Map(_)
            | Value::Null
            | Value::Type(_)
            | Value::Optional(_)
            | Value::Library(_)
    ) {
        fail!("list elements must be comparable");
    }
    if keys.len() > 1 && keys.iter().any(|key| key.type_name() != first.type_name()) {
        fail!("list elements must have the same type");
    }
    let mut paired: Vec<(Value<'a>, Value<'a>)> = keys.into_iter().zip(items).collect();
    paired.sort_by(|(a, _), (b, _)| compare(a, b).unwrap_or(Ordering::Equal));
    Ok(Value::list(paired.into_iter().map(|(_, item)| item).collect()))
}

/// Whether `item` is in `list`.
pub(crate) fn contains<'a>(list: &List<'a>, item: &Value<'a>) -> Evaluated<bool> {
    let mut refused = None;
    for element in list.iter() {
        effort::look()?;
        // A list that a schema describes asks its elements, any other asks the item.
        let same = element.and_then(|element| match list {
            List::Typed(..) => equal(&element, item),
            _ => equal(item, &element),
        });
        match same {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(err) if err.is_cancelled() => return Err(err),
            Err(err) => refused = Some(err),
        }
    }
    match (refused, list) {
        // Only lists that a schema describes pass such an error on.
        (Some(err), List::Typed(..)) => Err(err),
        _ => Ok(false),
    }
}

pub(crate) fn sets_contain<'a>(list: &Value<'a>, part: &Value<'a>) -> Evaluated<bool> {
    let list = list.as_list()?;
    for item in part.as_list()?.iter() {
        if !contains(list, &item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) fn sets_intersect<'a>(a: &Value<'a>, b: &Value<'a>) -> Evaluated<bool> {
    let b = b.as_list()?;
    for item in a.as_list()?.iter() {
        if contains(b, &item?).unwrap_or(false) {
            return Ok(true);
        }
    }
    Ok(false)
}
