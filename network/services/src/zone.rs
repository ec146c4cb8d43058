//! What Services and EndpointSlices mean for names, as CoreDNS reads them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use xebec_datapath as datapath;
use xebec_dns::{Endpoint, Error, Port, Protocol, Scope, Zone};

use crate::translation::{Slices, cluster_ips, first_address, protocol, stage};

/// Compiles the zone of all objects.
pub(crate) fn zone(
    scope: Scope,
    serial: u32,
    namespaces: &[Arc<Namespace>],
    services: &[Arc<Service>],
    slices: &Slices<'_>,
) -> Result<Zone, Error> {
    let none = Vec::new();
    let services = services.iter().filter_map(|service| {
        let key = (service.namespace()?, service.name_any());
        let own = slices.get(&key).unwrap_or(&none);
        Some((key, named(service, own)?))
    });
    Zone::compile(scope, serial, namespaces.iter().map(|namespace| namespace.name_any()), services)
}

fn named(service: &Service, slices: &[&EndpointSlice]) -> Option<xebec_dns::Service> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Some(xebec_dns::Service::Alias { target: spec.external_name.clone()? });
    }
    let endpoints = endpoints(slices);
    if spec.cluster_ip.as_deref() == Some("None") {
        return Some(xebec_dns::Service::Headless { endpoints });
    }
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        named_port(port.name.as_deref(), port.protocol.as_deref(), port.port)
    };
    Some(xebec_dns::Service::Address {
        addresses: cluster_ips(spec),
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        named: endpoints.into_iter().filter(|endpoint| endpoint.hostname.is_some()).collect(),
    })
}

fn named_port(name: Option<&str>, text: Option<&str>, number: i32) -> Option<Port> {
    Some(Port {
        name: name.unwrap_or_default().to_ascii_lowercase(),
        protocol: match protocol(text)? {
            datapath::Protocol::Tcp => Protocol::Tcp,
            datapath::Protocol::Udp => Protocol::Udp,
            datapath::Protocol::Sctp => Protocol::Sctp,
        },
        number: u16::try_from(number).ok()?,
    })
}

/// Those that are ready, each once with the ports of all slices that tell of it.
fn endpoints(slices: &[&EndpointSlice]) -> Vec<Endpoint> {
    let mut all: BTreeMap<(Option<String>, Ipv4Addr), Vec<Port>> = BTreeMap::new();
    for slice in slices {
        let port = |port: &k8s_openapi::api::discovery::v1::EndpointPort| {
            named_port(port.name.as_deref(), port.protocol.as_deref(), port.port?)
        };
        let ports: Vec<Port> = slice.ports.iter().flatten().filter_map(port).collect();
        for endpoint in slice.endpoints.iter().flatten() {
            let is_ready = stage(endpoint.conditions.as_ref()) == Some(datapath::Stage::Ready);
            let Some(address) = first_address(endpoint).filter(|_| is_ready) else { continue };
            let hostname = endpoint.hostname.clone().filter(|name| !name.is_empty());
            let own = all.entry((hostname, address)).or_default();
            for port in &ports {
                if !own.contains(port) {
                    own.push(port.clone());
                }
            }
        }
    }
    let endpoint = |((hostname, address), ports)| Endpoint { address, hostname, ports };
    all.into_iter().map(endpoint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translation::by_service;
    use serde_json::{Value, json};
    use xebec_dns::Known;

    fn known(spec: &Value, endpoints: &Value, host: &str) -> Known {
        let service = json!({"metadata": {"namespace": "default", "name": "web"}, "spec": spec});
        let slice = json!({
            "metadata": {"namespace": "default", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 80}],
        });
        let namespace = json!({"metadata": {"name": "default"}});
        let services = [Arc::new(serde_json::from_value(service).unwrap_or_default())];
        let slices = [Arc::new(serde_json::from_value(slice).unwrap_or_default())];
        let namespaces = [Arc::new(serde_json::from_value(namespace).unwrap_or_default())];
        let scope = Scope { domain: "cluster.local".into(), server: None, ranges: Vec::new() };
        let made = zone(scope, 1, &namespaces, &services, &by_service(&slices));
        made.expect("a zone").look_up(host, "default")
    }

    #[test]
    fn each_sort_of_service_has_the_names_of_its_sort() {
        let endpoints = json!([
            {"addresses": ["10.244.0.5"], "conditions": {"ready": true}, "hostname": "web-0"},
            {"addresses": ["10.244.0.6"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        ]);
        let addresses = |all: &[[u8; 4]]| Known::Addresses(all.iter().map(|one| (*one).into()).collect());
        let plain = json!({"clusterIP": "10.96.0.20", "ports": [{"port": 80}]});
        assert_eq!(known(&plain, &endpoints, "web"), addresses(&[[10, 96, 0, 20]]));
        for named in ["web-0.web", "web-0.web.default.svc"] {
            assert_eq!(known(&plain, &endpoints, named), addresses(&[[10, 244, 0, 5]]), "{named}");
        }
        let headless = json!({"clusterIP": "None"});
        assert_eq!(known(&headless, &endpoints, "web"), addresses(&[[10, 244, 0, 5]]));
        let external = json!({"type": "ExternalName", "externalName": "www.example.org"});
        assert_eq!(known(&external, &endpoints, "web"), Known::Alias("www.example.org.".into()));
    }
}
