//! What the API sets of its own in an object of a built-in kind, before it is judged and stored.
//!
//! Clients do not write status with the rest of an object, a Job selects its pods by its own uid, a Namespace is held
//! back until it is empty, and a DaemonSet counts the changes of its template.

mod shed;

use serde_json::{Map, Value, json};

use crate::builtin;
use crate::defaults;
use crate::quantity::Quantity;
use crate::validation::device_status;

/// The annotation in which a DaemonSet counts.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Prepares a new object, which has its defaults and its `metadata.uid`.
///
/// ```
/// # use serde_json::json;
/// let mut pod = json!({"metadata": {}, "spec": {"containers": []}, "status": {"phase": "Running"}});
/// xebec_machinery::preparation::create("", "v1", "Pod", &mut pod);
/// assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
/// ```
pub fn create(group: &str, version: &str, kind: &str, object: &mut Value) {
    let Value::Object(map) = object else { return };
    // A node tells of itself from the beginning.
    let sheds_status = has_status(group, version, kind) && (group, kind) != ("", "Node");
    if sheds_status {
        map.remove("status");
    }
    let sheds = shed::shed(group, kind, None, map);
    match (group, kind) {
        ("", "Pod") => {
            let status = json!({"phase": "Pending", "qosClass": quality(map)});
            map.insert("status".into(), status);
        }
        ("", "Namespace") => hold_back(map),
        ("batch", "Job") => select_by_uid(map),
        ("apps", "DaemonSet") => count(map, 1),
        ("apiregistration.k8s.io", "APIService") => serve_at_once(map),
        _ if !sheds_status && !sheds => return,
        _ => {}
    }
    defaults::apply(group, version, kind, object);
}

/// Prepares an object that replaces another: its status is the old one's, and so is what holds back a namespace.
pub fn update(group: &str, version: &str, kind: &str, old: &Value, new: &mut Value) {
    let Value::Object(map) = new else { return };
    shed::shed(group, kind, Some(old), map);
    if has_status(group, version, kind) {
        match old.get("status") {
            Some(status) => map.insert("status".into(), status.clone()),
            None => map.remove("status"),
        };
    }
    if (group, kind) == ("", "Namespace") {
        let finalizers = old.get("spec").and_then(|spec| spec.get("finalizers")).cloned();
        if let Some(spec) = object(map, "spec") {
            match finalizers {
                Some(finalizers) => spec.insert("finalizers".into(), finalizers),
                None => spec.remove("finalizers"),
            };
        }
    }
    if (group, kind) == ("apps", "DaemonSet") {
        let template = |of: Option<&Value>| of.and_then(|spec| spec.get("template")).cloned();
        let changed = template(old.get("spec")) != template(map.get("spec"));
        let counted =
            old.get("metadata").and_then(|metadata| metadata.get("annotations")?.get(TEMPLATE_GENERATION));
        let counted = counted.and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok()).unwrap_or(1);
        count(map, counted.saturating_add(i64::from(changed)));
    }
}

/// Prepares an object whose status replaces another: nothing is told of devices that a claim has no more.
pub fn update_status(group: &str, kind: &str, old: &Value, new: &mut Value) {
    if (group, kind) != ("resource.k8s.io", "ResourceClaim") {
        return;
    }
    let allocated = |of: &Value| -> Vec<Value> {
        let allocation = of.pointer("/status/allocation");
        allocation.into_iter().flat_map(device_status::results).map(device_status::identity).collect()
    };
    let (before, after) = (allocated(old), allocated(new));
    let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) else { return };
    let Some(devices) = status.get_mut("devices").and_then(Value::as_array_mut) else { return };
    devices.retain(|device| {
        let own = device_status::identity(device);
        after.contains(&own) || !before.contains(&own)
    });
    if devices.is_empty() {
        status.remove("devices");
    }
}

