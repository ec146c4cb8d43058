//! Backends of routes: the ready endpoints of Services, and references that lead nowhere.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use xebec_api::gateway::{BackendRef, GROUP, ReferenceGrant, ReferenceGrantFrom};
use xebec_proxy::config::BackendProtocol;

use crate::Snapshot;
use crate::condition::Verdict;

const SERVICE: &str = "kubernetes.io/service-name";
const H2C: &str = "kubernetes.io/h2c";

type Key<'a> = (&'a str, &'a str);

/// Finds backends by name.
pub(crate) struct Backends<'a> {
    services: HashMap<Key<'a>, &'a Service>,
    slices: HashMap<Key<'a>, Vec<&'a EndpointSlice>>,
    grants: HashMap<&'a str, Vec<&'a ReferenceGrant>>,
}

/// A backend that was found.
pub(crate) struct Found {
    pub(crate) protocol: BackendProtocol,
    pub(crate) endpoints: Vec<SocketAddr>,
}

impl<'a> Backends<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        let key = |namespace: &'a Option<String>, name: &'a Option<String>| {
            Some((namespace.as_deref()?, name.as_deref()?))
        };
        let services = snapshot.services.iter().filter_map(|service| {
            Some((key(&service.metadata.namespace, &service.metadata.name)?, &**service))
        });
        let mut slices = HashMap::<_, Vec<_>>::new();
        for slice in &snapshot.endpoint_slices {
            let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE));
            if let (Some(namespace), Some(service)) = (slice.metadata.namespace.as_deref(), service) {
                slices.entry((namespace, service.as_str())).or_default().push(&**slice);
            }
        }
        let mut grants = HashMap::<_, Vec<_>>::new();
        for grant in &snapshot.grants {
            grants.entry(grant.metadata.namespace.as_deref().unwrap_or_default()).or_default().push(&**grant);
        }
        Self { services: services.collect(), slices, grants }
    }

    /// The backend that an HTTPRoute in `from` refers to, or why the reference is wrong.
    pub(crate) fn find(&self, from: &str, wanted: &BackendRef) -> Result<Found, Verdict> {
        let BackendRef { group, kind, name, .. } = wanted;
        if !group.is_empty() || kind != "Service" {
            let message = format!("{kind}.{group} {name:?} cannot be a backend; refer to a Service");
            return Err(Verdict::no("InvalidKind", message));
        }
        let namespace = wanted.namespace.as_deref().unwrap_or(from);
        if namespace != from && !self.permitted(from, namespace, name) {
            let message =
                format!("no ReferenceGrant in {namespace} lets routes of {from} use Service {name:?}");
            return Err(Verdict::no("RefNotPermitted", message));
        }
        let missing = |what: String| Verdict::no("BackendNotFound", what);
        let service = self
            .services
            .get(&(namespace, name.as_str()))
            .ok_or_else(|| missing(format!("there is no Service {namespace}/{name}")))?;
        let number = wanted.port.ok_or_else(|| {
            missing(format!("the reference to Service {namespace}/{name} has no port; name one"))
        })?;
        let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        let port = ports
            .iter()
            .find(|port| port.port == number)
            .ok_or_else(|| missing(format!("Service {namespace}/{name} has no port {number}")))?;
        let protocol = match port.app_protocol.as_deref() {
            Some(H2C) => BackendProtocol::H2c,
            _ => BackendProtocol::Http1,
        };
        let port_name = port.name.as_deref().unwrap_or_default();
        Ok(Found { protocol, endpoints: self.endpoints((namespace, name), port_name) })
    }

    fn permitted(&self, from: &str, namespace: &str, name: &str) -> bool {
        let referrer = ReferenceGrantFrom {
            group: GROUP.to_owned(),
            kind: "HTTPRoute".to_owned(),
            namespace: from.to_owned(),
        };
        let mut grants = self.grants.get(namespace).into_iter().flatten();
        grants.any(|grant| grant.spec.permits(&referrer, "", "Service", name))
    }

    /// Sorted, so that equal endpoints make equal configurations in whatever order they were seen.
    fn endpoints(&self, service: Key<'_>, port_name: &str) -> Vec<SocketAddr> {
        let named = |port: &EndpointPort| port.name.as_deref().unwrap_or_default() == port_name;
        let is_ready = |endpoint: &Endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        };
        let mut ready = Vec::new();
        for slice in self.slices.get(&service).into_iter().flatten() {
            let port = slice.ports.iter().flatten().find(|port| named(port));
            let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
            let ready_here = slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint));
            let addresses = ready_here.filter_map(|endpoint| endpoint.addresses.first());
            let addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
            ready.extend(addresses.map(|address| SocketAddr::new(address, port)));
        }
        ready.sort_unstable();
        ready.dedup();
        ready
    }
}
