//! What an object uses of what quotas limit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use xebec_machinery::quantity::Quantity;

use super::scope;
use crate::object;
use crate::pod_resources::{Amounts, Side, add, amounts, of_container, of_pod, quantity};
use crate::request::{Operation, Request};

const CLASS_MARK: &str = ".storageclass.storage.k8s.io/";
/// What each container must say where a quota limits it.
const TO_BE_SAID: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// Resources that quotas also limit by their plain names.
const PLAIN: [&str; 4] = ["configmaps", "secrets", "replicationcontrollers", "resourcequotas"];

/// How an object is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure<'a> {
    Pod,
    Service,
    Claim,
    /// As one object of its resource.
    Object {
        group: &'a str,
        resource: &'a str,
    },
}

impl<'a> Measure<'a> {
    /// How the object of a request is measured; not at all, where the request changes nothing that counts.
    pub(super) fn of(request: &'a Request, old: Option<&Value>, new: &Value) -> Option<Self> {
        let (is_new, is_whole) = (request.operation == Operation::Create, request.is_whole());
        let (group, resource) = (request.resource.group.as_str(), request.resource.name.as_str());
        match (group, resource) {
            ("", "pods") => {
                let moves = is_whole && old.is_some_and(|old| scope::ends(old) != scope::ends(new));
                let resizes = request.subresource == "resize" && !is_new;
                (is_new && is_whole || moves || resizes).then_some(Self::Pod)
            }
            ("", "services") => is_whole.then_some(Self::Service),
            ("", "persistentvolumeclaims") => is_whole.then_some(Self::Claim),
            _ => (is_new && is_whole).then_some(Self::Object { group, resource }),
        }
    }

    /// Whether objects that are measured so use something of this name.
    pub(super) fn counts(&self, name: &str) -> bool {
        match self {
            Self::Pod => {
                let (base, is_request) = match name.strip_prefix("requests.") {
                    Some(base) => (base, true),
                    None => (name.strip_prefix("limits.").unwrap_or(name), false),
                };
                name == "pods"
                    || name == "count/pods"
                    || matches!(base, "cpu" | "memory" | "ephemeral-storage")
                    || base.starts_with("hugepages-")
                    || is_request && base.contains('/') && !base.contains("kubernetes.io/")
            }
            Self::Service => {
                matches!(
                    name,
                    "services" | "count/services" | "services.nodeports" | "services.loadbalancers"
                )
            }
            Self::Claim => {
                let base = name.split_once(CLASS_MARK).map_or(name, |(_, base)| base);
                matches!(base, "persistentvolumeclaims" | "requests.storage")
                    || name == "count/persistentvolumeclaims"
            }
            Self::Object { group, resource } => self.names(group, resource).iter().any(|own| own == name),
        }
    }

    fn names(&self, group: &str, resource: &str) -> Vec<String> {
        if !group.is_empty() {
            return vec![format!("count/{resource}.{group}")];
        }
        let plain = PLAIN.contains(&resource).then(|| resource.to_owned());
        plain.into_iter().chain([format!("count/{resource}")]).collect()
    }

    /// What an object uses.
    pub(super) fn usage(&self, object: &Value) -> Amounts {
        match self {
            Self::Pod => of_whole_pod(object),
            Self::Service => of_service(object),
            Self::Claim => of_claim(object),
            Self::Object { group, resource } => {
                self.names(group, resource).into_iter().map(|name| (name, whole(1))).collect()
            }
        }
    }

    /// What the containers of a pod do not say of what is limited: `cpu for: a,b; memory for: b`.
    pub(super) fn missing(&self, limited: &[&str], pod: &Value) -> Option<String> {
        let says = |side: &str| object::entries(pod, &["spec", "resources", side]).next().is_some();
        if *self != Self::Pod || says("requests") || says("limits") {
            return None;
        }
        let wanted = limited.iter().filter(|name| TO_BE_SAID.contains(name));
        let mut silent: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let containers = ["containers", "initContainers"].map(|field| object::list(pod, &["spec", field]));
        for name in wanted {
            for container in containers.into_iter().flatten() {
                if !of_sides(of_container(container, Side::Requests), of_container(container, Side::Limits))
                    .contains_key(*name)
                {
                    silent.entry(name).or_default().insert(object::name_of(container));
                }
            }
        }
        let told = silent.into_iter().map(|(name, containers)| {
            format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(","))
        });
        let told: Vec<String> = told.collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

fn whole(count: usize) -> Quantity {
    match Quantity::parse(&count.to_string()) {
        Ok(amount) => amount,
        Err(_) => unreachable!("every count is a quantity"),
    }
}

/// A pod that has ended is only an object.
fn of_whole_pod(pod: &Value) -> Amounts {
    let mut all = Amounts::from([("count/pods".to_owned(), whole(1))]);
    if matches!(object::text(pod, &["status", "phase"]), "Succeeded" | "Failed") {
        return all;
    }
    all.insert("pods".to_owned(), whole(1));
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let side = |side: Side| {
        let mut asked = of_pod(spec, side);
        // What runs the pod itself takes its part too; it limits only what is limited.
        let mut overhead = amounts(spec.get("overhead"));
        if side == Side::Limits {
            overhead.retain(|name, _| asked.contains_key(name));
        }
        add(&mut asked, overhead);
        asked
    };
    all.extend(of_sides(side(Side::Requests), side(Side::Limits)));
    all
}

/// Requests and limits by the names that quotas use.
fn of_sides(requests: Amounts, limits: Amounts) -> Amounts {
    let mut all = Amounts::new();
    for (name, amount) in requests {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
            all.insert(name.clone(), amount.clone());
        }
        all.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            all.insert(format!("limits.{name}"), amount);
        }
    }
    all
}

fn of_service(service: &Value) -> Amounts {
    let ports = object::list(service, &["spec", "ports"]);
    let kind = object::text(service, &["spec", "type"]);
    let only_named =
        object::at(service, &["spec", "allocateLoadBalancerNodePorts"]) == Some(&Value::Bool(false));
    let has_port = |port: &&Value| object::at(port, &["nodePort"]).is_some_and(|number| *number != 0);
    let node_ports = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer" if only_named => ports.iter().filter(has_port).count(),
        "LoadBalancer" => ports.len(),
        _ => 0,
    };
    let balancers = usize::from(kind == "LoadBalancer");
    let counts = [
        ("services", 1),
        ("count/services", 1),
        ("services.nodeports", node_ports),
        ("services.loadbalancers", balancers),
    ];
    counts.into_iter().map(|(name, count)| (name.to_owned(), whole(count))).collect()
}

fn of_claim(claim: &Value) -> Amounts {
    let annotated = object::annotation(claim, "volume.beta.kubernetes.io/storage-class");
    let class = annotated.unwrap_or_else(|| object::text(claim, &["spec", "storageClassName"]));
    let mut all = Amounts::from([("count/persistentvolumeclaims".to_owned(), whole(1))]);
    let storage = object::at(claim, &["spec", "resources", "requests", "storage"]).and_then(quantity);
    let parts = [("persistentvolumeclaims", Some(whole(1))), ("requests.storage", storage)];
    for (name, amount) in parts {
        let Some(amount) = amount else { continue };
        if !class.is_empty() {
            all.insert(format!("{class}{CLASS_MARK}{name}"), amount.clone());
        }
        all.insert(name.to_owned(), amount);
    }
    all
}
