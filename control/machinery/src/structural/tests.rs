use std::path::{Path as FilePath, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::field::Path;
use crate::schema::Shape;

fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})
}

fn compiled(properties: Value) -> Structural {
    compile(&object(properties)).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// The errors of `spec`, one line each.
fn errors(properties: Value, spec: Value) -> Vec<String> {
    let found = compiled(properties).validate(&json!({"spec": spec}));
    found.iter().map(ToString::to_string).collect()
}

fn refused(schema: &Value) -> Vec<String> {
    compile(schema).expect_err("refused").iter().map(ToString::to_string).collect()
}

#[test]
fn each_rule_is_told_in_the_words_of_kubernetes() {
    let cases = [
        (
            json!({"type": "integer"}),
            json!("a"),
            r#"spec.x: Invalid value: "string": spec.x in body must be of type integer: "string""#,
        ),
        (
            json!({"type": "string"}),
            json!(null),
            r#"spec.x: Invalid value: "null": spec.x in body must be of type string: "null""#,
        ),
        (
            json!({"type": "integer"}),
            json!(true),
            r#"spec.x: Invalid value: "boolean": spec.x in body must be of type integer: "boolean""#,
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            r#"spec.x: Invalid value: "boolean": spec.x in body must be of type integer,string: "boolean""#,
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            r#"spec.x: Unsupported value: "c": supported values: "a", "b""#,
        ),
        (
            json!({"type": "integer", "maximum": 10}),
            json!(11),
            "spec.x: Invalid value: 11: spec.x in body should be less than or equal to 10",
        ),
        (
            json!({"type": "integer", "maximum": 10, "exclusiveMaximum": true}),
            json!(10),
            "spec.x: Invalid value: 10: spec.x in body should be less than 10",
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "number", "minimum": 1000000}),
            json!(0.5),
            "spec.x: Invalid value: 0.5: spec.x in body should be greater than or equal to 1e+06",
        ),
        (
            json!({"type": "integer", "multipleOf": 3}),
            json!(4),
            "spec.x: Invalid value: 4: spec.x in body should be a multiple of 3",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("é"),
            r#"spec.x: Invalid value: "é": spec.x in body should be at least 2 chars long"#,
        ),
        (
            json!({"type": "string", "maxLength": 1}),
            json!("éé"),
            "spec.x: Too long: may not be more than 1 bytes",
        ),
        (
            json!({"type": "string", "pattern": "^\\d+$"}),
            json!("a"),
            r#"spec.x: Invalid value: "a": spec.x in body should match '^\d+$'"#,
        ),
        (
            json!({"type": "string", "format": "ipv4"}),
            json!("a"),
            r#"spec.x: Invalid value: "a": spec.x in body must be of type ipv4: "a""#,
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            json!([]),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["a", "b"]),
            "spec.x: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!(["a", 1]),
            r#"spec.x[1]: Invalid value: "integer": spec.x[1] in body must be of type string: "integer""#,
        ),
        (
            json!({"type": "object", "required": ["y"], "properties": {"y": {"type": "string"}}}),
            json!({}),
            "spec.x.y: Required value",
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({"a": "", "b": ""}),
            "spec.x: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "b", "a"]),
            r#"spec.x[2]: Duplicate value: "a""#,
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            json!({"kind": "A"}),
            "spec.x.apiVersion: Required value",
        ),
    ];
    for (schema, value, expected) in cases {
        assert_eq!(errors(json!({"x": schema}), json!({"x": value})), [expected]);
    }
}

#[test]
fn values_that_obey_are_taken() {
    let cases = [
        (json!({"type": "integer", "format": "int32"}), json!(3.0)),
        (json!({"type": "number"}), json!(3)),
        (json!({"type": "string", "nullable": true}), json!(null)),
        (json!({"x-kubernetes-int-or-string": true}), json!("50%")),
        (json!({"x-kubernetes-preserve-unknown-fields": true}), json!([null])),
        (json!({"type": "string", "format": "anything"}), json!("x")),
        (json!({"type": "number", "multipleOf": 0.5}), json!(1.5)),
        (json!({"type": "number", "enum": [1]}), json!(1.0)),
        (json!({"type": "object", "additionalProperties": true}), json!({"a": [1]})),
        (json!({"type": "string", "maxLength": 2}), json!("éé")),
    ];
    for (schema, value) in cases {
        assert_eq!(
            errors(json!({"x": schema}), json!({"x": value})),
            Vec::<String>::new(),
            "{schema} {value}"
        );
    }
}

