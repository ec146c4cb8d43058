use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::Shape;

const NOW: &str = "2026-01-02T03:04:05Z";

fn version(name: &str, storage: bool) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"replicas": {"type": "integer", "default": 1}, "tier": {"type": "string"}}},
        }}},
    })
}

fn definition() -> Value {
    let mut definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]},
            "versions": [version("v1", true)],
        },
    });
    default(&mut definition);
    definition
}

/// The definition with the value at a JSON pointer replaced, or removed by a null.
fn with(pointer: &str, value: Value) -> Value {
    let mut changed = definition();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match changed.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        Value::Object(map) if value.is_null() => drop(map.remove(name)),
        Value::Object(map) => drop(map.insert(name.into(), value)),
        other => panic!("{other} has no parts"),
    }
    changed
}

fn lines(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_definition_is_completed_and_compiled() {
    let mut given = with(
        "/spec/versions/0/subresources",
        json!({
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"},
        }),
    );
    given["spec"]["versions"][0]["additionalPrinterColumns"] =
        json!([{"name": "Tier", "type": "string", "jsonPath": ".spec.tier", "priority": 1}]);
    given["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.tier"}]);
    assert_eq!(lines(&validate(&given)), Vec::<String>::new());

    let compiled = compile(&given).unwrap();
    let resource = &compiled.resource;
    assert_eq!(
        (&*resource.kind, &*resource.list_kind, &*resource.singular),
        ("CronTab", "CronTabList", "crontab")
    );
    assert_eq!((&*resource.storage, resource.scope, resource.custom), ("v1", Scope::Namespaced, true));
    let served = resource.version("v1").unwrap();
    assert!(served.status);
    let scale = served.scale.as_ref().unwrap();
    assert_eq!(
        (&*scale.spec_replicas, scale.selector.as_deref()),
        (".spec.replicas", Some(".status.selector"))
    );
    assert_eq!((&*served.columns[0].json_path, served.columns[0].priority), (".spec.tier", 1));
    assert_eq!(served.selectable, [".spec.tier".into()]);
    assert!(matches!(served.schema.node().shape, Shape::Struct { .. }));

    let mut object = json!({"spec": {}});
    compiled.structural("v1").unwrap().default(&mut object);
    assert_eq!(object, json!({"spec": {"replicas": 1}}));
}

#[test]
fn versions_stand_in_the_order_of_preference() {
    let names = ["foo", "v1alpha2", "v1", "v10", "v2beta1", "v2", "bar", "v2beta2"];
    let versions: Vec<Value> = names.iter().map(|name| version(name, *name == "v1")).collect();
    let resource = compile(&with("/spec/versions", json!(versions))).unwrap().resource;
    let order: Vec<&str> = resource.versions.iter().map(|version| &*version.name).collect();
    assert_eq!(order, ["v10", "v2", "v1", "v2beta2", "v2beta1", "v1alpha2", "bar", "foo"]);
}

#[test]
fn a_deprecated_version_warns_in_its_own_words_or_the_usual_ones() {
    let mut given = definition();
    given["spec"]["versions"][0]["deprecated"] = json!(true);
    let warning = |given: &Value| compile(given).unwrap().resource.versions[0].deprecation.clone();
    assert_eq!(warning(&given).as_deref(), Some("stable.example.com/v1 CronTab is deprecated"));
    given["spec"]["versions"][0]["deprecationWarning"] = json!("use v2");
    assert_eq!(warning(&given).as_deref(), Some("use v2"));
}

