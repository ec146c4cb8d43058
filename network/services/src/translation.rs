//! What Services and EndpointSlices mean for addresses, as kube-proxy reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use kube::ResourceExt as _;
use xebec_datapath as datapath;
use xebec_datapath::{HostPort, Name, Policy, Protocol, Stage};

/// The label that names a slice's Service.
pub(crate) const SERVICE: &str = "kubernetes.io/service-name";
/// The label of what another program translates.
const OTHERS: &str = "service.kubernetes.io/service-proxy-name";
/// How long a client stays where the Service does not say.
const AFFINITY: i32 = 10_800;
/// The Service under which the API itself is reached.
const API: (&str, &str) = ("default", "kubernetes");

/// The slices of each Service, by namespace and name.
pub(crate) type Slices<'a> = BTreeMap<(String, String), Vec<&'a EndpointSlice>>;

/// Finds each Service's slices of IPv4 addresses.
pub(crate) fn by_service(slices: &[Arc<EndpointSlice>]) -> Slices<'_> {
    let mut all = Slices::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        if let Some(service) = slice.labels().get(SERVICE) {
            all.entry((slice.namespace().unwrap_or_default(), service.clone())).or_default().push(slice);
        }
    }
    all
}

/// The Services that have addresses, the oldest first: what two claim stays with it. `node` is this machine as objects name it,
/// and `api` where the API's own Service is found here.
pub(crate) fn services(
    services: &[Arc<Service>],
    slices: &Slices<'_>,
    node: &str,
    api: Option<SocketAddrV4>,
) -> Vec<datapath::Service> {
    let mut ordered: Vec<&Arc<Service>> = services.iter().collect();
    ordered.sort_by_cached_key(|service| {
        (service.creation_timestamp(), service.namespace(), service.name_any())
    });
    let none = Vec::new();
    let of = |service: &&Arc<Service>| {
        let key = (service.namespace().unwrap_or_default(), service.name_any());
        let own = slices.get(&key).unwrap_or(&none);
        let api = api.filter(|_| (key.0.as_str(), key.1.as_str()) == API);
        let name = Name { namespace: key.0, name: key.1 };
        translated(service, name, &|port| match api {
            Some(address) => vec![datapath::Endpoint { address, stage: Stage::Ready, is_local: true }],
            None => endpoints(own, port, node),
        })
    };
    ordered.iter().filter_map(of).collect()
}

type EndpointsOf<'a> = &'a dyn Fn(&ServicePort) -> Vec<datapath::Endpoint>;

fn translated(service: &Service, name: Name, endpoints: EndpointsOf<'_>) -> Option<datapath::Service> {
    let spec = service.spec.as_ref()?;
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    let is_headless = spec.cluster_ip.as_deref().is_none_or(|own| own.is_empty() || own == "None");
    if is_headless || kind == "ExternalName" || service.labels().contains_key(OTHERS) {
        return None;
    }
    let opens_ports = matches!(kind, "NodePort" | "LoadBalancer");
    let port = |port: &ServicePort| {
        let node_port = port.node_port.filter(|_| opens_ports).and_then(number);
        Some(datapath::ServicePort {
            protocol: protocol(port.protocol.as_deref())?,
            port: number(port.port)?,
            node_port,
            endpoints: endpoints(port),
        })
    };
    Some(datapath::Service {
        cluster_ips: cluster_ips(spec),
        external_ips: addresses(spec.external_ips.iter().flatten()),
        balancer_ips: if kind == "LoadBalancer" { balancer_ips(service) } else { Vec::new() },
        sources: spec
            .load_balancer_source_ranges
            .iter()
            .flatten()
            .filter_map(|range| range.parse().ok())
            .collect(),
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        affinity: affinity(spec),
        internal: policy(spec.internal_traffic_policy.as_deref()),
        external: policy(spec.external_traffic_policy.as_deref()),
        name,
    })
}

pub(crate) fn cluster_ips(spec: &ServiceSpec) -> Vec<Ipv4Addr> {
    addresses(spec.cluster_ips.iter().flatten().chain(spec.cluster_ip.iter()))
}

