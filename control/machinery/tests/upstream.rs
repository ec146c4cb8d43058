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
use xebec_machinery::apply::{ApplyRequest, Context, Error, FieldSet, UpdateRequest, apply, update};
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

/// Upstream stamps the time of day and sorts by it; we compare who owns what.
fn timeless(object: &Value) -> Value {
    let mut object = decoded(object);
    if let Some(Value::Array(entries)) = object.pointer_mut("/metadata/managedFields") {
        for entry in entries.iter_mut() {
            if let Some(time) = entry.get_mut("time") {
                *time = "now".into();
            }
        }
        entries.sort_by_key(ToString::to_string);
    }
    object
}

/// Where two values differ, so that nobody has to read them whole.
fn differ(ours: &Value, theirs: &Value, path: String, into: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or("absent".into());
                differ(&of(a), &of(b), format!("{path}/{name}"), into);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(a, b, format!("{path}/{index}"), into);
            }
        }
        _ if ours == theirs => {}
        _ => into.push(format!("{path}: ours {ours}, theirs {theirs}")),
    }
}

/// What happens to an object, with conflicts as upstream tells them.
fn written(step: &Value, node: &Node) -> Result<Value, Vec<String>> {
    let reset = if step["reset"] == true { FieldSet::of_fields(&[&["status"]]) } else { FieldSet::default() };
    let live = step.get("live").filter(|live| !live.is_null());
    let wanted = step.get("apply").or(step.get("update")).unwrap();
    let api_version = wanted["apiVersion"].as_str().unwrap();
    let context = Context {
        api_version,
        kind: kind(step),
        node,
        versions: &[api_version.to_owned()],
        reset: &reset,
        subresource: step["subresource"].as_str().filter(|name| !name.is_empty()),
        manager: step["manager"].as_str().unwrap(),
        now: "2026-01-01T00:00:00Z",
    };
    if step.get("update").is_some() {
        return Ok(update(UpdateRequest { context, live, new: wanted.clone() }));
    }
    match apply(&ApplyRequest { context, live, applied: wanted, force: step["force"] == true }) {
        Ok(applied) => Ok(applied.object),
        Err(error @ Error::Conflict(_)) => {
            let status = error.status().to_value();
            let text = |cause: &Value, name: &str| cause[name].as_str().unwrap().to_owned();
            let causes = status["details"]["causes"].as_array().unwrap().iter();
            let mut causes: Vec<_> =
                causes.map(|cause| format!("{}: {}", text(cause, "message"), text(cause, "field"))).collect();
            causes.sort();
            Err(causes)
        }
        Err(_) => Err(Vec::new()),
    }
}

#[test]
fn applies_and_updates_give_what_upstream_gives() {
    let Some(lines) = oracle() else {
        eprintln!("skipped applies_and_updates_give_what_upstream_gives: the Go oracle cannot be run");
        return;
    };
    let schemas = schemas(lines);
    let mut equal = 0;
    for step in lines.iter().filter(|line| line["case"] == "apply") {
        let result = written(step, &schemas[kind(step)]).map(|object| timeless(&object));
        let expected = match (step.get("expected"), step.get("conflicts")) {
            (Some(expected), _) => Ok(timeless(expected)),
            (_, Some(conflicts)) => {
                Err(conflicts.as_array().unwrap().iter().map(|text| text.as_str().unwrap().into()).collect())
            }
            _ => Err(Vec::new()),
        };
        if let (Ok(ours), Ok(theirs)) = (&result, &expected) {
            let mut differences = Vec::new();
            differ(ours, theirs, String::new(), &mut differences);
            assert!(differences.is_empty(), "{differences:#?}\n{step}");
        }
        assert_eq!(result, expected, "{step}");
        equal += 1;
    }
    assert!(equal >= 300, "{equal} cases only");
}