/// Fills in when something was written where nobody said so: since when devices are tainted.
pub fn date(group: &str, kind: &str, object: &mut Value, now: &str) {
    if (group, kind) != ("resource.k8s.io", "ResourceSlice") {
        return;
    }
    let devices = object.pointer_mut("/spec/devices").and_then(Value::as_array_mut);
    for device in devices.into_iter().flatten() {
        let taints = device.get_mut("taints").and_then(Value::as_array_mut);
        for taint in taints.into_iter().flatten().filter_map(Value::as_object_mut) {
            if taint.get("timeAdded").is_none_or(Value::is_null) {
                taint.insert("timeAdded".to_owned(), now.into());
            }
        }
    }
}

fn has_status(group: &str, version: &str, kind: &str) -> bool {
    let resource = builtin::resources().iter().find(|r| &*r.group == group && &*r.kind == kind);
    resource.and_then(|resource| resource.version(version)).is_some_and(|version| version.status)
}

/// What the API itself serves is there from the beginning.
fn serve_at_once(service: &mut Map<String, Value>) {
    let of = service.get("spec").and_then(|spec| spec.get("service"));
    if of.is_some_and(|of| !of.is_null()) {
        return;
    }
    let now = service.get("metadata").and_then(|metadata| metadata.get("creationTimestamp")).cloned();
    let available = json!({
        "type": "Available",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "Local",
        "message": "Local APIServices are always available",
    });
    service.insert("status".into(), json!({"conditions": [available]}));
}

/// The object in a field; made where there is nothing.
fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    let inner = map.entry(key).or_insert(Value::Null);
    if inner.is_null() {
        *inner = Value::Object(Map::new());
    }
    inner.as_object_mut()
}

fn hold_back(namespace: &mut Map<String, Value>) {
    let Some(spec) = object(namespace, "spec") else { return };
    let finalizers = spec.entry("finalizers").or_insert(Value::Null);
    if finalizers.is_null() {
        *finalizers = json!([]);
    }
    if let Value::Array(list) = finalizers
        && !list.iter().any(|finalizer| finalizer == "kubernetes")
    {
        list.push("kubernetes".into());
    }
}

