//! Sets of fields that a manager owns, and their written form (`fieldsV1`).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde_json::{Map, Value};

use super::Error;
use super::element::Element;

/// Field sets are nested at most this deep.
const DEPTH_MAX: usize = 128;

/// A set of paths into an object.
///
/// Owning a path says nothing about the paths below it: the owner of `.spec` alone does not own `.spec.replicas`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet(BTreeMap<Element, Branch>);

/// What of one element is in a set: the element itself, something below it, or both. Never nothing, within a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Branch {
    /// The element itself.
    pub(super) member: bool,
    /// What is below it.
    pub(super) below: FieldSet,
}

impl Branch {
    /// The element itself and nothing below it.
    pub(super) fn leaf() -> Self {
        Self { member: true, below: FieldSet::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    /// A set of these fields of structures, such as `["metadata", "name"]`.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path.iter().map(|name| Element::field(name)));
        }
        set
    }

    /// Adds a path; the empty path names the whole object, which nobody owns.
    pub fn insert(&mut self, path: impl IntoIterator<Item = Element>) {
        let mut path = path.into_iter();
        let Some(mut element) = path.next() else { return };
        let mut set = self;
        for next in path {
            set = &mut set.0.entry(element).or_default().below;
            element = next;
        }
        set.0.entry(element).or_default().member = true;
    }

    /// Whether the set holds the path.
    pub fn contains(&self, path: &[Element]) -> bool {
        let Some((last, parents)) = path.split_last() else { return false };
        let parent = parents.iter().try_fold(self, |set, element| set.0.get(element).map(|at| &at.below));
        parent.and_then(|set| set.0.get(last)).is_some_and(|branch| branch.member)
    }

    /// Whether the set holds no path.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every path; those of one level stand before those below them.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        fn walk(set: &FieldSet, prefix: &mut Vec<Element>, into: &mut Vec<Vec<Element>>) {
            for (element, _) in set.0.iter().filter(|(_, branch)| branch.member) {
                into.push(prefix.iter().chain([element]).cloned().collect());
            }
            for (element, branch) in &set.0 {
                prefix.push(element.clone());
                walk(&branch.below, prefix, into);
                prefix.pop();
            }
        }
        let mut paths = Vec::new();
        walk(self, &mut Vec::new(), &mut paths);
        paths
    }

    pub(super) fn get(&self, element: &Element) -> Option<&Branch> {
        self.0.get(element)
    }

    /// Adds what is owned of an element; what is empty leaves no trace.
    pub(super) fn put(&mut self, element: Element, branch: Branch) {
        if branch.is_empty() {
            return;
        }
        match self.0.entry(element) {
            Entry::Vacant(place) => {
                place.insert(branch);
            }
            Entry::Occupied(mut place) => {
                let old = place.get_mut();
                old.member |= branch.member;
                old.below = std::mem::take(&mut old.below).union(branch.below);
            }
        }
    }

    /// Rebuilds the set from what becomes of each branch.
    pub(super) fn map(self, mut change: impl FnMut(&Element, Branch) -> Branch) -> Self {
        let mut changed = Self::default();
        for (element, branch) in self.0 {
            let branch = change(&element, branch);
            changed.put(element, branch);
        }
        changed
    }

    /// What is in either set.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        for (element, branch) in other.0 {
            self.put(element, branch);
        }
        self
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (element, branch) in &self.0 {
            if let Some(with) = other.0.get(element) {
                let below = branch.below.intersection(&with.below);
                both.put(element.clone(), Branch { member: branch.member && with.member, below });
            }
        }
        both
    }

    /// What is in this set and not in the other, path by path: a path stays though one above it goes.
    #[must_use]
    pub fn difference(self, other: &Self) -> Self {
        self.map(|element, branch| match other.0.get(element) {
            None => branch,
            Some(without) => Branch {
                member: branch.member && !without.member,
                below: branch.below.difference(&without.below),
            },
        })
    }

    /// What is in this set and neither in the other nor below a path of the other.
    #[must_use]
    pub fn recursive_difference(self, other: &Self) -> Self {
        self.map(|element, branch| match other.0.get(element) {
            None => branch,
            Some(without) if without.member => Branch::default(),
            Some(without) => Branch { below: branch.below.recursive_difference(&without.below), ..branch },
        })
    }

    /// Reads `fieldsV1`.
    pub fn from_value(value: &Value) -> Result<Self, Error> {
        Ok(read(value, DEPTH_MAX)?.below)
    }

    /// The `fieldsV1` object, its keys inserted in canonical order.
    pub fn to_value(&self) -> Value {
        let mut fields = Map::new();
        self.write(&mut fields);
        Value::Object(fields)
    }

    fn write(&self, into: &mut Map<String, Value>) {
        for (element, branch) in &self.0 {
            let mut fields = Map::new();
            if branch.member && !branch.below.is_empty() {
                fields.insert(".".to_owned(), Value::Object(Map::new()));
            }
            branch.below.write(&mut fields);
            into.insert(element.written(), Value::Object(fields));
        }
    }
}

/// Reads one level: `{}` and `.` say that the element itself is owned.
fn read(value: &Value, depth: usize) -> Result<Branch, Error> {
    let Value::Object(fields) = value else {
        return Err(Error::Fields(format!("expected an object, found {value}")));
    };
    if depth == 0 {
        return Err(Error::Fields(format!("nested deeper than {DEPTH_MAX} levels")));
    }
    let mut branch = Branch::default();
    for (key, value) in fields {
        if key == "." {
            branch.member = true;
        } else if let Some(element) = Element::parse(key)? {
            branch.below.put(element, read(value, depth - 1)?);
        }
    }
    branch.member |= branch.below.is_empty();
    Ok(branch)
}

/// `fieldsV1` as canonical JSON text.
impl fmt::Display for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (element, branch)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:", Value::from(element.written()))?;
            if branch.member && !branch.below.is_empty() {
                let below = branch.below.to_string();
                write!(f, "{{\".\":{{}},{}", &below[1..])?;
            } else {
                write!(f, "{}", branch.below)?;
            }
        }
        f.write_str("}")
    }
}

/// A path as people read it: `.spec.containers[name="a"].image`.
pub(super) fn path_text(path: &[Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}
