use super::*;
use serde_json::json;

fn object() -> Value {
    json!({
        "metadata": {"labels": {"app.kubernetes.io/name": "web", "plain": "x"}},
        "spec": {"hosts": ["a", "b", "c", "d"], "size": 3, "paused": false},
        "status": {"conditions": [
            {"type": "Synced", "status": "False", "weight": 1},
            {"type": "Ready", "status": "True", "weight": 5, "same": 5},
        ]},
    })
}

fn found(path: &str) -> Value {
    let object = object();
    JsonPath::parse(path).unwrap().find(&object).into_iter().cloned().collect()
}

#[test]
fn every_form_of_a_column_leads_to_its_values() {
    for (path, expected) in [
        (".spec.size", json!([3])),
        ("{.spec.size}", json!([3])),
        ("$.spec.size", json!([3])),
        (".spec['size']", json!([3])),
        (".spec.hosts[1]", json!(["b"])),
        (".spec.hosts[-1]", json!(["d"])),
        (".spec.hosts[1:3]", json!(["b", "c"])),
        (".spec.hosts[:-2]", json!(["a", "b"])),
        (".spec.hosts[*]", json!(["a", "b", "c", "d"])),
        (".spec.hosts[9]", json!([])),
        (".spec.nothing.deeper", json!([])),
        (r".metadata.labels.app\.kubernetes\.io/name", json!(["web"])),
        (".metadata.labels['app.kubernetes.io/name']", json!(["web"])),
        (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
        (".status.conditions[?(@.type == 'Ready')].status", json!(["True"])),
        (".status.conditions[?(@.type!='Ready')].status", json!(["False"])),
        (".status.conditions[?(@.weight > 2)].type", json!(["Ready"])),
        (".status.conditions[?(@.weight<=1)].type", json!(["Synced"])),
        (".status.conditions[?(@.same)].type", json!(["Ready"])),
        (".status.conditions[?(@.weight==@.same)].type", json!(["Ready"])),
        (".status.conditions[?(@.type=='Absent')].status", json!([])),
        (".status.conditions[*].type", json!(["Synced", "Ready"])),
    ] {
        assert_eq!(found(path), expected, "{path}");
    }
}

#[test]
fn what_is_no_path_is_refused_with_the_place() {
    for path in [
        "spec.size",
        ".spec[",
        ".spec[abc]",
        ".spec['size",
        "{.spec",
        ".a[?(@.b==)]",
        ".a[?(@.b=='c']",
        ".a[?(b)]",
        "..a",
        ".a[99999999999999999999]",
        ".a\\",
    ] {
        let error = JsonPath::parse(path).expect_err(path);
        assert!(error.to_string().contains("cannot be read at byte"), "{error}");
    }
    let long = format!(".{}", "a".repeat(5000));
    assert!(JsonPath::parse(&long).is_err());
    let nested = format!("{}{}", ".a[?(@".repeat(500), ")]".repeat(500));
    assert!(JsonPath::parse(&nested).is_err());
    let beside = ".a[?(@.b)]".repeat(50);
    assert!(JsonPath::parse(&beside).is_ok());
}

#[test]
fn a_path_into_something_else_finds_nothing() {
    let path = JsonPath::parse(".a[0].b").unwrap();
    for value in [json!({"a": "text"}), json!({"a": {"b": 1}}), json!(null), json!([1])] {
        assert_eq!(path.first(&value), None);
    }
}
