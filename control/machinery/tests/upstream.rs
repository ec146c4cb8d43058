//! Kubernetes' own libraries as the oracle: `conformance/apply` makes random objects and patches and tells what upstream
//! makes of them; what this crate makes of them must be the same.
//!
//! The oracle is a Go program, so these tests are skipped, and say so, where `go` or its modules are not to be had. Flags of the
//! oracle can be given in `ORACLE_FLAGS`, such as `-seed 7 -strategic 5000`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in the functions beside it")]

use std::collections::HashMap;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Map, Value};
use xebec_machinery::patch;
use xebec_machinery::schema::{Field, ListType, Node, PatchStrategy, Shape};

/// What the oracle printed, a line a value; nothing where it cannot be run.
fn oracle() -> Option<&'static [Value]> {
    static LINES: OnceLock<Option<Vec<Value>>> = OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/apply");
        let output = Command::new("go")
            .args(["run", "."])
            .args(std::env::var("ORACLE_FLAGS").unwrap_or_default().split_whitespace())
            .current_dir(folder)
            .output()
            .ok()?;
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        let text = String::from_utf8(output.stdout).unwrap();
        Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    });
    lines.as_deref()
}

fn schemas(lines: &[Value]) -> HashMap<&str, Node> {
    let of_kind = |line| Some((kind(line), node(Value::get(line, "schema")?)));
    lines.iter().filter_map(of_kind).collect()
}

fn kind(line: &Value) -> &str {
    line["kind"].as_str().unwrap()
}

fn node(schema: &Value) -> Node {
    let of = || node(&schema["of"]).into();
    let atomic = schema["atomic"] == true;
    Node::new(match schema["type"].as_str().unwrap() {
        "string" | "time" => Shape::String,
        "integer" => Shape::Integer,
        "boolean" => Shape::Boolean,
        "intorstring" => Shape::IntOrString,
        "map" => Shape::Map { values: of(), atomic },
        "list" => Shape::List { items: of(), list_type: list_type(schema) },
        "struct" => {
            let fields = schema["fields"].as_array().unwrap().iter().map(field).collect();
            Shape::Struct { fields, atomic, preserve_unknown: false }
        }
        _ => Shape::Any,
    })
}

fn list_type(schema: &Value) -> ListType {
    match schema["list"].as_str().unwrap() {
        "set" => ListType::Set,
        "map" => {
            let keys = schema["keys"].as_array().unwrap();
            ListType::Map(keys.iter().map(|key| key.as_str().unwrap().into()).collect())
        }
        _ => ListType::Atomic,
    }
}

fn field(schema: &Value) -> Field {
    Field {
        name: schema["name"].as_str().unwrap().into(),
        node: node(&schema["node"]).into(),
        required: false,
        patch: PatchStrategy {
            merge: schema["merge"] == true,
            retain_keys: schema["retainKeys"] == true,
            merge_key: schema["mergeKey"].as_str().map(Into::into),
        },
        default: schema.get("default").cloned(),
    }
}

/// Upstream reads the patched object into a Go type, which leaves nulls and directives behind.
fn decoded(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(key, value)| !key.starts_with('$') && !value.is_null());
            Value::Object(fields.map(|(key, value)| (key.clone(), decoded(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(decoded).collect(),
        scalar => scalar.clone(),
    }
}

#[test]
fn strategic_merge_patches_give_what_upstream_gives() {
    let Some(lines) = oracle() else {
        eprintln!("skipped strategic_merge_patches_give_what_upstream_gives: the Go oracle cannot be run");
        return;
    };
    let schemas = schemas(lines);
    let mut equal = 0;
    for line in lines.iter().filter(|line| line["case"] == "strategic") {
        let result = patch::strategic(line["current"].clone(), line["patch"].clone(), &schemas[kind(line)]);
        match line.get("expected") {
            Some(expected) => {
                assert_eq!(result.as_ref().map(decoded), Ok(decoded(expected)), "{line}");
            }
            None => assert!(result.is_err(), "upstream refuses {line}"),
        }
        equal += 1;
    }
    assert!(equal >= 300, "{equal} cases only");
}
