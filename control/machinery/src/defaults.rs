//! What the API fills in where a client said nothing.
//!
//! Most of it is a table by type (`defaults.tbl`); a few rules look at more than one field and are code. Types are walked
//! parent first, as upstream does, so that what a parent says reaches the children it makes.

mod image;
mod rules;

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::builtin;
use crate::builtin::types::{Element, Kind, Many, Message, Row, Types};
use crate::canonical;
use crate::quantity::Quantity;
use rules::Rule;

const TABLE: &str = include_str!("defaults/defaults.tbl");

/// Brings an object of a built-in kind into its canonical form (see [`crate::canonical`]) and fills in what upstream
/// fills in. An object of another kind stays as it is.
///
/// ```
/// # use serde_json::json;
/// let mut pod = json!({"spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]}});
/// xebec_machinery::defaults::apply("", "v1", "Pod", &mut pod);
/// assert_eq!(pod["spec"]["restartPolicy"], "Always");
/// assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
/// ```
pub fn apply(group: &str, version: &str, kind: &str, object: &mut Value) {
    let bare = if (group, kind) == ("autoscaling", "HorizontalPodAutoscaler") {
        bare_ways(object)
    } else {
        [false; 2]
    };
    canonical::apply(group, version, kind, object);
    let types = builtin::types();
    if let (Some(at), Value::Object(map)) = (types.object(group, version, kind), &mut *object) {
        Walk { types, defaults: defaults() }.message(at, map);
    }
    for (way, _) in WAYS.iter().zip(bare).filter(|(_, bare)| *bare) {
        if let Some(policies) = object.pointer_mut(way) {
            *policies = Value::Array(Vec::new());
        }
    }
}

/// Where an autoscaler says how fast it grows and shrinks.
const WAYS: [&str; 2] = ["/spec/behavior/scaleUp/policies", "/spec/behavior/scaleDown/policies"];

/// Which of these are said to be none at all, for validation to refuse.
fn bare_ways(object: &Value) -> [bool; 2] {
    WAYS.map(|way| object.pointer(way).and_then(Value::as_array).is_some_and(Vec::is_empty))
}

/// What is filled in for one type.
#[derive(Default)]
struct Defaults {
    lines: Vec<Line>,
    rule: Option<Rule>,
}

/// One line of the table.
struct Line {
    path: Vec<&'static str>,
    /// The field at the end of the path is a pointer in Go, so that its zero value was said.
    pointer: bool,
    value: Value,
    condition: Option<(&'static str, Value)>,
}

fn defaults() -> &'static HashMap<usize, Defaults> {
    static DEFAULTS: OnceLock<HashMap<usize, Defaults>> = OnceLock::new();
    DEFAULTS
        .get_or_init(|| read(builtin::types()).expect("the committed defaults are sound, as the tests show"))
}

fn read(types: &Types) -> Result<HashMap<usize, Defaults>, String> {
    let mut defaults: HashMap<usize, Defaults> = HashMap::new();
    for (number, text) in TABLE.lines().enumerate() {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (at, line) =
            line(types, text).map_err(|why| format!("defaults.tbl, line {}: {text}: {why}", number + 1))?;
        defaults.entry(at).or_default().lines.push(line);
    }
    for (name, rule) in rules::RULES {
        let at = types.qualified(name).ok_or_else(|| format!("{name} is no type"))?;
        defaults.entry(at).or_default().rule = Some(*rule);
    }
    Ok(defaults)
}

