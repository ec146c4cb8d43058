//! The structural schema of a value, as expressions see it: which type each part has, how large it may grow, and how its
//! JSON is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::names;
use crate::types::Type;

/// The largest request that the estimates of sizes assume.
pub const LARGEST_REQUEST: u64 = 3 * 1024 * 1024;

/// The deepest schema that is read.
const DEEPEST: u32 = 200;

/// How the elements of a list belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// By their places.
    Atomic,
    /// As a set.
    Set,
    /// By these fields of each element.
    Map(Vec<String>),
}

/// A field of an object.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) property: String,
    pub(crate) schema: Arc<Schema>,
}

/// What kind of value is described.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    IntOrString,
    /// Fields by the names that expressions use.
    Object(BTreeMap<String, Field>),
    Map(Arc<Schema>),
    List(Arc<Schema>, ListKind),
    String,
    Bytes,
    Duration,
    Date,
    DateTime,
    Bool,
    Number,
    Integer,
    /// Anything, of which no more is known than how large it may be.
    Any,
}

/// A schema with the type that it has in expressions.
#[derive(Debug, Clone)]
pub struct Schema {
    pub(crate) shape: Shape,
    pub(crate) nullable: bool,
    /// The most elements, properties or bytes that a value has, for estimates.
    pub(crate) most: u64,
    /// What the keys of a map are, where more is known of them.
    pub(crate) keys: Option<Arc<Self>>,
    /// The fewest bytes that a value takes as JSON.
    pub(crate) least: u64,
    pub(crate) cel: Type,
}

impl Schema {
    /// Reads a schema of OpenAPI v3 as CustomResourceDefinitions hold it. `root` is set for the schema of a whole object,
    /// which has `apiVersion`, `kind` and `metadata` even where it does not say so. None where the schema has no type that
    /// expressions know.
    pub fn from_openapi(schema: &Json, root: bool) -> Option<Self> {
        Self::read(schema, root, 0).map(|schema| schema.named("self"))
    }

    /// The type that expressions know this as.
    pub fn cel_type(&self) -> &Type {
        &self.cel
    }

    /// How many such values one request can hold.
    pub fn max_cardinality(&self) -> u64 {
        LARGEST_REQUEST / (self.least + 1)
    }

    /// The schema of the property `name`.
    pub fn property(&self, name: &str) -> Option<&Arc<Schema>> {
        match &self.shape {
            Shape::Object(fields) => fields.get(&names::escape(name)?).map(|field| &field.schema),
            Shape::Map(values) => Some(values),
            _ => None,
        }
    }

    /// The schema of the elements of a list or the values of a map.
    pub fn items(&self) -> Option<&Arc<Schema>> {
        match &self.shape {
            Shape::List(item, _) | Shape::Map(item) => Some(item),
            _ => None,
        }
    }

    /// The same schema whose objects' types are named after `name`.
    pub(crate) fn renamed(&self, name: &str) -> Self {
        self.clone().named(name)
    }

    pub(crate) fn of(shape: Shape, most: u64, least: u64, cel: Type, nullable: bool) -> Self {
        Self { shape, nullable, most, keys: None, least, cel }
    }

    fn read(schema: &Json, root: bool, depth: u32) -> Option<Self> {
        if depth > DEEPEST {
            return None;
        }
        let flag = |name: &str| schema.get(name).and_then(Json::as_bool).unwrap_or(false);
        let nullable = flag("nullable");
        if flag("x-kubernetes-int-or-string") {
            let most =
                limit(schema, "maxLength").map_or(LARGEST_REQUEST - 2, |length| length.saturating_mul(4));
            return Some(Self::of(Shape::IntOrString, most, 1, Type::Dyn, nullable));
        }
        match schema.get("type").and_then(Json::as_str)? {
            "array" => Self::read_list(schema, nullable, depth),
            "object" => Self::read_object(schema, root, nullable, depth),
            "string" => Some(Self::read_string(schema, nullable)),
            "boolean" => Some(Self::of(Shape::Bool, 0, 4, Type::Bool, nullable)),
            "number" => Some(Self::of(Shape::Number, 0, 1, Type::Double, nullable)),
            "integer" => Some(Self::of(Shape::Integer, 0, 1, Type::Int, nullable)),
            _ => None,
        }
    }