#[test]
fn a_wrong_definition_is_told_in_the_words_of_kubernetes() {
    let cases = [
        (
            "/metadata/name",
            json!("x"),
            r#"metadata.name: Invalid value: "x": must be spec.names.plural+"."+spec.group"#,
        ),
        ("/spec/group", json!(""), "spec.group: Required value"),
        (
            "/spec/group",
            json!("example"),
            r#"spec.group: Invalid value: "example": should be a domain with at least one dot"#,
        ),
        (
            "/spec/scope",
            json!("Any"),
            r#"spec.scope: Unsupported value: "Any": supported values: "Cluster", "Namespaced""#,
        ),
        (
            "/spec/names/plural",
            json!("Cron"),
            r#"spec.names.plural: Invalid value: "Cron": a DNS-1035 label must"#,
        ),
        (
            "/spec/names/kind",
            json!("a b"),
            r#"spec.names.kind: Invalid value: "a b": may have mixed case, but should otherwise match: a DNS-1035 label must"#,
        ),
        (
            "/spec/names/listKind",
            json!("CronTab"),
            r#"spec.names.listKind: Invalid value: "CronTab": kind and listKind may not be the same"#,
        ),
        ("/spec/names/shortNames", json!(["ct", "C"]), r#"spec.names.shortNames[1]: Invalid value: "C""#),
        (
            "/spec/versions",
            json!([]),
            "spec.versions: Invalid value: []: must have exactly one version marked as storage version",
        ),
        (
            "/spec/versions",
            json!([version("v1", true), version("v2", true)]),
            r#"spec.versions: Invalid value: [{"Name":"v1","Served":true,"Storage":true,"Deprecated":false,"DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null},{"Name":"v2","Served":true,"Storage":true,"Deprecated":false,"DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}]: must have exactly one version marked as storage version"#,
        ),
        (
            "/spec/versions",
            json!([version("v1", true), version("v1", false)]),
            r#"spec.versions: Invalid value: [{"Name":"v1","Served":true,"Storage":true,"Deprecated":false,"DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null},{"Name":"v1","Served":true,"Storage":false,"Deprecated":false,"DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}]: must contain unique version names"#,
        ),
        (
            "/spec/versions/0/name",
            json!("1"),
            r#"spec.versions[0].name: Invalid value: "1": a DNS-1035 label must"#,
        ),
        (
            "/spec/versions/0/schema",
            json!(null),
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
            json!({}),
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        (
            "/spec/preserveUnknownFields",
            json!(true),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true",
        ),
        (
            "/spec/versions/0/subresources",
            json!({"scale": {"specReplicasPath": ".status.x"}}),
            r#"spec.subresources.scale.specReplicasPath: Invalid value: ".status.x": should be a json path under .spec"#,
        ),
        (
            "/spec/versions/0/subresources",
            json!({"scale": {"specReplicasPath": ".spec.x"}}),
            "spec.subresources.scale.statusReplicasPath: Required value",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            json!([{"name": "a", "type": "text", "jsonPath": ".a"}]),
            r#"spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string"#,
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            json!([{"name": "a", "type": "string"}]),
            "spec.additionalPrinterColumns[0].JSONPath: Required value",
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".spec.nope"}]),
            r#"spec.selectableFields[0].jsonPath: Invalid value: ".spec.nope": is an invalid path: does not refer to a valid field"#,
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".spec"}]),
            r#"spec.selectableFields[0].jsonPath: Invalid value: ".spec": must point to a field of type string"#,
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".spec.tier"}, {"jsonPath": ".spec.tier"}]),
            r#"spec.selectableFields[1].jsonPath: Duplicate value: ".spec.tier""#,
        ),
        (
            "/spec/versions/0/deprecationWarning",
            json!("x"),
            r#"spec.versions[0].deprecationWarning: Invalid value: "x": can only be set for deprecated versions"#,
        ),
        (
            "/spec/conversion",
            json!({"strategy": "Magic"}),
            r#"spec.conversion.strategy: Unsupported value: "Magic": supported values: "None", "Webhook""#,
        ),
        (
            "/spec/conversion",
            json!({"strategy": "Webhook"}),
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        ),
        (
            "/spec/conversion",
            json!({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "http://x"}, "conversionReviewVersions": ["v1"]}}),
            r#"spec.conversion.webhookClientConfig.url: Invalid value: "http://x": 'https' is the only allowed URL scheme"#,
        ),
        (
            "/spec/conversion",
            json!({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v9"]}}),
            r#"spec.conversion.conversionReviewVersions: Invalid value: ["v9"]: must include at least one of v1, v1beta1"#,
        ),
        (
            "/spec/conversion",
            json!({"strategy": "None", "webhook": {"clientConfig": {}}}),
            "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook",
        ),
    ];
    for (pointer, value, expected) in cases {
        let found = lines(&validate(&with(pointer, value)));
        assert!(found.iter().any(|error| error.starts_with(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn schemas_that_differ_are_told_at_their_versions() {
    let mut second = version("v2", false);
    second["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({});
    let found = lines(&validate(&with("/spec/versions", json!([version("v1", true), second]))));
    assert_eq!(
        found,
        [
            "spec.versions[1].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields"
        ]
    );
}

#[test]
fn the_root_of_a_schema_says_little_where_status_is_a_subresource() {
    let mut given = with("/spec/versions/0/subresources", json!({"status": {}}));
    given["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["anyOf"] = json!([{"required": ["spec"]}]);
    let found = lines(&validate(&given));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with(
        "spec.validation.openAPIV3Schema: Invalid value: \"anyOf\": only [Description Type Format"
    ));
}

#[test]
fn groups_of_kubernetes_need_an_approval() {
    let mut given = with("/spec/group", json!("x.k8s.io"));
    given["metadata"]["name"] = json!("crontabs.x.k8s.io");
    let at = "metadata.annotations[api-approved.kubernetes.io]";
    let words = "protected groups must have approval annotation \"api-approved.kubernetes.io\"";
    let rule = "see https://github.com/kubernetes/enhancements/pull/1111";
    assert_eq!(lines(&validate(&given)), [format!("{at}: Required value: {words}, {rule}")]);
    given["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "invalid"});
    let expected = format!(
        "{at}: Invalid value: \"invalid\": {words} with either a URL or a reason starting with \"unapproved\", {rule}"
    );
    assert_eq!(lines(&validate(&given)), [expected]);
    for told in ["https://example.com/1", "unapproved, an experiment"] {
        given["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": told});
        assert_eq!(lines(&validate(&given)), Vec::<String>::new());
    }
    accept(&mut given, [], NOW);
    let conditions = given["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions[2]["type"], "KubernetesAPIApprovalPolicyConformant");
    assert_eq!(conditions[2]["message"], "not approved: \"unapproved, an experiment\"");
}

#[test]
fn an_accepted_definition_says_so() {
    let mut given = definition();
    assert!(!established(&given));
    assert!(accept(&mut given, [], NOW));
    assert!(established(&given));
    let names = json!({
        "plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList",
        "shortNames": ["ct"], "categories": ["all"],
    });
    let expected = json!({
        "acceptedNames": names,
        "conditions": [
            {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found", "lastTransitionTime": NOW},
            {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "the initial names have been accepted", "lastTransitionTime": NOW},
        ],
        "storedVersions": ["v1"],
    });
    assert_eq!(given["status"], expected);
    assert!(!accept(&mut given, [], "2027-01-01T00:00:00Z"), "nothing changes the second time");
}

#[test]
fn names_that_another_definition_has_are_not_accepted() {
    let mut first = definition();
    accept(&mut first, [], NOW);
    let mut second = with("/metadata/name", json!("jobs.stable.example.com"));
    second["spec"]["names"] = json!({"plural": "jobs", "singular": "job", "kind": "CronTab", "listKind": "JobList", "shortNames": ["ct"]});
    accept(&mut second, [&first], NOW);
    let condition = |definition: &Value, place: usize, part: &str| {
        definition["status"]["conditions"][place][part].clone()
    };
    assert_eq!(condition(&second, 0, "reason"), "ShortNamesConflict");
    assert_eq!(condition(&second, 0, "message"), "\"ct\" is already in use");
    assert_eq!(condition(&second, 1, "reason"), "NotAccepted");
    assert_eq!(
        second["status"]["acceptedNames"],
        json!({"plural": "jobs", "singular": "job", "listKind": "JobList"})
    );
    assert!(!established(&second));

    let mut elsewhere = second.clone();
    elsewhere["spec"]["group"] = json!("other.example.com");
    accept(&mut elsewhere, [&first], NOW);
    assert!(established(&elsewhere), "another group has its own names");

    // A definition that was served goes on, though it asks for a name that is taken.
    let mut third = elsewhere.clone();
    third["spec"]["group"] = json!("stable.example.com");
    third["spec"]["names"]["plural"] = json!("crontabs");
    accept(&mut third, [&first], NOW);
    assert_eq!(condition(&third, 0, "reason"), "PluralConflict");
    assert!(established(&third));
}

#[test]
fn an_update_keeps_what_the_store_relies_on() {
    let mut old = definition();
    accept(&mut old, [], NOW);
    let changed = |pointer: &str, value: Value| {
        let mut new = with(pointer, value);
        new["status"] = old["status"].clone();
        lines(&validate_update(&old, &new))
    };
    assert_eq!(
        changed("/spec/names/kind", json!("Other")),
        [r#"spec.names.kind: Invalid value: "Other": field is immutable"#]
    );
    assert_eq!(
        changed("/spec/scope", json!("Cluster")),
        [r#"spec.scope: Invalid value: "Cluster": field is immutable"#]
    );
    assert_eq!(
        changed("/spec/group", json!("b.c")),
        [r#"spec.group: Invalid value: "b.c": field is immutable"#]
    );
    let found = changed("/spec/versions", json!([version("v2", true)]));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0]
            .starts_with("status.storedVersions: Invalid value: [\"v1\"]: must have the storage version v2")
    );
    assert!(found[1].starts_with("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version"));

    let mut moved = with("/spec/versions", json!([version("v1", false), version("v2", true)]));
    moved["status"] = old["status"].clone();
    store_versions(&mut moved);
    assert_eq!(moved["status"]["storedVersions"], json!(["v1", "v2"]));
    assert_eq!(lines(&validate_update(&old, &moved)), Vec::<String>::new());
}

#[test]
fn a_definition_says_who_converts_its_objects() {
    let mut given = with("/spec/versions", json!([version("v1", true), version("v2", false)]));
    assert_eq!(compile(&given).unwrap().resource.conversion, Conversion::None);
    given["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": {"service": {"name": "a", "namespace": "b"}}, "conversionReviewVersions": ["v9", "v1beta1", "v1"],
    }});
    let Conversion::Webhook(webhook) = compile(&given).unwrap().resource.conversion else {
        panic!("a webhook")
    };
    assert_eq!((&webhook.client["service"]["port"], &*webhook.review), (&json!(443), "v1beta1"));
}

#[test]
fn every_definition_of_the_gateway_api_is_accepted() {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/gateway-api-v1.6.1");
    let directory = std::env::var_os("XEBEC_GATEWAY_CRDS").map_or(beside, PathBuf::from).join("standard");
    if !directory.exists() {
        eprintln!("skipped: every_definition_of_the_gateway_api_is_accepted needs XEBEC_GATEWAY_CRDS");
        return;
    }
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for mut document in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            if document["kind"] != "CustomResourceDefinition" {
                continue;
            }
            default(&mut document);
            assert_eq!(lines(&validate(&document)), Vec::<String>::new(), "{}", document["metadata"]["name"]);
            let compiled = compile(&document).unwrap();
            assert!(!compiled.resource.storage.is_empty());
            count += 1;
        }
    }
    assert!(count > 4, "only {count} definitions");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "spec",
        "names",
        "kind",
        "group",
        "versions",
        "name",
        "schema",
        "openAPIV3Schema",
        "conversion",
        "webhook",
        "clientConfig",
        "url",
        "service",
        "status",
        "conditions",
        "acceptedNames",
        "storedVersions",
        "subresources",
        "scale",
        "selectableFields",
        "jsonPath",
        "metadata",
        "strategy",
    ]);
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| Value::Object(
                map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn random_definitions_never_panic(mut new in any_value(), old in any_value(), part in any_value(), place in 0_usize..4) {
        let pointer = ["/spec/versions/0", "/spec/names", "/spec/conversion", "/status"][place];
        let mut near = with(pointer, part);
        for given in [&mut new, &mut near] {
            default(given);
            validate(given);
            validate_update(&old, given);
            let refused = compile(given).is_err();
            accept(given, [&old], NOW);
            let once = given.clone();
            accept(given, [&old], "2027-01-01T00:00:00Z");
            prop_assert_eq!(&once, &*given);
            prop_assert_eq!(refused, compile(given).is_err());
        }
    }
}
