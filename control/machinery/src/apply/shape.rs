//! What apply needs to know of a schema: which values are owned as one, which lists have elements of their own, and what
//! tells those apart.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Error;
use super::element::Element;
use super::fields::{Branch, FieldSet, path_text};
use crate::go_text;
use crate::patch::{DEPTH_MAX, is_deeper};
use crate::schema::{ListType, Node, Shape};

/// The most things that are told of one object.
const WRONG_MAX: usize = 100;

/// How many levels an unknown field has fields of its own. What is below is owned as one: no reader of `managedFields` is to
/// fail for their depth.
const DEDUCED_MAX: u8 = 40;

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type<'a> {
    /// The schema says what it is.
    Known(&'a Node),
    /// An unknown field that is kept: objects have fields for so many levels, and everything else is one value.
    Deduced(u8),
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
    /// The type of what no schema speaks of.
    pub(super) const UNKNOWN: Type<'static> = Type::Deduced(DEDUCED_MAX);

    /// The type of an object of a kind; where no schema is known at all, it is deduced.
    pub(super) fn root(node: &'a Node) -> Self {
        if matches!(node.shape, Shape::Any) { Self::UNKNOWN } else { Self::Known(node) }
    }

    /// How a value of this type is owned. The value tells only where the schema does not.
    pub(super) fn form(self, value: &Value) -> Form {
        match self {
            // `null` may stand for an object that is not there.
            Self::Deduced(0) => Form::Whole,
            Self::Deduced(_) => match value {
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
            Self::Deduced(levels) => Some((Self::Deduced(levels.saturating_sub(1)), false)),
            Self::Known(node) => match &node.shape {
                Shape::Map { values, .. } => Some((Self::Known(values.node()), false)),
                Shape::Struct { preserve_unknown, .. } => match node.field(name) {
                    Some(field) => Some((Self::Known(field.node.node()), true)),
                    None => preserve_unknown.then_some((Self::UNKNOWN, false)),
                },
                _ => None,
            },
        }
    }

    /// The type of the elements of a list.
    pub(super) fn items(self) -> Self {
        match self {
            Self::Known(Node { shape: Shape::List { items, .. }, .. }) => Self::Known(items.node()),
            _ => Self::UNKNOWN,
        }
    }

    /// What tells an element of a list apart.
    pub(super) fn element(self, item: &Value) -> Result<Element, Cow<'static, str>> {
        let Self::Known(Node { shape: Shape::List { items, list_type }, .. }) = self else {
            return Err("invalid indexing of non-associative list".into());
        };
        match list_type {
            ListType::Map(keys) => keyed(item, keys, items.node()),
            _ => match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".into())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".into())
                }
                scalar => Ok(Element::value(scalar.clone())),
            },
        }
    }
}

/// Keys that are absent take their default; without one they are no part of what tells the element apart.
fn keyed(item: &Value, keys: &[Box<str>], node: &Node) -> Result<Element, Cow<'static, str>> {
    let fields = match item {
        Value::Object(fields) => fields,
        Value::Null => return Err("associative list with keys may not have a null element".into()),
        _ => return Err("associative list with keys may not have non-map elements".into()),
    };
    let value = |key: &str| {
        let default = || node.field(key).and_then(|field| field.default.clone());
        fields.get(key).cloned().or_else(default)
    };
    let told: Vec<_> = keys.iter().filter_map(|key| Some((&**key, value(key)?))).collect();
    if told.is_empty() {
        let names: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values \
             for any key fields)",
            names.join(" ")
        )
        .into());
    }
    Ok(Element::keys(told))
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
    let mut check = Check { duplicates, path: Vec::new(), wrong: Vec::new() };
    check.value(ty, value);
    match check.wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(Error::Type(one.clone())),
        many => Err(Error::Type(format!("errors:\n  {}", many.join("\n  ")))),
    }
}

/// Finds all that does not fit, in upstream's words.
struct Check {
    duplicates: bool,
    path: Vec<Element>,
    wrong: Vec<String>,
}

impl Check {
    fn value(&mut self, ty: Type<'_>, value: &Value) {
        let Type::Known(node) = ty else { return };
        match (&node.shape, value) {
            (_, Value::Null) | (Shape::Any, _) => {}
            (Shape::String, Value::String(_)) => {}
            (Shape::String, _) => {
                let shown = go_text::syntax(value);
                self.refuse(format!("expected string, got &value.valueUnstructured{{Value:{shown}}}"));
            }
            (Shape::Integer | Shape::Number, Value::Number(_)) => {}
            (Shape::Integer | Shape::Number, _) => {
                self.refuse(format!("expected numeric (int or float), got {}", go_text::type_name(value)));
            }
            (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::Boolean, _) => self.expected("boolean", value),
            (Shape::IntOrString, Value::Array(_) | Value::Object(_)) => self.expected("any scalar", value),
            (Shape::IntOrString, _) => {}
            (Shape::Map { .. } | Shape::Struct { .. }, Value::Object(fields)) => self.fields(ty, fields),
            (Shape::Map { .. } | Shape::Struct { .. }, _) => self.expected("map", value),
            (Shape::List { list_type, .. }, Value::Array(items)) => self.items(ty, list_type, items),
            (Shape::List { .. }, _) => self.expected("list", value),
        }
    }

    fn fields(&mut self, ty: Type<'_>, fields: &Map<String, Value>) {
        for (name, value) in fields {
            self.path.push(Element::field(name));
            let known = ty.field(name);
            match known {
                Some((ty, _)) => self.value(ty, value),
                None => self.refuse("field not declared in schema".to_owned()),
            }
            self.path.pop();
            // Upstream looks no further within this object.
            if known.is_none() {
                return;
            }
        }
    }

    fn items(&mut self, ty: Type<'_>, list_type: &ListType, items: &[Value]) {
        let mut seen = std::collections::BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let element = match list_type {
                ListType::Atomic => Element::Index(index.try_into().unwrap_or(i64::MAX)),
                _ => match ty.element(item) {
                    Ok(element) => element,
                    Err(why) => return self.refuse(format!("element {index}: {why}")),
                },
            };
            if !self.duplicates && !seen.insert(element.clone()) {
                self.refuse(format!("duplicate entries for key {element}"));
            }
            self.path.push(element);
            self.value(ty.items(), item);
            self.path.pop();
        }
    }

    fn expected(&mut self, what: &str, value: &Value) {
        self.refuse(format!("expected {what}, got &{{{}}}", go_text::plain(value)));
    }

    fn refuse(&mut self, what: String) {
        if self.wrong.len() >= WRONG_MAX {
            return;
        }
        let path = path_text(&self.path);
        self.wrong.push(if path.is_empty() { what } else { format!("{path}: {what}") });
    }
}

/// Every field and element that a value holds.
pub(super) fn owned(ty: Type<'_>, value: &Value) -> Branch {
    let mut branch = Branch::default();
    match ty.form(value) {
        Form::Whole => branch.member = true,
        Form::Object => {
            for (name, value) in value.as_object().into_iter().flatten() {
                let (ty, named) = ty.field(name).unwrap_or((Type::UNKNOWN, false));
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
