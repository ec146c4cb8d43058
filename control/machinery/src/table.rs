//! Objects as tables (`meta.k8s.io` `Table`), as `kubectl get` shows them, and as their metadata alone.
//!
//! Built-in kinds have the columns of upstream; custom resources those of their definition, or name and age.

mod age;
mod cluster;
mod devices;
mod flow;
pub mod json_path;
mod kinds;
mod network;
mod pods;
mod storage;
mod text;
mod workloads;

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::negotiation::MetaVersion;
use crate::resource::{Column, Resource};
use crate::status::Status;
use crate::timestamp::Timestamp;
use json_path::JsonPath;

/// What each row carries of its object (`includeObject`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// Reads the query parameter; nothing means the metadata.
    pub fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            _ => Err(Status::bad_request("includeObject must be one of 'Metadata', 'None' or 'Object'")),
        }
    }
}

/// How tables are made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The version of the document.
    pub version: MetaVersion,
    /// What each row carries of its object.
    pub include: Include,
    /// Whether the columns are described; a watch does so in its first table alone.
    pub headers: bool,
    /// The time from which ages count.
    pub now: SystemTime,
}

/// A heading of a built-in kind's table.
#[derive(Debug, Clone, Copy)]
struct Heading {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    priority: i32,
}

impl Heading {
    /// The name of the object.
    const NAME: Self = Self { name: "Name", kind: "string", format: "name", priority: 0 };
    /// How old the object is.
    const AGE: Self = Self::text("Age");

    const fn of(name: &'static str, kind: &'static str) -> Self {
        Self { name, kind, format: "", priority: 0 }
    }

    const fn text(name: &'static str) -> Self {
        Self::of(name, "string")
    }

    const fn number(name: &'static str) -> Self {
        Self::of(name, "integer")
    }

    const fn flag(name: &'static str) -> Self {
        Self::of(name, "boolean")
    }

    /// A column that only a wide table shows.
    const fn wide(name: &'static str) -> Self {
        Self { priority: 1, ..Self::text(name) }
    }
}

/// A row in the making.
struct Row<'a> {
    object: &'a Value,
    now: Timestamp,
    cells: Vec<Value>,
    conditions: Option<Value>,
}

impl Row<'_> {
    fn put(&mut self, cell: impl Into<Value>) {
        self.cells.push(cell.into());
    }

    fn name(&mut self) {
        self.put(self.object["metadata"]["name"].as_str().unwrap_or_default());
    }

    fn age(&mut self) {
        self.put(age::age(&self.object["metadata"]["creationTimestamp"], self.now));
    }
}

/// The table of a built-in kind.
struct Kind {
    group: &'static str,
    name: &'static str,
    headings: &'static [Heading],
    fill: fn(&mut Row<'_>),
}

enum Layout {
    Known(&'static Kind),
    /// The columns of a definition; one whose path cannot be read stays empty.
    Custom(Vec<(Column, Option<JsonPath>)>),
}

/// Prints the objects of one version of a resource.
///
/// ```
/// use std::time::SystemTime;
/// use xebec_machinery::{builtin, negotiation::MetaVersion, table::{Include, Options, Printer}};
/// let printer = Printer::new(builtin::find("", "namespaces").unwrap(), "v1");
/// let namespace = serde_json::json!({"metadata": {"name": "default"}, "status": {"phase": "Active"}});
/// let now = SystemTime::now();
/// let options = Options { version: MetaVersion::V1, include: Include::None, headers: true, now };
/// let table = printer.object(&namespace, &options);
/// assert_eq!(table["rows"][0]["cells"], serde_json::json!(["default", "Active", "<unknown>"]));
/// ```
pub struct Printer {
    layout: Layout,
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.layout {
            Layout::Known(kind) => f.debug_tuple("Printer").field(&kind.name).finish(),
            Layout::Custom(columns) => f.debug_tuple("Printer").field(columns).finish(),
        }
    }
}

impl Printer {
    /// The printer of a resource's objects in the version of this name.
    pub fn new(resource: &Resource, version: &str) -> Self {
        let columns = resource.version(version).map_or(&[][..], |version| &version.columns);
        if !resource.custom && columns.is_empty() {
            return Self { layout: Layout::Known(kinds::find(&resource.group, &resource.kind)) };
        }
        let age = [Column {
            name: "Age".into(),
            kind: "date".into(),
            format: "".into(),
            description: "".into(),
            priority: 0,
            json_path: ".metadata.creationTimestamp".into(),
        }];
        let columns = if columns.is_empty() { &age } else { columns };
        let read = |column: &Column| (column.clone(), JsonPath::parse(&column.json_path).ok());
        Self { layout: Layout::Custom(columns.iter().map(read).collect()) }
    }