fn select_by_uid(job: &mut Map<String, Value>) {
    let text = |map: &Map<String, Value>, key: &str| {
        map.get("metadata")
            .and_then(|metadata| metadata.get(key))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (uid, name) = (text(job, "uid"), text(job, "name"));
    let Some(spec) = object(job, "spec") else { return };
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let labels = object(spec, "template")
        .and_then(|template| object(template, "metadata"))
        .and_then(|metadata| object(metadata, "labels"));
    if let Some(labels) = labels {
        for (key, value) in [("controller-uid", &uid), ("job-name", &name)] {
            // A label of the writer's own stays, for validation to refuse.
            for key in [key.to_owned(), format!("batch.kubernetes.io/{key}")] {
                labels.entry(key).or_insert_with(|| value.as_str().into());
            }
        }
    }
    let selected = object(spec, "selector").and_then(|selector| object(selector, "matchLabels"));
    if let Some(selected) = selected {
        selected.entry("batch.kubernetes.io/controller-uid").or_insert(uid.into());
    }
}

fn count(set: &mut Map<String, Value>, generation: i64) {
    let annotations = object(set, "metadata").and_then(|metadata| object(metadata, "annotations"));
    if let Some(annotations) = annotations {
        annotations.insert(TEMPLATE_GENERATION.into(), generation.to_string().into());
    }
}

/// How surely a pod gets what it asks for (`status.qosClass`).
pub(crate) fn quality(pod: &Map<String, Value>) -> &'static str {
    let Some(spec) = pod.get("spec") else { return "BestEffort" };
    let list = |key: &str| spec.get(key).and_then(Value::as_array).into_iter().flatten();
    // A pod with amounts of its own is judged by them alone.
    let own =
        spec.get("resources").filter(|own| ["requests", "limits"].iter().any(|part| own.get(part).is_some()));
    let holders: Vec<&Value> = match own {
        Some(own) => vec![own],
        None => list("containers").chain(list("initContainers")).filter_map(|c| c.get("resources")).collect(),
    };
    let amount = |of: &Value, part: &str, name: &str| {
        let text = of.get(part)?.get(name)?.as_str()?;
        Quantity::parse(text).ok().map(|amount| amount.nanos()).filter(|nanos| *nanos > 0)
    };
    let (mut asked, mut sure) = (false, !holders.is_empty());
    for of in holders {
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount(of, "requests", name), amount(of, "limits", name));
            asked |= request.is_some() || limit.is_some();
            sure &= limit.is_some() && request == limit;
        }
    }
    match (asked, sure) {
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
        (false, _) => "BestEffort",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation;

    fn created(group: &str, kind: &str, mut object: Value) -> Value {
        defaults::apply(group, "v1", kind, &mut object);
        create(group, "v1", kind, &mut object);
        object
    }

    #[test]
    fn a_client_writes_no_status_with_the_rest() {
        let given =
            json!({"metadata": {"name": "x"}, "spec": {}, "status": {"replicas": 3, "readyReplicas": 3}});
        let object = created("apps", "ReplicaSet", given.clone());
        assert_eq!(object["status"], json!({"replicas": 0}));
        let mut new = object.clone();
        new["status"] = json!({"replicas": 7});
        update("apps", "v1", "ReplicaSet", &given, &mut new);
        assert_eq!(new["status"], given["status"]);
        let node = created("", "Node", json!({"metadata": {}, "status": {"phase": "Running"}}));
        assert_eq!(node["status"]["phase"], "Running");
    }

    #[test]
    fn a_job_selects_its_pods_by_its_own_uid() {
        let spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}}});
        let job = created("batch", "Job", json!({"metadata": {"name": "x", "uid": "u"}, "spec": spec}));
        let own = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}});
        assert_eq!(job["spec"]["selector"], own);
        assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "x");
        assert_eq!(validation::validate_create("batch", "v1", "Job", &job), []);
        let manual = json!({"manualSelector": true, "template": {}});
        let job = created("batch", "Job", json!({"metadata": {"uid": "u"}, "spec": manual}));
        assert_eq!(job["spec"].get("selector"), None);
    }

    #[test]
    fn a_namespace_is_held_back_and_a_daemon_set_counts() {
        let namespace = created("", "Namespace", json!({"metadata": {"name": "n"}}));
        assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
        assert_eq!(namespace["status"]["phase"], "Active");
        let mut new = json!({"metadata": {"name": "n"}, "spec": {"finalizers": []}});
        update("", "v1", "Namespace", &namespace, &mut new);
        assert_eq!(new["spec"], namespace["spec"]);
        let set = created("apps", "DaemonSet", json!({"metadata": {}, "spec": {}}));
        let generation = |set: &Value| set["metadata"]["annotations"][TEMPLATE_GENERATION].clone();
        assert_eq!(generation(&set), "1");
        let mut new = set.clone();
        update("apps", "v1", "DaemonSet", &set, &mut new);
        assert_eq!(generation(&new), "1");
        new["spec"]["template"]["spec"]["hostPID"] = true.into();
        update("apps", "v1", "DaemonSet", &set, &mut new);
        assert_eq!(generation(&new), "2");
    }

    #[test]
    fn the_quality_of_a_pod_is_what_its_containers_ask_for() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let cases = [
            (vec![json!({})], "BestEffort"),
            (vec![full.clone()], "Guaranteed"),
            (vec![full.clone(), json!({})], "Burstable"),
            (vec![json!({"limits": {"cpu": "1"}})], "Burstable"),
            (
                vec![json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})],
                "Burstable",
            ),
            (vec![json!({"limits": {"nvidia.com/gpu": "1"}})], "BestEffort"),
        ];
        for (resources, class) in cases {
            let containers: Vec<Value> =
                resources.into_iter().map(|own| json!({"name": "x", "resources": own})).collect();
            let pod = created("", "Pod", json!({"metadata": {}, "spec": {"containers": containers}}));
            assert_eq!(pod["status"]["qosClass"], class, "{pod}");
        }
    }
}
