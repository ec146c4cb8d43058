//! The table of built-in types, read once: what the transcoder and the nodes are made from.

use std::collections::HashMap;

use serde_json::Value;

/// The table; the head of `tables/generate.py` says what its lines mean.
const TABLE: &str = include_str!("types.tbl");

/// Every built-in type.
#[derive(Debug, Default)]
pub(crate) struct Types {
    pub(crate) packages: Vec<Package>,
    pub(crate) messages: Vec<Message>,
    /// The place of the schemas of custom resources, which their unions speak of.
    pub(crate) schema_props: usize,
    by_name: HashMap<(usize, &'static str), usize>,
}

/// One Go package: one version of one API group.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) alias: &'static str,
    /// What stands before the names of its types in OpenAPI.
    pub(crate) prefix: &'static str,
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
}

/// One named type.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// The place of its package.
    pub(crate) package: usize,
    /// It has `apiVersion` and `kind`.
    pub(crate) object: bool,
    /// Apply takes it as one value.
    pub(crate) atomic: bool,
    pub(crate) fields: Vec<Row>,
}

/// One field of a message.
#[derive(Debug)]
pub(crate) struct Row {
    /// The JSON name; empty where the fields of the message stand in the parent's JSON object.
    pub(crate) json: &'static str,
    /// The protobuf number.
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    /// A pointer in Go: absent and zero are two things.
    pub(crate) pointer: bool,
    /// Go leaves the empty value out of its JSON.
    pub(crate) omit_empty: bool,
    /// Go leaves the zero struct out of its JSON.
    pub(crate) omit_zero: bool,
    pub(crate) merge: Merge,
    pub(crate) default: Option<Value>,
}

/// How patches and apply merge a field.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    pub(crate) merge: bool,
    pub(crate) retain_keys: bool,
    pub(crate) merge_key: Option<&'static str>,
    pub(crate) set: bool,
    /// The keys of a list of `listType: map`, with commas between.
    pub(crate) keys: Option<&'static str>,
    /// Whether the field says for itself that its map or struct is one value, or is not.
    pub(crate) atomic: Option<bool>,
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) many: Many,
    pub(crate) of: Element,
}

/// How many values a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Many {
    One,
    List,
    Map,
}

/// The type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Element {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    Bytes,
    Quantity,
    IntOrString,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Any object, nested as JSON (`runtime.RawExtension`).
    Raw,
    /// Any JSON value of a CustomResourceDefinition's schema.
    Json,
    /// The field set of a manager, which is JSON text on the wire.
    Fields,
    /// A list of strings that is a message of its own.
    Strings,
    PropsOrArray,
    PropsOrBool,
    PropsOrStrings,
    /// The message at this place.
    Message(usize),
}

impl Element {
    fn special(word: &str) -> Option<Self> {
        Some(match word {
            "string" => Self::String,
            "bool" => Self::Bool,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "double" => Self::Double,
            "bytes" => Self::Bytes,
            "quantity" => Self::Quantity,
            "int-or-string" => Self::IntOrString,
            "time" => Self::Time,
            "micro-time" => Self::MicroTime,
            "raw" => Self::Raw,
            "json" => Self::Json,
            "fields" => Self::Fields,
            "strings" => Self::Strings,
            "props-or-array" => Self::PropsOrArray,
            "props-or-bool" => Self::PropsOrBool,
            "props-or-strings" => Self::PropsOrStrings,
            _ => return None,
        })
    }
}

impl Types {
    /// Reads the table; an error names the line that it does not understand.
    pub(super) fn read() -> Result<Self, String> {
        let mut types = Self::default();
        types.name_all()?;
        let props = types.qualified("apiextensions.JSONSchemaProps");
        types.schema_props = props.ok_or("no apiextensions.JSONSchemaProps")?;
        let (mut next, mut current) = (0, None);
        for (number, line) in TABLE.lines().enumerate() {
            let mut words = line.splitn(3, ' ');
            match words.next() {
                None | Some("" | "#" | "@package") => {}
                Some("@struct" | "@object") => {
                    current = Some(next);
                    next += 1;
                }
                Some(_) => {
                    let row = current
                        .ok_or("a field before any struct".to_owned())
                        .and_then(|at| types.row(line, types.messages[at].package))
                        .map_err(|why| format!("types.tbl, line {}: {why}", number + 1))?;
                    if let Some(message) = current.and_then(|at| types.messages.get_mut(at)) {
                        message.fields.push(row);
                    }
                }
            }
        }
        Ok(types)
    }

