//! From `openAPIV3Schema` to a compiled schema, or everything that keeps it from being one.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Number, Value};
use xebec_expressions::rules::{Problem, Reason, RuleSet};

use super::source::Source;
use super::{
    Additional, Checks, Parts, Pattern, Schema, Structural, Type, junctor, merge_model, prune, validate,
};
use crate::field::{ErrorType, FieldError, Path};
use crate::schema::ListType;

/// How deep schemas may nest.
pub const MAX_DEPTH: usize = 64;
/// How many schema nodes one schema may have.
pub const MAX_NODES: usize = 50_000;
/// Reporting ends after this many errors.
const MAX_ERRORS: usize = 100;

/// Keywords of JSON Schema that a structural schema may not use at all.
const NOT_SUPPORTED: [&str; 7] =
    ["$ref", "$schema", "id", "definitions", "dependencies", "patternProperties", "additionalItems"];

/// Compiles the value of `openAPIV3Schema`.
///
/// # Errors
/// Everything that keeps the schema from being structural.
pub fn compile(schema: &Value) -> Result<Structural, Vec<FieldError>> {
    compile_at(schema, &Path::ROOT)
}

/// Compiles a schema that stands at `path`, which the errors begin with.
///
/// # Errors
/// Everything that keeps the schema from being structural.
pub fn compile_at(schema: &Value, path: &Path<'_>) -> Result<Structural, Vec<FieldError>> {
    let (parts, problems) = build(schema, path, &path.to_string())?;
    if problems.is_empty() { Ok(Structural::from(parts)) } else { Err(problems) }
}

/// A schema whose rules in CEL were judged before. It takes little memory until it is asked something, for it is then that
/// it is compiled to stay.
///
/// # Errors
/// Everything that keeps the schema from being structural.
pub fn compile_stored(schema: &Value, path: &Path<'_>) -> Result<Structural, Vec<FieldError>> {
    structure(schema, path)?;
    let source = Source::of(schema, path);
    Ok(Structural { parts: LazyLock::new(Box::new(move || source.parts())) })
}

impl From<Parts> for Structural {
    fn from(parts: Parts) -> Self {
        Self { parts: LazyLock::new(Box::new(move || parts)) }
    }
}

/// Compiles a schema at `path`. `told` is where the problems of its rules are said to be; the second is what is wrong with
/// those.
pub(super) fn build(
    schema: &Value,
    path: &Path<'_>,
    told: &str,
) -> Result<(Parts, Vec<FieldError>), Vec<FieldError>> {
    let root = structure(schema, path)?;
    // Rules are about values whose structure is known.
    let (rules, problems) = RuleSet::compile(schema, told);
    let rules = (!rules.is_empty()).then_some(rules);
    let node = merge_model::node(&root, true);
    let problems = problems.into_iter().take(MAX_ERRORS).map(problem).collect();
    Ok((Parts { root, node, rules }, problems))
}

fn structure(schema: &Value, path: &Path<'_>) -> Result<Schema, Vec<FieldError>> {
    let mut compiler = Compiler::default();
    let root = compiler.schema(schema, path, 0, Place::Root);
    if compiler.errors.is_empty() {
        compiler.defaults(&root, path);
    }
    if compiler.errors.is_empty() { Ok(root) } else { Err(compiler.errors) }
}

/// What is wrong with a rule, as an error.
fn problem(problem: Problem) -> FieldError {
    let Problem { path, reason, value, detail } = problem;
    let error_type = match reason {
        Reason::Invalid => ErrorType::Invalid,
        Reason::Forbidden => ErrorType::Forbidden,
        Reason::Required => ErrorType::Required,
        Reason::Duplicate => ErrorType::Duplicate,
        Reason::Unsupported => ErrorType::NotSupported,
        Reason::Internal => ErrorType::Internal,
    };
    // Upstream shows a rule as its own structure, whose text is kept as it is.
    let detail = match value {
        Some(value) => format!("{value}: {detail}"),
        None => detail,
    };
    FieldError { error_type, field: path, bad_value: None, detail }
}

impl Schema {
    /// Notes what there is here or below.
    fn look_below(&mut self) {
        let values = match &self.additional {
            Additional::Schema(values) => Some(&**values),
            Additional::None | Additional::Any => None,
        };
        let below = || self.properties.values().chain(self.items.as_deref()).chain(values);
        self.tells_elements = matches!(self.list_type, Some(ListType::Set | ListType::Map(_)))
            || below().any(|schema| schema.tells_elements);
        self.embeds = self.embedded || below().any(|schema| schema.embeds);
        self.fills = below().any(|schema| schema.fills || schema.default.is_some());
    }
}

