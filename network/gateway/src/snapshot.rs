//! What a translation is made from.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use xebec_api::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute,
    TLSRoute, UDPRoute,
};
use xebec_proxy::config::{SessionKey, TrustRoots};

/// How far ports below 1024 are moved where they may not be opened.
const MOVED_BY: u16 = 8000;

/// Where Gateways are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The addresses of Gateways that do not ask for one.
    pub pool: Pool,
    /// Whether ports below 1024 may be opened; else they are served 8000 above.
    pub privileged: bool,
    /// What the tokens of sessions are sealed with.
    pub session_key: SessionKey,
}

impl Options {
    /// The port at which a listener's port is served.
    pub fn served(&self, port: u16) -> u16 {
        served_port(port, self.privileged)
    }
}

/// The port at which a listener's port is served, by whether ports below 1024 may be opened.
pub fn served_port(port: u16, privileged: bool) -> u16 {
    if port < 1024 && !privileged { port + MOVED_BY } else { port }
}

/// A network of IPv4 addresses, of which the first and the last are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    network: Ipv4Addr,
    prefix: u8,
}

impl Pool {
    /// The network of these leading bits; at most 30 of them count.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(30);
        Self { network: Ipv4Addr::from_bits(network.to_bits() & !(u32::MAX >> prefix)), prefix }
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if Self::new(address, self.prefix).network == self.network)
    }

    /// Every address, in order.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let first = self.network.to_bits();
        let last = first | (u32::MAX >> self.prefix);
        (first + 1..last).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Where something listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The address and port.
    pub address: SocketAddr,
    /// Whether for datagrams.
    pub udp: bool,
}

/// Why a place could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbound {
    /// The system's word, and the remedy.
    pub reason: String,
    /// Whether the address is none of this machine's, whatever the port.
    pub foreign: bool,
}

/// All objects of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where Gateways are served.
    pub options: Options,
    /// The time for conditions that change now.
    pub now: Time,
    /// Places that could not be opened.
    pub unbound: BTreeMap<Place, Unbound>,
    /// The authorities that this machine believes, if it has a list of them.
    pub system_roots: Option<TrustRoots>,
    /// Classes of every controller.
    pub classes: Vec<Arc<GatewayClass>>,
    /// Gateways of every class.
    pub gateways: Vec<Arc<Gateway>>,
    /// Further listeners of Gateways.
    pub listener_sets: Vec<Arc<ListenerSet>>,
    /// Routes of HTTP requests.
    pub http_routes: Vec<Arc<HTTPRoute>>,
    /// Routes of gRPC calls.
    pub grpc_routes: Vec<Arc<GRPCRoute>>,
    /// Routes of TLS connections.
    pub tls_routes: Vec<Arc<TLSRoute>>,
    /// Routes of TCP connections.
    pub tcp_routes: Vec<Arc<TCPRoute>>,
    /// Routes of datagrams.
    pub udp_routes: Vec<Arc<UDPRoute>>,
    /// How backends are spoken to under TLS.
    pub policies: Vec<Arc<BackendTLSPolicy>>,
    /// Grants for references across namespaces.
    pub grants: Vec<Arc<ReferenceGrant>>,
    /// Namespaces, whose labels listeners may select by.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Services.
    pub services: Vec<Arc<Service>>,
    /// Their endpoints.
    pub endpoint_slices: Vec<Arc<EndpointSlice>>,
    /// Secrets, which may hold certificates.
    pub secrets: Vec<Arc<Secret>>,
    /// ConfigMaps, which may hold authorities.
    pub config_maps: Vec<Arc<ConfigMap>>,
    /// The identities of Gateways.
    pub accounts: Vec<Arc<ServiceAccount>>,
    /// Classes of Ingresses, of every controller.
    pub ingress_classes: Vec<Arc<IngressClass>>,
    /// Ingresses of every class.
    pub ingresses: Vec<Arc<Ingress>>,
}

impl Snapshot {
    /// A moment in which there is no object.
    pub fn empty(options: Options, now: Time) -> Self {
        Self {
            options,
            now,
            unbound: BTreeMap::new(),
            system_roots: None,
            classes: Vec::new(),
            gateways: Vec::new(),
            listener_sets: Vec::new(),
            http_routes: Vec::new(),
            grpc_routes: Vec::new(),
            tls_routes: Vec::new(),
            tcp_routes: Vec::new(),
            udp_routes: Vec::new(),
            policies: Vec::new(),
            grants: Vec::new(),
            namespaces: Vec::new(),
            services: Vec::new(),
            endpoint_slices: Vec::new(),
            secrets: Vec::new(),
            config_maps: Vec::new(),
            accounts: Vec::new(),
            ingress_classes: Vec::new(),
            ingresses: Vec::new(),
        }
    }
}
