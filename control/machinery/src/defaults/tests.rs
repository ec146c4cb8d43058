use serde_json::json;

use super::*;

fn defaulted(group: &str, version: &str, kind: &str, mut object: Value) -> Value {
    apply(group, version, kind, &mut object);
    object
}

#[test]
fn the_table_is_sound() {
    assert!(read(builtin::types()).unwrap().len() > 50);
}

#[test]
fn what_a_client_said_stands() {
    let said =
        json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}, "progressDeadlineSeconds": 1}});
    let spec = &defaulted("apps", "v1", "Deployment", said)["spec"];
    assert_eq!((&spec["replicas"], &spec["progressDeadlineSeconds"]), (&json!(0), &json!(1)));
    assert_eq!(spec["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn requests_come_from_limits_in_pods_and_not_in_templates() {
    let spec = json!({"containers": [{"name": "x", "resources": {"limits": {"cpu": "1"}}}]});
    let pod = defaulted("", "v1", "Pod", json!({ "spec": spec }));
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], json!({"cpu": "1"}));
    let workload = defaulted("apps", "v1", "ReplicaSet", json!({"spec": {"template": {"spec": spec}}}));
    assert_eq!(workload["spec"]["template"]["spec"]["containers"][0]["resources"].get("requests"), None);
}

#[test]
fn a_definition_of_custom_resources_gets_its_names() {
    let definition = json!({"spec": {"names": {"kind": "Foo", "plural": "foos"}}});
    let spec = defaulted("apiextensions.k8s.io", "v1", "CustomResourceDefinition", definition)["spec"].take();
    assert_eq!(
        spec["names"],
        json!({"kind": "Foo", "plural": "foos", "singular": "foo", "listKind": "FooList"})
    );
    assert_eq!(spec["conversion"], json!({"strategy": "None"}));
}

#[test]
fn values_of_the_wrong_type_are_walked_past() {
    for spec in [json!(1), json!([]), json!({"containers": 1}), json!({"containers": [1], "volumes": {}})] {
        defaulted("", "v1", "Pod", json!({"metadata": [], "spec": spec, "status": "x"}));
    }
    for spec in [json!({"template": 1}), json!({"template": {"metadata": {"labels": 1}}})] {
        defaulted("batch", "v1", "Job", json!({ "spec": spec }));
    }
}

#[test]
fn kinds_that_are_not_built_in_stay_as_they_are() {
    let object = json!({"spec": {"containers": []}, "x": null});
    assert_eq!(defaulted("example.com", "v1", "Pod", object.clone()), object);
}
