//! What happens when managers meet over an object: the scenarios that structured-merge-diff documents.

use super::*;

#[test]
fn an_applier_owns_what_it_applies() {
    let object = applied(
        None,
        "a",
        json!({
            "replicas": 1,
            "selector": {"matchLabels": {"x": "y"}},
            "containers": [{"name": "c", "ports": [{"containerPort": 80}], "args": ["1", "2"], "limits": {"cpu": 1}}],
            "tolerations": [{"key": "k"}],
            "options": {"o": "p"},
            "template": {"any": [1]},
            "free": {"known": "k", "more": {"deep": {"er": 1}}},
            "strategy": {},
        }),
    )
    .unwrap();
    let expected = [
        ".spec.containers[name=\"c\"]",
        ".spec.containers[name=\"c\"].args",
        ".spec.containers[name=\"c\"].limits.cpu",
        ".spec.containers[name=\"c\"].name",
        ".spec.containers[name=\"c\"].ports[containerPort=80,protocol=\"TCP\"]",
        ".spec.containers[name=\"c\"].ports[containerPort=80,protocol=\"TCP\"].containerPort",
        ".spec.free.known",
        ".spec.free.more",
        ".spec.free.more.deep",
        ".spec.free.more.deep.er",
        ".spec.options",
        ".spec.replicas",
        ".spec.selector",
        ".spec.strategy",
        ".spec.template",
        ".spec.tolerations",
    ];
    assert_eq!(owned_by(&object, "a"), expected);
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(entry["operation"], "Apply");
    assert_eq!(entry["apiVersion"], "v1");
    assert_eq!(entry["time"], "2026-01-01T00:00:00Z");
    assert_eq!(entry["fieldsType"], "FieldsV1");
    assert_eq!(entry.get("subresource"), None);
}

#[test]
fn fields_that_are_no_longer_applied_go_unless_somebody_else_owns_them() {
    let first = applied(
        None,
        "a",
        json!({"replicas": 1, "paused": true, "containers": [{"name": "c"}, {"name": "d"}]}),
    )
    .unwrap();
    let second =
        applied(Some(&first), "b", json!({"paused": true, "containers": [{"name": "d", "image": "i"}]}))
            .unwrap();
    let third = applied(Some(&second), "a", json!({"replicas": 1})).unwrap();
    assert_eq!(
        third["spec"],
        json!({"replicas": 1, "paused": true, "containers": [{"name": "d", "image": "i"}]})
    );
    assert_eq!(owned_by(&third, "a"), [".spec.replicas"]);
    let fourth = applied(Some(&third), "b", json!({})).unwrap();
    assert_eq!(fourth["spec"], json!({"replicas": 1}));
    assert_eq!(owned_by(&fourth, "b"), [".spec"]);
}

