//! What objects use of what quotas limit.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaim, Pod, ResourceQuotaSpec, ResourceRequirements,
    ScopedResourceSelectorRequirement, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use kube::ResourceExt as _;
use xebec_machinery::quantity::Quantity;

use crate::pod::has_ended;

const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";

/// Amounts by the names that quotas use.
pub type Amounts = BTreeMap<String, Quantity>;

/// The objects of a namespace that count.
#[derive(Debug, Clone, Copy)]
pub struct Objects<'a> {
    /// Its pods.
    pub pods: &'a [Pod],
    /// Its services.
    pub services: &'a [Service],
    /// Its claims.
    pub claims: &'a [PersistentVolumeClaim],
    /// How many objects of other resources there are, by `plural` or `plural.group`.
    pub counts: &'a BTreeMap<String, usize>,
    /// The time.
    pub now: Timestamp,
}

/// What is in use of everything that a quota limits.
pub fn used(spec: &ResourceQuotaSpec, objects: Objects<'_>) -> BTreeMap<String, Written> {
    let mut all = Amounts::new();
    for pod in objects.pods.iter().filter(|pod| in_scope(spec, pod)) {
        add(&mut all, of_pod(pod, objects.now));
    }
    // Scopes choose among pods; a quota that has them limits nothing else.
    if scopes(spec).next().is_none() {
        objects.services.iter().for_each(|service| add(&mut all, of_service(service)));
        objects.claims.iter().for_each(|claim| add(&mut all, of_claim(claim)));
        for (resource, count) in objects.counts {
            let count = whole(*count);
            all.insert(format!("count/{resource}"), count.clone());
            if matches!(
                resource.as_str(),
                "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas"
            ) {
                all.insert(resource.clone(), count);
            }
        }
    }
    let hard = spec.hard.iter().flatten().map(|(name, _)| name);
    hard.map(|name| {
        (name.clone(), Written(all.get(name).map_or_else(|| "0".to_owned(), ToString::to_string)))
    })
    .collect()
}

/// The resources that a quota counts and that are neither pods nor services nor claims.
pub fn counted(spec: &ResourceQuotaSpec) -> Vec<String> {
    let hard = spec.hard.iter().flatten().map(|(name, _)| name.as_str());
    let own = |name: &str| match name {
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => Some(name.to_owned()),
        other => other.strip_prefix("count/").map(str::to_owned),
    };
    hard.filter_map(own)
        .filter(|name| !matches!(name.as_str(), "pods" | "services" | "persistentvolumeclaims"))
        .collect()
}

fn add(all: &mut Amounts, more: Amounts) {
    for (name, amount) in more {
        let sum = all.get(&name).map_or_else(|| amount.clone(), |before| before.plus(&amount));
        all.insert(name, sum);
    }
}

fn whole(count: usize) -> Quantity {
    // Every count is a quantity.
    Quantity::parse(&count.to_string()).unwrap_or_else(|_| none())
}

fn none() -> Quantity {
    match Quantity::parse("0") {
        Ok(zero) => zero,
        Err(_) => unreachable!("zero is a quantity"),
    }
}

/// What a pod uses. One that has ended is only an object.
fn of_pod(pod: &Pod, now: Timestamp) -> Amounts {
    let mut all = Amounts::from([("count/pods".to_owned(), whole(1))]);
    if has_ended(pod) || is_overdue(pod, now) {
        return all;
    }
    all.insert("pods".to_owned(), whole(1));
    for (name, amount) in asked(pod, |resources| resources.requests.as_ref()) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
            all.insert(name.clone(), amount.clone());
        }
        all.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in asked(pod, |resources| resources.limits.as_ref()) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            all.insert(format!("limits.{name}"), amount);
        }
    }
    all
}

/// Whether a pod should have been gone: its node may never say so.
fn is_overdue(pod: &Pod, now: Timestamp) -> bool {
    pod.metadata.deletion_timestamp.as_ref().is_some_and(|until| until.0 < now)
}

type Part = fn(&ResourceRequirements) -> Option<&BTreeMap<String, Written>>;

/// What a pod's containers ask for together: those that run side by side add up, those before them do not.
fn asked(pod: &Pod, part: Part) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let of = |resources: Option<&ResourceRequirements>| -> Amounts {
        let amounts = resources.and_then(part).into_iter().flatten();
        amounts.filter_map(|(name, text)| Some((name.clone(), Quantity::parse(&text.0).ok()?))).collect()
    };
    let of_container = |container: &Container| of(container.resources.as_ref());
    let mut sum = Amounts::new();
    spec.containers.iter().for_each(|container| add(&mut sum, of_container(container)));
    let mut beside = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut beside, of_container(container));
            raise(&mut peak, beside.clone());
        } else {
            let mut now = beside.clone();
            add(&mut now, of_container(container));
            raise(&mut peak, now);
        }
    }
    add(&mut sum, beside);
    raise(&mut sum, peak);
    // What is asked for the pod as a whole counts in place of its containers' sum.
    sum.extend(of(spec.resources.as_ref()));
    let overhead = spec.overhead.iter().flatten();
    add(
        &mut sum,
        overhead.filter_map(|(name, text)| Some((name.clone(), Quantity::parse(&text.0).ok()?))).collect(),
    );
    sum
}

