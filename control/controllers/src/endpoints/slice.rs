//! The EndpointSlices of a Service from its pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;

use super::{HEADLESS, MANAGED_BY, SERVICE, hostname, is_headless, slice_name, target};
use crate::owner::controller_reference;
use crate::pod::{has_ended, is_ready};

/// Who keeps the slices of pods.
pub(crate) const MANAGER: &str = "endpointslice-controller.k8s.io";
/// How many endpoints a slice has at the most.
const MOST: usize = 100;

/// The ports of some pods, in a form that sorts: name, number, protocol, application protocol.
type Ports = Vec<(String, i32, String, Option<String>)>;

/// The slices of a Service with these pods. Pods whose ports differ stand in different slices. There is always one.
pub fn slices(service: &Service, pods: &[Pod]) -> Vec<EndpointSlice> {
    let publish = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let mut groups: BTreeMap<Ports, Vec<Endpoint>> = BTreeMap::new();
    for pod in pods {
        if let Some(endpoint) = endpoint(service, pod, publish) {
            groups.entry(ports(service, pod)).or_default().push(endpoint);
        }
    }
    let mut slices = Vec::new();
    for (ports, mut endpoints) in groups {
        endpoints.sort_by(|left, right| left.addresses.cmp(&right.addresses));
        for chunk in endpoints.chunks(MOST) {
            slices.push(one(service, slices.len(), &ports, chunk.to_vec()));
        }
    }
    if slices.is_empty() {
        slices.push(one(service, 0, &[], Vec::new()));
    }
    slices
}

fn ports(service: &Service, pod: &Pod) -> Ports {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let known = ports.filter_map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some((port.name.clone().unwrap_or_default(), target(port, pod)?, protocol, port.app_protocol.clone()))
    });
    known.collect()
}

fn one(
    service: &Service,
    at: usize,
    ports: &[(String, i32, String, Option<String>)],
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE.to_owned(), service.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let ports = ports.iter().map(|(name, port, protocol, app_protocol)| EndpointPort {
        name: Some(name.clone()),
        port: Some(*port),
        protocol: Some(protocol.clone()),
        app_protocol: app_protocol.clone(),
    });
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(slice_name(service, MANAGER, at)),
            namespace: service.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.collect()),
    }
}

fn endpoint(service: &Service, pod: &Pod, publish: bool) -> Option<Endpoint> {
    let address = pod.status.as_ref()?.pod_ip.clone().filter(|address| !address.is_empty())?;
    if has_ended(pod) {
        return None;
    }
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = is_ready(pod);
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(publish || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    })
}

/// How an endpoint names its pod.
pub(super) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use serde_json::json;

    fn pod(name: &str, address: &str, ready: &str, port: i32) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {
                "hostname": name, "subdomain": "web",
                "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}],
            },
            "status": {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "a", "uid": "1", "labels": {"team": "shop"}},
            "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
        }))
        .unwrap()
    }

    fn seen(slice: &EndpointSlice) -> Vec<(&str, Option<bool>)> {
        let ready = |endpoint: &Endpoint| endpoint.conditions.as_ref().unwrap().ready;
        slice.endpoints.iter().flatten().map(|end| (end.addresses[0].as_str(), ready(end))).collect()
    }

    #[test]
    fn a_slice_names_ready_and_unready_pods_and_the_port_by_its_name() {
        let pods = [pod("b", "10.0.0.2", "False", 8080), pod("a", "10.0.0.1", "True", 8080)];
        let found = slices(&service(), &pods);
        assert_eq!(found.len(), 1);
        assert_eq!(seen(&found[0]), [("10.0.0.1", Some(true)), ("10.0.0.2", Some(false))]);
        assert_eq!(found[0].ports.as_ref().unwrap()[0].port, Some(8080));
        assert_eq!(found[0].endpoints.as_ref().unwrap()[0].hostname.as_deref(), Some("a"));
        let labels = found[0].labels();
        assert!(labels.contains_key(HEADLESS) && labels["team"] == "shop" && labels[SERVICE] == "web");
    }

    #[test]
    fn a_pod_without_an_address_or_that_has_ended_is_left_out() {
        let mut ended = pod("a", "10.0.0.1", "False", 8080);
        ended.status.as_mut().unwrap().phase = Some("Failed".to_owned());
        let found = slices(&service(), &[ended, pod("b", "", "False", 8080)]);
        assert_eq!((found.len(), seen(&found[0])), (1, vec![]));
    }

    #[test]
    fn pods_whose_ports_differ_stand_apart_and_no_slice_is_too_large() {
        let mut pods: Vec<Pod> =
            (0..150).map(|at| pod(&format!("a{at}"), &format!("10.0.1.{at}"), "True", 8080)).collect();
        pods.push(pod("other", "10.0.0.9", "True", 9090));
        let found = slices(&service(), &pods);
        let sizes: Vec<usize> = found.iter().map(|slice| slice.endpoints.as_ref().unwrap().len()).collect();
        assert_eq!(sizes, [100, 50, 1]);
        let names = |service: &Service| -> BTreeSet<String> {
            slices(service, &pods).iter().map(EndpointSlice::name_any).collect()
        };
        let mut other = service();
        (other.metadata.name, other.metadata.uid) = (Some("web-1".to_owned()), Some("2".to_owned()));
        assert_eq!(names(&service()).union(&names(&other)).count(), 6, "no two slices have the same name");
        assert_eq!(names(&service()), names(&service()));
        assert!(names(&service()).iter().all(|name| name.starts_with("web-")));
        assert_eq!(found[2].ports.as_ref().unwrap()[0].port, Some(9090));
    }
}
