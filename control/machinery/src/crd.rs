//! CustomResourceDefinitions: what one says, as a resource that is served.
//!
//! [`compile`] reads a definition of `apiextensions.k8s.io/v1`, checks the rules that hold it together and turns each
//! version's `openAPIV3Schema` into the same [`Node`]s that built-in kinds have.

use serde_json::{Map, Value};

use crate::builtin;
use crate::field::{FieldError, Path};
use crate::label;
use crate::resource::{Column, Resource, Scale, Scope, Version};
use crate::schema::{Field, ListType, Node, PatchStrategy, Ref, Shape};

/// The deepest schema that is read.
pub const DEPTH_MAX: usize = 64;

/// The resource that a definition asks for.
///
/// # Errors
///
/// Everything that is wrong with the definition.
pub fn compile(definition: &Value) -> Result<Resource, Vec<FieldError>> {
    let root = Path::ROOT;
    let path = root.child("spec");
    let mut errors = Vec::new();
    let spec = definition.get("spec").unwrap_or(&Value::Null);
    let names = spec.get("names").unwrap_or(&Value::Null);
    let names_path = path.child("names");
    let group = required(spec, "group", &path, &mut errors);
    for problem in label::subdomain_problems(group).into_iter().filter(|_| !group.is_empty()) {
        errors.push(FieldError::invalid(&path.child("group"), group, problem));
    }
    if !group.is_empty() && !group.contains('.') {
        errors.push(FieldError::invalid(
            &path.child("group"),
            group,
            "should be a domain with at least one dot",
        ));
    }
    let plural = required(names, "plural", &names_path, &mut errors);
    let kind = required(names, "kind", &names_path, &mut errors);
    let name = text(definition.get("metadata").unwrap_or(&Value::Null), "name");
    if name != format!("{plural}.{group}") {
        let meta = root.child("metadata");
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(&meta.child("name"), name, detail));
    }
    let scope = match text(spec, "scope") {
        "Cluster" => Scope::Cluster,
        "Namespaced" => Scope::Namespaced,
        "" => {
            errors.push(FieldError::required(&path.child("scope"), ""));
            Scope::Namespaced
        }
        other => {
            let known = ["Cluster", "Namespaced"];
            errors.push(FieldError::not_supported(&path.child("scope"), other, &known));
            Scope::Namespaced
        }
    };
    let listed = spec.get("versions").and_then(Value::as_array).cloned().unwrap_or_default();
    let versions_path = path.child("versions");
    let mut versions = Vec::new();
    let mut storage = Vec::new();
    for (at, version) in listed.iter().enumerate() {
        let place = versions_path.index(at);
        if version.get("storage") == Some(&Value::Bool(true)) {
            storage.push(text(version, "name"));
        }
        if let Some(read) = read_version(version, &place, &mut errors) {
            versions.push(read);
        }
    }
    if storage.len() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(&versions_path, "", detail));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    versions.sort_by(|left, right| crate::discovery::compare_versions(&left.name, &right.name));
    let or = |name: &str, other: String| match text(names, name) {
        "" => other.into(),
        given => Box::from(given),
    };
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    Ok(Resource {
        group: group.into(),
        kind: kind.into(),
        list_kind: or("listKind", format!("{kind}List")),
        plural: plural.into(),
        singular: or("singular", kind.to_lowercase()),
        short_names: texts(names, "shortNames"),
        categories: texts(names, "categories"),
        scope,
        verbs: verbs.map(Box::from).into(),
        versions,
        storage: storage.first().copied().unwrap_or_default().into(),
        custom: true,
    })
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn texts(value: &Value, field: &str) -> Vec<Box<str>> {
    let list = value.get(field).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(Box::from).collect()
}

fn required<'a>(value: &'a Value, field: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) -> &'a str {
    let found = text(value, field);
    if found.is_empty() {
        errors.push(FieldError::required(&path.child(field), ""));
    }
    found
}

