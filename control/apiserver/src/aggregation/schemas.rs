//! The OpenAPI documents of servers behind this one, as parts of this server's.
//!
//! Of version 3 a server's document stays where it is, and the root of this server's names it. Version 2 is one document for
//! everything: the paths of an extension and the definitions that they need are put into it, under another name where there
//! is another definition of the name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};
use xebec_machinery::openapi::fingerprint;

use super::Extension;
use crate::api::Api;

const POINTER: &str = "#/definitions/";
const KINDS: &str = "x-kubernetes-group-version-kind";
/// The most definitions and paths of one extension.
const MOST: usize = 10_000;

/// What is known of one extension's.
#[derive(Debug, Clone, Default)]
struct Spec {
    /// Where the document of version 3 is, within the server.
    v3: Option<Box<str>>,
    /// The part of the document of version 2, and what changes with it.
    v2: Option<(String, Arc<Value>)>,
}

/// What is known of all of them, by group and version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Specs(BTreeMap<(Box<str>, Box<str>), Spec>);

impl PartialEq for Specs {
    fn eq(&self, other: &Self) -> bool {
        let mark = |spec: &Spec| (spec.v3.clone(), spec.v2.as_ref().map(|(mark, _)| mark.clone()));
        self.0.len() == other.0.len()
            && self.0.iter().all(|(key, own)| other.0.get(key).is_some_and(|other| mark(own) == mark(other)))
    }
}

impl Specs {
    /// Forgets those that are gone.
    pub(super) fn keep(&mut self, is_there: impl Fn(&str, &str) -> bool) {
        self.0.retain(|(group, version), _| is_there(group, version));
    }

    /// Whether there is nothing for the document of version 2.
    pub(crate) fn is_without_v2(&self) -> bool {
        self.0.values().all(|spec| spec.v2.is_none())
    }

    /// Puts them into the root of version 3.
    pub(crate) fn add_to_v3_root(&self, root: &mut Value) {
        let Some(paths) = root.get_mut("paths").and_then(Value::as_object_mut) else { return };
        for ((group, version), spec) in &self.0 {
            if let Some(url) = &spec.v3 {
                paths.insert(place(group, version), json!({"serverRelativeURL": url}));
            }
        }
    }

    /// Puts them into the document of version 2.
    pub(crate) fn add_to_v2(&self, document: &mut Value) {
        for (_, part) in self.0.values().filter_map(|spec| spec.v2.as_ref()) {
            merge(document, part);
        }
    }
}

/// The key of a version of a group in the root of version 3.
fn place(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

impl Api {
    /// Asks a server for its documents. What it does not have is left out.
    pub(super) async fn ask_for_specs(&self, extension: &Extension, address: &str, specs: &mut Specs) {
        let key = (extension.group.clone(), extension.version.clone());
        let place = place(&extension.group, &extension.version);
        let mut spec = specs.0.get(&key).cloned().unwrap_or_default();
        match self.question(extension, address, "/openapi/v3", "application/json").await {
            Ok(answer) if answer.code == StatusCode::OK => {
                let url = answer.json().ok().and_then(|root| url_of(&root, &place));
                spec.v3 = url.map(Into::into);
            }
            Ok(_) => spec.v3 = None,
            Err(why) => tracing::debug!(api_service = %extension.name, why, "there is no OpenAPI document"),
        }
        match self.question(extension, address, "/openapi/v2", "application/json").await {
            Ok(answer) if answer.code == StatusCode::OK => {
                let root = extension.root();
                // Some hundred milliseconds for the largest.
                let read = || {
                    let part = extract(answer.json()?, &root)?;
                    Ok((fingerprint(part.to_string().as_bytes()), Arc::new(part)))
                };
                match self.labour().done(answer.size(), read).await {
                    Ok(part) => spec.v2 = Some(part),
                    Err::<_, String>(why) => {
                        tracing::warn!(api_service = %extension.name, why, "an OpenAPI document is refused");
                        spec.v2 = None;
                    }
                }
            }
            Ok(_) => spec.v2 = None,
            Err(why) => tracing::debug!(api_service = %extension.name, why, "there is no OpenAPI document"),
        }
        specs.0.insert(key, spec);
    }
}

/// Where a server says that the document of one version of a group is: at its own place, under some hash.
fn url_of(root: &Value, place: &str) -> Option<String> {
    let url = root.get("paths")?.get(place)?.get("serverRelativeURL")?.as_str()?;
    let hash = url.strip_prefix("/openapi/v3/")?.strip_prefix(place)?.strip_prefix("?hash=")?;
    let plain = hash.len() <= 256 && hash.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| url.to_owned())
}

/// Every definition that a value points to.
fn pointers<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                match inner.as_str().and_then(|text| text.strip_prefix(POINTER)) {
                    Some(name) if key == "$ref" => drop(found.insert(name)),
                    _ => pointers(inner, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| pointers(item, found)),
        _ => {}
    }
}

