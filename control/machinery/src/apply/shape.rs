//! What apply needs to know of a schema: which values are owned as one, which lists have elements of their own, and what
//! tells those apart.

use serde_json::{Map, Value};

use super::Error;
use super::element::Element;
use super::fields::{Branch, FieldSet, path_text};
use crate::patch::{DEPTH_MAX, is_deeper};
use crate::schema::{ListType, Node, Shape};

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type<'a> {
    /// The schema says what it is.
    Known(&'a Node),
    /// An unknown field that is kept: objects have fields, and everything else is one value.
    Deduced,
}

/// How a value is owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As one: scalars, and lists and objects that are atomic.
    Whole,
    /// By its elements.
    List,
    /// By its fields.
    Object,
}

impl<'a> Type<'a> {
    /// The type of an object of a kind; where no schema is known at all, it is deduced.
    pub(super) fn root(node: &'a Node) -> Self {
        if matches!(node.shape, Shape::Any) { Self::Deduced } else { Self::Known(node) }
    }

    /// How a value of this type is owned. The value tells only where the schema does not.
    pub(super) fn form(self, value: &Value) -> Form {
        match self {
            // `null` may stand for an object that is not there.
            Self::Deduced => match value {
                Value::Object(_) | Value::Null => Form::Object,
                _ => Form::Whole,
            },
            Self::Known(node) => match &node.shape {
                Shape::List { list_type: ListType::Set | ListType::Map(_), .. } => Form::List,
                Shape::Map { atomic: false, .. } | Shape::Struct { atomic: false, .. } => Form::Object,
                _ => Form::Whole,
            },
        }
    }

    /// The type of a field, and whether the schema names the field.
    pub(super) fn field(self, name: &str) -> Option<(Self, bool)> {
        match self {
            Self::Deduced => Some((Self::Deduced, false)),
            Self::Known(node) => match &node.shape {
                Shape::Map { values, .. } => Some((Self::Known(values.node()), false)),
                Shape::Struct { preserve_unknown, .. } => match node.field(name) {
                    Some(field) => Some((Self::Known(field.node.node()), true)),
                    None => preserve_unknown.then_some((Self::Deduced, false)),
                },
                _ => None,
            },
        }
    }

    /// The type of the elements of a list.
    pub(super) fn items(self) -> Self {
        match self {
            Self::Known(Node { shape: Shape::List { items, .. }, .. }) => Self::Known(items.node()),
            _ => Self::Deduced,
        }
    }

    /// What tells an element of a list apart.
    pub(super) fn element(self, item: &Value) -> Result<Element, &'static str> {
        let Self::Known(Node { shape: Shape::List { items, list_type }, .. }) = self else {
            return Err("invalid indexing of non-associative list");
        };
        match list_type {
            ListType::Map(keys) => keyed(item, keys, items.node()),
            _ => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type"),
                Value::Array(_) => Err("not supported: associative list with lists as elements"),
                Value::Null => Err("associative list without keys has an element that's an explicit null"),
                scalar => Ok(Element::value(scalar.clone())),
            },
        }
    }
}

/// Keys that are absent take their default; without one they are no part of what tells the element apart.
fn keyed(item: &Value, keys: &[Box<str>], node: &Node) -> Result<Element, &'static str> {
    let fields = match item {
        Value::Object(fields) => fields,
        Value::Null => return Err("associative list with keys may not have a null element"),
        _ => return Err("associative list with keys may not have non-map elements"),
    };
    let value = |key: &str| {
        let default = || node.field(key).and_then(|field| field.default.clone());
        fields.get(key).cloned().or_else(default)
    };
    let keys: Vec<_> = keys.iter().filter_map(|key| Some((&**key, value(key)?))).collect();
    if keys.is_empty() {
        return Err("associative list with keys has an element that omits all key fields");
    }
    Ok(Element::keys(keys))
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn object(value: &Value) -> Option<&Map<String, Value>> {
    value.as_object().filter(|fields| !fields.is_empty())
}

/// Checks that a value is of its type, so that everything else may trust it.
pub(super) fn validate(ty: Type<'_>, value: &Value, duplicates: bool) -> Result<(), Error> {
    if is_deeper(value, DEPTH_MAX) {
        return Err(Error::Type(format!("nested deeper than {DEPTH_MAX} levels")));
    }
    check(ty, value, duplicates, &mut Vec::new())
}

