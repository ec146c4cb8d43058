//! The defaults that look at more than one field of a type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::image::pull_policy;
use super::unset;
use crate::quantity::Quantity;

/// What completes a value of a type, after the lines of the table.
pub(super) type Rule = fn(&mut Map<String, Value>);

/// The rules by type.
pub(super) const RULES: &[(&str, Rule)] = &[
    ("core.Pod", pod),
    ("core.PodSpec", pod_spec),
    ("core.PodStatus", pod_status),
    ("core.Container", container),
    ("core.EphemeralContainerCommon", container),
    ("core.Volume", volume),
    ("core.ServiceSpec", service_spec),
    ("core.Service", service),
    ("core.ServicePort", service_port),
    ("core.Secret", secret),
    ("core.Namespace", namespace),
    ("core.NodeStatus", node_status),
    ("core.LimitRangeItem", limit_range_item),
    ("core.ReplicationController", replication_controller),
    ("apps.StatefulSetSpec", stateful_set_spec),
    ("batch.Job", job),
    ("networking.NetworkPolicySpec", network_policy_spec),
    ("apiextensions.CustomResourceDefinitionNames", names),
];

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(map: &'a mut Map<String, Value>, key: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    map.get_mut(key).and_then(Value::as_object_mut)
}

fn set(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    map.insert(key.to_owned(), value.into());
}

/// Adds the entries of `from` that `map[key]` lacks.
fn complete(map: &mut Map<String, Value>, key: &str, from: Option<Value>) {
    let Some(Value::Object(from)) = from else { return };
    if from.is_empty() {
        return;
    }
    let into = map.entry(key).or_insert(Value::Null);
    if into.is_null() {
        *into = Value::Object(Map::new());
    }
    if let Value::Object(into) = into {
        for (name, value) in from {
            into.entry(name).or_insert(value);
        }
    }
}

/// Requests come from limits, and ports of the host from those of the container, in pods but not in their templates.
fn pod(pod: &mut Map<String, Value>) {
    let Some(spec) = object(pod, "spec") else { return };
    if unset(spec.get("enableServiceLinks"), true) {
        set(spec, "enableServiceLinks", true);
    }
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for kind in ["containers", "initContainers"] {
        for container in list(spec, kind) {
            if let Some(resources) = object(container, "resources") {
                let limits = resources.get("limits").cloned();
                complete(resources, "requests", limits);
            }
            for port in list(container, "ports").filter(|_| host_network) {
                if unset(port.get("hostPort"), false)
                    && let Some(number) = port.get("containerPort").cloned()
                {
                    set(port, "hostPort", number);
                }
            }
        }
    }
    pod_requests(spec);
}

/// A pod with limits of its own requests what its containers request together, or else the limits.
fn pod_requests(spec: &mut Map<String, Value>) {
    let limits = spec.get("resources").and_then(|own| own.get("limits")).cloned();
    let Some(Value::Object(limits)) =
        limits.filter(|limits| limits.as_object().is_some_and(|l| !l.is_empty()))
    else {
        return;
    };
    let mut requests = Map::new();
    for name in ["cpu", "memory"] {
        if let Some(amount) = requested(spec, name) {
            set(&mut requests, name, amount.to_string());
        }
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            requests.entry(name).or_insert(amount);
        }
    }
    if let Some(own) = object(spec, "resources") {
        complete(own, "requests", Some(Value::Object(requests)));
    }
}

/// What the containers of a pod request at the most at one time: the ordinary ones and the sidecars together, or an init
/// container and the sidecars before it.
fn requested(spec: &Map<String, Value>, name: &str) -> Option<Quantity> {
    let request = |container: &Value| {
        let amount = container.get("resources")?.get("requests")?.get(name)?;
        Quantity::parse(amount.as_str()?).ok()
    };
    let containers = |kind: &str| spec.get(kind).and_then(Value::as_array).into_iter().flatten();
    let add = |sum: Option<Quantity>, more: Option<Quantity>| match (sum, more) {
        (Some(sum), Some(more)) => Some(sum.plus(&more)),
        (sum, more) => sum.or(more),
    };
    let ordinary = containers("containers").map(request).fold(None, add);
    let (mut sidecars, mut most): (Option<Quantity>, Option<Quantity>) = (None, None);
    for container in containers("initContainers") {
        let with_sidecars = if container.get("restartPolicy").is_some_and(|policy| policy == "Always") {
            sidecars = add(sidecars, request(container));
            sidecars.clone()
        } else {
            add(request(container), sidecars.clone())
        };
        most = [most, with_sidecars].into_iter().flatten().max_by_key(Quantity::nanos);
    }
    [most, add(ordinary, sidecars)].into_iter().flatten().max_by_key(Quantity::nanos)
}

/// The account's old and new name mirror each other; the new one wins.
fn pod_spec(spec: &mut Map<String, Value>) {
    let new = text(spec, "serviceAccountName");
    let account = if new.is_empty() { text(spec, "serviceAccount") } else { new }.to_owned();
    for key in ["serviceAccountName", "serviceAccount"] {
        if !account.is_empty() {
            set(spec, key, account.as_str());
        }
    }
}

/// The first of the addresses and the one address mirror each other; the one wins.
fn pod_status(status: &mut Map<String, Value>) {
    let one = text(status, "podIP").to_owned();
    let first = status.get("podIPs").and_then(|ips| ips.get(0)).and_then(|ip| ip["ip"].as_str());
    match first.map(str::to_owned) {
        Some(first) if one.is_empty() => set(status, "podIP", first),
        first if !one.is_empty() && first.as_deref() != Some(&one) => {
            set(status, "podIPs", json!([{ "ip": one }]))
        }
        _ => {}
    }
}