    fn read_list(schema: &Json, nullable: bool, depth: u32) -> Option<Self> {
        let items = schema.get("items")?;
        let item = Self::read(items, embedded(items), depth + 1)?;
        let most = limit(schema, "maxItems").unwrap_or((LARGEST_REQUEST - 2) / (item.least + 1));
        let keys = || {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Json::as_array);
            keys.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
        };
        let kind = match schema.get("x-kubernetes-list-type").and_then(Json::as_str) {
            Some("set") => ListKind::Set,
            Some("map") => ListKind::Map(keys()),
            _ => ListKind::Atomic,
        };
        Some(Self::of(Shape::List(Arc::new(item), kind), most, 2, Type::Dyn, nullable))
    }

    fn read_object(schema: &Json, root: bool, nullable: bool, depth: u32) -> Option<Self> {
        if let Some(values @ Json::Object(_)) = schema.get("additionalProperties") {
            let value = Self::read(values, embedded(values), depth + 1)?;
            let most = limit(schema, "maxProperties").unwrap_or((LARGEST_REQUEST - 2) / (value.least + 6));
            return Some(Self::of(Shape::Map(Arc::new(value)), most, 2, Type::Dyn, nullable));
        }
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect();
        let mut fields = BTreeMap::new();
        let mut least = 2;
        let mut add = |name: &str, property: Self, counts: bool| {
            if counts {
                least += name.len() as u64 + property.least + 4;
            }
            if let Some(escaped) = names::escape(name) {
                fields.insert(escaped, Field { property: name.to_owned(), schema: Arc::new(property) });
            }
        };
        for (name, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
            if let Some(read) = Self::read(property, embedded(property), depth + 1) {
                let counts = required.contains(&name.as_str()) && property.get("default").is_none();
                add(name, read, counts);
            }
        }
        if root || embedded(schema) {
            for (name, property) in envelope() {
                let counts = required.contains(&name);
                add(name, property, counts);
            }
        }
        Some(Self::of(Shape::Object(fields), 0, least, Type::Dyn, nullable))
    }

    fn read_string(schema: &Json, nullable: bool) -> Self {
        let by_length = |factor: u64| limit(schema, "maxLength").map(|length| length.saturating_mul(factor));
        match schema.get("format").and_then(Json::as_str) {
            Some("byte") => {
                let most = by_length(1).unwrap_or(LARGEST_REQUEST - 2);
                Self::of(Shape::Bytes, most, 2, Type::Bytes, nullable)
            }
            Some("duration") => Self::of(Shape::Duration, 32, 3, Type::Duration, nullable),
            Some("date") => Self::of(Shape::Date, 12, 12, Type::Timestamp, nullable),
            Some("date-time") => Self::of(Shape::DateTime, 32, 21, Type::Timestamp, nullable),
            _ => {
                let longest = || {
                    let values =
                        schema.get("enum").and_then(Json::as_array).filter(|values| !values.is_empty())?;
                    Some(
                        values
                            .iter()
                            .filter_map(Json::as_str)
                            .map(|value| value.len() as u64)
                            .max()
                            .unwrap_or(0),
                    )
                };
                let most = by_length(4).or_else(longest).unwrap_or(LARGEST_REQUEST - 2);
                Self::of(Shape::String, most, 2, Type::String, nullable)
            }
        }
    }

    /// Gives every object its type, named by the way to it.
    fn named(mut self, name: &str) -> Self {
        match &mut self.shape {
            Shape::List(item, _) => {
                *item = Arc::new(Self::clone(item).named(&format!("{name}.@idx")));
                self.cel = Type::list(item.cel.clone());
            }
            Shape::Map(value) => {
                *value = Arc::new(Self::clone(value).named(&format!("{name}.@elem")));
                self.cel = Type::map(Type::String, value.cel.clone());
            }
            Shape::Object(fields) => {
                let mut types = BTreeMap::new();
                for (field_name, field) in fields {
                    field.schema =
                        Arc::new(Self::clone(&field.schema).named(&format!("{name}.{field_name}")));
                    types.insert(field_name.clone(), field.schema.cel.clone());
                }
                self.cel = Type::structure(name, types);
            }
            _ => {}
        }
        self
    }
}

fn embedded(schema: &Json) -> bool {
    schema.get("x-kubernetes-embedded-resource").and_then(Json::as_bool).unwrap_or(false)
}

fn limit(schema: &Json, name: &str) -> Option<u64> {
    let limit = schema.get(name)?;
    limit.as_u64().or_else(|| limit.as_i64().map(|_| 0))
}

/// What every whole object has.
fn envelope() -> [(&'static str, Schema); 3] {
    let text = || Schema::of(Shape::String, LARGEST_REQUEST - 2, 2, Type::String, false);
    let fields = ["name", "generateName"]
        .map(|name| (name.to_owned(), Field { property: name.to_owned(), schema: Arc::new(text()) }));
    let metadata = Schema::of(Shape::Object(fields.into()), 0, 2, Type::Dyn, false);
    [("kind", text()), ("apiVersion", text()), ("metadata", metadata)]
}