fn addresses<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<Ipv4Addr> {
    let all: BTreeSet<Ipv4Addr> = texts.filter_map(|text| text.parse().ok()).collect();
    all.into_iter().collect()
}

/// The addresses of balancers that leave the packets' destination as it is.
fn balancer_ips(service: &Service) -> Vec<Ipv4Addr> {
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let as_is = ingress.into_iter().flatten().filter(|one| one.ip_mode.as_deref() != Some("Proxy"));
    addresses(as_is.filter_map(|one| one.ip.as_ref()))
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(AFFINITY);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(1)))
}

fn policy(text: Option<&str>) -> Policy {
    if text == Some("Local") { Policy::Local } else { Policy::Cluster }
}

/// Nothing for what is none of the three.
pub(crate) fn protocol(text: Option<&str>) -> Option<Protocol> {
    match text.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// Who answers for a Service's port: ports are the same that have the same name.
fn endpoints(slices: &[&EndpointSlice], port: &ServicePort, node: &str) -> Vec<datapath::Endpoint> {
    let mut all = Vec::new();
    for slice in slices {
        let same = slice.ports.iter().flatten().find(|own| {
            own.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
                && protocol(own.protocol.as_deref()) == protocol(port.protocol.as_deref())
        });
        let Some(number) = same.and_then(|own| own.port).and_then(number) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(stage) = stage(endpoint.conditions.as_ref()) else { continue };
            let is_local = endpoint.node_name.as_deref() == Some(node);
            all.extend(first_address(endpoint).map(|address| datapath::Endpoint {
                address: SocketAddrV4::new(address, number),
                stage,
                is_local,
            }));
        }
    }
    all
}

/// An endpoint's addresses are all the same to clients; the first counts.
pub(crate) fn first_address(endpoint: &Endpoint) -> Option<Ipv4Addr> {
    endpoint.addresses.first()?.parse().ok()
}

/// How far an endpoint has come; nothing when it does not serve.
pub(crate) fn stage(conditions: Option<&EndpointConditions>) -> Option<Stage> {
    // What is not said is so; to be ending has to be said.
    let is_ready = conditions.is_none_or(|own| own.ready != Some(false));
    let serves = conditions.is_none_or(|own| own.serving.unwrap_or(is_ready));
    let is_ending = conditions.is_some_and(|own| own.terminating == Some(true));
    if is_ready {
        return Some(Stage::Ready);
    }
    (serves && is_ending).then_some(Stage::Ending)
}

/// The machine's ports that lead to pods.
pub(crate) fn host_ports(pods: &[Arc<Pod>]) -> Vec<HostPort> {
    let mut ordered: Vec<&Arc<Pod>> = pods.iter().collect();
    ordered.sort_by_cached_key(|pod| (pod.creation_timestamp(), pod.namespace(), pod.name_any()));
    ordered.into_iter().flat_map(|pod| host_ports_of(pod)).collect()
}

fn host_ports_of(pod: &Pod) -> Vec<HostPort> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { return Vec::new() };
    let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let address = status.pod_ip.as_deref().and_then(|text| text.parse::<Ipv4Addr>().ok());
    let Some(address) = address.filter(|_| !is_over && spec.host_network != Some(true)) else {
        return Vec::new();
    };
    let name = Name { namespace: pod.namespace().unwrap_or_default(), name: pod.name_any() };
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let port = |port: &k8s_openapi::api::core::v1::ContainerPort| {
        let own = port.host_ip.as_deref().filter(|text| !text.is_empty() && *text != "0.0.0.0");
        Some(HostPort {
            pod: name.clone(),
            // An address of another family is none that packets here are for.
            address: own.map(|text| text.parse().ok()).map_or(Some(None), |parsed| parsed.map(Some))?,
            protocol: protocol(port.protocol.as_deref())?,
            port: number(port.host_port?)?,
            target: SocketAddrV4::new(address, number(port.container_port)?),
        })
    };
    ports.filter_map(port).collect()
}

#[cfg(test)]
mod tests;