fn raise(all: &mut Amounts, least: Amounts) {
    for (name, amount) in least {
        if all.get(&name).is_none_or(|own| own.nanos() < amount.nanos()) {
            all.insert(name, amount);
        }
    }
}

fn of_service(service: &Service) -> Amounts {
    let mut all = Amounts::from([("services".to_owned(), whole(1)), ("count/services".to_owned(), whole(1))]);
    let Some(spec) = &service.spec else { return all };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let node_ports = match spec.type_.as_deref() {
        Some("NodePort") => ports.len(),
        Some("LoadBalancer") => {
            all.insert("services.loadbalancers".to_owned(), whole(1));
            if spec.allocate_load_balancer_node_ports == Some(false) {
                ports.iter().filter(|port| port.node_port.is_some_and(|port| port != 0)).count()
            } else {
                ports.len()
            }
        }
        _ => 0,
    };
    all.insert("services.nodeports".to_owned(), whole(node_ports));
    all
}

fn of_claim(claim: &PersistentVolumeClaim) -> Amounts {
    let mut all = Amounts::new();
    let spec = claim.spec.clone().unwrap_or_default();
    let annotated = claim.annotations().get("volume.beta.kubernetes.io/storage-class").cloned();
    let class = annotated.or(spec.storage_class_name).filter(|class| !class.is_empty());
    let mut put = |name: &str, amount: &Quantity| {
        all.insert(name.to_owned(), amount.clone());
        if let Some(class) = &class {
            all.insert(format!("{class}{STORAGE_CLASS}{name}"), amount.clone());
        }
    };
    put("persistentvolumeclaims", &whole(1));
    let storage = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
    if let Some(amount) = storage.and_then(|text| Quantity::parse(&text.0).ok()) {
        put("requests.storage", &amount);
    }
    all.insert("count/persistentvolumeclaims".to_owned(), whole(1));
    all
}

/// The scopes of a quota as requirements.
fn scopes(spec: &ResourceQuotaSpec) -> impl Iterator<Item = ScopedResourceSelectorRequirement> {
    let named = spec.scopes.iter().flatten().map(|scope| ScopedResourceSelectorRequirement {
        scope_name: scope.clone(),
        operator: "Exists".to_owned(),
        values: None,
    });
    let required =
        spec.scope_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten().cloned());
    named.chain(required)
}

fn in_scope(spec: &ResourceQuotaSpec, pod: &Pod) -> bool {
    let inner = pod.spec.clone().unwrap_or_default();
    let class = pod.status.as_ref().and_then(|status| status.qos_class.as_deref());
    scopes(spec).all(|scope| match scope.scope_name.as_str() {
        "Terminating" => inner.active_deadline_seconds.is_some_and(|seconds| seconds >= 0),
        "NotTerminating" => inner.active_deadline_seconds.is_none(),
        "BestEffort" => class == Some("BestEffort"),
        "NotBestEffort" => class != Some("BestEffort"),
        "PriorityClass" => {
            let name = inner.priority_class_name.as_ref().filter(|name| !name.is_empty());
            let listed = name.is_some_and(|name| scope.values.iter().flatten().any(|value| value == name));
            match scope.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "DoesNotExist" => name.is_none(),
                _ => name.is_some(),
            }
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(&inner),
        _ => false,
    })
}