/// The paths of a version of a group, and the definitions that they need. The depth of the document was limited when it
/// was read.
fn extract(mut document: Value, root: &str) -> Result<Value, String> {
    let mut take = |key: &str| match document.get_mut(key).map(Value::take) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (mut paths, mut definitions) = (take("paths"), take("definitions"));
    let is_own =
        |path: &String| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    paths.retain(|path, item| is_own(path) && item.is_object());
    if paths.len() > MOST {
        return Err(format!("it has more than {MOST} paths"));
    }
    let mut needed = BTreeSet::new();
    let mut next: BTreeSet<&str> = BTreeSet::new();
    paths.values().for_each(|item| pointers(item, &mut next));
    while !next.is_empty() {
        let mut further = BTreeSet::new();
        for name in std::mem::take(&mut next) {
            let Some(definition) = definitions.get(name).filter(|one| one.is_object()) else {
                return Err(format!("it has no definition {name:?}"));
            };
            if needed.insert(name.to_owned()) {
                pointers(definition, &mut further);
            }
        }
        if needed.len() > MOST {
            return Err(format!("it has more than {MOST} definitions"));
        }
        next = further;
    }
    definitions.retain(|name, _| needed.contains(name));
    Ok(json!({"paths": paths, "definitions": definitions}))
}

/// Whether two definitions mean the same; of which kinds they are is another matter.
fn same(left: &Value, right: &Value) -> bool {
    let (Some(left), Some(right)) = (left.as_object(), right.as_object()) else { return left == right };
    let counts = |fields: &Map<String, Value>| fields.keys().filter(|key| *key != KINDS).count();
    counts(left) == counts(right)
        && left.iter().filter(|(key, _)| *key != KINDS).all(|(key, value)| right.get(key) == Some(value))
}

/// Puts a part into a document.
fn merge(document: &mut Value, part: &Value) {
    let none = Map::new();
    let section = |of: &'static str| part.get(of).and_then(Value::as_object);
    let (paths, definitions) = (section("paths").unwrap_or(&none), section("definitions").unwrap_or(&none));
    let names = renamed(document, definitions);
    for (name, definition) in definitions {
        let own = names.get(name.as_str()).unwrap_or(name);
        let definition = pointing(definition, &names);
        let all = section_of(document, "definitions");
        match all.get_mut(own) {
            Some(there) => add_kinds(there, &definition),
            None => drop(all.insert(own.clone(), definition)),
        }
    }
    for (path, item) in paths {
        section_of(document, "paths").entry(path.clone()).or_insert_with(|| pointing(item, &names));
    }
}

fn section_of<'a>(document: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    crate::object::section_mut(document, key)
}

/// The definitions that need another name: those that are not what is there under theirs, and those that point to one.
fn renamed<'a>(document: &Value, definitions: &'a Map<String, Value>) -> BTreeMap<&'a str, String> {
    let there = |name: &str| document.get("definitions").and_then(|all| all.get(name));
    let mut other: BTreeSet<&str> = BTreeSet::new();
    for (name, definition) in definitions {
        if there(name).is_some_and(|there| !same(there, definition)) {
            other.insert(name);
        }
    }
    loop {
        let before = other.len();
        for (name, definition) in definitions.iter().filter(|(name, _)| there(name).is_some()) {
            let mut pointed = BTreeSet::new();
            pointers(definition, &mut pointed);
            if pointed.iter().any(|name| other.contains(name)) {
                other.insert(name);
            }
        }
        if other.len() == before {
            break;
        }
    }
    let free = |name: &str| {
        let numbered = (2..).map(|number| format!("{name}_v{number}"));
        numbered.into_iter().find(|new| there(new).is_none() && !definitions.contains_key(new))
    };
    other.into_iter().filter_map(|name| Some((name, free(name)?))).collect()
}

/// A value that points to definitions by their new names.
fn pointing(value: &Value, names: &BTreeMap<&str, String>) -> Value {
    match value {
        Value::Object(fields) => {
            let one = |(key, inner): (&String, &Value)| {
                let name = inner.as_str().and_then(|text| text.strip_prefix(POINTER));
                let new = name.filter(|_| key == "$ref").and_then(|name| names.get(name));
                let inner =
                    new.map_or_else(|| pointing(inner, names), |new| format!("{POINTER}{new}").into());
                (key.clone(), inner)
            };
            Value::Object(fields.iter().map(one).collect())
        }
        Value::Array(items) => items.iter().map(|item| pointing(item, names)).collect(),
        other => other.clone(),
    }
}

/// A definition that two servers share is of the kinds of both.
fn add_kinds(there: &mut Value, more: &Value) {
    let Some(more) = more.get(KINDS).and_then(Value::as_array) else { return };
    let Some(fields) = there.as_object_mut() else { return };
    let kinds = fields.entry(KINDS).or_insert_with(|| json!([]));
    if let Some(kinds) = kinds.as_array_mut() {
        for kind in more {
            if !kinds.contains(kind) {
                kinds.push(kind.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
