//! The objects as the watches know them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::watcher;
use xebec_api::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute,
    TLSRoute, UDPRoute,
};
use xebec_follow::{Follower, Known};
use xebec_proxy::config::TrustRoots;

use crate::account::GATEWAY_NAME;
use crate::snapshot::{Place, Unbound};
use crate::{Options, Snapshot};

/// The objects of every kind that matters.
pub(crate) struct World {
    classes: Known<GatewayClass>,
    gateways: Known<Gateway>,
    listener_sets: Known<ListenerSet>,
    http_routes: Known<HTTPRoute>,
    grpc_routes: Known<GRPCRoute>,
    tls_routes: Known<TLSRoute>,
    tcp_routes: Known<TCPRoute>,
    udp_routes: Known<UDPRoute>,
    policies: Known<BackendTLSPolicy>,
    grants: Known<ReferenceGrant>,
    namespaces: Known<Namespace>,
    services: Known<Service>,
    slices: Known<EndpointSlice>,
    secrets: Known<Secret>,
    config_maps: Known<ConfigMap>,
    accounts: Known<ServiceAccount>,
    ingress_classes: Known<IngressClass>,
    ingresses: Known<Ingress>,
    follower: Follower,
}

impl World {
    /// Begins to watch.
    pub(crate) fn watch(client: Client) -> Self {
        let mut follower = Follower::new(client);
        let all = watcher::Config::default;
        Self {
            classes: follower.follow(all(), |_| {}),
            gateways: follower.follow(all(), |_| {}),
            listener_sets: follower.follow(all(), |_| {}),
            http_routes: follower.follow(all(), |_| {}),
            grpc_routes: follower.follow(all(), |_| {}),
            tls_routes: follower.follow(all(), |_| {}),
            tcp_routes: follower.follow(all(), |_| {}),
            udp_routes: follower.follow(all(), |_| {}),
            policies: follower.follow(all(), |_| {}),
            grants: follower.follow(all(), |_| {}),
            namespaces: follower.follow(all(), |_| {}),
            services: follower.follow(all(), |_| {}),
            slices: follower.follow(all(), |_| {}),
            secrets: follower.follow(all(), |_| {}),
            config_maps: follower.follow(all(), |_| {}),
            accounts: follower.follow(watcher::Config::default().labels(GATEWAY_NAME), |_| {}),
            ingress_classes: follower.follow(all(), |_| {}),
            ingresses: follower.follow(all(), |_| {}),
            follower,
        }
    }

    /// Waits until every kind that a gateway cannot do without is listed, and every other is too, or is not defined.
    pub(crate) async fn listed(&self) -> Result<(), WriterDropped> {
        self.classes.listed().await?;
        self.gateways.listed().await?;
        self.http_routes.listed().await?;
        self.grants.listed().await?;
        self.namespaces.listed().await?;
        self.services.listed().await?;
        self.slices.listed().await?;
        self.secrets.listed().await?;
        self.config_maps.listed().await?;
        self.accounts.listed().await?;
        self.ingress_classes.listed().await?;
        self.ingresses.listed().await?;
        self.listener_sets.listed_if_defined().await?;
        self.grpc_routes.listed_if_defined().await?;
        self.tls_routes.listed_if_defined().await?;
        self.tcp_routes.listed_if_defined().await?;
        self.udp_routes.listed_if_defined().await?;
        self.policies.listed_if_defined().await
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&self) {
        self.follower.changed().await;
    }

    pub(crate) fn snapshot(
        &self,
        options: Options,
        system_roots: Option<TrustRoots>,
        unbound: BTreeMap<Place, Unbound>,
    ) -> Snapshot {
        // Conditions have whole seconds.
        let now = jiff::Timestamp::now().as_second();
        Snapshot {
            options,
            now: Time(jiff::Timestamp::from_second(now).unwrap_or_default()),
            unbound,
            system_roots,
            classes: self.classes.all(),
            gateways: self.gateways.all(),
            listener_sets: self.listener_sets.all(),
            http_routes: self.http_routes.all(),
            grpc_routes: self.grpc_routes.all(),
            tls_routes: self.tls_routes.all(),
            tcp_routes: self.tcp_routes.all(),
            udp_routes: self.udp_routes.all(),
            policies: self.policies.all(),
            grants: self.grants.all(),
            namespaces: self.namespaces.all(),
            services: self.services.all(),
            endpoint_slices: self.slices.all(),
            secrets: self.secrets.all(),
            config_maps: self.config_maps.all(),
            accounts: self.accounts.all(),
            ingress_classes: self.ingress_classes.all(),
            ingresses: self.ingresses.all(),
        }
    }
}
