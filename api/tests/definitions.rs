//! The definitions that our types give, held against upstream's own where those are at hand.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use xebec_api::gateway::{HTTPRoute, PathMatchType, definitions};

/// Where upstream's definitions lie beside a checkout. They are not part of it.
const UPSTREAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/gateway-api-v1.6.1/standard");

fn schema_of(definition: &Value) -> Value {
    let versions = definition["spec"]["versions"].as_array().expect("versions");
    let stored = versions.iter().find(|version| version["storage"] == true).expect("one version is stored");
    stored["schema"]["openAPIV3Schema"].clone()
}

/// Collects every field as a path, marked with `!` where it is required.
fn fields(schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if path.matches('.').count() == 1 && path != ".spec" && path != ".status" {
            continue;
        }
        into.insert(format!("{path}{}", if required.contains(&name.as_str()) { "!" } else { "" }));
        fields(field, &path, into);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            fields(&schema[inner], &format!("{path}[]"), into);
        }
    }
}

#[test]
fn our_definitions_have_upstream_s_names_versions_columns_and_fields() {
    if !Path::new(UPSTREAM).exists() {
        eprintln!("skipped: our_definitions_have_upstream_s_fields needs Gateway API's own definitions");
        return;
    }
    for ours in definitions() {
        let ours = serde_json::to_value(ours).unwrap();
        let plural = ours["spec"]["names"]["plural"].as_str().unwrap().to_owned();
        let file = format!("{UPSTREAM}/gateway.networking.k8s.io_{plural}.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let theirs: Value = serde_saphyr::from_str(&text).unwrap();
        for part in ["annotations", "labels"] {
            assert_eq!(ours["metadata"][part], theirs["metadata"][part], "{plural}: {part}");
        }
        for part in ["group", "scope"] {
            assert_eq!(ours["spec"][part], theirs["spec"][part], "{plural}: {part}");
        }
        for part in ["kind", "plural", "singular", "shortNames", "categories"] {
            let none = json!(null);
            let empty_is_none =
                |value: &Value| if *value == json!([]) { none.clone() } else { value.clone() };
            let (ours, theirs) = (&ours["spec"]["names"][part], &theirs["spec"]["names"][part]);
            assert_eq!(empty_is_none(ours), empty_is_none(theirs), "{plural}: names.{part}");
        }
        let columns = |definition: &Value| {
            let versions = definition["spec"]["versions"].as_array().unwrap();
            versions.iter().find(|version| version["storage"] == true).unwrap()["additionalPrinterColumns"]
                .clone()
        };
        assert_eq!(columns(&ours), columns(&theirs), "{plural}: printer columns");

        let (mut our_fields, mut their_fields) = (BTreeSet::new(), BTreeSet::new());
        fields(&schema_of(&ours), "", &mut our_fields);
        fields(&schema_of(&theirs), "", &mut their_fields);
        let missing: Vec<_> = their_fields.difference(&our_fields).collect();
        let added: Vec<_> = our_fields.difference(&their_fields).collect();
        assert!(missing.is_empty() && added.is_empty(), "{plural}: missing {missing:#?}, added {added:#?}");
    }
}

#[test]
fn what_is_left_out_means_what_the_server_would_have_filled_in() {
    let route: HTTPRoute = serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop"},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "v1", "port": 80}]}]},
    }))
    .unwrap();
    let parent = &route.spec.parent_refs[0];
    assert_eq!((&*parent.group, &*parent.kind), ("gateway.networking.k8s.io", "Gateway"));
    let rule = &route.spec.rules[0];
    assert_eq!(rule.matches[0].path.type_, PathMatchType::PathPrefix);
    assert_eq!(rule.matches[0].path.value, "/");
    let backend = &rule.backend_refs[0];
    assert_eq!((&*backend.backend.group, &*backend.backend.kind, backend.weight), ("", "Service", 1));
}

#[test]
fn our_definitions_are_what_an_api_server_takes() {
    for ours in definitions() {
        let mut ours = serde_json::to_value(ours).unwrap();
        xebec_machinery::crd::default(&mut ours);
        let errors: Vec<String> =
            xebec_machinery::crd::validate(&ours).iter().map(ToString::to_string).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", ours["metadata"]["name"]);
    }
}

#[test]
fn what_a_controller_takes_up_says_until_then_that_it_waits() {
    for (name, conditions) in [
        ("gatewayclasses", &["Accepted"][..]),
        ("gateways", &["Accepted", "Programmed"][..]),
        ("listenersets", &["Accepted", "Programmed"][..]),
    ] {
        let all = definitions().into_iter();
        let own = all
            .map(|own| serde_json::to_value(own).unwrap())
            .find(|own| own["spec"]["names"]["plural"] == name);
        let own = own.unwrap();
        let schema = &own["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let told = schema["properties"]["status"]["default"]["conditions"].as_array().unwrap();
        let kinds: Vec<_> = told.iter().map(|one| one["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, conditions, "{name}");
        for one in told {
            assert_eq!((&one["status"], &one["reason"]), (&"Unknown".into(), &"Pending".into()), "{name}");
        }
    }
}
