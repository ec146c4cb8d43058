//! How ownership is kept for writes that are no applies.

use super::*;

#[test]
fn a_creator_owns_what_it_set_and_nothing_that_is_the_servers() {
    let mut new = workload(json!({"replicas": 1}));
    new["metadata"] = json!({
        "name": "w", "namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"},
    });
    let object = updated(None, "c", new);
    let expected = [".metadata.labels", ".metadata.labels.a", ".spec", ".spec.replicas"];
    assert_eq!(owned_by(&object, "c"), expected);
    assert_eq!(object["metadata"]["managedFields"][0]["operation"], "Update");
    assert_eq!(owned_by(&updated(None, "", workload(json!({}))), "unknown"), [".spec"]);
}

#[test]
fn an_updater_takes_what_it_changes_and_everybody_loses_what_it_removes() {
    let live = applied(None, "a", json!({"replicas": 1, "paused": true, "options": {"o": "p"}})).unwrap();
    let mut new = live.clone();
    new["spec"] = json!({"replicas": 2, "paused": true});
    let object = updated(Some(&live), "u", new);
    assert_eq!(owned_by(&object, "a"), [".spec.paused"]);
    assert_eq!(owned_by(&object, "u"), [".spec.replicas"]);
}

#[test]
fn an_update_that_changes_nothing_leaves_all_as_it_was() {
    let live = applied(None, "a", json!({"replicas": 1})).unwrap();
    let context = Context { now: "2030-01-01T00:00:00Z", ..by("u") };
    assert_eq!(update(UpdateRequest { context, live: Some(&live), new: live.clone() }), live);
}

#[test]
fn a_client_that_does_not_know_managed_fields_cannot_lose_them() {
    let live = applied(None, "a", json!({"replicas": 1})).unwrap();
    for entries in [Value::Null, json!([{"manager": "x", "operation": "Sing"}]), json!("?")] {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = entries;
        assert_eq!(updated(Some(&live), "u", new), live);
    }
}

#[test]
fn an_empty_list_clears_the_books_and_an_edited_one_stands() {
    let live = applied(None, "a", json!({"replicas": 1})).unwrap();
    for entries in [json!([]), json!([{}]), json!([{"manager": "", "time": null}])] {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = entries;
        let object = updated(Some(&live), "u", new);
        assert_eq!(object["metadata"].get("managedFields"), None);
        // And so it stays until somebody applies.
        let mut next = object.clone();
        next["spec"]["replicas"] = json!(7);
        assert_eq!(updated(Some(&object), "u", next.clone()), next);
    }
    let mut edited = live.clone();
    edited["metadata"]["managedFields"][0]["manager"] = json!("renamed");
    assert_eq!(owners(&updated(Some(&live), "u", edited)).into_keys().collect::<Vec<_>>(), ["renamed"]);
}

#[test]
fn through_a_subresource_the_books_cannot_be_edited() {
    let live = applied(None, "a", json!({"replicas": 1})).unwrap();
    let mut new = live.clone();
    new["metadata"]["managedFields"] = json!([]);
    new["status"] = json!({"replicas": 1});
    let context = Context { subresource: Some("status"), ..by("u") };
    let object = update(UpdateRequest { context, live: Some(&live), new });
    assert_eq!(owned_by(&object, "a"), [".spec.replicas"]);
    assert_eq!(owned_by(&object, "u"), [".status", ".status.replicas"]);
    assert_eq!(object["metadata"]["managedFields"][1]["subresource"], "status");
}

#[test]
fn fields_that_the_endpoint_resets_are_not_owned() {
    let with_status = |spec| {
        let mut object = workload(spec);
        object["status"] = json!({"replicas": 1, "conditions": [{"type": "t"}]});
        object
    };
    let context = Context { reset: &STATUS, ..by("u") };
    let object = update(UpdateRequest { context, live: None, new: with_status(json!({"replicas": 1})) });
    assert_eq!(owned_by(&object, "u"), [".spec", ".spec.replicas"]);
    let wanted = with_status(json!({"paused": true}));
    let context = Context { reset: &STATUS, ..by("a") };
    let request = ApplyRequest { context, live: Some(&object), applied: &wanted, force: false };
    assert_eq!(owned_by(&apply(&request).unwrap().object, "a"), [".spec.paused"]);
}

#[test]
fn what_is_owned_in_a_version_that_is_no_more_is_forgotten() {
    let mut live = applied(None, "a", json!({"replicas": 1})).unwrap();
    live["metadata"]["managedFields"][0]["apiVersion"] = json!("v0");
    let object = applied(Some(&live), "b", json!({"replicas": 2})).unwrap();
    assert_eq!(owners(&object).into_keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn the_oldest_of_many_updaters_are_gathered_as_one() {
    let mut object = applied(None, "applier", json!({"paused": true})).unwrap();
    for index in 0..15 {
        let (manager, now) = (format!("m{index:02}"), format!("2026-01-01T00:00:{index:02}Z"));
        let mut new = object.clone();
        new["metadata"]["labels"][&manager] = json!("x");
        let context = Context { now: &now, ..by(&manager) };
        object = update(UpdateRequest { context, live: Some(&object), new });
    }
    let owners = owners(&object);
    assert_eq!(owners.len(), 11);
    let labels = |numbers: std::ops::Range<u32>| -> Vec<String> {
        numbers.map(|number| format!(".metadata.labels.m{number:02}")).collect()
    };
    let mut gathered = vec![".metadata.labels".to_owned()];
    gathered.extend(labels(0..6));
    assert_eq!(owners["ancient-changes"], gathered);
    assert_eq!(owners["m14"], labels(14..15));
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let managers: Vec<&str> = entries.iter().map(|entry| entry["manager"].as_str().unwrap()).collect();
    assert_eq!(managers[..3], ["applier", "ancient-changes", "m06"]);
    assert_eq!(entries[1]["time"], "2026-01-01T00:00:05Z");
}

#[test]
fn an_object_that_does_not_fit_the_schema_keeps_its_books() {
    let live = applied(None, "a", json!({"replicas": 1})).unwrap();
    let mut new = live.clone();
    new["spec"]["replicas"] = json!("many");
    assert_eq!(updated(Some(&live), "u", new.clone()), new);
    assert_eq!(updated(None, "u", json!(7)), json!(7));
}

#[test]
fn elements_that_are_there_twice_are_owned_together_and_can_be_put_right() {
    let twice = |second: &str| {
        workload(json!({"containers": [{"name": "c", "image": "1"}, {"name": "c", "image": second}]}))
    };
    let live = updated(None, "u", twice("2"));
    let element = ".spec.containers[name=\"c\"]";
    assert_eq!(owned_by(&live, "u"), [".spec", ".spec.containers", element]);
    let mut new = twice("3");
    new["metadata"] = live["metadata"].clone();
    assert_eq!(owned_by(&updated(Some(&live), "v", new), "v"), [element]);
    let object = forced(&live, "a", json!({"containers": [{"name": "c", "image": "4"}]}));
    assert_eq!(object["spec"]["containers"], json!([{"name": "c", "image": "4"}]));
}
