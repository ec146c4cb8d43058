//! The merge model of a structural schema.

use std::sync::{Arc, LazyLock};

use super::{Additional, Schema, Type};
use crate::schema::{Field, ListType, Node, PatchStrategy, Ref, Shape};

/// The merge model of `schema`; a `whole` object has the metadata that every kind has.
pub(super) fn node(schema: &Schema, whole: bool) -> Node {
    let shape = match schema.schema_type {
        None if schema.int_or_string => Shape::IntOrString,
        None => Shape::Any,
        Some(Type::String) => Shape::String,
        Some(Type::Integer) => Shape::Integer,
        Some(Type::Number) => Shape::Number,
        Some(Type::Boolean) => Shape::Boolean,
        Some(Type::Array) => Shape::List {
            items: schema.items.as_ref().map_or_else(any, |items| node(items, false).into()),
            list_type: schema.list_type.clone().unwrap_or(ListType::Atomic),
        },
        Some(Type::Object) => object(schema, whole || schema.embedded),
    };
    Node { shape, nullable: schema.nullable }
}

fn any() -> Ref {
    Node { shape: Shape::Any, nullable: true }.into()
}

fn object(schema: &Schema, whole: bool) -> Shape {
    match &schema.additional {
        Additional::Schema(values) => {
            return Shape::Map { values: node(values, false).into(), atomic: schema.atomic };
        }
        Additional::Any => return Shape::Map { values: any(), atomic: schema.atomic },
        Additional::None => {}
    }
    let mut fields = Vec::new();
    if whole {
        fields.push(field("apiVersion", Node::new(Shape::String).into()));
        fields.push(field("kind", Node::new(Shape::String).into()));
        fields.push(field("metadata", Ref::Inline(Arc::clone(object_meta()))));
    }
    for (name, inner) in &schema.properties {
        if whole && matches!(&**name, "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let mut known = field(name, node(inner, false).into());
        known.required = schema.checks.required.contains(name);
        known.default = inner.default.clone();
        fields.push(known);
    }
    Shape::Struct { fields, atomic: schema.atomic, preserve_unknown: schema.preserve_unknown }
}

fn field(name: &str, node: Ref) -> Field {
    Field { name: name.into(), node, required: false, patch: PatchStrategy::default(), default: None }
}

/// The metadata of every object that is not built in.
pub fn object_meta() -> &'static Arc<Node> {
    static META: LazyLock<Arc<Node>> = LazyLock::new(|| {
        let text = || Ref::from(Node::new(Shape::String));
        let number = || Ref::from(Node::new(Shape::Integer));
        let flag = || Ref::from(Node::new(Shape::Boolean));
        let texts = || Ref::from(Node::new(Shape::Map { values: text(), atomic: false }));
        let record = |fields: Vec<Field>, atomic| {
            Ref::from(Node::new(Shape::Struct { fields, atomic, preserve_unknown: false }))
        };
        let list = |items, list_type| Ref::from(Node::new(Shape::List { items, list_type }));
        let owner = record(
            vec![
                field("apiVersion", text()),
                field("blockOwnerDeletion", flag()),
                field("controller", flag()),
                field("kind", text()),
                field("name", text()),
                field("uid", text()),
            ],
            true,
        );
        let manager = record(
            vec![
                field("apiVersion", text()),
                field("fieldsType", text()),
                field("fieldsV1", Node { shape: Shape::Any, nullable: true }.into()),
                field("manager", text()),
                field("operation", text()),
                field("subresource", text()),
                field("time", text()),
            ],
            false,
        );
        let mut finalizers = field("finalizers", list(text(), ListType::Set));
        finalizers.patch.merge = true;
        let mut owners = field("ownerReferences", list(owner, ListType::Map(vec!["uid".into()])));
        owners.patch = PatchStrategy { merge: true, retain_keys: false, merge_key: Some("uid".into()) };
        let fields = vec![
            field("annotations", texts()),
            field("creationTimestamp", Node { shape: Shape::String, nullable: true }.into()),
            field("deletionGracePeriodSeconds", number()),
            field("deletionTimestamp", Node { shape: Shape::String, nullable: true }.into()),
            finalizers,
            field("generateName", text()),
            field("generation", number()),
            field("labels", texts()),
            field("managedFields", list(manager, ListType::Atomic)),
            field("name", text()),
            field("namespace", text()),
            owners,
            field("resourceVersion", text()),
            field("selfLink", text()),
            field("uid", text()),
        ];
        Arc::new(Node::new(Shape::Struct { fields, atomic: false, preserve_unknown: false }))
    });
    &META
}