fn read_version(version: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) -> Option<Version> {
    let name = required(version, "name", path, errors);
    let schema_path = path.child("schema");
    let place = schema_path.child("openAPIV3Schema");
    let Some(schema) = version.get("schema").and_then(|schema| schema.get("openAPIV3Schema")) else {
        errors.push(FieldError::required(&place, "schemas are required"));
        return None;
    };
    if text(schema, "type") != "object" {
        errors.push(FieldError::invalid(
            &place.child("type"),
            text(schema, "type"),
            "must be object at the root",
        ));
    }
    let mut node = read_node(schema, &place, 0, errors);
    add_object_fields(&mut node);
    let mut read = Version::new(name, node.into());
    read.served = version.get("served") == Some(&Value::Bool(true));
    if version.get("deprecated") == Some(&Value::Bool(true)) {
        let own = text(version, "deprecationWarning");
        let warning = if own.is_empty() { format!("version {name} is deprecated") } else { own.to_owned() };
        read.deprecation = Some(warning.into());
    }
    let subresources = version.get("subresources").unwrap_or(&Value::Null);
    read.status = subresources.get("status").is_some();
    read.scale = subresources.get("scale").map(|scale| Scale {
        spec_replicas: text(scale, "specReplicasPath").into(),
        status_replicas: text(scale, "statusReplicasPath").into(),
        selector: Some(text(scale, "labelSelectorPath")).filter(|path| !path.is_empty()).map(Box::from),
    });
    let columns = version.get("additionalPrinterColumns").and_then(Value::as_array);
    read.columns = columns.into_iter().flatten().map(read_column).collect();
    let selectable = version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
    read.selectable = selectable.map(|field| text(field, "jsonPath").into()).collect();
    Some(read)
}

fn read_column(column: &Value) -> Column {
    Column {
        name: text(column, "name").into(),
        kind: text(column, "type").into(),
        format: text(column, "format").into(),
        description: text(column, "description").into(),
        priority: column
            .get("priority")
            .and_then(Value::as_i64)
            .and_then(|own| own.try_into().ok())
            .unwrap_or(0),
        json_path: text(column, "jsonPath").into(),
    }
}

/// Gives the root what every object has, whether the schema names it or not.
fn add_object_fields(node: &mut Node) {
    let Shape::Struct { fields, .. } = &mut node.shape else { return };
    fields.retain(|field| !matches!(&*field.name, "apiVersion" | "kind" | "metadata"));
    let field = |name: &str, node: Ref| Field {
        name: name.into(),
        node,
        required: false,
        patch: PatchStrategy::default(),
        default: None,
    };
    fields.push(field("apiVersion", Node::new(Shape::String).into()));
    fields.push(field("kind", Node::new(Shape::String).into()));
    let meta = builtin::kind_node("", "v1", "ConfigMap").and_then(|node| node.field("metadata"));
    let meta = meta.map_or_else(|| Node::new(Shape::Any).into(), |field| field.node.clone());
    fields.push(field("metadata", meta));
}

fn is_set(schema: &Value, extension: &str) -> bool {
    schema.get(extension) == Some(&Value::Bool(true))
}

fn read_node(schema: &Value, path: &Path<'_>, depth: usize, errors: &mut Vec<FieldError>) -> Node {
    if depth > DEPTH_MAX {
        errors.push(FieldError::forbidden(path, format!("the schema is nested deeper than {DEPTH_MAX}")));
        return Node::new(Shape::Any);
    }
    let shape = if is_set(schema, "x-kubernetes-int-or-string") {
        Shape::IntOrString
    } else {
        read_shape(schema, path, depth, errors)
    };
    Node { shape, nullable: is_set(schema, "nullable") }
}

fn read_shape(schema: &Value, path: &Path<'_>, depth: usize, errors: &mut Vec<FieldError>) -> Shape {
    let preserve_unknown = is_set(schema, "x-kubernetes-preserve-unknown-fields");
    match text(schema, "type") {
        "string" => Shape::String,
        "integer" => Shape::Integer,
        "number" => Shape::Number,
        "boolean" => Shape::Boolean,
        "array" => {
            let Some(items) = schema.get("items") else {
                errors.push(FieldError::required(&path.child("items"), "must be specified"));
                return Shape::Any;
            };
            let list_type = match text(schema, "x-kubernetes-list-type") {
                "set" => ListType::Set,
                "map" => ListType::Map(texts(schema, "x-kubernetes-list-map-keys")),
                _ => ListType::Atomic,
            };
            Shape::List { items: read_node(items, &path.child("items"), depth + 1, errors).into(), list_type }
        }
        "object" => read_object(schema, path, depth, errors),
        "" if preserve_unknown => Shape::Any,
        "" => {
            errors.push(FieldError::required(
                &path.child("type"),
                "must not be empty for specified object fields",
            ));
            Shape::Any
        }
        other => {
            let known = ["string", "integer", "number", "boolean", "array", "object"];
            errors.push(FieldError::not_supported(&path.child("type"), other, &known));
            Shape::Any
        }
    }
}

