//! The definitions of built-in types.

use crate::builtin::types::{Element, Many, Row, Types};

use super::Dialect;
use super::descriptions::{self, Said, Texts};
use super::json::Json;
use super::names::{self, SPECIAL, Type};

/// The types that a document needs: those that it names, and those that they lead to.
pub(super) struct Reach<'a> {
    types: &'a Types,
    messages: Vec<bool>,
    special: [bool; SPECIAL.len()],
}

impl<'a> Reach<'a> {
    pub(super) fn new(types: &'a Types) -> Self {
        Self { types, messages: vec![false; types.messages.len()], special: [false; SPECIAL.len()] }
    }

    /// Adds a message and what it leads to.
    pub(super) fn add(&mut self, at: usize) {
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut self.messages[at], true) {
                continue;
            }
            for row in &self.types.messages[at].fields {
                match row.kind.of {
                    Element::Message(next) => open.push(next),
                    element => self.mark(element),
                }
            }
        }
    }

    fn mark(&mut self, element: Element) {
        if let Some(at) = SPECIAL.iter().position(|special| *special == element) {
            self.special[at] = true;
        }
    }

    /// What was added, in the order of the table.
    pub(super) fn found(&self) -> impl Iterator<Item = Type> {
        let messages = self.messages.iter().enumerate().filter(|(_, found)| **found);
        let special = SPECIAL.iter().zip(self.special).filter(|(_, found)| *found);
        messages.map(|(at, _)| Type::Message(at)).chain(special.map(|(element, _)| Type::Special(*element)))
    }
}

/// Writes a type's definition.
pub(super) fn define(json: &mut Json<'_>, dialect: Dialect, types: &Types, texts: &mut Texts, kind: Type) {
    json.object(|json| match kind {
        Type::Message(at) => message(json, dialect, types, texts, at),
        Type::Special(element) => {
            describe(json, descriptions::of_special(element));
            special(json, dialect, element);
        }
    });
}

fn message(json: &mut Json<'_>, dialect: Dialect, types: &Types, texts: &mut Texts, at: usize) {
    let message = &types.messages[at];
    let said = texts.of(types, at);
    describe(json, said.whole());
    json.entry("type", "object");
    let rows = rows(types, at, said);
    let mut required = rows.iter().filter(|(row, _)| row.required).map(|(row, _)| row.json).peekable();
    if required.peek().is_some() {
        json.texts("required", required);
    }
    if message.object || !rows.is_empty() {
        json.within("properties", |json| {
            if message.object {
                for name in ["apiVersion", "kind"] {
                    json.within(name, |json| {
                        describe(json, descriptions::of_object(name));
                        json.entry("type", "string");
                    });
                }
            }
            for (row, said) in rows {
                let of_object = if message.object { descriptions::of_object(row.json) } else { None };
                json.within(row.json, |json| {
                    describe(json, of_object.or_else(|| said.field(row.json)));
                    property(json, dialect, row);
                });
            }
        });
    }
    if message.atomic {
        json.entry("x-kubernetes-map-type", "atomic");
    }
    if let Some(kind) = names::kind_of(types, at) {
        kinds(json, &[kind]);
    }
}

fn describe(json: &mut Json<'_>, description: Option<&str>) {
    description.into_iter().for_each(|text| json.entry("description", text));
}

/// The fields of a message and of those that stand within it without a name, each with what is said of its message.
fn rows(types: &Types, at: usize, said: Said) -> Vec<(&Row, Said)> {
    let mut rows = Vec::with_capacity(types.messages[at].fields.len());
    for row in &types.messages[at].fields {
        match row.kind.of {
            Element::Message(at) if row.json.is_empty() => {
                rows.extend(self::rows(types, at, Texts::default().of(types, at)));
            }
            _ => rows.push((row, said)),
        }
    }
    rows
}

/// `x-kubernetes-group-version-kind` of a definition.
pub(super) fn kinds(json: &mut Json<'_>, kinds: &[[&str; 3]]) {
    json.key("x-kubernetes-group-version-kind");
    json.list(|json| {
        for [group, version, kind] in kinds {
            json.object(|json| {
                json.entry("group", group);
                json.entry("kind", kind);
                json.entry("version", version);
            });
        }
    });
}

fn property(json: &mut Json<'_>, dialect: Dialect, row: &Row) {
    let merge = &row.merge;
    let element = row.kind.of;
    match row.kind.many {
        Many::One => one(json, dialect, element),
        Many::List => {
            json.entry("type", "array");
            json.within("items", |json| one(json, dialect, element));
            let list_type = match (merge.keys, merge.set) {
                (Some(_), _) => "map",
                (None, true) => "set",
                (None, false) => "atomic",
            };
            json.entry("x-kubernetes-list-type", list_type);
            if let Some(keys) = merge.keys {
                json.texts("x-kubernetes-list-map-keys", keys.split(','));
            }
        }
        Many::Map => {
            json.entry("type", "object");
            json.within("additionalProperties", |json| one(json, dialect, element));
        }
    }
    if let Some(atomic) = merge.atomic {
        json.entry("x-kubernetes-map-type", if atomic { "atomic" } else { "granular" });
    }
    let strategies = [(merge.merge, "merge"), (merge.retain_keys, "retainKeys")];
    let strategies: Vec<&str> = strategies.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
    if !strategies.is_empty() {
        json.entry("x-kubernetes-patch-strategy", &strategies.join(","));
    }
    if let Some(key) = merge.merge_key {
        json.entry("x-kubernetes-patch-merge-key", key);
    }
    if let Some(default) = &row.default {
        json.key("default");
        json.value(default);
    }
}

/// One value of a type, within an object that is open.
fn one(json: &mut Json<'_>, dialect: Dialect, element: Element) {
    let scalar = |json: &mut Json<'_>, kind: &str, format: &str| {
        json.entry("type", kind);
        if !format.is_empty() {
            json.entry("format", format);
        }
    };
    match element {
        Element::String => scalar(json, "string", ""),
        Element::Bool => scalar(json, "boolean", ""),
        Element::Int32 => scalar(json, "integer", "int32"),
        Element::Int64 => scalar(json, "integer", "int64"),
        Element::Double => scalar(json, "number", "double"),
        Element::Bytes => scalar(json, "string", "byte"),
        Element::Strings => {
            json.entry("type", "array");
            json.within("items", |json| json.entry("type", "string"));
        }
        Element::Message(at) => dialect.refer(json, &names::of(Type::Message(at))),
        special => dialect.refer(json, &names::of(Type::Special(special))),
    }
}

fn special(json: &mut Json<'_>, dialect: Dialect, element: Element) {
    let either = |json: &mut Json<'_>, kinds: [&str; 2]| {
        json.key("oneOf");
        json.list(|json| kinds.iter().for_each(|kind| json.object(|json| json.entry("type", kind))));
    };
    match (element, dialect) {
        // Version 2 has no alternatives.
        (Element::Quantity | Element::IntOrString, Dialect::V2) => json.entry("type", "string"),
        (Element::Quantity, Dialect::V3) => either(json, ["string", "number"]),
        (Element::IntOrString, Dialect::V3) => either(json, ["integer", "string"]),
        (Element::Time | Element::MicroTime, _) => json.entry("type", "string"),
        (Element::Fields | Element::Raw, _) => json.entry("type", "object"),
        // Anything at all.
        _ => {}
    }
    match element {
        Element::IntOrString => json.entry("format", "int-or-string"),
        Element::Time | Element::MicroTime => json.entry("format", "date-time"),
        _ => {}
    }
}