    /// The packages and the names of all messages, so that fields may speak of messages below them.
    fn name_all(&mut self) -> Result<(), String> {
        for line in TABLE.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["@package", alias, prefix, group, version] => self.packages.push(Package {
                    alias,
                    prefix,
                    group: if *group == "-" { "" } else { group },
                    version,
                }),
                [word @ ("@struct" | "@object"), name, rest @ ..] => {
                    let package = self.packages.len().checked_sub(1).ok_or("a struct before any package")?;
                    self.by_name.insert((package, name), self.messages.len());
                    self.messages.push(Message {
                        name,
                        package,
                        object: *word == "@object",
                        atomic: *rest == ["atomic"],
                        fields: Vec::new(),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn row(&self, line: &'static str, package: usize) -> Result<Row, String> {
        let (facts, default) = match line.split_once(" default=") {
            Some((facts, text)) => {
                (facts, Some(serde_json::from_str(text).map_err(|why| format!("{text}: {why}"))?))
            }
            None => (line, None),
        };
        let mut words = facts.split(' ');
        let (Some(json), Some(number), Some(kind)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("{line:?} has no name, number and type"));
        };
        let number = number.parse().map_err(|why| format!("{number:?}: {why}"))?;
        let mut row = Row {
            json: if json == "+" { "" } else { json },
            number,
            kind: self.kind(kind, package).ok_or_else(|| format!("{kind:?} is no type"))?,
            required: false,
            pointer: false,
            omit_empty: false,
            omit_zero: false,
            merge: Merge::default(),
            default,
        };
        for word in words {
            row.attribute(word)?;
        }
        Ok(row)
    }

    fn kind(&self, word: &str, package: usize) -> Option<Kind> {
        let (many, word) = match (word.strip_prefix("[]"), word.strip_prefix("{}")) {
            (Some(word), _) => (Many::List, word),
            (_, Some(word)) => (Many::Map, word),
            _ => (Many::One, word),
        };
        let of = Element::special(word).or_else(|| {
            let (package, name) = match word.split_once('.') {
                Some((alias, name)) => (self.packages.iter().position(|p| p.alias == alias)?, name),
                None => (package, word),
            };
            self.by_name.get(&(package, name)).copied().map(Element::Message)
        })?;
        Some(Kind { many, of })
    }

    /// The place of the message of this name in the package at this place.
    pub(super) fn place(&self, package: usize, name: &str) -> Option<usize> {
        self.by_name.get(&(package, name)).copied()
    }

    /// The place of the type of this name in the table's own writing, such as `core.Pod`.
    pub(crate) fn qualified(&self, name: &str) -> Option<usize> {
        let (alias, name) = name.split_once('.')?;
        self.place(self.packages.iter().position(|p| p.alias == alias)?, name)
    }

    /// The place of the metadata that every object has.
    pub(crate) fn object_meta(&self) -> Option<usize> {
        self.qualified("meta.ObjectMeta")
    }

    /// The field of this JSON name, be it in a message that stands within.
    pub(crate) fn field(&self, at: usize, name: &str) -> Option<&Row> {
        self.messages[at].fields.iter().find_map(|row| match row.kind.of {
            Element::Message(inner) if row.json.is_empty() => self.field(inner, name),
            _ => (row.json == name).then_some(row),
        })
    }

    /// The place of the object that requests of a group and version call `kind`. Every group has the kinds of `meta/v1`,
    /// such as `DeleteOptions`.
    pub(crate) fn object(&self, group: &str, version: &str, kind: &str) -> Option<usize> {
        let own = self.packages.iter().position(|p| p.group == group && p.version == version)?;
        let meta = self.packages.iter().position(|p| p.alias == "meta")?;
        [own, meta]
            .iter()
            .filter_map(|package| self.place(*package, kind))
            .find(|at| self.messages[*at].object)
    }
}

impl Row {
    fn attribute(&mut self, word: &'static str) -> Result<(), String> {
        if let Some(flags) = word.strip_prefix('-') {
            self.required = flags.contains('r');
            self.pointer = flags.contains('p');
            self.omit_empty = flags.contains('o');
            self.omit_zero = flags.contains('z');
            return Ok(());
        }
        match word.split_once('=') {
            Some(("merge", key)) => (self.merge.merge, self.merge.merge_key) = (true, Some(key)),
            Some(("keys", keys)) => self.merge.keys = Some(keys),
            None if word == "merge" => self.merge.merge = true,
            None if word == "retain" => self.merge.retain_keys = true,
            None if word == "set" => self.merge.set = true,
            None if word == "atomic" => self.merge.atomic = Some(true),
            None if word == "granular" => self.merge.atomic = Some(false),
            _ => return Err(format!("{word:?} is no attribute")),
        }
        Ok(())
    }
}
