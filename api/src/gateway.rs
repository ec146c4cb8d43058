//! Gateway API v1.6.1, standard channel (`gateway.networking.k8s.io`).
//!
//! The kinds of a gateway: [`GatewayClass`], [`Gateway`], [`ListenerSet`], the routes of each protocol,
//! [`BackendTLSPolicy`] and [`ReferenceGrant`]. Defaults that the API server fills in are filled in here too, so an
//! object read from a server without them means the same. Fields of the experimental channel that gateways serve are
//! read where a user's own definitions keep them; the definitions made here do not have them.

mod backend_tls_policy;
mod class;
mod format;
mod grant;
mod grpc_route;
mod http_filter;
mod http_route;
mod listener;
mod listener_set;
mod reference;
mod rule;
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
pub use http_filter::{
    Cors, ExternalAuth, ExternalAuthProtocol, ForwardBody, Fraction, HeaderModifier, HttpAuth, HttpFilter,
    HttpFilterType, HttpHeader, PathModifier, PathModifierType, RequestMirror, RequestRedirect, UrlRewrite,
};
pub use http_route::{
    CookieConfig, CookieLifetimeType, HTTPRoute, HTTPRouteSpec, HeaderMatch, HttpBackendRef, HttpMatch,
    HttpRule, MatchType, PathMatch, PathMatchType, QueryParamMatch, Retry, SessionPersistence,
    SessionPersistenceType, Timeouts,
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

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

/// The API group of every kind here.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// The release whose kinds these are, as the `bundle-version` annotation of their definitions says it.
pub const BUNDLE_VERSION: &str = "v1.6.1";

/// The channel whose fields these are, as the `channel` annotation of their definitions says it.
pub const CHANNEL: &str = "standard";

/// The definitions of every kind here, each with the versions that the release serves.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![
        also_as("v1beta1", waiting(GatewayClass::crd(), &["Accepted"])),
        also_as("v1beta1", addressed(waiting(Gateway::crd(), &["Accepted", "Programmed"]))),
        waiting(ListenerSet::crd(), &["Accepted", "Programmed"]),
        also_as("v1beta1", HTTPRoute::crd()),
        GRPCRoute::crd(),
        TLSRoute::crd(),
        TCPRoute::crd(),
        UDPRoute::crd(),
        BackendTLSPolicy::crd(),
        also_as("v1", ReferenceGrant::crd()),
    ];
    definitions.iter_mut().flat_map(schemas).for_each(not_nullable);
    definitions
}

/// The schemas of every version.
fn schemas(definition: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let versions = definition.spec.versions.iter_mut();
    versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
}

/// The schema of a field at the end of a path of fields.
fn field<'a>(schema: &'a mut JSONSchemaProps, path: &[&str]) -> Option<&'a mut JSONSchemaProps> {
    path.iter().try_fold(schema, |schema, name| schema.properties.as_mut()?.get_mut(*name))
}

/// A field that may be left out is not thereby one that may be null, which an optional field of a type says of it.
fn not_nullable(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.properties.iter_mut().flat_map(|fields| fields.values_mut()).for_each(not_nullable);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        not_nullable(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        not_nullable(values);
    }
}

/// A definition whose objects say that they wait for their controller, until one writes their status.
fn waiting(mut definition: CustomResourceDefinition, conditions: &[&str]) -> CustomResourceDefinition {
    let condition = |kind: &&str| {
        json!({
            "type": kind, "status": "Unknown", "reason": "Pending", "message": "Waiting for controller",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    let pending: Value = conditions.iter().map(condition).collect();
    for schema in schemas(&mut definition) {
        if let Some(conditions) = field(schema, &["status", "conditions"]) {
            conditions.default = Some(JSON(pending.clone()));
        }
        if let Some(status) = field(schema, &["status"]) {
            status.default = Some(JSON(json!({"conditions": pending})));
        }
    }
    definition
}

/// A definition whose addresses of type IPAddress are such. A type cannot say it: of the forms that a schema tells apart,
/// kube makes one.
fn addressed(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let kind = |kinds: JSONSchemaProps| ("type".to_owned(), kinds);
    let ip = || JSONSchemaProps { enum_: Some(vec![JSON(json!("IPAddress"))]), ..Default::default() };
    let format = |name: &str| JSONSchemaProps { format: Some(name.to_owned()), ..Default::default() };
    let value = JSONSchemaProps { any_of: Some(vec![format("ipv4"), format("ipv6")]), ..Default::default() };
    let other = JSONSchemaProps { not: Some(Box::new(ip())), ..Default::default() };
    let holds = |fields: Vec<(String, JSONSchemaProps)>| JSONSchemaProps {
        properties: Some(fields.into_iter().collect()),
        ..Default::default()
    };
    let forms = vec![holds(vec![kind(ip()), ("value".to_owned(), value)]), holds(vec![kind(other)])];
    for schema in schemas(&mut definition) {
        for part in ["spec", "status"] {
            let addresses = field(schema, &[part, "addresses"]).and_then(|list| list.items.as_mut());
            if let Some(JSONSchemaPropsOrArray::Schema(address)) = addresses {
                address.one_of = Some(forms.clone());
            }
        }
    }
    definition
}

/// A definition that also serves another version, of the same schema.
fn also_as(other: &str, mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let stored = definition.spec.versions.first().cloned();
    definition.spec.versions.extend(stored.map(|mut version| {
        other.clone_into(&mut version.name);
        version.storage = false;
        version
    }));
    definition
}
