use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const RULE: NameRule = NameRule::Subdomain;
const CONTEXT: Context<'static> = Context {
    namespace: Some("ns"),
    name: None,
    now: "2026-01-02T03:04:05Z",
    uid: "11111111-2222-4333-8444-555555555555",
    random: 0,
    generation: true,
};

fn wrong(metadata: Value) -> Vec<String> {
    validate(&json!({"metadata": metadata}), RULE, true).iter().map(ToString::to_string).collect()
}

fn wrong_update(new: Value, old: Value) -> Vec<String> {
    let found = validate_update(&json!({"metadata": old}), &json!({"metadata": new}));
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn a_creation_fills_in_what_only_the_server_may_say() {
    let mut object = json!({"kind": "K", "metadata": {
        "generateName": "web-", "labels": {"a": null}, "annotations": {}, "creationTimestamp": null, "uid": "mine",
        "deletionTimestamp": "2020-01-01T00:00:00Z", "deletionGracePeriodSeconds": 3, "generation": 7, "selfLink": "/x",
    }});
    prepare_create(&mut object, &CONTEXT).unwrap();
    let expected = json!({"kind": "K", "metadata": {
        "name": "web-bbbbb", "generateName": "web-", "namespace": "ns", "labels": {"a": ""},
        "uid": CONTEXT.uid, "creationTimestamp": CONTEXT.now, "generation": 1,
    }});
    assert_eq!(object, expected);
    assert!(validate(&object, RULE, true).is_empty());
}

#[test]
fn a_given_name_is_kept_and_no_generation_counted_where_the_kind_has_none() {
    let mut object = json!({"metadata": {"name": "n", "generateName": "web-"}});
    prepare_create(&mut object, &Context { generation: false, ..CONTEXT }).unwrap();
    assert_eq!(text(&object, "name"), "n");
    assert!(!of(&object).unwrap().contains_key("generation"));
    let mut told = json!({"metadata": {"name": "n", "generation": 7}});
    prepare_create(&mut told, &Context { generation: false, ..CONTEXT }).unwrap();
    assert_eq!(told["metadata"]["generation"], 7, "what a client says counts where nobody counts");
}

#[test]
fn what_contradicts_the_request_is_refused() {
    let cases = [
        (
            json!({"metadata": {"namespace": "other"}}),
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            json!({"metadata": {"name": "a"}}),
            "the name of the object (a) does not match the name on the URL (b)",
        ),
        (
            json!({"metadata": {"resourceVersion": "5"}}),
            "resourceVersion should not be set on objects to be created",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"metadata": {"labels": []}}),
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            json!({"metadata": 1}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata of type v1.ObjectMeta",
        ),
        (json!([]), "the object must be a JSON object"),
    ];
    for (mut object, message) in cases {
        let status = prepare_create(&mut object, &Context { name: Some("b"), ..CONTEXT }).unwrap_err();
        assert_eq!((status.code(), status.message.as_str()), (400, message));
    }
}

#[test]
fn a_kind_beside_the_namespaces_drops_a_namespace() {
    let mut object = json!({"metadata": {"name": "n", "namespace": "x"}});
    prepare_create(&mut object, &Context { namespace: None, ..CONTEXT }).unwrap();
    assert_eq!(text(&object, "namespace"), "");
    assert!(validate(&object, RULE, false).is_empty());
}