#[test]
fn a_number_outside_its_format_is_refused() {
    let found = errors(json!({"x": {"type": "integer", "format": "int32"}}), json!({"x": 3_000_000_000_u64}));
    assert_eq!(
        found,
        [r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.x"#]
    );
}

#[test]
fn junctors_say_how_many_branches_hold() {
    let schema = |junctor: &str| {
        json!({"x": {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            (junctor): [{"required": ["a"]}, {"required": ["b"]}],
        }})
    };
    let neither = json!({"x": {}});
    let both = json!({"x": {"a": "", "b": ""}});
    let text = |what: &str| format!(r#"<nil>: Invalid value: "": "spec.x" {what}"#);
    assert_eq!(
        errors(schema("oneOf"), both.clone()),
        [text("must validate one and only one schema (oneOf). Found 2 valid alternatives")]
    );
    assert_eq!(
        errors(schema("oneOf"), neither.clone()),
        [
            text("must validate one and only one schema (oneOf). Found none valid"),
            "spec.x.a: Required value".into()
        ]
    );
    assert_eq!(
        errors(schema("anyOf"), neither.clone()).first(),
        Some(&text("must validate at least one schema (anyOf)"))
    );
    assert_eq!(errors(schema("anyOf"), both.clone()), Vec::<String>::new());
    assert_eq!(
        errors(schema("allOf"), neither).last(),
        Some(&text("must validate all the schemas (allOf). None validated"))
    );
    let not =
        json!({"x": {"type": "object", "properties": {"a": {"type": "string"}}, "not": {"required": ["a"]}}});
    assert_eq!(errors(not, json!({"x": {"a": ""}})), [text("must not validate the schema (not)")]);
}

#[test]
fn an_integer_or_string_may_name_both_types_in_any_of() {
    let schema = json!({"x": {
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}],
        "pattern": "^[0-9]+%$",
    }});
    assert_eq!(errors(schema.clone(), json!({"x": 3})), Vec::<String>::new());
    assert_eq!(errors(schema.clone(), json!({"x": "3%"})), Vec::<String>::new());
    assert_eq!(errors(schema.clone(), json!({"x": "3"})).len(), 1);
    assert_eq!(errors(schema, json!({"x": 0})).len(), 2);
}

#[test]
fn elements_of_a_map_list_are_told_apart_by_their_keys() {
    let schema = json!({"x": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
        "items": {
            "type": "object",
            "required": ["port"],
            "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}},
        },
    }});
    let found = errors(
        schema.clone(),
        json!({"x": [{"port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "UDP"}, {"port": 1, "protocol": "TCP"}]}),
    );
    assert_eq!(found, [r#"spec.x[2]: Duplicate value: {"port":1,"protocol":"TCP"}"#]);
    let node = compiled(schema);
    let spec = node.node().field("spec").unwrap().node.node().field("x").unwrap();
    let Shape::List { items, list_type: ListType::Map(keys) } = &spec.node.node().shape else {
        panic!("a map list")
    };
    assert_eq!(keys.len(), 2);
    assert_eq!(items.node().field("protocol").unwrap().default, Some(json!("TCP")));
}

#[test]
fn what_is_not_structural_is_refused() {
    let field = |schema: Value| object(json!({"x": schema}));
    let cases = [
        (json!({"type": "string"}), "type: Invalid value: \"string\": must be object at the root"),
        (json!({}), "type: Required value: must not be empty at the root"),
        (
            field(json!({})),
            "properties[spec].properties[x].type: Required value: must not be empty for specified object fields",
        ),
        (
            field(json!({"type": "text"})),
            "properties[spec].properties[x].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
        (
            field(json!({"type": "array"})),
            "properties[spec].properties[x].items: Required value: must be specified",
        ),
        (
            field(json!({"type": "array", "items": {}})),
            "properties[spec].properties[x].items.type: Required value: must not be empty for specified array items",
        ),
        (
            field(json!({"type": "string", "pattern": "("})),
            "properties[spec].properties[x].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't",
        ),
        (
            field(json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}})),
            "properties[spec].properties[x].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            field(json!({"type": "object", "$ref": "#/a"})),
            "properties[spec].properties[x].$ref: Forbidden: $ref is not supported",
        ),
        (
            field(json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}})),
            "properties[spec].properties[x].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            field(json!({"type": "integer", "default": "a"})),
            "properties[spec].properties[x].default: Invalid value: \"a\": ",
        ),
        (
            field(json!({"type": "object", "default": {"y": 1}})),
            "properties[spec].properties[x].default: Invalid value: {\"y\":1}: unknown field \"y\"",
        ),
        (
            field(json!({"type": "string", "anyOf": [{"type": "string"}]})),
            "properties[spec].properties[x].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            field(json!({"type": "string", "x-kubernetes-int-or-string": true})),
            "properties[spec].properties[x].type: Forbidden: must be empty if x-kubernetes-int-or-string is true",
        ),
        (
            field(json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}})),
            "properties[spec].properties[x].x-kubernetes-list-map-keys: Required value",
        ),
        (
            field(json!({"type": "string", "x-kubernetes-validations": [{"message": "m"}]})),
            "properties[spec].properties[x].x-kubernetes-validations[0].rule: Required value: rule is not specified",
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
        (json!(5), "<nil>: Invalid value: 5: must be an object"),
    ];
    for (schema, expected) in cases {
        let found = refused(&schema);
        assert!(found.iter().any(|error| error.starts_with(expected)), "{schema}\n{expected}\n{found:#?}");
    }
}

