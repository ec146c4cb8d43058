use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::sample;

fn patched(current: Value, patch: Value) -> Result<Value, Error> {
    strategic(current, patch, sample::workload())
}

#[test]
fn a_merge_patch_follows_rfc_7386() {
    // Appendix A, the cases whose target and patch are objects.
    let cases = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ];
    for (mut target, patch, expected) in cases {
        merge(&mut target, patch.clone()).unwrap();
        assert_eq!(target, expected, "{patch}");
    }
}

#[test]
fn a_merge_patch_is_an_object_of_limited_depth() {
    let mut target = json!({});
    let error = merge(&mut target, json!([1])).unwrap_err();
    assert_eq!((error.status().code(), error), (400, Error::NotAnObject("a list")));
    sample::on_a_deep_stack(|| {
        let mut target = json!({});
        assert_eq!(merge(&mut target, nested(DEPTH_MAX)), Ok(()));
        assert_eq!(merge(&mut target, nested(DEPTH_MAX + 1)).unwrap_err().status().code(), 422);
    });
}

#[test]
fn a_json_patch_makes_nothing_that_is_too_deep() {
    sample::on_a_deep_stack(|| {
        let target = json!({"a": nested(DEPTH_MAX - 1)});
        let patch = |operations: Value| json(&target, operations.to_string().as_bytes());
        let copied = patch(json!([{"op": "copy", "from": "/a", "path": "/b"}])).unwrap();
        assert!(copied["b"] == target["a"]);
        for too_deep in [
            json!([{"op": "copy", "from": "/a", "path": "/a/b"}]),
            json!([{"op": "copy", "from": "", "path": "/b"}]),
        ] {
            assert_eq!(patch(too_deep), Err(Error::TooDeep));
        }
        // With the list and the operation round it, it is as deep as may be.
        let value = nested(DEPTH_MAX - 2);
        let added = patch(json!([{"op": "add", "path": "/c", "value": value}])).unwrap();
        assert!(added["c"] == value);
    });
}

/// Objects in objects, this many.
fn nested(depth: usize) -> Value {
    // The macro would copy what is within.
    (1..depth).fold(json!({}), |inner, _| Value::Object([("a".to_owned(), inner)].into_iter().collect()))
}

#[test]
fn a_json_patch_follows_rfc_6902() {
    // Appendix A.
    let cases = [
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/baz", "value": "qux"}]),
            json!({"baz": "qux", "foo": "bar"}),
        ),
        (json!({"a": [1, 3]}), json!([{"op": "add", "path": "/a/1", "value": 2}]), json!({"a": [1, 2, 3]})),
        (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), json!({"a": [1, 2]})),
        (json!({"baz": 1, "foo": 2}), json!([{"op": "remove", "path": "/baz"}]), json!({"foo": 2})),
        (json!({"a": [1, 2, 3]}), json!([{"op": "remove", "path": "/a/1"}]), json!({"a": [1, 3]})),
        (json!({"a": 1}), json!([{"op": "replace", "path": "/a", "value": 2}]), json!({"a": 2})),
        (
            json!({"a": {"b": 1}, "c": {}}),
            json!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
            json!({"a": {}, "c": {"d": 1}}),
        ),
        (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1})),
        (
            json!({"a/b": 1, "m~n": 2}),
            json!([{"op": "test", "path": "/a~1b", "value": 1}]),
            json!({"a/b": 1, "m~n": 2}),
        ),
        (json!({"m~n": 2}), json!([{"op": "test", "path": "/m~0n", "value": 2}]), json!({"m~n": 2})),
        (
            json!({"a": 1}),
            json!([{"op": "add", "path": "/b", "value": 2, "xyz": 3}]),
            json!({"a": 1, "b": 2}),
        ),
    ];
    for (target, patch, expected) in cases {
        assert_eq!(json(&target, patch.to_string().as_bytes()), Ok(expected), "{patch}");
    }
}

