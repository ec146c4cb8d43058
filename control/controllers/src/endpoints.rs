//! Which pods answer for a Service: its EndpointSlices, and the older Endpoints object beside them.
//!
//! A Service with a selector gets both from its pods ([`slice`], [`object`]). The Endpoints that a user writes for a Service
//! without one are shown as slices ([`mirror`]), so that readers need only know slices.

pub mod mirror;
pub mod object;
mod reconcile;
pub mod slice;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt as _};
use serde_json::json;

use crate::revision;

pub(crate) use reconcile::{RIGHTS, run};

/// The label that names a slice's Service.
pub const SERVICE: &str = "kubernetes.io/service-name";
/// The label that says who keeps a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The label of what belongs to a Service without an address of its own.
pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// Whether a Service's selector matches a pod's labels. One without a selector matches none.
pub fn selects(service: &Service, pod: &impl Resource) -> bool {
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return false };
    !selector.is_empty() && selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
}

/// The name of one of an object's slices. It is the same for the same slice, so that a repeated write makes none twice, and
/// that of no other object's slice, however the two objects are called.
fn slice_name(of: &impl Resource, manager: &str, at: usize) -> String {
    let whose = json!([of.uid(), manager, at]);
    format!("{}-{}", of.name_any(), revision::hash(&whose, 0))
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None"))
}

/// The number that a Service's port has on one pod. A named port that the pod does not have leads nowhere.
fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let own = ports.find(|own| {
                own.name.as_deref() == Some(name) && own.protocol.as_deref().unwrap_or("TCP") == protocol
            });
            own.map(|own| own.container_port)
        }
    }
}

/// The name by which the Service's DNS knows a pod, where the pod asks for one.
fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let named = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|_| named)
}
