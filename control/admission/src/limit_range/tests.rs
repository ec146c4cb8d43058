use super::*;
use serde_json::json;

fn range(limits: Value) -> Value {
    json!({"spec": {"limits": limits}})
}

fn pod(resources: Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
}

fn request(resource: &str) -> Request {
    crate::sample::request(Operation::Create, "", resource)
}

fn wrong(limits: Value, resources: Value) -> String {
    aggregate(&broken(&range(limits), &request("pods"), &pod(resources)))
}

#[test]
fn what_containers_do_not_say_is_filled_in_and_told() {
    let range = range(
        json!([{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}]),
    );
    let mut pod = pod(json!({"limits": {"memory": "2Gi"}}));
    fill(&range, &mut pod);
    let resources = &pod["spec"]["containers"][0]["resources"];
    assert_eq!(*resources, json!({"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"cpu": "100m"}}));
    assert_eq!(
        object::annotation(&pod, ANNOTATION),
        Some("LimitRanger plugin set: cpu request for container c; cpu limit for container c")
    );
    let before = pod.clone();
    fill(&range, &mut pod);
    assert_eq!(pod, before, "a second time changes nothing");
}

#[test]
fn too_little_and_too_much_are_refused_in_upstreams_words() {
    let least = json!([{"type": "Container", "min": {"cpu": "100m"}}]);
    assert_eq!(
        wrong(least.clone(), json!({})),
        "minimum cpu usage per Container is 100m.  No request is specified"
    );
    assert_eq!(
        wrong(least.clone(), json!({"requests": {"cpu": "50m"}})),
        "minimum cpu usage per Container is 100m, but request is 50m"
    );
    assert_eq!(
        wrong(least, json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "50m"}})),
        "minimum cpu usage per Container is 100m, but limit is 50m"
    );
    let most = json!([{"type": "Pod", "max": {"memory": "1Gi"}}]);
    assert_eq!(wrong(most.clone(), json!({})), "maximum memory usage per Pod is 1Gi.  No limit is specified");
    assert_eq!(
        wrong(most.clone(), json!({"limits": {"memory": "2Gi"}})),
        "maximum memory usage per Pod is 1Gi, but limit is 2Gi"
    );
    assert_eq!(wrong(most, json!({"limits": {"memory": "1024Mi"}})), "[]");
}

#[test]
fn the_ratio_of_limit_to_request_is_bounded() {
    let ratio = json!([{"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}]);
    let asked = |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
    assert_eq!(
        wrong(ratio.clone(), asked("100m", "250m")),
        "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000"
    );
    assert_eq!(wrong(ratio.clone(), asked("100m", "200m")), "[]");
    assert_eq!(
        wrong(ratio, json!({"limits": {"cpu": "1"}})),
        "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0"
    );
}

#[test]
fn several_faults_are_told_together_and_each_once() {
    let limits = json!([{"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "2"}}]);
    assert_eq!(
        wrong(limits, json!({"requests": {"cpu": "500m"}})),
        "[minimum cpu usage per Container is 1, but request is 500m, maximum cpu usage per Container is 2.  No limit is specified]"
    );
}

#[test]
fn claims_are_measured_by_what_they_request() {
    let range = range(
        json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}]),
    );
    let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
    let of = |size: &str| broken(&range, &request("persistentvolumeclaims"), &claim(size));
    assert_eq!(of("3Gi"), ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]);
    assert_eq!(of("1Mi"), ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"]);
    assert!(of("1Gi").is_empty());
}
