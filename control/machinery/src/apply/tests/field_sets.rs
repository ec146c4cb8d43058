//! The written form of field sets.

use super::*;

fn read(text: &str) -> Result<FieldSet, Error> {
    FieldSet::from_value(&serde_json::from_str(text).unwrap())
}

fn texts(set: &FieldSet) -> Vec<String> {
    set.paths().iter().map(|path| fields::path_text(path)).collect()
}

#[test]
fn a_field_set_is_written_in_canonical_order() {
    let text = r#"{"k:{\"port\":9,\"protocol\":\"TCP\"}":{"f:b":{},".":{}},"f:z":{},"v:\"y\"":{},"i:3":{},"v:2":{},"i:-1":{},"k:{\"port\":80}":{},"f:a":{"f:c":{}}}"#;
    let canonical = r#"{"f:a":{"f:c":{}},"f:z":{},"k:{\"port\":9,\"protocol\":\"TCP\"}":{".":{},"f:b":{}},"k:{\"port\":80}":{},"v:2":{},"v:\"y\"":{},"i:-1":{},"i:3":{}}"#;
    let set = read(text).unwrap();
    assert_eq!(set.to_string(), canonical);
    assert_eq!(FieldSet::from_value(&set.to_value()).unwrap(), set);
    let expected = [
        ".z",
        "[port=9,protocol=\"TCP\"]",
        "[port=80]",
        "[=2]",
        "[=\"y\"]",
        "[-1]",
        "[3]",
        ".a.c",
        "[port=9,protocol=\"TCP\"].b",
    ];
    assert_eq!(texts(&set), expected);
}

#[test]
fn keys_are_the_same_however_their_numbers_and_letters_are_written() {
    let same = [
        (r#"{"k:{\"a\":1}":{}}"#, r#"{"k:{\"a\":1.0}":{}}"#),
        (r#"{"k:{\"a\":1,\"b\":2}":{}}"#, r#"{"k:{\"b\":2,\"a\":1}":{}}"#),
        (r#"{"v:\"<\"":{}}"#, r#"{"v:\"\\u003c\"":{}}"#),
    ];
    for (one, other) in same {
        assert_eq!(read(one).unwrap(), read(other).unwrap(), "{one}");
    }
    assert_eq!(read(r#"{"v:\"<&>\"":{}}"#).unwrap().to_string(), r#"{"v:\"\\u003c\\u0026\\u003e\"":{}}"#);
    assert_eq!(read(r#"{"v:1.0":{}}"#).unwrap().to_string(), r#"{"v:1":{}}"#);
    assert_eq!(read(r#"{"v:1.5":{}}"#).unwrap().to_string(), r#"{"v:1.5":{}}"#);
}

#[test]
fn what_a_future_version_writes_is_passed_over_and_what_is_broken_is_refused() {
    assert_eq!(read(r#"{"x:new":{},"f:a":{"y:":{}}}"#).unwrap().to_string(), r#"{"f:a":{}}"#);
    let deep = (0..200).fold("{}".to_owned(), |below, _| format!("{{\"f:a\":{below}}}"));
    let mut deep_value = json!({});
    for _ in 0..200 {
        deep_value = json!({"f:a": deep_value});
    }
    assert!(serde_json::from_str::<Value>(&deep).is_err(), "the reader has a limit of its own");
    let cases = [
        (json!([]), "expected an object"),
        (json!({"f:a": 1}), "expected an object"),
        (json!({"a": {}}), "expected f:, k:, v: or i:"),
        (json!({"é:": {}}), "expected f:, k:, v: or i:"),
        (json!({"v:{": {}}), "EOF"),
        (json!({"k:[]": {}}), "invalid type"),
        (json!({"i:x": {}}), "not a number"),
        (deep_value, "nested deeper"),
    ];
    for (value, expected) in cases {
        let error = FieldSet::from_value(&value).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn sets_are_combined_path_by_path() {
    let a = read(r#"{"f:a":{".":{},"f:b":{}},"f:c":{}}"#).unwrap();
    let b = read(r#"{"f:a":{},"f:d":{}}"#).unwrap();
    assert_eq!(a.clone().union(b.clone()).to_string(), r#"{"f:a":{".":{},"f:b":{}},"f:c":{},"f:d":{}}"#);
    assert_eq!(a.intersection(&b).to_string(), r#"{"f:a":{}}"#);
    assert_eq!(a.clone().difference(&b).to_string(), r#"{"f:a":{"f:b":{}},"f:c":{}}"#);
    assert_eq!(a.clone().recursive_difference(&b).to_string(), r#"{"f:c":{}}"#);
    assert!(a.clone().difference(&a).is_empty());
    assert!(a.contains(&[Element::field("a"), Element::field("b")]));
    assert!(!a.contains(&[]) && !a.contains(&[Element::field("d")]));
}

#[test]
fn sets_that_were_written_before_a_field_became_atomic_are_fitted() {
    let entry = json!({
        "manager": "a", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:options": {"f:x": {}}, "f:tolerations": {"i:0": {}}, "f:paused": {}}},
    });
    let mut live = workload(json!({"options": {"x": "1"}, "tolerations": [{}], "paused": true}));
    live["metadata"]["managedFields"] = json!([entry]);
    let object = applied(Some(&live), "b", json!({"replicas": 1})).unwrap();
    assert_eq!(owned_by(&object, "a"), [".spec.options", ".spec.paused", ".spec.tolerations"]);
}