#[test]
fn a_json_patch_that_is_none_is_400_and_one_that_fails_is_422() {
    let target = json!({"a": 1, "l": [1]});
    let cases = [
        ("{", 400),
        ("{}", 400),
        (r#"[{"op": 1}]"#, 400),
        ("[1]", 400),
        (r#"[{"op": "spin", "path": "/a"}]"#, 422),
        (r#"[{"op": "copy", "path": "/a"}]"#, 422),
        (r#"[{"op": "add", "path": "a", "value": 1}]"#, 422),
        (r#"[{"op": "test", "path": "/a", "value": 2}]"#, 422),
        (r#"[{"op": "remove", "path": "/none"}]"#, 422),
        (r#"[{"op": "replace", "path": "/none", "value": 1}]"#, 422),
        (r#"[{"op": "add", "path": "/none/b", "value": 1}]"#, 422),
        (r#"[{"op": "add", "path": "/l/7", "value": 1}]"#, 422),
        (r#"[{"op": "move", "from": "/l", "path": "/l/0"}]"#, 422),
    ];
    for (patch, code) in cases {
        let status = json(&target, patch.as_bytes()).unwrap_err().status();
        assert_eq!(status.code(), code, "{patch}: {status}");
    }
    let error =
        json(&target, br#"[{"op":"remove","path":"/a"},{"op":"test","path":"/l","value":[]}]"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"operation 1 of the JSON patch failed at path "/l": value did not match"#
    );
}

#[test]
fn a_small_json_patch_cannot_make_a_huge_object() {
    let double = json!({"op": "copy", "from": "/l", "path": "/l/-"});
    let patch = Value::from(vec![double; 64]).to_string();
    let target = json!({"l": ["x".repeat(1000)]});
    assert!(matches!(json(&target, patch.as_bytes()), Err(Error::TooMuch { .. })));
    let test = json!({"op": "test", "path": "", "value": {}});
    let many = Value::from(vec![test; OPERATIONS_MAX + 1]).to_string();
    let error = json(&json!({}), many.as_bytes()).unwrap_err();
    assert_eq!((error.status().code(), error), (413, Error::TooManyOperations(OPERATIONS_MAX + 1)));
}

#[test]
fn a_json_patch_cannot_make_a_deep_object() {
    let step = [
        json!({"op": "add", "path": "/z", "value": {}}),
        json!({"op": "move", "from": "/x", "path": "/z/x"}),
        json!({"op": "move", "from": "/z", "path": "/x"}),
    ];
    let patch = Value::from(step.iter().cloned().cycle().take(3 * 3000).collect::<Vec<_>>()).to_string();
    sample::on_a_deep_stack(move || {
        // Looking how deep it is has its limit before that.
        assert!(matches!(json(&json!({"x": {}}), patch.as_bytes()), Err(Error::TooMuch { .. })));
        let target = json!({"x": nested(DEPTH_MAX - 10)});
        assert_eq!(json(&target, patch.as_bytes()), Err(Error::TooDeep));
    });
}

#[test]
fn strategic_merge_merges_objects_maps_and_keyed_lists() {
    let current = json!({
        "metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["f", "g"]},
        "spec": {"replicas": 1, "containers": [
            {"name": "x", "image": "x:1", "args": ["a"], "ports": [{"containerPort": 80}]},
            {"name": "y", "image": "y:1"},
        ], "tolerations": [{"key": "k"}]},
    });
    let patch = json!({
        "metadata": {"labels": {"b": null, "c": "3"}, "finalizers": ["h", "f"]},
        "spec": {"replicas": 2, "containers": [
            {"name": "x", "image": "x:2", "args": ["b"], "ports": [{"containerPort": 81, "name": null}]},
            {"name": "z", "image": "z:1", "limits": {"$patch": "replace", "cpu": 1}},
        ], "tolerations": [{"key": "l"}]},
    });
    let expected = json!({
        "metadata": {"labels": {"a": "1", "c": "3"}, "finalizers": ["h", "f", "g"]},
        "spec": {"replicas": 2, "containers": [
            {"name": "x", "image": "x:2", "args": ["b"], "ports": [{"containerPort": 81}, {"containerPort": 80}]},
            {"name": "z", "image": "z:1", "limits": {"cpu": 1}},
            {"name": "y", "image": "y:1"},
        ], "tolerations": [{"key": "l"}]},
    });
    assert_eq!(patched(current, patch), Ok(expected));
}

#[test]
fn strategic_merge_does_what_directives_say() {
    let containers = |list: Value| json!({"spec": {"containers": list}});
    let cases = [
        (
            "delete an element",
            json!([{"name": "x", "$patch": "delete"}]),
            json!([{"name": "y", "image": "2"}]),
        ),
        (
            "delete none",
            json!([{"name": "q", "$patch": "delete"}]),
            json!([{"name": "x", "image": "1"}, {"name": "y", "image": "2"}]),
        ),
        ("replace the list", json!([{"$patch": "replace"}, {"name": "z"}]), json!([{"name": "z"}])),
        ("clear the list", json!([{"$patch": "replace"}]), json!([])),
    ];
    let current = containers(json!([{"name": "x", "image": "1"}, {"name": "y", "image": "2"}]));
    for (what, patch, expected) in cases {
        assert_eq!(patched(current.clone(), containers(patch)), Ok(containers(expected)), "{what}");
    }

    let current = json!({"metadata": {"labels": {"a": "1"}, "finalizers": ["f", "g"]}, "spec": {"strategy": {
        "type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let cases = [
        (
            "replace an object",
            json!({"metadata": {"$patch": "replace", "name": "n"}}),
            json!({"name": "n"}),
            "/metadata",
        ),
        (
            "empty an object",
            json!({"metadata": {"labels": {"$patch": "delete"}}}),
            json!({}),
            "/metadata/labels",
        ),
        (
            "keep only listed keys",
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"type": "Recreate"}),
            "/spec/strategy",
        ),
        (
            "delete scalars",
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["f"], "finalizers": ["h"]}}),
            json!(["h", "g"]),
            "/metadata/finalizers",
        ),
        (
            "order scalars",
            json!({"metadata": {"$setElementOrder/finalizers": ["g", "h", "f"], "finalizers": ["h"]}}),
            json!(["g", "h", "f"]),
            "/metadata/finalizers",
        ),
        (
            "order what is there",
            json!({"metadata": {"$setElementOrder/finalizers": ["g", "f"]}}),
            json!(["g", "f"]),
            "/metadata/finalizers",
        ),
    ];
    for (what, patch, expected, at) in cases {
        let result = patched(current.clone(), patch).unwrap();
        assert_eq!(result.pointer(at), Some(&expected), "{what}");
    }
}

#[test]
fn the_server_keeps_its_own_elements_in_place() {
    let list =
        |names: &[&str]| Value::from(names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>());
    let cases = [
        (vec!["a", "s", "b"], vec!["b", "a"], vec![], vec!["s", "b", "a"]),
        (vec!["s", "a", "b"], vec!["a", "c", "b"], vec!["c"], vec!["s", "a", "c", "b"]),
        (vec!["a", "b", "s"], vec!["a", "b", "c"], vec!["c"], vec!["a", "b", "c", "s"]),
        (vec!["a"], vec!["c", "a"], vec!["c"], vec!["c", "a"]),
    ];
    for (server, order, patch, expected) in cases {
        let mut spec = json!({"$setElementOrder/containers": list(&order)});
        if !patch.is_empty() {
            spec["containers"] = list(&patch);
        }
        let result = patched(json!({"spec": {"containers": list(&server)}}), json!({"spec": spec})).unwrap();
        assert_eq!(result["spec"]["containers"], list(&expected), "{server:?} {order:?}");
    }
}

#[test]
fn what_is_set_anew_holds_no_directive_and_no_null() {
    let patch = json!({"spec": {
        "strategy": {"type": "x", "rollingUpdate": {"$patch": "delete"}},
        "containers": [{"name": "a", "image": null}, {"name": "b", "$patch": "delete"}],
        "options": {"$retainKeys": ["a"], "a": "1"},
    }});
    let expected =
        json!({"spec": {"strategy": {"type": "x"}, "containers": [{"name": "a"}], "options": {"a": "1"}}});
    assert_eq!(patched(json!({}), patch), Ok(expected));
}

#[test]
fn a_strategic_patch_that_means_nothing_is_refused() {
    let current = json!({"metadata": {"finalizers": ["f"]}, "spec": {"strategy": {"type": "x"}, "containers": [{"name": "a"}], "unknown": {}}});
    let cases = [
        (json!({"spec": {"containers": [{"image": "x"}]}}), "does not contain declared merge key: name"),
        (
            json!({"spec": {"containers": [{"name": "a", "$patch": "merge"}]}}),
            "unknown patch type: \"merge\"",
        ),
        (json!({"spec": {"$patch": 7}}), "unknown patch type: 7"),
        (
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}}),
            "format of retainKeys",
        ),
        (json!({"spec": {"strategy": {"$retainKeys": 1}}}), "format of retainKeys"),
        (json!({"spec": {"$setElementOrder/containers": 1}}), "format of setElementOrder list"),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}}),
            "order of the elements of containers",
        ),
        (json!({"metadata": {"$deleteFromPrimitiveList/finalizers": 1}}), "format of primitive list"),
        (json!({"metadata": {"finalizers": [1]}}), "elements of finalizers must all be"),
        (json!({"metadata": {"finalizers": [["f"]]}}), "elements of finalizers must all be"),
        (json!({"spec": {"containers": [1]}}), "elements of containers must all be"),
        (json!({"spec": {"unknown": {}}}), "unable to find api field \"unknown\""),
        (json!(1), "expected an object, but received a number"),
        (nested(101), "nested too deep"),
    ];
    for (patch, expected) in cases {
        let error = patched(current.clone(), patch.clone()).unwrap_err();
        assert!(error.to_string().contains(expected), "{patch}: {error}");
        assert!(matches!(error.status().code(), 400 | 422), "{patch}");
    }
}

#[test]
fn where_no_schema_is_known_objects_merge_and_lists_are_replaced() {
    let current = json!({"spec": {"template": {"a": {"b": 1}, "l": [1]}, "free": {"x": {"y": 1}}}});
    let patch = json!({"spec": {"template": {"a": {"c": 2}, "l": [2]}, "free": {"x": {"z": 2}}}});
    let expected =
        json!({"spec": {"template": {"a": {"b": 1, "c": 2}, "l": [2]}, "free": {"x": {"y": 1, "z": 2}}}});
    assert_eq!(patched(current, patch), Ok(expected));
}

proptest! {
    #[test]
    fn an_empty_patch_changes_nothing(current in sample::object()) {
        prop_assert_eq!(patched(current.clone(), json!({})), Ok(current));
    }

    #[test]
    fn patching_an_object_with_itself_changes_nothing(current in sample::object()) {
        prop_assert_eq!(patched(current.clone(), current.clone()), Ok(current));
    }

    #[test]
    fn any_values_are_patched_or_refused(current in sample::any_value(), patch in sample::any_value()) {
        let _ = patched(current.clone(), patch.clone());
        let _ = json(&current, patch.to_string().as_bytes());
        let mut target = current;
        let _ = merge(&mut target, patch);
    }

    #[test]
    fn operations_on_any_value_are_done_or_refused(target in sample::any_value(), steps in sample::operations()) {
        let _ = json(&target, steps.to_string().as_bytes());
    }
}
