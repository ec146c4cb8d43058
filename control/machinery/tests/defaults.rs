//! Defaults and canonical forms, beside what Kubernetes itself makes of the same objects (`conformance/kinds`).

use serde_json::Value;
use xebec_machinery::defaults;

#[test]
fn objects_are_completed_as_upstream_completes_them() {
    let given = include_str!("data/defaults/given.jsonl");
    let expected = include_str!("data/defaults/expected.jsonl");
    assert_eq!(given.lines().count(), expected.lines().count());
    let mut wrong = Vec::new();
    for (given, expected) in given.lines().zip(expected.lines()) {
        let mut object: Value = serde_json::from_str(given).unwrap();
        let mut expected: Value = serde_json::from_str(expected).unwrap();
        if expected["kind"] == "DaemonSet" {
            // It counts changes of the template, which is the work of whoever stores the object.
            expected["metadata"].as_object_mut().unwrap().remove("annotations");
        }
        let api_version = object["apiVersion"].as_str().unwrap().to_owned();
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = object["kind"].as_str().unwrap().to_owned();
        defaults::apply(group, version, &kind, &mut object);
        if object != expected {
            wrong.push(format!("{given}\n  is       {object}\n  upstream {expected}"));
        }
        let mut again = object.clone();
        defaults::apply(group, version, &kind, &mut again);
        assert_eq!(again, object, "defaults are not stable");
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), given.lines().count(), wrong.join("\n"));
}
