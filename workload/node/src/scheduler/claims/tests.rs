use super::*;
use serde_json::Value;

/// A storage of these objects.
fn storage(claims: Vec<Value>, volumes: Vec<Value>, classes: Vec<Value>) -> Storage {
    fn known<K>(objects: Vec<Value>) -> Known<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + 'static,
    {
        objects.into_iter().map(|object| serde_json::from_value(object).unwrap()).collect()
    }
    Storage { claims: known(claims), volumes: known(volumes), classes: known(classes) }
}

fn claim(name: &str, more: Value) -> Value {
    let mut claim = json!({
        "metadata": {"namespace": "a", "name": name, "uid": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"},
    });
    for (key, value) in more.as_object().unwrap() {
        claim[key].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    }
    claim
}

fn bound(name: &str, volume: &str) -> Value {
    claim(
        name,
        json!({"metadata": {"annotations": {COMPLETED: "yes"}}, "spec": {"volumeName": volume},
            "status": {"phase": "Bound"}}),
    )
}

fn volume(name: &str, node: &str) -> Value {
    let term =
        json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]});
    json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local", "capacity": {"storage": "1Gi"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}},
        "status": {"phase": "Available"},
    })
}

fn class(mode: &str, provisioner: &str) -> Value {
    json!({"metadata": {"name": "local"}, "provisioner": provisioner, "volumeBindingMode": mode})
}

fn waiting() -> Vec<Value> {
    vec![class("WaitForFirstConsumer", "example.com/local")]
}

fn pod(volumes: Value) -> Pod {
    let meta = json!({"namespace": "a", "name": "web", "uid": "p"});
    serde_json::from_value(json!({"metadata": meta, "spec": {"containers": [], "volumes": volumes}})).unwrap()
}

fn using(claim: &str) -> Pod {
    pod(json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]))
}

fn node() -> NodeObject {
    serde_json::from_value(
        json!({"metadata": {"name": "edge", "labels": {"kubernetes.io/hostname": "edge"}}}),
    )
    .unwrap()
}

fn plan(storage: &Storage, pod: &Pod) -> Plan {
    storage.plan(&storage.usable(pod).unwrap(), &node(), &Load::default())
}

/// The steps in short.
fn steps(plan: Plan) -> Vec<String> {
    let Plan::Wait(steps) = plan else { panic!("{plan:?}") };
    let short = |step: &Step| match step {
        Step::Keep(volume, claim) => format!("keep {} for {}", volume.name_any(), claim.name_any()),
        Step::Select(claim) => format!("select {}", claim.name_any()),
    };
    steps.iter().map(short).collect()
}

#[test]
fn a_pod_without_claims_waits_for_nothing() {
    let storage = storage(vec![], vec![], vec![]);
    assert_eq!(plan(&storage, &pod(json!([{"name": "v", "emptyDir": {}}]))), Plan::Ready);
}

#[test]
fn claims_that_cannot_be_used_are_said_in_upstreams_words() {
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let storage = storage(
        vec![
            claim("open", json!({"spec": {"storageClassName": "now"}})),
            claim("going", going),
            claim("lost", json!({"spec": {"volumeName": "gone"}, "status": {"phase": "Lost"}})),
            claim("web-other", json!({})),
        ],
        vec![],
        vec![],
    );
    let ephemeral =
        |name: &str| pod(json!([{"name": name, "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]));
    for (pod, why) in [
        (using("none"), "persistentvolumeclaim \"none\" not found"),
        (using("open"), "pod has unbound immediate PersistentVolumeClaims"),
        (using("going"), "persistentvolumeclaim \"going\" is being deleted"),
        (using("lost"), "persistentvolumeclaim \"lost\" bound to non-existent persistentvolume \"gone\""),
        (
            ephemeral("tmp"),
            "waiting for ephemeral volume controller to create the persistentvolumeclaim \"web-tmp\"",
        ),
        (ephemeral("other"), "PVC a/web-other was not created for pod a/web (pod is not owner)"),
    ] {
        assert_eq!(storage.usable(&pod).unwrap_err(), why);
    }
}

#[test]
fn a_bound_claim_is_used_where_its_volume_is() {
    let claims = vec![bound("here", "one"), bound("there", "two"), bound("lost", "three")];
    let storage = storage(claims, vec![volume("one", "edge"), volume("two", "other")], vec![]);
    assert_eq!(plan(&storage, &using("here")), Plan::Ready);
    assert_eq!(plan(&storage, &using("there")), Plan::Refuse(CONFLICT));
    assert_eq!(plan(&storage, &using("lost")), Plan::Refuse(GONE));
}

#[test]
fn a_claim_that_waited_gets_a_free_volume_here_or_has_one_made() {
    let both = pod(json!([
        {"name": "a", "persistentVolumeClaim": {"claimName": "one"}},
        {"name": "b", "persistentVolumeClaim": {"claimName": "two"}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "two"}},
    ]));
    let claims = || vec![claim("one", json!({})), claim("two", json!({}))];
    let free = storage(claims(), vec![volume("here", "edge"), volume("there", "other")], waiting());
    assert_eq!(steps(plan(&free, &both)), ["keep here for one", "select two"]);
    let by_hand = vec![class("WaitForFirstConsumer", BY_HAND)];
    let none = storage(claims(), vec![volume("there", "other")], by_hand);
    assert_eq!(plan(&none, &using("one")), Plan::Refuse(NOTHING));
    let mut elsewhere = waiting();
    elsewhere[0]["allowedTopologies"] =
        json!([{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["other"]}]}]);
    let elsewhere = storage(claims(), vec![], elsewhere);
    assert_eq!(plan(&elsewhere, &using("one")), Plan::Refuse(NOTHING));
}

#[test]
fn what_was_begun_for_a_claim_is_waited_for() {
    let selected = json!({"metadata": {"annotations": {SELECTED_NODE: "edge"}}});
    let begun = storage(vec![claim("one", selected)], vec![volume("late", "edge")], waiting());
    assert_eq!(plan(&begun, &using("one")), Plan::Wait(vec![]));
    let mut kept = volume("kept", "edge");
    kept["spec"]["claimRef"] = json!({"namespace": "a", "name": "one", "uid": "one"});
    let begun = storage(vec![claim("one", json!({}))], vec![kept.clone()], waiting());
    assert_eq!(plan(&begun, &using("one")), Plan::Wait(vec![]));
    kept["spec"]["nodeAffinity"] = volume("", "other")["spec"]["nodeAffinity"].clone();
    let elsewhere = storage(vec![claim("one", json!({}))], vec![kept], waiting());
    assert_eq!(plan(&elsewhere, &using("one")), Plan::Refuse(NOTHING));
}

#[test]
fn a_claim_for_one_pod_is_used_by_one_pod() {
    let mut alone = bound("one", "one");
    alone["spec"]["accessModes"] = json!([ONE_POD]);
    let storage = storage(vec![alone], vec![volume("one", "edge")], vec![]);
    let claims = storage.usable(&using("one")).unwrap();
    assert_eq!(storage.plan(&claims, &node(), &Load::default()), Plan::Ready);
    assert_eq!(storage.plan(&claims, &node(), &Load::of(&using("one"))), Plan::Refuse(TAKEN));
    assert_eq!(storage.plan(&claims, &node(), &Load::of(&using("two"))), Plan::Ready);
}