#[test]
fn schemas_have_limits() {
    let mut deep = json!({"type": "string"});
    for _ in 0..MAX_DEPTH {
        deep = json!({"type": "array", "items": deep});
    }
    assert!(
        refused(&object(json!({"x": deep})))
            .iter()
            .any(|error| error.contains("schemas may nest at most 64 deep"))
    );
    let many: serde_json::Map<String, Value> =
        (0..=MAX_NODES).map(|n| (format!("f{n}"), json!({"type": "string"}))).collect();
    assert!(refused(&object(Value::Object(many))).iter().any(|error| error.contains("at most 50000 nodes")));
}

#[test]
fn rules_in_cel_are_compiled_with_the_schema_and_run() {
    let rule = json!({
        "rule": "self.a > 0", "message": "m", "messageExpression": "'e'", "reason": "FieldValueForbidden",
        "fieldPath": ".a",
    });
    let properties = json!({"x": {
        "type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": [rule],
    }});
    let found = compiled(properties).validate(&json!({"spec": {"x": {"a": 0}}}));
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["spec.x.a: Forbidden: e"]);
}

#[test]
fn defaults_fill_only_what_is_absent_or_may_not_be_null() {
    let structural = compiled(json!({
        "a": {"type": "string", "default": "d"},
        "n": {"type": "string", "default": "d", "nullable": true},
        "o": {"type": "object", "properties": {"b": {"type": "integer", "default": 1}}},
        "p": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 1}}},
        "l": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "boolean", "default": true}}}},
        "m": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": {"type": "boolean", "default": true}}}},
        "s": {"type": "string"},
    }));
    let mut value =
        json!({"spec": {"a": null, "n": null, "l": [{}, {"c": false}], "m": {"k": {}}, "s": null}});
    structural.default(&mut value);
    let expected = json!({"spec": {
        "a": "d", "n": null, "p": {"b": 1}, "l": [{"c": true}, {"c": false}], "m": {"k": {"c": true}},
    }});
    assert_eq!(value, expected);
}

#[test]
fn unknown_fields_are_told_and_pruned() {
    let structural = compiled(json!({
        "a": {"type": "object", "properties": {"b": {"type": "string"}}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"c": {"type": "object"}}},
        "l": {"type": "array", "items": {"type": "object"}},
        "e": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
    }));
    let mut value = json!({
        "apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "nope": 1, "labels": {"any": "x"}},
        "top": 1,
        "spec": {
            "a": {"b": "", "x": 1}, "open": {"y": 1, "c": {"z": 1}}, "l": [{"q": 1}],
            "e": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": {"r": 1}, "other": 1},
        },
    });
    let mut told = structural.unknown_fields(&value);
    assert_eq!(told, structural.prune(&mut value));
    told.sort();
    assert_eq!(
        told,
        ["metadata.nope", "spec.a.x", "spec.e.other", "spec.e.spec.r", "spec.l[0].q", "spec.open.c.z", "top"]
    );
    let expected = json!({
        "apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "labels": {"any": "x"}},
        "spec": {
            "a": {"b": ""}, "open": {"y": 1, "c": {}}, "l": [{}],
            "e": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": {}},
        },
    });
    assert_eq!(value, expected);
}

fn definitions(directory: &FilePath, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            definitions(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            into.push(path);
        }
    }
}

/// Gateway API's definitions are no part of a checkout: they lie beside it, or where the variable says.
fn gateway_definitions() -> Option<PathBuf> {
    let beside = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/gateway-api-v1.6.1");
    std::env::var_os("XEBEC_GATEWAY_CRDS").map(PathBuf::from).or(Some(beside)).filter(|path| path.exists())
}