#[test]
fn a_field_that_others_own_is_a_conflict_that_names_them() {
    let live = applied(None, "a", json!({"replicas": 1, "paused": true})).unwrap();
    let error = applied(Some(&live), "b", json!({"replicas": 2})).unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas");
    let status = error.status();
    assert_eq!(status.code(), 409);
    let causes = json!([{"reason": "FieldManagerConflict", "message": "conflict with \"a\"", "field": ".spec.replicas"}]);
    assert_eq!(status.to_value()["details"]["causes"], causes);

    let error = applied(Some(&live), "b", json!({"replicas": 2, "paused": false})).unwrap_err();
    let expected = "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.paused\n- .spec.replicas";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_conflict_with_an_updater_names_its_version_and_subresource() {
    let created = updated(None, "kubectl-client-side-apply", workload(json!({"replicas": 1})));
    let error = applied(Some(&created), "b", json!({"replicas": 2})).unwrap_err();
    let expected =
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .spec.replicas";
    assert_eq!(error.to_string(), expected);

    let mut scaled = created.clone();
    scaled["spec"]["replicas"] = json!(5);
    let context = Context { subresource: Some("scale"), ..by("hpa") };
    let scaled = update(UpdateRequest { context, live: Some(&created), new: scaled });
    let error = applied(Some(&scaled), "b", json!({"replicas": 2})).unwrap_err();
    let expected = "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using v1: .spec.replicas";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn force_takes_the_field_and_its_ownership() {
    let live = applied(None, "a", json!({"replicas": 1, "paused": true})).unwrap();
    let object = forced(&live, "b", json!({"replicas": 2}));
    assert_eq!(object["spec"], json!({"replicas": 2, "paused": true}));
    assert_eq!(owned_by(&object, "a"), [".spec.paused"]);
    assert_eq!(owned_by(&object, "b"), [".spec.replicas"]);
}

#[test]
fn the_same_value_is_shared_and_stays_until_the_last_owner_leaves() {
    let first = applied(None, "a", json!({"replicas": 1})).unwrap();
    let shared = applied(Some(&first), "b", json!({"replicas": 1})).unwrap();
    assert_eq!(owned_by(&shared, "a"), owned_by(&shared, "b"));
    let error = applied(Some(&shared), "a", json!({"replicas": 2})).unwrap_err();
    assert!(error.to_string().contains("conflict with \"b\""), "{error}");
    let left = applied(Some(&shared), "a", json!({})).unwrap();
    assert_eq!(left["spec"], json!({"replicas": 1}));
    assert_eq!(applied(Some(&left), "b", json!({})).unwrap().get("spec"), None);
}

#[test]
fn atomic_values_are_owned_and_replaced_as_one() {
    let live = applied(None, "a", json!({"tolerations": [{"key": "k"}], "options": {"x": "1"}})).unwrap();
    let error = applied(Some(&live), "b", json!({"options": {"y": "2"}})).unwrap_err();
    assert!(error.to_string().ends_with("conflict with \"a\": .spec.options"), "{error}");
    let object = forced(&live, "b", json!({"options": {"y": "2"}, "tolerations": []}));
    assert_eq!(object["spec"], json!({"options": {"y": "2"}, "tolerations": []}));
    assert_eq!(owners(&object).len(), 1);
}

#[test]
fn elements_of_keyed_lists_meet_by_their_keys_and_defaults() {
    let ports = |ports: Value| json!({"containers": [{"name": "c", "ports": ports}]});
    let live = applied(None, "a", ports(json!([{"containerPort": 80, "hostPort": 1}]))).unwrap();
    let both = applied(Some(&live), "b", ports(json!([{"containerPort": 80, "protocol": "TCP", "name": "http"}, {"containerPort": 80, "protocol": "UDP"}]))).unwrap();
    let expected = ports(json!([
        {"containerPort": 80, "protocol": "TCP", "hostPort": 1, "name": "http"},
        {"containerPort": 80, "protocol": "UDP"},
    ]));
    assert_eq!(both["spec"], expected);
}

#[test]
fn what_is_applied_gives_the_order_and_the_rest_stays_between() {
    let names = |object: &Value| -> Vec<String> {
        let containers = object["spec"]["containers"].as_array().unwrap();
        containers.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let spec = |names: &[&str]| json!({"containers": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
    let cases = [
        (vec!["a", "b", "c"], vec!["c", "a"], vec!["b", "c", "a"]),
        (vec!["a", "b", "c"], vec!["a", "d", "c"], vec!["a", "b", "d", "c"]),
        (vec!["a", "b"], vec!["d", "e"], vec!["a", "b", "d", "e"]),
        (vec!["a", "b", "c", "d"], vec!["d", "x", "a"], vec!["b", "c", "d", "x", "a"]),
    ];
    for (live, order, expected) in cases {
        let live = updated(None, "u", workload(spec(&live)));
        let object = applied(Some(&live), "b", spec(&order)).unwrap();
        assert_eq!(names(&object), expected, "{order:?}");
    }
}

#[test]
fn sets_are_owned_by_their_values() {
    let with = |finalizers: Value| json!({"apiVersion": "v1", "kind": "Workload", "metadata": {"name": "w", "finalizers": finalizers}});
    let apply = |live: Option<&Value>, manager, finalizers| {
        let applied = with(finalizers);
        super::apply(&ApplyRequest { context: by(manager), live, applied: &applied, force: false })
            .unwrap()
            .object
    };
    let live = apply(None, "a", json!(["x", "y"]));
    let both = apply(Some(&live), "b", json!(["y", "z"]));
    assert_eq!(both["metadata"]["finalizers"], json!(["x", "y", "z"]));
    let less = apply(Some(&both), "a", json!([]));
    assert_eq!(less["metadata"]["finalizers"], json!(["y", "z"]));
    assert_eq!(owned_by(&both, "b"), [".metadata.finalizers[=\"y\"]", ".metadata.finalizers[=\"z\"]"]);
}

#[test]
fn what_was_there_before_anybody_applied_has_an_owner_of_its_own() {
    let live = workload(json!({"replicas": 1, "paused": true}));
    let object = applied(Some(&live), "a", json!({"replicas": 1})).unwrap();
    assert_eq!(owned_by(&object, "before-first-apply"), [".spec", ".spec.paused", ".spec.replicas"]);
    assert_eq!(owned_by(&object, "a"), [".spec.replicas"]);
    let again = applied(Some(&object), "a", json!({})).unwrap();
    assert_eq!(again["spec"], json!({"replicas": 1, "paused": true}));
}

#[test]
fn kubectl_takes_over_what_it_owned_by_client_side_apply() {
    let last = workload(json!({"replicas": 1, "paused": true}));
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let mut new = last.clone();
    new["metadata"]["annotations"] = json!({annotation: last.to_string()});
    let live = updated(None, "kubectl-client-side-apply", new);
    // Another manager has to fight for it; kubectl has not.
    assert!(applied(Some(&live), "other", json!({"replicas": 2})).is_err());
    let object = applied(Some(&live), "kubectl", json!({"replicas": 2, "paused": true})).unwrap();
    assert_eq!(object["spec"], json!({"replicas": 2, "paused": true}));
    assert!(owned_by(&object, "kubectl").contains(&".spec.replicas".to_owned()));
    let text = object["metadata"]["annotations"][annotation].as_str().unwrap();
    let now: Value = serde_json::from_str(text).unwrap();
    assert_eq!(now["spec"], json!({"replicas": 2, "paused": true}));

    // What others changed since is still a conflict.
    let mut edited = live.clone();
    edited["spec"]["replicas"] = json!(9);
    let edited = updated(Some(&live), "editor", edited);
    let error = applied(Some(&edited), "kubectl", json!({"replicas": 2, "paused": false})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .spec.replicas"
    );
}

#[test]
fn an_apply_that_changes_nothing_keeps_the_time() {
    let live = applied(None, "a", json!({"replicas": 1})).unwrap();
    let context = Context { now: "2030-01-01T00:00:00Z", ..by("a") };
    let same = workload(json!({"replicas": 1}));
    let request = ApplyRequest { context, live: Some(&live), applied: &same, force: false };
    assert_eq!(apply(&request).unwrap(), Applied { object: live.clone(), changed: false });
    let more = workload(json!({"replicas": 2}));
    let changed = apply(&ApplyRequest { applied: &more, ..request }).unwrap();
    assert!(changed.changed);
    assert_eq!(changed.object["metadata"]["managedFields"][0]["time"], "2030-01-01T00:00:00Z");
}

#[test]
fn what_nests_very_deep_without_a_schema_is_owned_as_one() {
    let nested = |leaf: i64| json!({"free": (0..100).fold(json!(leaf), |inner, _| json!({"a": inner}))});
    let object = applied(None, "a", nested(1)).unwrap();
    let own = owned_by(&object, "a");
    let deepest = own.iter().map(|path| path.matches(".a").count()).max();
    assert_eq!(deepest, Some(41), "{own:?}");
    assert_eq!(applied(Some(&object), "b", nested(1)).unwrap()["spec"], nested(1));
    let refused = applied(Some(&object), "b", nested(2)).unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)), "{refused}");
    let taken = forced(&object, "b", nested(2));
    assert_eq!(taken["spec"], nested(2));
    let emptied =
        applied(Some(&applied(None, "a", nested(1)).unwrap()), "a", json!({"replicas": 1})).unwrap();
    assert_eq!(emptied["spec"], json!({"replicas": 1}));
}

#[test]
fn what_cannot_be_applied_is_refused_with_the_place() {
    let object = |metadata: Value, spec: Value| json!({"apiVersion": "v1", "kind": "Workload", "metadata": metadata, "spec": spec});
    let typed = |text: &str| format!("failed to create typed patch object (/w; /v1, Kind=Workload): {text}");
    let name = || json!({"name": "w"});
    let cases = [
        (
            object(name(), json!({"replicas": "1"})),
            typed(".spec.replicas: expected numeric (int or float), got string"),
        ),
        (object(name(), json!({"nope": 1})), typed(".spec.nope: field not declared in schema")),
        (object(name(), json!([])), typed(".spec: expected map, got &{[]}")),
        (
            object(name(), json!({"containers": [{"name": "c"}, {"name": "c"}]})),
            typed(".spec.containers: duplicate entries for key [name=\"c\"]"),
        ),
        (
            object(name(), json!({"containers": [{"image": "c"}]})),
            typed(
                ".spec.containers: element 0: associative list with keys has an element that omits all key fields \
                 [\"name\"] (and doesn't have default values for any key fields)",
            ),
        ),
        (
            object(name(), json!({"containers": [{"name": "c", "args": [1]}]})),
            typed(
                ".spec.containers[name=\"c\"].args[0]: expected string, got &value.valueUnstructured{Value:1}",
            ),
        ),
        (
            object(name(), json!({"containers": [{"name": "c", "args": [1]}], "replicas": "x"})),
            typed(
                "errors:\n  .spec.containers[name=\"c\"].args[0]: expected string, got \
                 &value.valueUnstructured{Value:1}\n  .spec.replicas: expected numeric (int or float), got string",
            ),
        ),
        (object(json!({"managedFields": []}), json!({})), "metadata.managedFields must be nil".to_owned()),
        (
            json!({"apiVersion": "v2", "kind": "Workload"}),
            "invalid object type: /v2, Kind=Workload".to_owned(),
        ),
        (json!({"apiVersion": "apps/v1", "kind": "X"}), "invalid object type: apps/v1, Kind=X".to_owned()),
        (json!(7), "invalid object type: /, Kind=".to_owned()),
    ];
    for (applied, expected) in cases {
        let request = ApplyRequest { context: by("a"), live: None, applied: &applied, force: true };
        let error = apply(&request).unwrap_err();
        let code = if expected.starts_with("failed to create typed") { 500 } else { 400 };
        assert_eq!((error.to_string(), error.status().code()), (expected, code), "{applied}");
    }
    let live = json!({"metadata": {"managedFields": [{"manager": "a", "operation": "Sing"}]}});
    let error = applied(Some(&live), "a", json!({})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to decode managed fields: entry 0: operation must be `Apply` or `Update`"
    );
    assert_eq!(error.status().code(), 500);
}