fn crosses_namespaces(spec: &k8s_openapi::api::core::v1::PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else { return false };
    let near = affinity.pod_affinity.as_ref();
    let far = affinity.pod_anti_affinity.as_ref();
    let required = near
        .into_iter()
        .flat_map(|own| own.required_during_scheduling_ignored_during_execution.iter().flatten());
    let preferred = near
        .into_iter()
        .flat_map(|own| own.preferred_during_scheduling_ignored_during_execution.iter().flatten());
    let not = far
        .into_iter()
        .flat_map(|own| own.required_during_scheduling_ignored_during_execution.iter().flatten());
    let rather_not = far
        .into_iter()
        .flat_map(|own| own.preferred_during_scheduling_ignored_during_execution.iter().flatten());
    let weighted = preferred.chain(rather_not).map(|own| &own.pod_affinity_term);
    let mut terms = required.chain(not).chain(weighted);
    terms.any(|term| {
        term.namespace_selector.is_some() || term.namespaces.as_ref().is_some_and(|all| !all.is_empty())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn used_of(spec: Value, pods: Value, services: Value, claims: Value) -> Value {
        let counts = BTreeMap::from([("configmaps".to_owned(), 4), ("deployments.apps".to_owned(), 2)]);
        let objects = Objects {
            pods: &serde_json::from_value::<Vec<Pod>>(pods).unwrap(),
            services: &serde_json::from_value::<Vec<Service>>(services).unwrap(),
            claims: &serde_json::from_value::<Vec<PersistentVolumeClaim>>(claims).unwrap(),
            counts: &counts,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        serde_json::to_value(used(&serde_json::from_value(spec).unwrap(), objects)).unwrap()
    }

    fn hard(names: &[&str]) -> Value {
        let all: BTreeMap<&str, &str> = names.iter().map(|name| (*name, "10")).collect();
        json!({"hard": all})
    }

    fn pod(cpu: &str, phase: &str) -> Value {
        json!({
            "metadata": {"name": "a"}, "status": {"phase": phase, "qosClass": "Burstable"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}, "limits": {"cpu": "1"}}}]},
        })
    }

    #[test]
    fn pods_that_have_ended_use_nothing_but_their_place_among_the_objects() {
        let spec = hard(&[
            "pods",
            "count/pods",
            "requests.cpu",
            "cpu",
            "limits.cpu",
            "requests.memory",
            "requests.nvidia.com/gpu",
        ]);
        let pods = json!([pod("250m", "Running"), pod("500m", "Pending"), pod("1", "Succeeded")]);
        let wanted = json!({
            "pods": "2", "count/pods": "3", "requests.cpu": "750m", "cpu": "750m", "limits.cpu": "2",
            "requests.memory": "128Mi", "requests.nvidia.com/gpu": "0",
        });
        assert_eq!(used_of(spec, pods, json!([]), json!([])), wanted);
    }

    #[test]
    fn init_containers_count_by_their_peak_and_sidecars_beside_the_others() {
        let container = |name: &str, cpu: &str, restart: Value| json!({"name": name, "restartPolicy": restart, "resources": {"requests": {"cpu": cpu}}});
        let pod = json!([{"metadata": {}, "spec": {
            "initContainers": [container("side", "100m", json!("Always")), container("setup", "2", json!(null))],
            "containers": [container("a", "500m", json!(null)), container("b", "500m", json!(null))],
            "overhead": {"cpu": "50m"},
        }}]);
        let found = used_of(hard(&["requests.cpu"]), pod, json!([]), json!([]));
        assert_eq!(found, json!({"requests.cpu": "2150m"}));
    }

    #[test]
    fn services_claims_and_other_objects_are_counted() {
        let spec = hard(&[
            "services",
            "services.nodeports",
            "services.loadbalancers",
            "persistentvolumeclaims",
            "requests.storage",
            "fast.storageclass.storage.k8s.io/requests.storage",
            "configmaps",
            "count/deployments.apps",
            "count/secrets",
        ]);
        let services = json!([
            {"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}},
            {"spec": {"type": "NodePort", "ports": [{"port": 1}]}}, {"spec": {}},
        ]);
        let claims = json!([
            {"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}},
            {"spec": {"resources": {"requests": {"storage": "2Gi"}}}},
        ]);
        let wanted = json!({
            "services": "3", "services.nodeports": "3", "services.loadbalancers": "1", "persistentvolumeclaims": "2",
            "requests.storage": "3Gi", "fast.storageclass.storage.k8s.io/requests.storage": "1Gi", "configmaps": "4",
            "count/deployments.apps": "2", "count/secrets": "0",
        });
        assert_eq!(used_of(spec.clone(), json!([]), services, claims), wanted);
        let mut names = counted(&serde_json::from_value(spec).unwrap());
        names.sort();
        assert_eq!(names, ["configmaps", "deployments.apps", "secrets"]);
    }

    #[test]
    fn scopes_choose_among_pods() {
        let mut batch = pod("1", "Running");
        batch["spec"]["activeDeadlineSeconds"] = json!(10);
        batch["spec"]["priorityClassName"] = json!("high");
        let pods = json!([pod("1", "Running"), batch]);
        let count = |scope: Value| {
            let mut spec = hard(&["pods", "configmaps"]);
            spec.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
            used_of(spec, pods.clone(), json!([]), json!([]))
        };
        let of = |pods: &str| json!({"pods": pods, "configmaps": "0"});
        assert_eq!(count(json!({"scopes": ["Terminating"]})), of("1"));
        assert_eq!(count(json!({"scopes": ["NotBestEffort"]})), of("2"));
        assert_eq!(count(json!({"scopes": ["BestEffort"]})), of("0"));
        let class = |operator: &str, values: Value| {
            let term = json!({"scopeName": "PriorityClass", "operator": operator, "values": values});
            json!({"scopeSelector": {"matchExpressions": [term]}})
        };
        assert_eq!(count(class("In", json!(["high"]))), of("1"));
        assert_eq!(count(class("NotIn", json!(["low"]))), of("2"));
        assert_eq!(count(class("DoesNotExist", json!(null))), of("1"));
    }
}
