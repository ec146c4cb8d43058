//! The shape of objects: one model for built-in kinds and for custom resources.
//!
//! Patches, server-side apply, validation, pruning, the protobuf transcoder and OpenAPI all walk the same [`Node`]s, so a
//! kind behaves the same whether its schema came from the built-in table or from a CustomResourceDefinition.

use std::sync::Arc;

use crate::structural::Structural;

/// How two values of a list are merged (`x-kubernetes-list-type`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value: an applier owns all of it.
    Atomic,
    /// Scalars with no duplicates, each owned on its own.
    Set,
    /// Objects told apart by the values of these fields (`x-kubernetes-list-map-keys`).
    Map(Vec<Box<str>>),
}

/// How a list or object is merged by a strategic merge patch (`x-kubernetes-patch-strategy`, `-merge-key`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// `merge`: elements are merged rather than the list being replaced.
    pub merge: bool,
    /// `retainKeys`: keys that the patch does not list are cleared.
    pub retain_keys: bool,
    /// The field that tells objects of a merged list apart; absent for lists of scalars.
    pub merge_key: Option<Box<str>>,
}

/// What a value may be.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Anything at all: no schema is known below this point.
    Any,
    /// A JSON string.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A whole number or a string (`x-kubernetes-int-or-string`; also resource quantities).
    IntOrString,
    /// A list of `items`.
    List {
        /// The schema of each element.
        items: Ref,
        /// How apply merges it.
        list_type: ListType,
    },
    /// An object whose keys are data (`additionalProperties`).
    Map {
        /// The schema of each value.
        values: Ref,
        /// `x-kubernetes-map-type: atomic`.
        atomic: bool,
    },
    /// An object with named fields.
    Struct {
        /// The fields in the order of declaration.
        fields: Vec<Field>,
        /// `x-kubernetes-map-type: atomic`.
        atomic: bool,
        /// Unknown fields are kept (`x-kubernetes-preserve-unknown-fields`).
        preserve_unknown: bool,
    },
}

/// One schema node.
#[derive(Debug, Clone)]
pub struct Node {
    /// What the value may be.
    pub shape: Shape,
    /// An explicit `null` is a value of its own.
    pub nullable: bool,
}

/// A named field of a [`Shape::Struct`].
#[derive(Debug, Clone)]
pub struct Field {
    /// The JSON name.
    pub name: Box<str>,
    /// The schema of the value.
    pub node: Ref,
    /// The field must be there.
    pub required: bool,
    /// How a strategic merge patch treats the field.
    pub patch: PatchStrategy,
    /// The value where none is given; server-side apply completes the keys of list elements with it.
    pub default: Option<serde_json::Value>,
}

/// A node held here, or a built-in type told by its place in the table (so that recursive types need no cycle).
#[derive(Debug, Clone)]
pub enum Ref {
    /// A node of a custom resource or an anonymous node of a built-in type.
    Inline(Arc<Node>),
    /// A named built-in type.
    Builtin(&'static std::sync::OnceLock<Node>),
    /// The whole object of a custom resource.
    Custom(Arc<Structural>),
}

/// The node that says nothing.
static ANY: Node = Node { shape: Shape::Any, nullable: true };

impl Ref {
    /// The node that this refers to; a built-in type that was never filled says nothing ([`Shape::Any`]).
    pub fn node(&self) -> &Node {
        match self {
            Self::Inline(node) => node,
            Self::Builtin(cell) => cell.get().unwrap_or(&ANY),
            Self::Custom(structural) => structural.node(),
        }
    }
}

impl From<Node> for Ref {
    fn from(node: Node) -> Self {
        Self::Inline(Arc::new(node))
    }
}

impl Node {
    /// A node of this shape that takes no `null`.
    pub fn new(shape: Shape) -> Self {
        Self { shape, nullable: false }
    }

    /// The field of this name, where the node is a struct that has it.
    pub fn field(&self, name: &str) -> Option<&Field> {
        match &self.shape {
            Shape::Struct { fields, .. } => fields.iter().find(|field| &*field.name == name),
            _ => None,
        }
    }
}