fn line(types: &Types, text: &'static str) -> Result<(usize, Line), String> {
    let (fact, condition) = match text.split_once(" if ") {
        Some((fact, condition)) => {
            let (field, value) = condition.split_once('=').ok_or("the condition has no `=`")?;
            (fact, Some((field, serde_json::from_str(value).map_err(|why| why.to_string())?)))
        }
        None => (text, None),
    };
    let mut words = fact.splitn(3, ' ');
    let (Some(name), Some(path), Some(value)) = (words.next(), words.next(), words.next()) else {
        return Err("no type, path and value".into());
    };
    let at = types.qualified(name).ok_or("no such type")?;
    let path: Vec<&str> = path.split('.').collect();
    let (mut within, mut pointer) = (at, false);
    for (index, step) in path.iter().enumerate() {
        let row = types.field(within, step).ok_or_else(|| format!("{step} is no field"))?;
        pointer = row.pointer;
        match row.kind {
            Kind { many: Many::One, of: Element::Message(inner) } => within = inner,
            _ if index + 1 < path.len() => return Err(format!("{step} is no struct")),
            _ => {}
        }
    }
    if let Some((field, _)) = condition {
        types.field(at, field).ok_or_else(|| format!("{field} is no field"))?;
    }
    let value = serde_json::from_str(value).map_err(|why| why.to_string())?;
    Ok((at, Line { path, pointer, value, condition }))
}

/// Whether nothing was said about a field.
fn unset(value: Option<&Value>, pointer: bool) -> bool {
    value.is_none_or(|value| if pointer { value.is_null() } else { canonical::is_zero(value) })
}

impl Line {
    fn apply(&self, map: &mut Map<String, Value>) {
        if let Some((field, value)) = &self.condition {
            let found = map.get(*field).unwrap_or(&Value::Null);
            let wanted = if canonical::is_zero(value) { canonical::is_zero(found) } else { found == value };
            if !wanted {
                return;
            }
        }
        let Some((last, way)) = self.path.split_last() else { return };
        let mut within = map;
        for step in way {
            let inner = within.entry(*step).or_insert(Value::Null);
            if inner.is_null() {
                *inner = Value::Object(Map::new());
            }
            match inner {
                Value::Object(inner) => within = inner,
                _ => return,
            }
        }
        if unset(within.get(*last), self.pointer) {
            within.insert((*last).to_owned(), self.value.clone());
        }
    }
}

struct Walk {
    types: &'static Types,
    defaults: &'static HashMap<usize, Defaults>,
}

impl Walk {
    fn message(&self, at: usize, map: &mut Map<String, Value>) {
        if let Some(defaults) = self.defaults.get(&at) {
            for line in &defaults.lines {
                line.apply(map);
            }
            if let Some(rule) = defaults.rule {
                rule(map);
            }
        }
        let message: &Message = &self.types.messages[at];
        for row in &message.fields {
            if let (Some(default), true) = (&row.default, unset(map.get(row.json), row.pointer))
                && !(row.omit_empty && !row.pointer && canonical::is_zero(default))
            {
                map.insert(row.json.to_owned(), default.clone());
            }
            match row.kind.of {
                Element::Message(inner) if row.json.is_empty() => self.message(inner, map),
                _ => self.children(row, map),
            }
        }
    }

    fn children(&self, row: &Row, map: &mut Map<String, Value>) {
        let Some(value) = map.get_mut(row.json) else { return };
        match (row.kind, value) {
            (Kind { many: Many::One, of: Element::Message(at) }, Value::Object(inner)) => {
                self.message(at, inner)
            }
            (Kind { many: Many::List, of: Element::Message(at) }, Value::Array(list)) => {
                for inner in list.iter_mut().filter_map(Value::as_object_mut) {
                    self.message(at, inner);
                }
            }
            (Kind { many: Many::Map, of: Element::Message(at) }, Value::Object(entries)) => {
                for inner in entries.values_mut().filter_map(Value::as_object_mut) {
                    self.message(at, inner);
                }
            }
            (Kind { many: Many::Map, of: Element::Quantity }, Value::Object(amounts)) => {
                for amount in amounts.values_mut() {
                    if let Some(Ok(quantity)) = amount.as_str().map(Quantity::parse) {
                        *amount = quantity.in_thousandths().to_string().into();
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