fn container(container: &mut Map<String, Value>) {
    if unset(container.get("imagePullPolicy"), false) {
        let policy = pull_policy(text(container, "image"));
        set(container, "imagePullPolicy", policy);
    }
}

/// A volume of no kind is an empty directory.
fn volume(volume: &mut Map<String, Value>) {
    if volume.iter().all(|(key, value)| key == "name" || value.is_null()) {
        set(volume, "emptyDir", json!({}));
    }
    if let Some(image) = object(volume, "image")
        && unset(image.get("pullPolicy"), false)
    {
        let policy = pull_policy(text(image, "reference"));
        set(image, "pullPolicy", policy);
    }
}

fn service_spec(spec: &mut Map<String, Value>) {
    if text(spec, "sessionAffinity") == "None" {
        spec.remove("sessionAffinityConfig");
    }
    let outside = matches!(text(spec, "type"), "NodePort" | "LoadBalancer")
        || (text(spec, "type") == "ClusterIP"
            && spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty()));
    if outside && unset(spec.get("externalTrafficPolicy"), false) {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
}

fn service(service: &mut Map<String, Value>) {
    if service.get("spec").is_none_or(|spec| spec["type"] != "LoadBalancer") {
        return;
    }
    let Some(balancer) = object(service, "status").and_then(|status| object(status, "loadBalancer")) else {
        return;
    };
    for ingress in list(balancer, "ingress") {
        if !text(ingress, "ip").is_empty() && unset(ingress.get("ipMode"), true) {
            set(ingress, "ipMode", "VIP");
        }
    }
}

fn service_port(port: &mut Map<String, Value>) {
    if unset(port.get("targetPort"), false)
        && let Some(number) = port.get("port").cloned()
    {
        set(port, "targetPort", number);
    }
}

/// What was given as text is kept as bytes.
fn secret(secret: &mut Map<String, Value>) {
    if let Some(Value::Object(texts)) = secret.remove("stringData") {
        let bytes = |value: Value| value.as_str().map(|text| Value::from(STANDARD.encode(text)));
        let data: Map<_, _> =
            texts.into_iter().filter_map(|(key, value)| Some((key, bytes(value)?))).collect();
        let old = secret.remove("data");
        set(secret, "data", data);
        complete(secret, "data", old);
    }
}

fn namespace(namespace: &mut Map<String, Value>) {
    let Some(metadata) = object(namespace, "metadata") else { return };
    let name = text(metadata, "name").to_owned();
    if !name.is_empty() {
        complete(metadata, "labels", Some(json!({ "kubernetes.io/metadata.name": name })));
        if let Some(labels) = object(metadata, "labels") {
            set(labels, "kubernetes.io/metadata.name", name);
        }
    }
}

fn node_status(status: &mut Map<String, Value>) {
    if unset(status.get("allocatable"), true) {
        let capacity = status.get("capacity").cloned();
        complete(status, "allocatable", capacity);
    }
}

fn limit_range_item(item: &mut Map<String, Value>) {
    if text(item, "type") == "Container" {
        for (key, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            let from = item.get(from).cloned();
            complete(item, key, from);
        }
    }
}

/// The labels of the pods of a workload.
fn template_labels(workload: &Map<String, Value>) -> Option<Value> {
    workload.get("spec")?.get("template")?.get("metadata")?.get("labels").cloned()
}

/// Labels that were given to the pods alone are the workload's own, too.
fn label_as_pods(workload: &mut Map<String, Value>, labels: &Value) {
    if let Some(metadata) = object(workload, "metadata")
        && unset(metadata.get("labels"), false)
    {
        set(metadata, "labels", labels.clone());
    }
}

fn replication_controller(controller: &mut Map<String, Value>) {
    let Some(labels) = template_labels(controller) else { return };
    label_as_pods(controller, &labels);
    if let Some(spec) = object(controller, "spec")
        && unset(spec.get("selector"), false)
    {
        set(spec, "selector", labels);
    }
}

fn stateful_set_spec(spec: &mut Map<String, Value>) {
    for claim in list(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
    }
}

fn job(job: &mut Map<String, Value>) {
    if let Some(labels) = template_labels(job) {
        label_as_pods(job, &labels);
    }
    let Some(spec) = object(job, "spec") else { return };
    if unset(spec.get("parallelism"), true) {
        if unset(spec.get("completions"), true) {
            set(spec, "completions", 1);
        }
        set(spec, "parallelism", 1);
    }
    if unset(spec.get("backoffLimit"), true) {
        let per_index = !unset(spec.get("backoffLimitPerIndex"), true);
        set(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    }
    if unset(spec.get("podReplacementPolicy"), true) {
        let has_policy = !unset(spec.get("podFailurePolicy"), true);
        set(spec, "podReplacementPolicy", if has_policy { "Failed" } else { "TerminatingOrFailed" });
    }
}

fn network_policy_spec(spec: &mut Map<String, Value>) {
    if unset(spec.get("policyTypes"), false) {
        let egress = !unset(spec.get("egress"), false);
        set(spec, "policyTypes", if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
}

fn names(names: &mut Map<String, Value>) {
    let kind = text(names, "kind").to_owned();
    for (key, value) in [("singular", kind.to_lowercase()), ("listKind", format!("{kind}List"))] {
        if !kind.is_empty() && unset(names.get(key), false) {
            set(names, key, value);
        }
    }
}
