use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{DESIRED, Decision, HISTORY, MOST, REVISION, decide};

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

fn deployment(image: &str, change: Value) -> Deployment {
    let mut value = json!({
        "metadata": {"name": "web", "uid": "d", "generation": 1, "annotations": {"kubernetes.io/change-cause": image}},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template(image),
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        },
        "status": {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3},
    });
    json_patch_merge(&mut value, change);
    serde_json::from_value(value).unwrap()
}

fn json_patch_merge(value: &mut Value, change: Value) {
    match (value, change) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                json_patch_merge(fields.entry(key).or_insert(Value::Null), change);
            }
        }
        (value, change) => *value = change,
    }
}

fn set(image: &str, replicas: i32, revision: i64) -> ReplicaSet {
    let annotations = json!({
        REVISION: revision.to_string(), DESIRED: "3", MOST: "4", "kubernetes.io/change-cause": image,
    });
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("web-{image}"), "uid": image, "generation": 1, "annotations": annotations,
            "creationTimestamp": format!("2026-01-01T00:00:0{revision}Z"),
        },
        "spec": {"replicas": replicas, "selector": {}, "template": template(image)},
        "status": {"replicas": replicas, "availableReplicas": replicas, "readyReplicas": replicas, "observedGeneration": 1},
    }))
    .unwrap()
}

fn nothing(current: &str) -> Decision {
    Decision { create: None, current: Some(current.to_owned()), changes: Vec::new(), surplus: Vec::new() }
}

#[test]
fn a_deployment_that_is_as_wanted_needs_nothing() {
    let sets = [set("one", 0, 1), set("two", 3, 2)];
    assert_eq!(decide(&deployment("two", json!({})), &sets, false), nothing("web-two"));
}

#[test]
fn a_new_template_gets_a_set_of_the_next_revision_with_the_deployments_annotations() {
    let decision = decide(&deployment("two", json!({})), &[set("one", 3, 7)], false);
    let new = decision.create.unwrap();
    assert_eq!((new.spec.replicas, decision.current), (Some(1), None));
    assert_eq!(new.annotations()[REVISION], "8");
    assert_eq!(new.annotations()["kubernetes.io/change-cause"], "two");
    assert_eq!((&*new.annotations()[DESIRED], &*new.annotations()[MOST]), ("3", "4"));
    assert!(decision.changes.is_empty(), "the old set stays until the new one has pods");
}

#[test]
fn a_rollback_makes_an_old_set_the_newest_revision() {
    let sets = [set("one", 0, 1), set("two", 3, 2)];
    let change = decide(&deployment("one", json!({})), &sets, false).changes.remove(0);
    assert_eq!((&*change.name, change.from, change.to), ("web-one", 0, 1));
    assert_eq!((&*change.annotations[REVISION], &*change.annotations[HISTORY]), ("3", "1"));
}

#[test]
fn pause_makes_no_set_and_moves_no_pods() {
    let paused = deployment("two", json!({"spec": {"paused": true}}));
    let decision = decide(&paused, &[set("one", 3, 1)], false);
    assert_eq!(decision, Decision { current: None, ..nothing("") });
    let scaled = deployment("two", json!({"spec": {"paused": true, "replicas": 5}}));
    let change = decide(&scaled, &[set("one", 3, 1)], false).changes.remove(0);
    assert_eq!((change.from, change.to), (3, 5));
}

#[test]
fn recreate_makes_no_new_pods_while_old_ones_run() {
    let recreate =
        deployment("two", json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}));
    let replicas =
        |sets: &[ReplicaSet], run: bool| decide(&recreate, sets, run).create.unwrap().spec.replicas;
    assert_eq!(replicas(&[set("one", 0, 1)], true), Some(0));
    assert_eq!(replicas(&[set("one", 0, 1)], false), Some(3));
    let waiting = [set("one", 0, 1), set("two", 0, 2)];
    assert!(decide(&recreate, &waiting, true).changes.iter().all(|change| change.to == 0));
    assert_eq!(decide(&recreate, &waiting, false).changes[0].to, 3);
}

#[test]
fn history_keeps_the_newest_empty_sets_once_the_rollout_is_complete() {
    let sets = [set("one", 0, 1), set("two", 0, 2), set("three", 0, 3), set("four", 3, 4)];
    let limited = json!({"spec": {"revisionHistoryLimit": 1}});
    assert_eq!(decide(&deployment("four", limited.clone()), &sets, false).surplus, ["web-one", "web-two"]);
    let mut busy = deployment("four", limited);
    busy.status.as_mut().unwrap().available_replicas = Some(2);
    assert!(decide(&busy, &sets, false).surplus.is_empty());
}
