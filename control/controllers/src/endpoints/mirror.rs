//! Slices that show the Endpoints which a user wrote.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;

use super::{MANAGED_BY, SERVICE, slice_name};
use crate::owner::controller_reference;

/// Who keeps the slices of Endpoints.
pub(crate) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// How many addresses of a subset are shown.
const MOST: usize = 1000;

/// Whether Endpoints are to be shown as slices: not those that somebody excluded, nor those of a leader election.
pub fn is_mirrored(endpoints: &Endpoints) -> bool {
    endpoints.labels().get(SKIP).is_none_or(|skip| skip != "true")
        && !endpoints.annotations().contains_key(LEADER)
}

/// A slice for each subset and family of addresses.
pub fn slices(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        for family in ["IPv4", "IPv6"] {
            let found = members(subset, family);
            if !found.is_empty() {
                let name = slice_name(endpoints, MANAGER, slices.len());
                slices.push(one(endpoints, name, family, subset, found));
            }
        }
    }
    slices
}

fn members(subset: &EndpointSubset, family: &str) -> Vec<Endpoint> {
    let of = |address: &&EndpointAddress| address.ip.contains(':') == (family == "IPv6");
    let ready = subset.addresses.iter().flatten().filter(of).map(|address| member(address, true));
    let waiting =
        subset.not_ready_addresses.iter().flatten().filter(of).map(|address| member(address, false));
    ready.chain(waiting).take(MOST).collect()
}

fn member(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn one(
    endpoints: &Endpoints,
    name: String,
    family: &str,
    subset: &EndpointSubset,
    members: Vec<Endpoint>,
) -> EndpointSlice {
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    });
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE.to_owned(), endpoints.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: endpoints.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(members),
        ports: Some(ports.collect()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    fn endpoints(meta: serde_json::Value) -> Endpoints {
        serde_json::from_value(json!({"metadata": meta, "subsets": [{
            "addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}],
            "notReadyAddresses": [{"ip": "192.0.2.2"}],
            "ports": [{"port": 5432}],
        }]}))
        .unwrap()
    }

    #[test]
    fn each_family_of_addresses_gets_a_slice() {
        let found = slices(&endpoints(json!({"name": "db", "namespace": "a", "uid": "1"})));
        let seen: Vec<_> = found
            .iter()
            .map(|slice| (slice.address_type.as_str(), slice.endpoints.as_ref().unwrap().len()))
            .collect();
        assert_eq!(seen, [("IPv4", 2), ("IPv6", 1)]);
        assert_eq!(found[0].labels()[SERVICE], "db");
        assert_eq!(found[0].ports.as_ref().unwrap()[0].protocol.as_deref(), Some("TCP"));
    }

    #[test]
    fn what_was_excluded_is_not_mirrored() {
        assert!(is_mirrored(&endpoints(json!({"name": "db"}))));
        assert!(!is_mirrored(&endpoints(json!({"name": "db", "labels": {SKIP: "true"}}))));
        assert!(!is_mirrored(&endpoints(json!({"name": "db", "annotations": {LEADER: "{}"}}))));
    }
}
