use super::*;
use serde_json::{Value, json};

fn claim(more: Value) -> PersistentVolumeClaim {
    let mut claim = json!({
        "metadata": {"namespace": "a", "name": "data", "uid": "u"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "resources": {"requests": {"storage": "2Gi"}}},
    });
    merge(&mut claim, more);
    serde_json::from_value(claim).unwrap()
}

fn volume(name: &str, size: &str, more: Value) -> PersistentVolume {
    let mut volume = json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "capacity": {"storage": size}},
        "status": {"phase": "Available"},
    });
    merge(&mut volume, more);
    serde_json::from_value(volume).unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn chosen(claim: &PersistentVolumeClaim, volumes: &[PersistentVolume]) -> Option<String> {
    best(claim, volumes, |_| true).map(|volume| volume.name_any())
}

#[test]
fn the_smallest_that_holds_enough_is_chosen_of_those_that_allow_no_more_than_needed() {
    let many = json!({"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}});
    let volumes = [
        volume("small", "1Gi", json!({})),
        volume("shared", "2Gi", many),
        volume("big", "10Gi", json!({})),
        volume("fit-b", "3Gi", json!({})),
        volume("fit-a", "3Gi", json!({})),
    ];
    assert_eq!(chosen(&claim(json!({})), &volumes).as_deref(), Some("fit-a"));
    let shared = claim(json!({"spec": {"accessModes": ["ReadWriteMany"]}}));
    assert_eq!(chosen(&shared, &volumes).as_deref(), Some("shared"));
    let huge = claim(json!({"spec": {"resources": {"requests": {"storage": "11Gi"}}}}));
    assert_eq!(chosen(&huge, &volumes), None);
}

#[test]
fn a_volume_must_be_free_and_of_the_kind_that_is_asked_for() {
    for (more, fits) in [
        (json!({}), true),
        (json!({"spec": {"storageClassName": "slow"}}), false),
        (json!({"spec": {"storageClassName": null}}), false),
        (json!({"spec": {"volumeMode": "Block"}}), false),
        (json!({"spec": {"volumeMode": "Filesystem"}}), true),
        (json!({"spec": {"volumeAttributesClassName": "gold"}}), false),
        (json!({"spec": {"claimRef": {"namespace": "a", "name": "other"}}}), false),
        (json!({"spec": {"claimRef": {"namespace": "b", "name": "data"}}}), false),
        (json!({"status": {"phase": "Pending"}}), false),
        (json!({"status": {"phase": "Released"}}), false),
        (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), false),
        (json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "slow"}}}), false),
    ] {
        let volumes = [volume("one", "2Gi", more.clone())];
        assert_eq!(chosen(&claim(json!({})), &volumes).is_some(), fits, "{more}");
    }
}

#[test]
fn a_selector_chooses_by_labels_and_one_that_cannot_be_read_chooses_nothing() {
    let volumes = [
        volume("plain", "2Gi", json!({})),
        volume("red", "9Gi", json!({"metadata": {"labels": {"color": "red"}}})),
    ];
    let red = claim(json!({"spec": {"selector": {"matchLabels": {"color": "red"}}}}));
    assert_eq!(chosen(&red, &volumes).as_deref(), Some("red"));
    let broken =
        json!({"spec": {"selector": {"matchExpressions": [{"key": "color", "operator": "Sounds"}]}}});
    assert_eq!(chosen(&claim(broken), &volumes), None);
}

#[test]
fn what_is_kept_for_a_claim_comes_first_whatever_its_class_and_phase() {
    let kept = |uid: Value| {
        json!({
            "spec": {"storageClassName": "slow", "claimRef": {"namespace": "a", "name": "data", "uid": uid}},
            "status": {"phase": "Pending"},
        })
    };
    let free = volume("free", "2Gi", json!({}));
    for (uid, wanted) in [(json!(null), "kept"), (json!("u"), "kept"), (json!("before"), "free")] {
        let volumes = [free.clone(), volume("kept", "50Gi", kept(uid.clone()))];
        assert_eq!(chosen(&claim(json!({})), &volumes).as_deref(), Some(wanted), "{uid}");
    }
    let volumes = [free, volume("kept", "50Gi", kept(json!("u")))];
    let waiting = best(&claim(json!({})), &volumes, |_| false).map(|volume| volume.name_any());
    assert_eq!(waiting.as_deref(), Some("kept"), "a claim that waits takes what is kept for it");
    assert!(best(&claim(json!({})), &volumes[..1], |_| false).is_none(), "and nothing else");
    let small = [volume("kept", "1Gi", kept(json!("u")))];
    assert_eq!(chosen(&claim(json!({})), &small), None, "too small is too small");
}

#[test]
fn why_a_volume_that_was_asked_for_is_not_given_is_said_in_upstreams_words() {
    for (more, why) in [
        (json!({}), None),
        (json!({"spec": {"capacity": {"storage": "1Gi"}}}), Some("requested PV is too small")),
        (json!({"spec": {"storageClassName": "slow"}}), Some("storageClassName does not match")),
        (json!({"spec": {"volumeMode": "Block"}}), Some("incompatible volumeMode")),
        (json!({"spec": {"accessModes": ["ReadOnlyMany"]}}), Some("incompatible accessMode")),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            Some("the volume is marked for deletion \"one\""),
        ),
    ] {
        let found = unfit(&volume("one", "2Gi", more.clone()), &claim(json!({})));
        assert_eq!(found.as_deref(), why, "{more}");
    }
}