#[test]
fn metadata_that_breaks_a_rule_is_told_in_the_words_of_kubernetes() {
    let cases = [
        (json!({"namespace": "ns"}), "metadata.name: Required value: name or generateName is required"),
        (json!({"name": "n"}), "metadata.namespace: Required value"),
        (
            json!({"name": "n", "namespace": "a.b"}),
            r#"metadata.namespace: Invalid value: "a.b": must not contain dots"#,
        ),
        (
            json!({"name": "X", "namespace": "ns"}),
            r#"metadata.name: Invalid value: "X": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#,
        ),
        (
            json!({"name": "n", "namespace": "ns", "labels": {"a/b/c": ""}}),
            r#"metadata.labels: Invalid value: "a/b/c": a valid label key must consist of"#,
        ),
        (
            json!({"name": "n", "namespace": "ns", "labels": {"a": "b c"}}),
            r#"metadata.labels: Invalid value: "b c": a valid label must be"#,
        ),
        (
            json!({"name": "n", "namespace": "ns", "annotations": {"a b": ""}}),
            r#"metadata.annotations: Invalid value: "a b": name part must consist of"#,
        ),
        (
            json!({"name": "n", "namespace": "ns", "annotations": {"a": "x".repeat(256 * 1024)}}),
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            json!({"name": "n", "namespace": "ns", "generation": -1}),
            "metadata.generation: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({"name": "n", "namespace": "ns", "finalizers": [""]}),
            r#"metadata.finalizers: Invalid value: "": name part must be non-empty"#,
        ),
        (
            json!({"name": "n", "namespace": "ns", "finalizers": ["orphan", "foregroundDeletion"]}),
            r#"metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set"#,
        ),
        (
            json!({"name": "n", "namespace": "ns", "ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "a"}]}),
            r#"metadata.ownerReferences.uid: Invalid value: "": must not be empty"#,
        ),
        (
            json!({"name": "n", "namespace": "ns", "ownerReferences": [{"apiVersion": "g/", "kind": "A", "name": "a", "uid": "u"}]}),
            r#"metadata.ownerReferences.apiVersion: Invalid value: "g/": version must not be empty"#,
        ),
        (
            json!({"name": "n", "namespace": "ns", "ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "a", "uid": "u"}]}),
            "metadata.ownerReferences: Invalid value: ",
        ),
    ];
    for (metadata, expected) in cases {
        let found = wrong(metadata.clone());
        assert!(found.iter().any(|error| error.starts_with(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn an_object_has_one_controller() {
    let owner = |name: &str| json!({"apiVersion": "a/v1", "kind": "K", "name": name, "uid": name, "controller": true});
    let found = wrong(json!({"name": "n", "namespace": "ns", "ownerReferences": [owner("a"), owner("b")]}));
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with(
        "Only one reference can have Controller set to true. Found \"true\" in references for K/a and K/b"
    ));
    assert!(wrong(json!({"name": "n", "namespace": "ns", "ownerReferences": [owner("a")]})).is_empty());
}

#[test]
fn upper_case_prefixes_of_annotations_are_taken() {
    assert!(
        wrong(json!({"name": "n", "namespace": "ns", "annotations": {"Example.com/a": "anything at all"}}))
            .is_empty()
    );
}

#[test]
fn an_update_takes_from_the_old_object_what_clients_have_no_say_in() {
    let old = json!({"metadata": {
        "name": "n", "namespace": "ns", "uid": "u", "creationTimestamp": "t", "deletionTimestamp": "d",
        "deletionGracePeriodSeconds": 0, "generation": 3,
    }});
    let mut new = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z", "generation": 9, "labels": {"a": "b"}}});
    prepare_update(&old, &mut new).unwrap();
    let mut expected = old.clone();
    expected["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(new, expected);
    assert!(validate_update(&old, &new).is_empty());
}

#[test]
fn what_never_changes_is_held() {
    let old = json!({"name": "n", "namespace": "ns", "uid": "u", "generation": 2});
    let changed = |field: &str, value: Value| {
        let mut new = old.clone();
        new[field] = value;
        wrong_update(new, old.clone())
    };
    assert_eq!(changed("uid", json!("v")), [r#"metadata.uid: Invalid value: "v": field is immutable"#]);
    assert_eq!(changed("name", json!("m")), [r#"metadata.name: Invalid value: "m": field is immutable"#]);
    assert_eq!(
        changed("deletionTimestamp", json!("t")),
        [r#"metadata.deletionTimestamp: Invalid value: "t": field is immutable"#]
    );
    assert_eq!(
        changed("generation", json!(1)),
        ["metadata.generation: Invalid value: 1: must not be decremented"]
    );
    assert!(changed("labels", json!({"a": "b"})).is_empty());
}

#[test]
fn an_object_that_is_going_takes_no_new_finalizers() {
    let old = json!({"name": "n", "deletionTimestamp": "t", "finalizers": ["a/b"]});
    let mut new = old.clone();
    new["finalizers"] = json!(["a/b", "c/d"]);
    let expected = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found \
                    new finalizers []string{\"c/d\"}";
    assert_eq!(wrong_update(new.clone(), old.clone()), [expected]);
    new["finalizers"] = json!([]);
    assert!(wrong_update(new, old).is_empty());
}

#[test]
fn the_generation_counts_changes_of_the_fields_that_matter() {
    let old = json!({"metadata": {"generation": 4}, "spec": {"a": 1}, "status": {"b": 1}});
    let not_status = |name: &str| name != "status";
    let mut new = old.clone();
    new["status"]["b"] = json!(2);
    new["metadata"]["labels"] = json!({"x": "y"});
    assert!(!bump_generation(&old, &mut new, not_status));
    assert!(bump_generation(&old, &mut new.clone(), |_| true));
    new["data"] = json!(1);
    assert!(bump_generation(&old, &mut new, not_status));
    assert_eq!(new["metadata"]["generation"], 5);
}

#[test]
fn an_embedded_object_names_its_kind_and_obeys_the_common_rules() {
    let object =
        json!({"apiVersion": "a/b/c", "kind": "No Kind", "metadata": {"name": "..", "labels": {"": ""}}});
    let found: Vec<String> = validate_embedded(&object, &crate::field::Path::ROOT.child("e"))
        .iter()
        .map(ToString::to_string)
        .collect();
    for start in
        ["e.apiVersion: Invalid", "e.kind: Invalid", "e.metadata.name: Invalid", "e.metadata.labels: Invalid"]
    {
        assert!(found.iter().any(|error| error.starts_with(start)), "{start}: {found:#?}");
    }
}

fn any_metadata() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "name",
        "generateName",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "uid",
        "generation",
        "deletionTimestamp",
        "managedFields",
        "apiVersion",
        "kind",
        "controller",
        "x",
    ]);
    leaf.prop_recursive(3, 24, 5, move |inner| {
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
    fn random_metadata_never_panics(new in any_metadata(), old in any_metadata(), random in any::<u64>()) {
        let (mut new, old) = (json!({"metadata": new}), json!({"metadata": old}));
        validate(&new, RULE, true);
        validate_update(&old, &new);
        let mut created = new.clone();
        if prepare_create(&mut created, &Context { random, ..CONTEXT }).is_ok() {
            prop_assert_eq!(text(&created, "uid"), CONTEXT.uid);
        }
        if prepare_update(&old, &mut new).is_ok() {
            bump_generation(&old, &mut new, |_| true);
        }
    }
}
