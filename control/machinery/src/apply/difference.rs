//! What differs between two objects, field by field.

use std::collections::BTreeMap;

use serde_json::Value;

use super::element::{Element, equal};
use super::fields::{Branch, FieldSet};
use super::shape::{Form, Type, list, object};

/// The fields that one object has and the other has not, or has otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// In the new object only.
    pub(super) added: FieldSet,
    /// In both, and not the same.
    pub(super) modified: FieldSet,
    /// In the old object only.
    pub(super) removed: FieldSet,
}

impl Difference {
    /// Leaves out fields and all that is below them.
    pub(super) fn without(self, fields: &FieldSet) -> Self {
        Self {
            added: self.added.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            removed: self.removed.recursive_difference(fields),
        }
    }
}

/// Compares two objects of one type.
pub(super) fn difference(ty: Type<'_>, old: &Value, new: &Value) -> Difference {
    let Changes { added, modified, removed } = compare(ty, Some(old), Some(new));
    Difference { added: added.below, modified: modified.below, removed: removed.below }
}

#[derive(Default)]
struct Changes {
    added: Branch,
    modified: Branch,
    removed: Branch,
}

impl Changes {
    fn put(&mut self, element: &Element, below: Self) {
        self.added.below.put(element.clone(), below.added);
        self.modified.below.put(element.clone(), below.modified);
        self.removed.below.put(element.clone(), below.removed);
    }
}

/// Compares two values, of which at least one is there.
fn compare(ty: Type<'_>, old: Option<&Value>, new: Option<&Value>) -> Changes {
    let mut changes = Changes::default();
    let forms = (old.map(|old| ty.form(old)), new.map(|new| ty.form(new)));
    let whole = match forms {
        (None, None) => return changes,
        (Some(form), None) | (None, Some(form)) => by_form(&mut changes, form, ty, old, new),
        (Some(before), Some(after)) => {
            if before != after {
                by_form(&mut changes, before, ty, old, new);
            }
            by_form(&mut changes, after, ty, old, new)
        }
    };
    if !whole {
        changes.added.member |= old.is_none();
        changes.removed.member |= new.is_none();
    }
    changes
}

/// Compares as one form of value. Tells whether the values were compared as wholes.
fn by_form(
    changes: &mut Changes,
    form: Form,
    ty: Type<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
) -> bool {
    match form {
        Form::Object => {
            let (before, after) = (old.and_then(object), new.and_then(object));
            if before.is_some() || after.is_some() {
                let names = before.into_iter().flatten().map(|(name, _)| name);
                let others = after.into_iter().flatten().map(|(name, _)| name);
                let others = others.filter(|name| before.is_none_or(|before| !before.contains_key(*name)));
                for name in names.chain(others) {
                    let (ty, _) = ty.field(name).unwrap_or((Type::UNKNOWN, false));
                    let below = compare(
                        ty,
                        before.and_then(|fields| fields.get(name)),
                        after.and_then(|fields| fields.get(name)),
                    );
                    changes.put(&Element::field(name), below);
                }
                return false;
            }
        }
        Form::List => {
            let (before, after) = (old.map(list).unwrap_or_default(), new.map(list).unwrap_or_default());
            if !before.is_empty() || !after.is_empty() {
                compare_lists(changes, ty, before, after);
                return false;
            }
        }
        Form::Whole => {}
    }
    match (old, new) {
        (None, _) => changes.added.member = true,
        (_, None) => changes.removed.member = true,
        (Some(old), Some(new)) => changes.modified.member |= !equal(old, new),
    }
    true
}

fn compare_lists(changes: &mut Changes, ty: Type<'_>, before: &[Value], after: &[Value]) {
    let mut elements: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for item in before {
        if let Ok(element) = ty.element(item) {
            elements.entry(element).or_default().0.push(item);
        }
    }
    for item in after {
        if let Ok(element) = ty.element(item) {
            elements.entry(element).or_default().1.push(item);
        }
    }
    for (element, (old, new)) in elements {
        let mut below = Changes::default();
        // Elements that are there twice are compared as wholes, and owned as such.
        match (old.as_slice(), new.as_slice()) {
            ([] | [_], [] | [_]) => below = compare(ty.items(), old.first().copied(), new.first().copied()),
            ([_, _, ..], [_, _, ..]) => {
                let same = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| equal(old, new));
                below.modified.member = !same;
            }
            ([_, _, ..], _) => {
                if let Some(new) = new.first() {
                    below = compare(ty.items(), None, Some(new));
                }
                below.removed.member = true;
            }
            (_, [_, _, ..]) => {
                if let Some(old) = old.first() {
                    below = compare(ty.items(), Some(old), None);
                }
                below.added.member = true;
            }
        }
        changes.put(&element, below);
    }
}