fn read_object(schema: &Value, path: &Path<'_>, depth: usize, errors: &mut Vec<FieldError>) -> Shape {
    let atomic = text(schema, "x-kubernetes-map-type") == "atomic";
    let preserve_unknown = is_set(schema, "x-kubernetes-preserve-unknown-fields");
    let embedded = is_set(schema, "x-kubernetes-embedded-resource");
    let properties = schema.get("properties").and_then(Value::as_object);
    match (properties, schema.get("additionalProperties")) {
        (None, Some(values @ Value::Object(_))) => {
            let place = path.child("additionalProperties");
            Shape::Map { values: read_node(values, &place, depth + 1, errors).into(), atomic }
        }
        (None, Some(Value::Bool(true))) => Shape::Map { values: Node::new(Shape::Any).into(), atomic },
        (properties, _) => {
            let none = Map::new();
            let required = texts(schema, "required");
            let place = path.child("properties");
            let fields = properties.unwrap_or(&none).iter().map(|(name, schema)| Field {
                name: name.as_str().into(),
                node: read_node(schema, &place.key(name), depth + 1, errors).into(),
                required: required.iter().any(|required| **required == **name),
                patch: PatchStrategy::default(),
                default: schema.get("default").cloned(),
            });
            Shape::Struct { fields: fields.collect(), atomic, preserve_unknown: preserve_unknown || embedded }
        }
    }
}

/// Fills in what the object leaves out and its schema has a default for.
pub fn complete(node: &Node, value: &mut Value) {
    match (&node.shape, value) {
        (Shape::Struct { fields, .. }, Value::Object(object)) => {
            for field in fields {
                if let Some(default) = &field.default {
                    let missing = object
                        .get(&*field.name)
                        .is_none_or(|own| own.is_null() && !field.node.node().nullable);
                    if missing {
                        object.insert(field.name.to_string(), default.clone());
                    }
                }
                if let Some(own) = object.get_mut(&*field.name) {
                    complete(field.node.node(), own);
                }
            }
        }
        (Shape::List { items, .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|item| complete(items.node(), item));
        }
        (Shape::Map { values, .. }, Value::Object(object)) => {
            object.values_mut().for_each(|value| complete(values.node(), value));
        }
        _ => {}
    }
}

/// The required fields that the object lacks.
pub fn missing(node: &Node, value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match (&node.shape, value) {
        (Shape::Struct { fields, .. }, Value::Object(object)) => {
            for field in fields {
                match object.get(&*field.name) {
                    Some(own) => missing(field.node.node(), own, &path.child(&field.name), errors),
                    None if field.required => errors.push(FieldError::required(&path.child(&field.name), "")),
                    None => {}
                }
            }
        }
        (Shape::List { items, .. }, Value::Array(list)) => {
            for (at, item) in list.iter().enumerate() {
                missing(items.node(), item, &path.index(at), errors);
            }
        }
        (Shape::Map { values, .. }, Value::Object(object)) => {
            for (key, value) in object {
                missing(values.node(), value, &path.key(key), errors);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition() -> Value {
        json!({
            "metadata": {"name": "things.example.org"},
            "spec": {
                "group": "example.org", "scope": "Namespaced",
                "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "required": ["size"], "properties": {
                            "size": {"type": "integer"},
                            "color": {"type": "string", "default": "red"},
                            "ports": {"type": "array", "x-kubernetes-list-type": "map",
                                "x-kubernetes-list-map-keys": ["port"],
                                "items": {"type": "object", "properties": {"port": {"type": "integer"}}}},
                        }},
                    }}},
                }],
            },
        })
    }

    #[test]
    fn a_definition_becomes_a_resource() {
        let resource = compile(&definition()).unwrap();
        assert_eq!(
            (&*resource.list_kind, &*resource.singular, &*resource.storage),
            ("ThingList", "thing", "v1")
        );
        let version = resource.version("v1").unwrap();
        assert!(version.status);
        let node = version.schema.node();
        let mut thing = json!({"kind": "Thing", "metadata": {"name": "a"}, "spec": {"ports": [], "x": 1}});
        assert_eq!(crate::conform::conform(node, &mut thing).unwrap(), ["spec.x"]);
        complete(node, &mut thing);
        assert_eq!(thing["spec"]["color"], "red");
        let mut errors = Vec::new();
        missing(node, &thing, &Path::ROOT, &mut errors);
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), ["spec.size: Required value"]);
    }

    #[test]
    fn a_definition_that_does_not_hold_together_is_refused_with_every_reason() {
        let mut bad = definition();
        bad["metadata"]["name"] = json!("other");
        bad["spec"]["scope"] = json!("Galaxy");
        bad["spec"]["versions"][0]["storage"] = json!(false);
        bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"] = json!("blob");
        let errors = compile(&bad).unwrap_err();
        assert_eq!(errors.len(), 4, "{errors:?}");
    }
}