#[test]
fn every_schema_of_the_gateway_api_compiles() {
    let Some(directory) = gateway_definitions() else {
        eprintln!("skipped: every_schema_of_the_gateway_api_compiles needs XEBEC_GATEWAY_CRDS");
        return;
    };
    let mut files = Vec::new();
    definitions(&directory, &mut files);
    let mut schemas = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let versions = documents
            .iter()
            .filter(|document| document["kind"] == "CustomResourceDefinition")
            .flat_map(|document| document["spec"]["versions"].as_array().unwrap());
        for version in versions {
            let schema = &version["schema"]["openAPIV3Schema"];
            let structural =
                compile(schema).unwrap_or_else(|errors| panic!("{}: {errors:#?}", file.display()));
            assert!(structural.node().field("metadata").is_some(), "{}", file.display());
            let stored = compile_stored(schema, &Path::ROOT).unwrap();
            let told =
                |schema: &Structural| format!("{:?} {:?} {:?}", schema.root(), schema.node(), schema.rules());
            assert!(told(&stored) == told(&structural), "what {} keeps is less", file.display());
            schemas += 1;
        }
    }
    assert!(schemas > 10, "only {schemas} schemas in {}", directory.display());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| json!(float)),
        "[a-z]{0,3}".prop_map(Value::from),
        Just(json!("object")),
        Just(json!("array")),
    ];
    let key = prop_oneof![
        "[a-d]".prop_map(String::from),
        prop::sample::select(vec![
            "type",
            "properties",
            "items",
            "additionalProperties",
            "default",
            "nullable",
            "enum",
            "pattern",
            "anyOf",
            "x-kubernetes-list-type",
            "x-kubernetes-preserve-unknown-fields",
            "required",
            "not",
            "metadata",
            "spec",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-list-map-keys",
            "maximum",
            "format",
            "apiVersion",
        ])
        .prop_map(String::from),
    ];
    leaf.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Schemas over the same few field names as the values, so that the two meet.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string", "default": "d"})),
        Just(json!({"type": "string", "nullable": true, "default": "d"})),
        Just(json!({"type": "integer"})),
        Just(json!({"x-kubernetes-int-or-string": true, "default": 5})),
        Just(json!({"x-kubernetes-preserve-unknown-fields": true})),
        Just(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
    ];
    let inner = leaf.prop_recursive(4, 32, 4, |inner| {
        let fields = prop::collection::btree_map("[a-d]", inner.clone(), 0..4);
        prop_oneof![
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            inner.prop_map(|values| json!({"type": "object", "additionalProperties": values})),
            fields.clone().prop_map(|fields| json!({"type": "object", "properties": fields})),
            fields.prop_map(|fields| json!({"type": "object", "default": {}, "properties": fields})),
        ]
    });
    prop::collection::btree_map("[a-d]", inner, 0..4)
        .prop_map(|fields| json!({"type": "object", "properties": fields}))
}

proptest! {
    #[test]
    fn random_patterns_and_texts_never_panic(
        pattern in r"(\PC|[\\\[\]{}()*+?|^$.,:-]|\\[a-zA-Z0-9]){0,24}",
        format in prop::sample::select(vec!["date-time", "duration", "email", "cidr", "mac", "uuid", "ssn", "isbn", "uri"]),
        text in r"\PC{0,40}|[0-9a-fT:.+/@-]{0,40}",
    ) {
        if let Ok(regex) = compile_pattern(&pattern) {
            regex.is_match(&text);
        }
        prop_assert!(formats::holds(format, &text).is_some());
    }

    #[test]
    fn random_json_never_panics(schema in any_value(), value in any_value()) {
        if let Ok(structural) = compile(&schema) {
            structural.validate(&value);
        }
    }

    #[test]
    fn defaulting_twice_changes_nothing_more(schema in any_schema(), mut value in any_value()) {
        let structural = compile(&schema).unwrap();
        structural.default(&mut value);
        let once = value.clone();
        structural.default(&mut value);
        prop_assert_eq!(once, value);
    }

    #[test]
    fn pruning_twice_changes_nothing_more_and_leaves_nothing_unknown(schema in any_schema(), mut value in any_value()) {
        let structural = compile(&schema).unwrap();
        structural.prune(&mut value);
        let once = value.clone();
        prop_assert_eq!(structural.prune(&mut value), Vec::<String>::new());
        prop_assert_eq!(once, value);
    }

    #[test]
    fn validation_never_panics_on_what_was_defaulted_and_pruned(schema in any_schema(), mut value in any_value()) {
        let structural = compile(&schema).unwrap();
        structural.prune(&mut value);
        structural.default(&mut value);
        for error in structural.validate(&value) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