/// Where a schema stands; it decides what may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Field,
    MapValue,
    Element,
    Metadata,
}

#[derive(Default)]
pub(super) struct Compiler {
    pub(super) errors: Vec<FieldError>,
    nodes: usize,
    patterns: HashMap<String, Arc<Pattern>>,
}

impl Compiler {
    pub(super) fn error(&mut self, error: FieldError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    /// Counts a node; false when there are too many, or it is too deep.
    pub(super) fn enter(&mut self, path: &Path<'_>, depth: usize) -> bool {
        self.nodes += 1;
        if depth > MAX_DEPTH {
            self.error(FieldError::forbidden(path, format!("schemas may nest at most {MAX_DEPTH} deep")));
            return false;
        }
        if self.nodes == MAX_NODES + 1 {
            self.error(FieldError::forbidden(path, format!("a schema may have at most {MAX_NODES} nodes")));
        }
        self.nodes <= MAX_NODES
    }

    fn schema(&mut self, value: &Value, path: &Path<'_>, depth: usize, place: Place) -> Schema {
        let mut schema = Schema::default();
        if !self.enter(path, depth) {
            return schema;
        }
        let Some(map) = self.map(value, path) else { return schema };
        for keyword in NOT_SUPPORTED {
            if map.contains_key(keyword) {
                self.error(FieldError::forbidden(
                    &path.child(keyword),
                    format!("{keyword} is not supported"),
                ));
            }
        }
        schema.nullable = self.flag(map, "nullable", path);
        schema.preserve_unknown = self.flag(map, "x-kubernetes-preserve-unknown-fields", path);
        schema.int_or_string = self.flag(map, "x-kubernetes-int-or-string", path);
        schema.embedded = self.flag(map, "x-kubernetes-embedded-resource", path);
        schema.schema_type = self.schema_type(map, path);
        schema.default = map.get("default").filter(|value| !value.is_null()).cloned();

        let properties = path.child("properties");
        if let Some(fields) = map.get("properties").and_then(|value| self.map(value, &properties)) {
            for (name, field) in fields {
                let implicit = place == Place::Root || schema.embedded;
                let below = if implicit && name == "metadata" { Place::Metadata } else { Place::Field };
                let field = self.schema(field, &properties.key(name), depth + 1, below);
                schema.properties.insert(name.as_str().into(), field);
            }
        }
        if let Some(items) = map.get("items") {
            schema.items =
                Some(Box::new(self.schema(items, &path.child("items"), depth + 1, Place::Element)));
        }
        schema.additional = self.additional(map, path, depth, place);
        schema.checks = self.checks(map, path);
        junctor::compile(self, map, path, depth, &mut schema);
        self.merge_hints(map, path, &mut schema);
        self.rules_of_structure(path, place, &schema);
        schema.look_below();
        schema
    }

    fn additional(
        &mut self,
        map: &Map<String, Value>,
        path: &Path<'_>,
        depth: usize,
        place: Place,
    ) -> Additional {
        let at = path.child("additionalProperties");
        let additional = match map.get("additionalProperties") {
            None => return Additional::None,
            Some(Value::Bool(true)) => Additional::Any,
            Some(Value::Bool(false)) => {
                self.error(FieldError::forbidden(&at, "additionalProperties cannot be set to false"));
                return Additional::None;
            }
            Some(value) => Additional::Schema(Box::new(self.schema(value, &at, depth + 1, Place::MapValue))),
        };
        if map.contains_key("properties") && !matches!(additional, Additional::Any) {
            self.error(FieldError::forbidden(
                &at,
                "additionalProperties and properties are mutual exclusive",
            ));
        } else if place == Place::Root {
            self.error(FieldError::forbidden(&at, "must not be used at the root"));
        }
        additional
    }

    fn schema_type(&mut self, map: &Map<String, Value>, path: &Path<'_>) -> Option<Type> {
        let at = path.child("type");
        match map.get("type") {
            None => None,
            Some(Value::String(name)) if name.is_empty() => None,
            Some(Value::String(name)) => {
                let known = Type::parse(name);
                if known.is_none() {
                    let supported = ["array", "boolean", "integer", "number", "object", "string"];
                    self.error(FieldError::not_supported(&at, name.as_str(), &supported));
                }
                known
            }
            Some(other) => {
                self.error(FieldError::type_invalid(&at, other.clone(), "must be a string"));
                None
            }
        }
    }

    /// The rules on values that `map` has, but for the junctors.
    pub(super) fn checks(&mut self, map: &Map<String, Value>, path: &Path<'_>) -> Checks {
        if self.flag(map, "uniqueItems", path) {
            self.error(FieldError::forbidden(
                &path.child("uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ));
        }
        let below = self.flag(map, "exclusiveMinimum", path);
        let above = self.flag(map, "exclusiveMaximum", path);
        let mut required = Vec::new();
        for (index, name) in self.array(map, "required", path).iter().enumerate() {
            match name.as_str() {
                Some(name) => required.push(name.into()),
                None => {
                    let at = path.child("required");
                    self.error(FieldError::type_invalid(&at.index(index), name.clone(), "must be a string"));
                }
            }
        }
        let multiple_of = self.number(map, "multipleOf", path);
        if multiple_of.as_ref().and_then(Number::as_f64).is_some_and(|number| number <= 0.0) {
            self.error(FieldError::invalid(&path.child("multipleOf"), 0, "must be greater than 0"));
        }
        Checks {
            required,
            minimum: self.number(map, "minimum", path).map(|number| (number, below)),
            maximum: self.number(map, "maximum", path).map(|number| (number, above)),
            multiple_of,
            min_length: self.count(map, "minLength", path),
            max_length: self.count(map, "maxLength", path),
            pattern: self.pattern(map, path),
            min_items: self.count(map, "minItems", path),
            max_items: self.count(map, "maxItems", path),
            min_properties: self.count(map, "minProperties", path),
            max_properties: self.count(map, "maxProperties", path),
            format: self.text(map, "format", path).filter(|format| !format.is_empty()).map(Into::into),
            allowed: self.array(map, "enum", path).to_vec(),
            ..Checks::default()
        }
    }

    fn pattern(&mut self, map: &Map<String, Value>, path: &Path<'_>) -> Option<Arc<Pattern>> {
        let source = self.text(map, "pattern", path).filter(|source| !source.is_empty())?;
        if let Some(known) = self.patterns.get(source) {
            return Some(Arc::clone(known));
        }
        match Pattern::new(source) {
            Ok(pattern) => {
                let pattern = Arc::new(pattern);
                self.patterns.insert(source.to_owned(), Arc::clone(&pattern));
                Some(pattern)
            }
            Err(error) => {
                let detail = format!("must be a valid regular expression, but isn't: {error}");
                self.error(FieldError::invalid(&path.child("pattern"), source, detail));
                None
            }
        }
    }

    fn merge_hints(&mut self, map: &Map<String, Value>, path: &Path<'_>, schema: &mut Schema) {
        let at = path.child("x-kubernetes-map-type");
        match self.text(map, "x-kubernetes-map-type", path) {
            None | Some("granular") => {}
            Some("atomic") => schema.atomic = true,
            Some(other) => self.error(FieldError::not_supported(&at, other, &["atomic", "granular"])),
        }
        if map.contains_key("x-kubernetes-map-type") && schema.schema_type != Some(Type::Object) {
            self.error(FieldError::invalid(
                &path.child("type"),
                type_name(schema),
                "must be object if x-kubernetes-map-type is specified",
            ));
        }
        let at = path.child("x-kubernetes-list-map-keys");
        let keys: Vec<Box<str>> = self
            .array(map, "x-kubernetes-list-map-keys", path)
            .iter()
            .filter_map(|key| key.as_str().map(Into::into))
            .collect();
        let list_type = self.text(map, "x-kubernetes-list-type", path);
        if !keys.is_empty() && list_type != Some("map") {
            self.error(FieldError::forbidden(&at, "must be empty if x-kubernetes-list-type is not map"));
        }
        if list_type.is_some() && schema.schema_type != Some(Type::Array) {
            self.error(FieldError::invalid(
                &path.child("type"),
                type_name(schema),
                "must be array if x-kubernetes-list-type is specified",
            ));
            return;
        }
        schema.list_type = match list_type {
            None => None,
            Some("atomic") => Some(ListType::Atomic),
            Some("set") => {
                self.set_items(path, schema);
                Some(ListType::Set)
            }
            Some("map") => {
                self.map_items(path, schema, &keys);
                Some(ListType::Map(keys))
            }
            Some(other) => {
                let at = path.child("x-kubernetes-list-type");
                self.error(FieldError::not_supported(&at, other, &["atomic", "map", "set"]));
                None
            }
        };
    }

    fn set_items(&mut self, path: &Path<'_>, schema: &Schema) {
        let Some(items) = &schema.items else { return };
        let at = path.child("items");
        if items.nullable {
            self.error(FieldError::forbidden(
                &at.child("nullable"),
                "cannot be nullable when x-kubernetes-list-type is set",
            ));
        }
        match items.schema_type {
            Some(Type::Array) if !matches!(items.list_type, None | Some(ListType::Atomic)) => {
                let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
                self.error(FieldError::invalid(&at.child("x-kubernetes-list-type"), "", detail));
            }
            Some(Type::Object) if !items.atomic => {
                let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
                self.error(FieldError::invalid(&at.child("x-kubernetes-map-type"), "", detail));
            }
            _ => {}
        }
    }

    fn map_items(&mut self, path: &Path<'_>, schema: &Schema, keys: &[Box<str>]) {
        let at_keys = path.child("x-kubernetes-list-map-keys");
        if keys.is_empty() {
            self.error(FieldError::required(&at_keys, "must not be empty if x-kubernetes-list-type is map"));
        }
        let Some(items) = &schema.items else { return };
        let at = path.child("items");
        if items.schema_type != Some(Type::Object) {
            self.error(FieldError::invalid(
                &at.child("type"),
                type_name(items),
                "must be object if parent array's x-kubernetes-list-type is map",
            ));
            return;
        }
        for (index, key) in keys.iter().enumerate() {
            if keys.iter().take(index).any(|before| before == key) {
                self.error(FieldError::duplicate(&at_keys.index(index), key.as_ref()));
            }
            let at = at.child("properties");
            let at = at.key(key);
            let Some(field) = items.properties.get(key) else {
                let detail = "entries must all be names of item properties";
                self.error(FieldError::invalid(&at_keys.index(index), key.as_ref(), detail));
                continue;
            };
            if matches!(field.schema_type, Some(Type::Object | Type::Array)) {
                self.error(FieldError::invalid(
                    &at.child("type"),
                    type_name(field),
                    "must be a scalar type if parent array's x-kubernetes-list-type is map",
                ));
            }
            if field.nullable {
                self.error(FieldError::forbidden(
                    &at.child("nullable"),
                    "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
                ));
            }
            if field.default.is_none() && !items.checks.required.contains(key) {
                let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                self.error(FieldError::required(&at.child("default"), detail));
            }
        }
    }

    /// What makes a schema structural, besides what its parts may hold.
    fn rules_of_structure(&mut self, path: &Path<'_>, place: Place, schema: &Schema) {
        let at = path.child("type");
        match (place, schema.schema_type) {
            (Place::Root | Place::Metadata, None) => {
                self.error(FieldError::required(&at, "must not be empty at the root"));
            }
            (Place::Root | Place::Metadata, Some(other)) if other != Type::Object => {
                self.error(FieldError::invalid(&at, other.as_str(), "must be object at the root"));
            }
            (_, Some(_)) if schema.int_or_string => {
                self.error(FieldError::forbidden(&at, "must be empty if x-kubernetes-int-or-string is true"));
            }
            (_, None) if !schema.int_or_string && !schema.preserve_unknown => {
                let what = match place {
                    Place::Element => "must not be empty for specified array items",
                    _ => "must not be empty for specified object fields",
                };
                self.error(FieldError::required(&at, what));
            }
            _ => {}
        }
        if schema.schema_type == Some(Type::Array) && schema.items.is_none() {
            self.error(FieldError::required(&path.child("items"), "must be specified"));
        }
        if schema.preserve_unknown && !matches!(schema.schema_type, None | Some(Type::Object)) {
            let detail = "must be object if x-kubernetes-preserve-unknown-fields is true";
            self.error(FieldError::invalid(&at, type_name(schema), detail));
        }
        if schema.embedded {
            if schema.schema_type != Some(Type::Object) {
                let detail = "must be object if x-kubernetes-embedded-resource is true";
                self.error(FieldError::invalid(&at, type_name(schema), detail));
            }
            if !schema.preserve_unknown && schema.properties.is_empty() {
                let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
                self.error(FieldError::required(&path.child("properties"), detail));
            }
        }
        if place == Place::Metadata {
            self.metadata(path, schema);
        }
    }

    /// `metadata` is known to every kind; a schema may only narrow the names.
    fn metadata(&mut self, path: &Path<'_>, schema: &Schema) {
        let only_names = schema.properties.keys().all(|name| matches!(&**name, "name" | "generateName"));
        let bare = schema.default.is_none() && !schema.nullable && !schema.preserve_unknown && !schema.atomic;
        if !only_names || !bare || !matches!(schema.additional, Additional::None) {
            let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.error(FieldError::forbidden(path, detail));
        }
        for (name, field) in &schema.properties {
            if field.default.is_some() {
                let properties = path.child("properties");
                let at = properties.key(name);
                self.error(FieldError::forbidden(&at.child("default"), "must not be set"));
            }
        }
    }

    /// Defaults must be values that the schema would take.
    fn defaults(&mut self, schema: &Schema, path: &Path<'_>) {
        if let Some(default) = &schema.default {
            let at = path.child("default");
            let mut value = default.clone();
            for unknown in prune::prune(schema, &mut value, false) {
                let detail = format!(
                    "unknown field \"{unknown}\": must not have fields that the schema does not specify"
                );
                self.error(FieldError::invalid(&at, default.clone(), detail));
            }
            super::default::default(schema, &mut value);
            for error in validate::validate(schema, &value) {
                self.error(FieldError::invalid(&at, default.clone(), error.to_string()));
            }
        }
        let properties = path.child("properties");
        for (name, field) in &schema.properties {
            self.defaults(field, &properties.key(name));
        }
        if let Some(items) = &schema.items {
            self.defaults(items, &path.child("items"));
        }
        if let Additional::Schema(values) = &schema.additional {
            self.defaults(values, &path.child("additionalProperties"));
        }
    }
}

/// Reading keywords: a keyword of the wrong type is an error and reads as absent.
impl Compiler {
    pub(super) fn map<'v>(&mut self, value: &'v Value, path: &Path<'_>) -> Option<&'v Map<String, Value>> {
        if !value.is_object() {
            self.error(FieldError::type_invalid(path, value.clone(), "must be an object"));
        }
        value.as_object()
    }

    pub(super) fn array<'v>(
        &mut self,
        map: &'v Map<String, Value>,
        keyword: &str,
        path: &Path<'_>,
    ) -> &'v [Value] {
        match map.get(keyword) {
            None | Some(Value::Null) => &[],
            Some(Value::Array(values)) => values,
            Some(other) => {
                self.error(FieldError::type_invalid(&path.child(keyword), other.clone(), "must be an array"));
                &[]
            }
        }
    }

    fn flag(&mut self, map: &Map<String, Value>, keyword: &str, path: &Path<'_>) -> bool {
        match map.get(keyword) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.error(FieldError::type_invalid(
                    &path.child(keyword),
                    other.clone(),
                    "must be a boolean",
                ));
                false
            }
        }
    }

    fn text<'v>(&mut self, map: &'v Map<String, Value>, keyword: &str, path: &Path<'_>) -> Option<&'v str> {
        match map.get(keyword) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                self.error(FieldError::type_invalid(&path.child(keyword), other.clone(), "must be a string"));
                None
            }
        }
    }

    fn number(&mut self, map: &Map<String, Value>, keyword: &str, path: &Path<'_>) -> Option<Number> {
        match map.get(keyword) {
            None | Some(Value::Null) => None,
            Some(Value::Number(number)) => Some(number.clone()),
            Some(other) => {
                self.error(FieldError::type_invalid(&path.child(keyword), other.clone(), "must be a number"));
                None
            }
        }
    }

    fn count(&mut self, map: &Map<String, Value>, keyword: &str, path: &Path<'_>) -> Option<u64> {
        let number = self.number(map, keyword, path)?;
        let count = number.as_u64();
        if count.is_none() {
            let value = Value::Number(number);
            self.error(FieldError::invalid(
                &path.child(keyword),
                value,
                "must be a whole number of 0 or more",
            ));
        }
        count
    }
}

fn type_name(schema: &Schema) -> &'static str {
    schema.schema_type.map_or("", Type::as_str)
}
