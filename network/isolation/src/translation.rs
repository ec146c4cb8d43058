//! What objects mean as values.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use xebec_policy::{
    Block, Labels, Numbers, Peer, PodPort, Policy, Port, Protocol, Requirement, Rule, Selector,
};

use crate::arrival::Waiting;

/// The policies, in the order of their names. What of one cannot be read allows nothing.
pub(crate) fn policies(objects: &[Arc<NetworkPolicy>]) -> Vec<Policy> {
    let mut ordered: Vec<&Arc<NetworkPolicy>> = objects.iter().collect();
    ordered.sort_by_cached_key(|policy| (policy.namespace(), policy.name_any()));
    ordered.into_iter().filter_map(|object| policy(object)).collect()
}

fn policy(object: &NetworkPolicy) -> Option<Policy> {
    let spec = object.spec.as_ref()?;
    // Without a word, a policy is about what comes, and about what is asked for where it has a rule of that.
    let types = spec.policy_types.as_ref().filter(|types| !types.is_empty());
    let has = |kind: &str| types.is_some_and(|types| types.iter().any(|own| own == kind));
    let is_ingress = types.is_none() || has("Ingress");
    let is_egress =
        has("Egress") || types.is_none() && spec.egress.as_ref().is_some_and(|all| !all.is_empty());
    let ingress = || {
        let rules = spec.ingress.iter().flatten();
        rules.map(|own| rule(own.from.as_deref(), own.ports.as_deref())).collect()
    };
    let egress = || {
        let rules = spec.egress.iter().flatten();
        rules.map(|own| rule(own.to.as_deref(), own.ports.as_deref())).collect()
    };
    Some(Policy {
        namespace: object.namespace().unwrap_or_default(),
        pods: spec.pod_selector.as_ref().map_or_else(|| Some(Selector::default()), selector)?,
        ingress: is_ingress.then(ingress),
        egress: is_egress.then(egress),
    })
}

/// Empty lists are about all, as absent ones.
fn rule(peers: Option<&[NetworkPolicyPeer]>, ports: Option<&[NetworkPolicyPort]>) -> Rule {
    let peers = peers.filter(|peers| !peers.is_empty());
    let ports = ports.filter(|ports| !ports.is_empty());
    Rule {
        peers: peers.map(|peers| peers.iter().filter_map(peer).collect()),
        ports: ports.map(|ports| ports.iter().filter_map(port).collect()),
    }
}

fn peer(object: &NetworkPolicyPeer) -> Option<Peer> {
    if let Some(block) = &object.ip_block {
        return ip_block(block).map(Peer::Block);
    }
    if object.namespace_selector.is_none() && object.pod_selector.is_none() {
        return None;
    }
    let namespaces = match &object.namespace_selector {
        Some(own) => Some(selector(own)?),
        None => None,
    };
    let pods = object.pod_selector.as_ref().map_or_else(|| Some(Selector::default()), selector)?;
    Some(Peer::Pods { namespaces, pods })
}

/// Addresses of IPv6 are no pod's here, and nobody's whom pods reach.
fn ip_block(object: &IPBlock) -> Option<Block> {
    let range = object.cidr.parse().ok()?;
    let except: Option<Vec<_>> = object.except.iter().flatten().map(|own| own.parse().ok()).collect();
    Some(Block { range, except: except? })
}

fn port(object: &NetworkPolicyPort) -> Option<Port> {
    let protocol = protocol(object.protocol.as_deref())?;
    let number = |port: i32| u16::try_from(port).ok();
    let numbers = match &object.port {
        None => Numbers::All,
        Some(IntOrString::String(name)) => Numbers::Named(name.clone()),
        Some(IntOrString::Int(first)) => {
            Numbers::Range(number(*first)?, number(object.end_port.unwrap_or(*first))?)
        }
    };
    Some(Port { protocol, numbers })
}

/// Nothing for what is none of the three.
fn protocol(text: Option<&str>) -> Option<Protocol> {
    match text.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// Nothing where a requirement cannot be read: that selects nobody.
fn selector(object: &LabelSelector) -> Option<Selector> {
    let equal = |(key, value): (&String, &String)| Requirement::In(key.clone(), [value.clone()].into());
    let mut all: Vec<Requirement> = object.match_labels.iter().flatten().map(equal).collect();
    for own in object.match_expressions.iter().flatten() {
        let (key, values) = (own.key.clone(), own.values.iter().flatten().cloned().collect());
        all.push(match own.operator.as_str() {
            "In" => Requirement::In(key, values),
            "NotIn" => Requirement::NotIn(key, values),
            "Exists" => Requirement::Exists(key),
            "DoesNotExist" => Requirement::Absent(key),
            _ => return None,
        });
    }
    Some(Selector(all))
}

/// The labels of each namespace.
pub(crate) fn namespaces(objects: &[Arc<Namespace>]) -> BTreeMap<String, Labels> {
    objects.iter().map(|own| (own.name_any(), own.labels().clone())).collect()
}

/// The pods that have an address of their own, in an order in which an address is that of its last holder: those that leave,
/// the older ones, the younger ones, those that are about to start. `node` is this machine as objects name it.
pub(crate) fn pods(objects: &[Arc<Pod>], waiting: &Waiting, node: &str) -> Vec<xebec_policy::Pod> {
    let mut ordered: Vec<&Arc<Pod>> = objects.iter().collect();
    ordered.sort_by_cached_key(|pod| {
        let leaves = pod.metadata.deletion_timestamp.is_some();
        (!leaves, pod.creation_timestamp(), pod.namespace(), pod.name_any())
    });
    let told = ordered.into_iter().filter_map(|own| {
        let address = own.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
        pod(own, address, node)
    });
    let announced = waiting.iter().filter_map(|(uid, own, address)| {
        let newer = objects.iter().find(|object| object.uid().as_deref() == Some(uid));
        pod(newer.unwrap_or(own), address, node)
    });
    told.chain(announced).collect()
}

fn pod(object: &Pod, address: Ipv4Addr, node: &str) -> Option<xebec_policy::Pod> {
    let spec = object.spec.as_ref()?;
    let phase = object.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) || spec.host_network == Some(true) {
        return None;
    }
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let port = |port: &k8s_openapi::api::core::v1::ContainerPort| {
        Some(PodPort {
            name: port.name.clone()?,
            protocol: protocol(port.protocol.as_deref())?,
            number: u16::try_from(port.container_port).ok()?,
        })
    };
    Some(xebec_policy::Pod {
        namespace: object.namespace().unwrap_or_default(),
        labels: object.labels().clone(),
        address,
        ports: ports.filter_map(port).collect(),
        is_here: spec.node_name.as_deref() == Some(node),
    })
}

#[cfg(test)]
mod tests;
