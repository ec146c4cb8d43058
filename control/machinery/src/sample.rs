//! A kind for tests: a workload much like a Deployment, with every way of merging that a schema can ask for.

mod random;

pub(crate) use random::{any_value, object, operations};

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::decoding::STACK;
use crate::schema::{Field, ListType, Node, PatchStrategy, Shape};

/// Runs on a thread with half of the stack that values of the greatest depth need. What overflows it ends all tests.
pub(crate) fn on_a_deep_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(STACK / 2).spawn(test).unwrap().join().unwrap();
}

pub(crate) fn node(shape: Shape) -> Node {
    Node::new(shape)
}

pub(crate) fn structure(fields: Vec<Field>) -> Node {
    node(Shape::Struct { fields, atomic: false, preserve_unknown: false })
}

pub(crate) fn atomic(fields: Vec<Field>) -> Node {
    node(Shape::Struct { fields, atomic: true, preserve_unknown: false })
}

pub(crate) fn map(values: Node) -> Node {
    node(Shape::Map { values: values.into(), atomic: false })
}

pub(crate) fn list(items: Node, list_type: ListType) -> Node {
    node(Shape::List { items: items.into(), list_type })
}

pub(crate) fn list_map(items: Node, keys: &[&str]) -> Node {
    list(items, ListType::Map(keys.iter().map(|key| (*key).into()).collect()))
}

pub(crate) fn field(name: &str, node: Node) -> Field {
    Field {
        name: name.into(),
        node: node.into(),
        required: false,
        patch: PatchStrategy::default(),
        default: None,
    }
}

pub(crate) fn string(name: &str) -> Field {
    field(name, node(Shape::String))
}

pub(crate) fn integer(name: &str) -> Field {
    field(name, node(Shape::Integer))
}

pub(crate) fn merged(name: &str, node: Node, merge_key: Option<&str>) -> Field {
    let patch = PatchStrategy { merge: true, retain_keys: false, merge_key: merge_key.map(Into::into) };
    Field { patch, ..field(name, node) }
}

fn defaulted(field: Field, default: Value) -> Field {
    Field { default: Some(default), ..field }
}

/// The workload.
pub(crate) fn workload() -> &'static Node {
    static WORKLOAD: OnceLock<Node> = OnceLock::new();
    WORKLOAD.get_or_init(|| {
        let strings = || map(node(Shape::String));
        let metadata = structure(vec![
            string("name"),
            string("namespace"),
            string("uid"),
            string("resourceVersion"),
            integer("generation"),
            string("creationTimestamp"),
            field("labels", strings()),
            field("annotations", strings()),
            merged("finalizers", list(node(Shape::String), ListType::Set), None),
            field("managedFields", list(node(Shape::Any), ListType::Atomic)),
        ]);
        let port = structure(vec![
            integer("containerPort"),
            defaulted(string("protocol"), json!("TCP")),
            string("name"),
            integer("hostPort"),
        ]);
        let variable = structure(vec![
            string("name"),
            string("value"),
            field("valueFrom", structure(vec![field("fieldRef", atomic(vec![string("fieldPath")]))])),
        ]);
        let container = structure(vec![
            string("name"),
            string("image"),
            field("args", list(node(Shape::String), ListType::Atomic)),
            merged("env", list_map(variable, &["name"]), Some("name")),
            merged("ports", list_map(port, &["containerPort", "protocol"]), Some("containerPort")),
            field("limits", map(node(Shape::IntOrString))),
        ]);
        let strategy = structure(vec![
            string("type"),
            field("rollingUpdate", structure(vec![field("maxSurge", node(Shape::IntOrString))])),
        ]);
        let retain = PatchStrategy { retain_keys: true, ..PatchStrategy::default() };
        let spec = structure(vec![
            integer("replicas"),
            field("paused", node(Shape::Boolean)),
            field("selector", atomic(vec![field("matchLabels", strings())])),
            Field { patch: retain, ..field("strategy", strategy) },
            merged("containers", list_map(container, &["name"]), Some("name")),
            field("tolerations", list(structure(vec![string("key"), string("value")]), ListType::Atomic)),
            field("options", node(Shape::Map { values: node(Shape::String).into(), atomic: true })),
            field("template", node(Shape::Any)),
            field(
                "free",
                node(Shape::Struct { fields: vec![string("known")], atomic: false, preserve_unknown: true }),
            ),
        ]);
        let condition = structure(vec![string("type"), string("status"), string("message")]);
        let status = structure(vec![
            integer("replicas"),
            merged("conditions", list_map(condition, &["type"]), Some("type")),
        ]);
        structure(vec![
            string("apiVersion"),
            string("kind"),
            field("metadata", metadata),
            field("spec", spec),
            field("status", status),
        ])
    })
}