    /// The printer of `Scale`, the document of the scale subresource.
    pub fn scale() -> Self {
        Self { layout: Layout::Known(kinds::find("autoscaling", "Scale")) }
    }

    /// The table of one object.
    pub fn object(&self, object: &Value, options: &Options) -> Value {
        let metadata =
            json!({"resourceVersion": object["metadata"]["resourceVersion"].as_str().unwrap_or_default()});
        self.table(metadata, [object], options)
    }

    /// The table of a list with this `metadata`.
    pub fn list<'a>(
        &self,
        metadata: &Value,
        items: impl IntoIterator<Item = &'a Value>,
        options: &Options,
    ) -> Value {
        self.table(list_metadata(metadata), items, options)
    }

    fn table<'a>(
        &self,
        metadata: Value,
        items: impl IntoIterator<Item = &'a Value>,
        options: &Options,
    ) -> Value {
        let now = age::moment(options.now);
        let mut items: Vec<&Value> = items.into_iter().collect();
        if matches!(&self.layout, Layout::Known(kind) if kind.name == "FlowSchema") {
            items.sort_by_key(|schema| flow::order(schema));
        }
        let rows: Vec<Value> = items.into_iter().map(|object| self.row(object, now, options)).collect();
        let mut table = Map::new();
        table.insert("kind".into(), "Table".into());
        table.insert("apiVersion".into(), options.version.api_version().into());
        table.insert("metadata".into(), metadata);
        table.insert("columnDefinitions".into(), if options.headers { self.headings() } else { json!([]) });
        table.insert("rows".into(), rows.into());
        Value::Object(table)
    }

    fn headings(&self) -> Value {
        let heading = |name: &str, kind: &str, format: &str, description: &str, priority: i32| json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority});
        match &self.layout {
            Layout::Known(kind) => {
                let headings = kind.headings.iter();
                headings.map(|one| heading(one.name, one.kind, one.format, "", one.priority)).collect()
            }
            Layout::Custom(columns) => {
                let name = Heading::NAME;
                let own = columns.iter().map(|(one, _)| {
                    heading(&one.name, &one.kind, &one.format, &one.description, one.priority)
                });
                std::iter::once(heading(name.name, name.kind, name.format, "", 0)).chain(own).collect()
            }
        }
    }

    fn row(&self, object: &Value, now: Timestamp, options: &Options) -> Value {
        let mut row = Row { object, now, cells: Vec::new(), conditions: None };
        match &self.layout {
            Layout::Known(kind) => (kind.fill)(&mut row),
            Layout::Custom(columns) => {
                row.name();
                for (column, path) in columns {
                    let found = path.as_ref().and_then(|path| path.first(object));
                    row.put(found.map_or(Value::Null, |found| cell(&column.kind, found, now)));
                }
            }
        }
        let mut fields = Map::new();
        fields.insert("cells".into(), row.cells.into());
        if let Some(conditions) = row.conditions {
            fields.insert("conditions".into(), conditions);
        }
        match options.include {
            Include::None => {}
            Include::Metadata => {
                fields.insert("object".into(), partial_metadata(object, options.version));
            }
            Include::Object => {
                fields.insert("object".into(), object.clone());
            }
        }
        Value::Object(fields)
    }
}

/// The cell of a custom column; a value of another type than the column's leaves it empty.
fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(_)) | ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => {
            value.clone()
        }
        ("string", other) => other.to_string().into(),
        // The cast saturates.
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().map_or(Value::Null, |number| (number as i64).into()),
        },
        ("date", Value::String(text)) if text.is_empty() => age::UNKNOWN.into(),
        ("date", Value::String(text)) => match Timestamp::parse(text) {
            Some(then) => age::between(then, now).into(),
            None => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

/// What a list's metadata says, without what it does not.
fn list_metadata(metadata: &Value) -> Value {
    let mut kept = Map::new();
    for field in ["resourceVersion", "continue", "remainingItemCount"] {
        if let Some(value) = metadata.get(field).filter(|value| !value.is_null() && *value != "") {
            kept.insert(field.into(), value.clone());
        }
    }
    Value::Object(kept)
}

/// The object as its metadata alone (`PartialObjectMetadata`).
pub fn partial_metadata(object: &Value, version: MetaVersion) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": version.api_version(), "metadata": metadata})
}

/// The objects of a list with this `metadata` as their metadata alone (`PartialObjectMetadataList`).
pub fn partial_metadata_list<'a>(
    metadata: &Value,
    items: impl IntoIterator<Item = &'a Value>,
    version: MetaVersion,
) -> Value {
    let items: Vec<Value> = items.into_iter().map(|object| partial_metadata(object, version)).collect();
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": version.api_version(),
        "metadata": list_metadata(metadata),
        "items": items,
    })
}

#[cfg(test)]
mod tests;
