//! Backends of routes: the ready endpoints of Services, and references that lead nowhere.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use xebec_api::gateway::BackendRef;
use xebec_proxy::config::{Backend, BackendProtocol, BackendTls, Certificate, SessionKey, Target};

use crate::Snapshot;
use crate::address::Key;
use crate::condition::Verdict;
use crate::grant::{Grants, Referrer};
use crate::policy::Policies;

const SERVICE: &str = "kubernetes.io/service-name";
const H2C: &str = "kubernetes.io/h2c";

/// Finds backends by name.
pub(crate) struct Backends<'a> {
    services: HashMap<Key<'a>, &'a Service>,
    slices: HashMap<Key<'a>, Vec<&'a EndpointSlice>>,
    grants: &'a Grants<'a>,
    policies: &'a Policies<'a>,
    /// What the tokens of sessions with them are sealed with.
    pub(crate) session_key: SessionKey,
}

/// A backend that was found.
struct Found {
    protocol: Option<BackendProtocol>,
    tls: Result<Option<Arc<BackendTls>>, String>,
    endpoints: Vec<SocketAddr>,
}

/// For whom backends are looked up.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a, 'g> {
    /// The route.
    pub(crate) referrer: Referrer<'a>,
    /// What endpoints speak where their Service does not say.
    pub(crate) protocol: BackendProtocol,
    /// The Gateway that serves the route.
    pub(crate) gateway: Key<'g>,
    /// What it shows endpoints that ask.
    pub(crate) identity: Option<&'a Certificate>,
}

impl<'a> Backends<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, grants: &'a Grants<'a>, policies: &'a Policies<'a>) -> Self {
        let services = snapshot.services.iter().filter_map(|service| {
            let metadata = &service.metadata;
            Some(((metadata.namespace.as_deref()?, metadata.name.as_deref()?), &**service))
        });
        let mut slices = HashMap::<_, Vec<_>>::new();
        for slice in &snapshot.endpoint_slices {
            let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE));
            if let (Some(namespace), Some(service)) = (slice.metadata.namespace.as_deref(), service) {
                slices.entry((namespace, service.as_str())).or_default().push(&**slice);
            }
        }
        let session_key = snapshot.options.session_key;
        Self { services: services.collect(), slices, grants, policies, session_key }
    }

    /// The backend of a reference; a wrong one leads to an invalid backend and is noted, the first of several.
    pub(crate) fn backend(
        &self,
        asker: Asker<'_, 'a>,
        wanted: &BackendRef,
        weight: i32,
        resolved: &mut Verdict,
    ) -> Result<Backend, String> {
        let weight = u32::try_from(weight).map_err(|_| format!("{weight} is not a weight"))?;
        let namespace = wanted.namespace.as_deref().unwrap_or(asker.referrer.namespace);
        let id = format!("{namespace}/{}:{}", wanted.name, wanted.port.unwrap_or_default());
        Ok(match self.find(asker, wanted) {
            Ok(Found { tls: Ok(tls), protocol, endpoints }) => Backend {
                protocol: protocol.unwrap_or(asker.protocol),
                tls,
                target: Target::Endpoints(endpoints.into()),
                ..Backend::new(id, weight, Vec::new())
            },
            // The policy's own status says what is wrong with it.
            Ok(_) => Backend::invalid(id, weight),
            Err(verdict) => {
                if resolved.holds {
                    *resolved = verdict;
                }
                Backend::invalid(id, weight)
            }
        })
    }

    fn find(&self, asker: Asker<'_, 'a>, wanted: &BackendRef) -> Result<Found, Verdict> {
        let BackendRef { group, kind, name, .. } = wanted;
        let from = asker.referrer;
        if !group.is_empty() || kind != "Service" {
            let message = format!("{kind}.{group} {name:?} cannot be a backend; refer to a Service");
            return Err(Verdict::no("InvalidKind", message));
        }
        let namespace = wanted.namespace.as_deref().unwrap_or(from.namespace);
        if !self.grants.permit(from, "Service", namespace, name) {
            let own = from.namespace;
            let message =
                format!("no ReferenceGrant in {namespace} lets routes of {own} use Service {name:?}");
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
        let datagrams = from.kind == "UDPRoute";
        let port = ports
            .iter()
            .find(|port| port.port == number && (port.protocol.as_deref() == Some("UDP")) == datagrams)
            .ok_or_else(|| missing(format!("Service {namespace}/{name} has no port {number}")))?;
        let protocol = match port.app_protocol.as_deref() {
            Some(H2C) => Some(BackendProtocol::H2c),
            _ => None,
        };
        let port_name = port.name.as_deref();
        let key = (namespace, name.as_str());
        let tls = self.policies.tls(key, port_name, asker.gateway, asker.identity);
        Ok(Found { protocol, tls, endpoints: self.endpoints(key, port_name.unwrap_or_default()) })
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