fn check(ty: Type<'_>, value: &Value, duplicates: bool, path: &mut Vec<Element>) -> Result<(), Error> {
    let Type::Known(node) = ty else { return Ok(()) };
    let wrong = |path: &[Element], what: String| {
        let path = path_text(path);
        Err(Error::Type(if path.is_empty() { what } else { format!("{path}: {what}") }))
    };
    let expected = |path: &[Element], what: &str| wrong(path, format!("expected {what}, got {value}"));
    match (&node.shape, value) {
        (_, Value::Null) | (Shape::Any, _) => Ok(()),
        (Shape::String, Value::String(_)) => Ok(()),
        (Shape::String, _) => expected(path, "string"),
        (Shape::Integer | Shape::Number, Value::Number(_)) => Ok(()),
        (Shape::Integer | Shape::Number, _) => expected(path, "numeric (int or float)"),
        (Shape::Boolean, Value::Bool(_)) => Ok(()),
        (Shape::Boolean, _) => expected(path, "boolean"),
        (Shape::IntOrString, Value::Array(_) | Value::Object(_)) => expected(path, "any scalar"),
        (Shape::IntOrString, _) => Ok(()),
        (Shape::Map { .. } | Shape::Struct { .. }, Value::Object(fields)) => {
            for (name, value) in fields {
                path.push(Element::field(name));
                match ty.field(name) {
                    Some((ty, _)) => check(ty, value, duplicates, path)?,
                    None => return wrong(path, "field not declared in schema".to_owned()),
                }
                path.pop();
            }
            Ok(())
        }
        (Shape::Map { .. } | Shape::Struct { .. }, _) => expected(path, "map"),
        (Shape::List { list_type, .. }, Value::Array(items)) => {
            let mut seen = std::collections::BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let element = match list_type {
                    ListType::Atomic => Element::Index(index.try_into().unwrap_or(i64::MAX)),
                    _ => match ty.element(item) {
                        Ok(element) => element,
                        Err(why) => return wrong(path, format!("element {index}: {why}")),
                    },
                };
                if !duplicates && !seen.insert(element.clone()) {
                    return wrong(path, format!("duplicate entries for key {element}"));
                }
                path.push(element);
                check(ty.items(), item, duplicates, path)?;
                path.pop();
            }
            Ok(())
        }
        (Shape::List { .. }, _) => expected(path, "list"),
    }
}

/// Every field and element that a value holds.
pub(super) fn owned(ty: Type<'_>, value: &Value) -> Branch {
    let mut branch = Branch::default();
    match ty.form(value) {
        Form::Whole => branch.member = true,
        Form::Object => {
            for (name, value) in value.as_object().into_iter().flatten() {
                let (ty, named) = ty.field(name).unwrap_or((Type::Deduced, false));
                let mut below = owned(ty, value);
                // A map's entries are owned as such; a structure's fields only where nothing below them is.
                below.member |= !named || value.is_null() || value.as_object().is_some_and(Map::is_empty);
                branch.below.put(Element::field(name), below);
            }
        }
        Form::List => {
            let mut counts = std::collections::BTreeMap::new();
            let elements: Vec<_> = list(value).iter().map(|item| ty.element(item).ok()).collect();
            for element in elements.iter().flatten() {
                *counts.entry(element).or_insert(0u32) += 1;
            }
            for (element, item) in elements.iter().zip(list(value)) {
                let Some(element) = element else { continue };
                // Elements that are there twice cannot be told apart below.
                let twice = counts.get(element).is_some_and(|count| *count > 1);
                let mut below = if twice { Branch::default() } else { owned(ty.items(), item) };
                below.member = true;
                branch.below.put(element.clone(), below);
            }
        }
    }
    branch
}

/// Adds the named fields of structures on the way to each path, which are not owned themselves but go with what is below.
pub(super) fn with_named_fields(ty: Option<Type<'_>>, set: FieldSet) -> FieldSet {
    set.map(|element, branch| {
        let (below, named) = match element {
            Element::Field(name) => match ty.and_then(|ty| ty.field(name)) {
                Some((ty, named)) => (Some(ty), named),
                None => (None, false),
            },
            Element::Key(_) => (ty.map(Type::items), false),
            _ => (None, false),
        };
        let member = branch.member || (named && !branch.below.is_empty());
        Branch { member, below: with_named_fields(below, branch.below) }
    })
}

/// Fits a set that was written under an older schema: what has become atomic is owned as one.
pub(super) fn reconcile(ty: Type<'_>, set: FieldSet) -> FieldSet {
    let Type::Known(node) = ty else { return set };
    set.map(|element, branch| {
        let below = match (element, &node.shape) {
            (Element::Field(name), Shape::Map { .. } | Shape::Struct { .. }) => {
                ty.field(name).map(|(ty, _)| ty)
            }
            (_, Shape::List { .. }) => Some(ty.items()),
            _ => None,
        };
        let Some(ty @ Type::Known(node)) = below else { return branch };
        let atomic = matches!(
            node.shape,
            Shape::Any
                | Shape::List { list_type: ListType::Atomic, .. }
                | Shape::Map { atomic: true, .. }
                | Shape::Struct { atomic: true, .. }
        );
        if atomic && !branch.below.is_empty() {
            return Branch::leaf();
        }
        Branch { below: reconcile(ty, branch.below), ..branch }
    })
}
