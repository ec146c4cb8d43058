//! Gateway API v1.6.1, standard channel (`gateway.networking.k8s.io`).
//!
//! The kinds of a gateway: [`GatewayClass`], [`Gateway`], [`ListenerSet`], the routes of each protocol,
//! [`BackendTLSPolicy`] and [`ReferenceGrant`]. Defaults that the API server fills in are filled in here too, so an
//! object read from a server without them means the same. Fields of the experimental channel that gateways serve are
//! read where a user's own definitions keep them; the definitions made here do not have them.

mod backend_tls_policy;
mod class;
mod grant;
mod grpc_route;
mod http_route;
mod listener;
mod listener_set;
mod reference;
mod stream_route;

pub use backend_tls_policy::{
    BackendTLSPolicy, BackendTLSPolicySpec, BackendTlsValidation, PolicyAncestorStatus, PolicyStatus,
    PolicyTargetReference, SubjectAltName, SubjectAltNameType,
};
pub use class::{GatewayClass, GatewayClassSpec, GatewayClassStatus, ParametersReference, SupportedFeature};
pub use grant::{ReferenceGrant, ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo};
pub use grpc_route::{
    GRPCRoute, GRPCRouteSpec, GrpcBackendRef, GrpcFilter, GrpcFilterType, GrpcMatch, GrpcMethodMatch,
    GrpcRule,
};
pub use http_route::{
    CookieConfig, CookieLifetimeType, Cors, ExternalAuth, ExternalAuthProtocol, ForwardBody, Fraction,
    HTTPRoute, HTTPRouteSpec, HeaderMatch, HeaderModifier, HttpAuth, HttpBackendRef, HttpFilter,
    HttpFilterType, HttpHeader, HttpMatch, HttpRule, MatchType, PathMatch, PathMatchType, PathModifier,
    PathModifierType, QueryParamMatch, RequestMirror, RequestRedirect, Retry, SessionPersistence,
    SessionPersistenceType, Timeouts, UrlRewrite,
};
pub use listener::{
    AllowedListeners, AllowedRoutes, FromListenerNamespaces, FromNamespaces, FrontendTls, FrontendTlsConfig,
    FrontendValidation, FrontendValidationMode, Gateway, GatewayAddress, GatewayBackendTls, GatewaySpec,
    GatewayStatus, GatewayStatusAddress, GatewayTls, Infrastructure, Listener, ListenerNamespaces,
    ListenerStatus, ListenerTls, PortTls, RouteGroupKind, RouteNamespaces, TlsMode,
};
pub use listener_set::{ListenerSet, ListenerSetSpec, ListenerSetStatus, ParentGatewayReference};
pub use reference::{
    BackendRef, LocalObjectReference, ObjectReference, ParentReference, RouteParentStatus, RouteStatus,
    SecretReference, WeightedBackendRef,
};
pub use stream_route::{StreamRule, TCPRoute, TCPRouteSpec, TLSRoute, TLSRouteSpec, UDPRoute, UDPRouteSpec};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt as _;
use serde_json::json;

/// The API group of every kind here.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// The release whose kinds these are, as the `bundle-version` annotation of their definitions says it.
pub const BUNDLE_VERSION: &str = "v1.6.1";

/// The channel whose fields these are, as the `channel` annotation of their definitions says it.
pub const CHANNEL: &str = "standard";

/// The definitions of every kind here.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        waiting(GatewayClass::crd(), &["Accepted"]),
        waiting(Gateway::crd(), &["Accepted", "Programmed"]),
        waiting(ListenerSet::crd(), &["Accepted", "Programmed"]),
        HTTPRoute::crd(),
        GRPCRoute::crd(),
        TLSRoute::crd(),
        TCPRoute::crd(),
        UDPRoute::crd(),
        BackendTLSPolicy::crd(),
        ReferenceGrant::crd(),
    ]
}

/// A definition whose objects say that they wait for their controller, until one writes their status.
fn waiting(mut definition: CustomResourceDefinition, conditions: &[&str]) -> CustomResourceDefinition {
    let condition = |kind: &&str| {
        json!({
            "type": kind, "status": "Unknown", "reason": "Pending", "message": "Waiting for controller",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    let pending = json!({"conditions": conditions.iter().map(condition).collect::<Vec<_>>()});
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let properties = schema.and_then(|schema| schema.properties.as_mut());
        if let Some(status) = properties.and_then(|properties| properties.get_mut("status")) {
            status.default = Some(JSON(pending.clone()));
        }
    }
    definition
}
