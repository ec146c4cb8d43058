//! EndpointSlices: which pods answer for a Service.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt as _, predicates, watcher};
use kube::{Api, ResourceExt as _};

use crate::Error;
use crate::owner::{AGAIN, controller_reference, drain, retry};
use crate::replica_set::is_ready;
use crate::run::World;

const MANAGER: &str = "endpointslice-controller.k8s.io";
const SERVICE: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let client = world.client.clone();
    let ended = world.shutdown.clone();
    let services = Api::<Service>::all(client.clone());
    let (reader, writer) = kube::runtime::reflector::store::<Service>();
    let known = kube::runtime::reflector::reflector(
        writer,
        watcher::watcher(services.clone(), watcher::Config::default()),
    )
    .default_backoff()
    .applied_objects()
    .predicate_filter(predicates::resource_version, Default::default());
    let stop = world.shutdown.clone();
    let filling = async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = known.for_each(|_| std::future::ready(())) => {}
        }
    };
    let of_pod = move |pod: Pod| -> Vec<ObjectRef<Service>> {
        let here = |service: &&Arc<Service>| service.namespace() == pod.namespace();
        let services = reader.state();
        services
            .iter()
            .filter(here)
            .filter(|service| selects(service, &pod))
            .map(|service| ObjectRef::from_obj(&**service))
            .collect()
    };
    let controller = Controller::new(services, watcher::Config::default())
        .owns(Api::<EndpointSlice>::all(client.clone()), watcher::Config::default())
        .watches(Api::<Pod>::all(client), watcher::Config::default(), of_pod)
        .graceful_shutdown_on(async move { ended.cancelled().await });
    tokio::join!(filling, drain(controller.run(reconcile, retry, world)));
}

/// Whether a Service's selector matches a pod's labels. One without a selector matches none.
pub fn selects(service: &Service, pod: &Pod) -> bool {
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return false };
    !selector.is_empty() && selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
}

async fn reconcile(service: Arc<Service>, world: Arc<World>) -> Result<Action, Error> {
    let namespace = service.namespace().ok_or(Error::Incomplete { kind: "Service", field: "namespace" })?;
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
    if selector.is_empty() || service.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    let pods = pods.list(&ListParams::default().labels(&labels.join(","))).await?.items;
    let slices: Api<EndpointSlice> = Api::namespaced(world.client.clone(), &namespace);
    let wanted = slice(&service, &pods);
    let before = slices.get_opt(&wanted.name_any()).await?;
    let same = before.is_some_and(|before| {
        before.endpoints == wanted.endpoints
            && before.ports == wanted.ports
            && before.labels() == wanted.labels()
    });
    if !same {
        let parameters = PatchParams::apply(MANAGER).force();
        slices.patch(&wanted.name_any(), &parameters, &Patch::Apply(&wanted)).await?;
    }
    Ok(Action::requeue(AGAIN))
}

/// The slice of a Service with these pods.
pub fn slice(service: &Service, pods: &[Pod]) -> EndpointSlice {
    let spec = service.spec.clone().unwrap_or_default();
    let publish = spec.publish_not_ready_addresses.unwrap_or(false);
    let mut endpoints: Vec<Endpoint> = pods.iter().filter_map(|pod| endpoint(pod, publish)).collect();
    endpoints.sort_by(|left, right| left.addresses.cmp(&right.addresses));
    let mut labels = BTreeMap::from([
        (SERVICE.to_owned(), service.name_any()),
        (MANAGED_BY.to_owned(), MANAGER.to_owned()),
    ]);
    if spec.cluster_ip.as_deref() == Some("None") {
        labels.insert("service.kubernetes.io/headless".to_owned(), String::new());
    }
    let ports = spec.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: target(port, pods),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    });
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
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

fn endpoint(pod: &Pod, publish: bool) -> Option<Endpoint> {
    let status = pod.status.as_ref()?;
    let address = status.pod_ip.clone().filter(|address| !address.is_empty())?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
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
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

/// The port of the pods that a Service's port leads to.
fn target(port: &ServicePort, pods: &[Pod]) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => pods.iter().find_map(|pod| {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, address: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "a", "uid": "1"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_slice_names_ready_and_unready_pods_and_the_port_by_its_name() {
        let pods = [pod("b", "10.0.0.2", "False"), pod("a", "10.0.0.1", "True")];
        let slice = slice(&service(), &pods);
        let seen: Vec<_> = slice
            .endpoints
            .iter()
            .flatten()
            .map(|endpoint| (endpoint.addresses[0].as_str(), endpoint.conditions.clone().unwrap().ready))
            .collect();
        assert_eq!(seen, [("10.0.0.1", Some(true)), ("10.0.0.2", Some(false))]);
        assert_eq!(slice.ports.unwrap()[0].port, Some(8080));
    }

    #[test]
    fn a_pod_without_an_address_or_that_has_ended_is_left_out() {
        let mut ended = pod("a", "10.0.0.1", "False");
        ended.status.as_mut().unwrap().phase = Some("Failed".to_owned());
        assert!(slice(&service(), &[ended, pod("b", "", "False")]).endpoints.unwrap().is_empty());
    }
}
