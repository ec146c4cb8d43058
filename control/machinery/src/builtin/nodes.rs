//! The schema nodes of the built-in types, built from the table and shared: a scalar or a list of strings is one node
//! wherever it stands.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::types::{Element, Kind, Many, Merge, Message, Row, Types};
use crate::schema::{Field, ListType, Node, PatchStrategy, Ref, Shape};

/// What tells one anonymous node from another.
type Likeness = (Kind, bool, bool, Option<&'static str>);

/// Fills the cells, one a message; anonymous nodes live as long as the builder's cache or their users.
pub(super) struct Nodes<'a> {
    types: &'a Types,
    cells: &'static [OnceLock<Node>],
    shared: HashMap<Likeness, Ref>,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(types: &'a Types, cells: &'static [OnceLock<Node>]) -> Self {
        Self { types, cells, shared: HashMap::new() }
    }

    pub(super) fn fill(mut self) {
        for (message, cell) in self.types.messages.iter().zip(self.cells) {
            let node = Node::new(self.shape(message, message.atomic));
            cell.get_or_init(|| node);
        }
    }

    fn shape(&mut self, message: &Message, atomic: bool) -> Shape {
        let mut fields = Vec::with_capacity(message.fields.len() + 2);
        if message.object {
            for name in ["kind", "apiVersion"] {
                let node = self.element(Element::String);
                let patch = PatchStrategy::default();
                fields.push(Field { name: name.into(), node, required: false, patch, default: None });
            }
        }
        self.push(message, &mut fields);
        fields.shrink_to_fit();
        Shape::Struct { fields, atomic, preserve_unknown: false }
    }

    fn push(&mut self, message: &Message, fields: &mut Vec<Field>) {
        for row in &message.fields {
            match row.kind.of {
                Element::Message(at) if row.json.is_empty() => {
                    let types = self.types;
                    self.push(&types.messages[at], fields);
                }
                _ => {
                    let field = self.field(row);
                    fields.push(field);
                }
            }
        }
    }

    fn field(&mut self, row: &Row) -> Field {
        let Merge { merge, retain_keys, merge_key, .. } = row.merge;
        Field {
            name: row.json.into(),
            node: self.node(row),
            required: row.required,
            patch: PatchStrategy { merge, retain_keys, merge_key: merge_key.map(Into::into) },
            default: row.default.clone(),
        }
    }

    fn node(&mut self, row: &Row) -> Ref {
        if let (Many::One, Element::Message(at), Some(atomic)) =
            (row.kind.many, row.kind.of, row.merge.atomic)
        {
            // The field overrules its type.
            let types = self.types;
            return Node::new(self.shape(&types.messages[at], atomic)).into();
        }
        if row.kind.many == Many::One {
            return self.element(row.kind.of);
        }
        let atomic = row.merge.atomic == Some(true);
        let likeness = (row.kind, row.merge.set, atomic, row.merge.keys);
        if let Some(node) = self.shared.get(&likeness) {
            return node.clone();
        }
        let inner = self.element(row.kind.of);
        let shape = if row.kind.many == Many::Map {
            Shape::Map { values: inner, atomic }
        } else {
            let list_type = match row.merge.keys {
                Some(keys) => ListType::Map(keys.split(',').map(Into::into).collect()),
                None if row.merge.set => ListType::Set,
                None => ListType::Atomic,
            };
            Shape::List { items: inner, list_type }
        };
        let node = Ref::from(Node::new(shape));
        self.shared.insert(likeness, node.clone());
        node
    }

    fn element(&mut self, element: Element) -> Ref {
        let shape = match element {
            Element::Message(at) => return Ref::Builtin(&self.cells[at]),
            Element::String | Element::Bytes | Element::Time | Element::MicroTime => Shape::String,
            Element::Bool => Shape::Boolean,
            Element::Int32 | Element::Int64 => Shape::Integer,
            Element::Double => Shape::Number,
            Element::Quantity | Element::IntOrString => Shape::IntOrString,
            Element::Strings => {
                Shape::List { items: self.element(Element::String), list_type: ListType::Atomic }
            }
            Element::Raw
            | Element::Json
            | Element::Fields
            | Element::PropsOrArray
            | Element::PropsOrBool
            | Element::PropsOrStrings => Shape::Any,
        };
        let likeness = (Kind { many: Many::One, of: element }, false, false, None);
        let node = || Ref::Inline(Arc::new(Node::new(shape)));
        self.shared.entry(likeness).or_insert_with(node).clone()
    }
}
