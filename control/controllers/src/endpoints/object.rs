//! The Endpoints object of a Service from its pods, for readers that do not know slices.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;

use super::slice::reference;
use super::{HEADLESS, hostname, is_headless, target};
use crate::pod::{has_ended, is_ready};

/// Who keeps the object.
pub(crate) const MANAGER: &str = "endpoint-controller";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// How many addresses the object has at the most.
const MOST: usize = 1000;

/// An address as it is sorted, and whether it is ready.
type Addresses = Vec<(String, bool, EndpointAddress)>;
/// Name, number, protocol, application protocol.
type Ports = Vec<(Option<String>, i32, String, Option<String>)>;

/// Whether an object is kept here, and by nobody else.
pub(crate) fn is_own(object: &Endpoints) -> bool {
    object.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

/// The object of a Service with these pods. It is owned by nobody: it goes by the Service's name, as users expect.
pub fn endpoints(service: &Service, pods: &[Pod]) -> Endpoints {
    let publish = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let mut all: Vec<(Ports, String, bool, EndpointAddress)> = Vec::new();
    for pod in pods.iter().filter(|pod| !has_ended(pod)) {
        if pod.metadata.deletion_timestamp.is_some() && !publish {
            continue;
        }
        let Some(address) = address(service, pod) else { continue };
        all.push((ports(service, pod), address.ip.clone(), publish || is_ready(pod), address));
    }
    let truncated = all.len() > MOST;
    if truncated {
        // Those that are ready are worth more.
        all.sort_by(|left, right| right.2.cmp(&left.2).then_with(|| left.1.cmp(&right.1)));
        all.truncate(MOST);
    }
    let mut groups: BTreeMap<Ports, Addresses> = BTreeMap::new();
    for (ports, ip, ready, address) in all {
        groups.entry(ports).or_default().push((ip, ready, address));
    }
    let subsets: Vec<_> = groups.into_iter().map(|(ports, addresses)| subset(ports, addresses)).collect();
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let annotations = truncated.then(|| [(OVER_CAPACITY.to_owned(), "truncated".to_owned())].into());
    Endpoints {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
            namespace: service.namespace(),
            labels: Some(labels),
            annotations,
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

fn subset(ports: Ports, mut addresses: Addresses) -> EndpointSubset {
    addresses.sort_by(|left, right| left.0.cmp(&right.0));
    let (ready, waiting): (Addresses, Addresses) = addresses.into_iter().partition(|(_, ready, _)| *ready);
    let some = |addresses: Addresses| {
        let addresses: Vec<_> = addresses.into_iter().map(|(_, _, address)| address).collect();
        (!addresses.is_empty()).then_some(addresses)
    };
    let ports: Vec<EndpointPort> = ports
        .into_iter()
        .map(|(name, port, protocol, app_protocol)| EndpointPort {
            name,
            port,
            protocol: Some(protocol),
            app_protocol,
        })
        .collect();
    EndpointSubset {
        addresses: some(ready),
        not_ready_addresses: some(waiting),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn ports(service: &Service, pod: &Pod) -> Ports {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let known = ports.filter_map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let name = port.name.clone().filter(|name| !name.is_empty());
        Some((name, target(port, pod)?, protocol, port.app_protocol.clone()))
    });
    known.collect()
}

fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let ip = pod.status.as_ref()?.pod_ip.clone().filter(|address| !address.is_empty())?;
    Some(EndpointAddress {
        ip,
        hostname: hostname(service, pod),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(reference(pod)),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, address: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "a"}, "spec": spec})).unwrap()
    }

    #[test]
    fn ready_and_unready_addresses_stand_apart_in_order() {
        let pods =
            [pod("b", "10.0.0.2", "True"), pod("c", "10.0.0.3", "False"), pod("a", "10.0.0.1", "True")];
        let found = endpoints(&service(json!({"ports": [{"port": 80}]})), &pods);
        let subset = serde_json::to_value(&found.subsets.unwrap()[0]).unwrap();
        let ips = |field: &str| -> Vec<Value> {
            subset[field].as_array().unwrap().iter().map(|one| one["ip"].clone()).collect()
        };
        assert_eq!(ips("addresses"), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(ips("notReadyAddresses"), ["10.0.0.3"]);
        assert_eq!(subset["ports"], json!([{"port": 80, "protocol": "TCP"}]));
    }

    #[test]
    fn no_pods_leave_no_subset_and_too_many_are_cut_ready_ones_last() {
        assert_eq!(endpoints(&service(json!({})), &[]).subsets, None);
        let mut pods: Vec<Pod> = (0..MOST).map(|at| pod("a", &format!("10.{}.0.1", at), "False")).collect();
        pods.push(pod("ready", "9.0.0.1", "True"));
        let found = endpoints(&service(json!({})), &pods);
        let subset = &found.subsets.as_ref().unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap().len(), 1);
        assert_eq!(subset.not_ready_addresses.as_ref().unwrap().len(), MOST - 1);
        assert_eq!(found.annotations()[OVER_CAPACITY], "truncated");
    }
}
