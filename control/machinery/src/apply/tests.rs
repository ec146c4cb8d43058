use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;
use crate::sample;

mod books;
mod field_sets;
mod properties;
mod stories;

static VERSIONS: LazyLock<[String; 1]> = LazyLock::new(|| ["v1".to_owned()]);
static NOTHING: LazyLock<FieldSet> = LazyLock::new(FieldSet::default);
static STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["status"]]));

/// Requests of this manager, as the tests begin them.
fn by(manager: &str) -> Context<'_> {
    Context {
        api_version: "v1",
        kind: "Workload",
        node: sample::workload(),
        versions: &*VERSIONS,
        reset: &NOTHING,
        subresource: None,
        manager,
        now: "2026-01-01T00:00:00Z",
    }
}

/// A workload with this specification.
fn workload(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Workload", "metadata": {"name": "w"}, "spec": spec})
}

fn applied(live: Option<&Value>, manager: &str, spec: Value) -> Result<Value, Error> {
    let applied = workload(spec);
    let request = ApplyRequest { context: by(manager), live, applied: &applied, force: false };
    apply(&request).map(|applied| applied.object)
}

fn forced(live: &Value, manager: &str, spec: Value) -> Value {
    let applied = workload(spec);
    let request = ApplyRequest { context: by(manager), live: Some(live), applied: &applied, force: true };
    apply(&request).unwrap().object
}

fn updated(live: Option<&Value>, manager: &str, new: Value) -> Value {
    update(UpdateRequest { context: by(manager), live, new })
}

/// What each manager owns, as paths.
fn owners(object: &Value) -> BTreeMap<String, Vec<String>> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            let paths = FieldSet::from_value(&entry["fieldsV1"]).unwrap().paths();
            let mut paths: Vec<String> = paths.iter().map(|path| fields::path_text(path)).collect();
            paths.sort();
            (entry["manager"].as_str().unwrap().to_owned(), paths)
        })
        .collect()
}

fn owned_by(object: &Value, manager: &str) -> Vec<String> {
    owners(object).remove(manager).unwrap_or_default()
}
