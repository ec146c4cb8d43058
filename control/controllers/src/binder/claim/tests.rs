use super::*;
use serde_json::{Value, json};

const NOTHING: &str = "no persistent volumes available for this claim and no storage class is set";

fn claim(spec: Value, annotations: Value) -> PersistentVolumeClaim {
    let mut whole = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "metadata": {"namespace": "a", "name": "data", "uid": "u", "annotations": annotations}, "spec": whole,
    }))
    .unwrap()
}

fn volume(name: &str, class: &str, reference: Value) -> PersistentVolume {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "claimRef": reference,
            "capacity": {"storage": "1Gi"}},
        "status": {"phase": "Available"},
    }))
    .unwrap()
}

fn class(name: &str, provisioner: &str, waits: bool, default: bool) -> StorageClass {
    let mode = if waits { "WaitForFirstConsumer" } else { "Immediate" };
    let key = "storageclass.kubernetes.io/is-default-class";
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {key: default.to_string()}},
        "provisioner": provisioner, "volumeBindingMode": mode,
    }))
    .unwrap()
}

/// What was decided, in short.
fn decided(claim: &PersistentVolumeClaim, volumes: &[PersistentVolume], classes: &[StorageClass]) -> String {
    let volumes: Vec<&PersistentVolume> = volumes.iter().collect();
    told(&decide(Snapshot { claim, volumes: &volumes, classes, pods: &[] }))
}

fn told(step: &Step<'_>) -> String {
    let in_short = |told: &Told| format!("{}: {}", told.reason, told.message);
    match step {
        Step::Bind(volume) => format!("bind {}", volume.name_any()),
        Step::Classify(name) => format!("classify {name}"),
        Step::Provision(name) => format!("provision {name}"),
        Step::Wait(None) => "wait".to_owned(),
        Step::Wait(Some(told)) => in_short(told),
        Step::Lose(told) => format!("lost {}", in_short(told)),
        Step::Misled(told) => format!("misled {}", in_short(told)),
    }
}

#[test]
fn an_open_claim_gets_what_fits_or_a_class_or_waits() {
    let none = claim(json!({}), json!({}));
    assert_eq!(decided(&none, &[volume("free", "", json!(null))], &[]), "bind free");
    assert_eq!(decided(&none, &[], &[]), format!("FailedBinding: {NOTHING}"));
    let default = class("local", "example.com/local", false, true);
    assert_eq!(decided(&none, &[], std::slice::from_ref(&default)), "classify local");
    let empty = claim(json!({"storageClassName": ""}), json!({}));
    assert_eq!(decided(&empty, &[], &[default]), format!("FailedBinding: {NOTHING}"));
}

#[test]
fn a_claim_with_a_class_has_a_volume_made_or_says_why_not() {
    let named = claim(json!({"storageClassName": "local"}), json!({}));
    assert_eq!(
        decided(&named, &[], &[]),
        "ProvisioningFailed: storageclass.storage.k8s.io \"local\" not found"
    );
    let external = class("local", "example.com/local", false, false);
    assert_eq!(decided(&named, &[], &[external]), "provision example.com/local");
    let by_hand = class("local", "kubernetes.io/no-provisioner", false, false);
    assert_eq!(
        decided(&named, &[], &[by_hand]),
        "ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner"
    );
}

#[test]
fn a_claim_that_waits_for_its_pod_says_for_which_and_goes_on_once_a_node_is_chosen() {
    let classes = [class("local", "example.com/local", true, false)];
    let free = [volume("free", "local", json!(null))];
    let waiting = claim(json!({"storageClassName": "local"}), json!({}));
    assert!(is_unwanted(&waiting, &classes));
    for (pods, wanted) in [
        (vec![], "WaitForFirstConsumer: waiting for first consumer to be created before binding"),
        (vec!["a"], "WaitForPodScheduled: waiting for pod a to be scheduled"),
        (vec!["a", "b"], "WaitForPodScheduled: waiting for pods a,b to be scheduled"),
    ] {
        let pods: Vec<String> = pods.into_iter().map(str::to_owned).collect();
        let there = Snapshot { claim: &waiting, volumes: &[&free[0]], classes: &classes, pods: &pods };
        assert_eq!(told(&decide(there)), wanted);
    }
    let selected = claim(json!({"storageClassName": "local"}), json!({SELECTED_NODE: "edge"}));
    assert!(!is_unwanted(&selected, &classes));
    assert_eq!(decided(&selected, &free, &classes), "provision example.com/local");
    let kept = [volume("kept", "local", json!({"namespace": "a", "name": "data"}))];
    assert_eq!(decided(&waiting, &kept, &classes), "bind kept");
}

#[test]
fn a_volume_that_the_user_chose_is_given_if_it_is_there_and_free_and_fits() {
    let asking = |annotations: Value| claim(json!({"volumeName": "one"}), annotations);
    let plain = asking(json!({}));
    assert_eq!(decided(&plain, &[], &[]), "wait");
    assert_eq!(decided(&plain, &[volume("one", "", json!(null))], &[]), "bind one");
    assert_eq!(
        decided(&plain, &[volume("one", "slow", json!(null))], &[]),
        "VolumeMismatch: Cannot bind to requested volume \"one\": storageClassName does not match"
    );
    let own = volume("one", "slow", json!({"namespace": "a", "name": "data"}));
    assert_eq!(decided(&plain, &[own], &[]), "bind one");
    let others = [volume("one", "", json!({"namespace": "a", "name": "other", "uid": "x"}))];
    let why = "FailedBinding: volume \"one\" already bound to a different claim.";
    assert_eq!(decided(&plain, &others, &[]), why);
    assert_eq!(decided(&asking(json!({BY_CONTROLLER: "yes"})), &others, &[]), format!("misled {why}"));
}

#[test]
fn a_bound_claim_keeps_its_volume_or_is_lost() {
    let done = |spec: Value| claim(spec, json!({COMPLETED: "yes"}));
    let one = done(json!({"volumeName": "one"}));
    let with = |uid: &str| [volume("one", "", json!({"namespace": "a", "name": "data", "uid": uid}))];
    assert_eq!(decided(&one, &with("u"), &[]), "bind one");
    assert_eq!(decided(&one, &[volume("one", "", json!(null))], &[]), "bind one", "the link is made anew");
    assert!(decided(&one, &with("other"), &[]).starts_with("lost ClaimMisbound: Two claims"));
    assert_eq!(
        decided(&one, &[], &[]),
        "lost ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!"
    );
    assert!(decided(&done(json!({})), &with("u"), &[]).contains("lost reference to PersistentVolume"));
}

#[test]
fn a_status_tells_of_the_volume_and_a_bound_claim_keeps_what_it_says_of_its_size() {
    let mut bound = claim(json!({"volumeName": "one"}), json!({}));
    let one = volume("one", "", json!(null));
    let said = status(&bound, "Bound", Some(&one));
    let text = serde_json::to_value(&said).unwrap();
    assert_eq!(
        text,
        json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}})
    );
    bound.status = Some(said);
    let mut grown = one.clone();
    grown.spec.as_mut().unwrap().capacity = serde_json::from_value(json!({"storage": "2Gi"})).unwrap();
    assert_eq!(Some(status(&bound, "Bound", Some(&grown))), bound.status);
    let lost = serde_json::to_value(status(&bound, "Lost", None)).unwrap();
    assert_eq!(lost, json!({"phase": "Lost"}));
}
