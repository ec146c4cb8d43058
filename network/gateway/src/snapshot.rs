//! What a translation is made from.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use xebec_api::gateway::{Gateway, GatewayClass, HTTPRoute, ReferenceGrant};

/// How far ports below 1024 are moved where they may not be opened.
const MOVED_BY: u16 = 8000;

/// Where Gateways are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The address that every Gateway listens on.
    pub address: IpAddr,
    /// Whether ports below 1024 may be opened; else they are served 8000 above.
    pub privileged: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::LOCALHOST), privileged: false }
    }
}

impl Options {
    /// Where a listener's port is served.
    pub fn served(&self, port: u16) -> SocketAddr {
        let port = if port < 1024 && !self.privileged { port + MOVED_BY } else { port };
        SocketAddr::new(self.address, port)
    }
}

/// All objects of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where Gateways are served.
    pub options: Options,
    /// The time for conditions that change now.
    pub now: Time,
    /// Addresses that could not be opened, and why.
    pub unbound: BTreeMap<SocketAddr, String>,
    /// Classes of every controller.
    pub classes: Vec<Arc<GatewayClass>>,
    /// Gateways of every class.
    pub gateways: Vec<Arc<Gateway>>,
    /// Routes.
    pub routes: Vec<Arc<HTTPRoute>>,
    /// Grants for references across namespaces.
    pub grants: Vec<Arc<ReferenceGrant>>,
    /// Namespaces, whose labels listeners may select by.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Services.
    pub services: Vec<Arc<Service>>,
    /// Their endpoints.
    pub endpoint_slices: Vec<Arc<EndpointSlice>>,
}

impl Snapshot {
    /// A moment in which there is no object.
    pub fn empty(options: Options, now: Time) -> Self {
        Self {
            options,
            now,
            unbound: BTreeMap::new(),
            classes: Vec::new(),
            gateways: Vec::new(),
            routes: Vec::new(),
            grants: Vec::new(),
            namespaces: Vec::new(),
            services: Vec::new(),
            endpoint_slices: Vec::new(),
        }
    }
}
