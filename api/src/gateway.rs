//! Gateway API v1.6.1, standard channel (`gateway.networking.k8s.io`).
//!
//! The kinds that an HTTP gateway needs: [`GatewayClass`], [`Gateway`], [`HTTPRoute`] and [`ReferenceGrant`]. Defaults
//! that the API server fills in are filled in here too, so an object read from a server without them means the same.

mod class;
mod grant;
mod http_route;
mod listener;
mod reference;

pub use class::{GatewayClass, GatewayClassSpec, GatewayClassStatus, ParametersReference, SupportedFeature};
pub use grant::{ReferenceGrant, ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo};
pub use http_route::{
    Cors, Fraction, HTTPRoute, HTTPRouteSpec, HeaderMatch, HeaderModifier, HttpBackendRef, HttpFilter,
    HttpFilterType, HttpHeader, HttpMatch, HttpRule, MatchType, PathMatch, PathMatchType, PathModifier,
    PathModifierType, QueryParamMatch, RequestMirror, RequestRedirect, Timeouts, UrlRewrite,
};
pub use listener::{
    AllowedRoutes, FromNamespaces, Gateway, GatewayAddress, GatewaySpec, GatewayStatus, GatewayStatusAddress,
    Infrastructure, Listener, ListenerStatus, ListenerTls, RouteGroupKind, RouteNamespaces, TlsMode,
};
pub use reference::{
    BackendRef, LocalObjectReference, ParentReference, RouteParentStatus, RouteStatus, SecretReference,
};

/// The API group of every kind here.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// The release whose kinds these are, as the `bundle-version` annotation of their definitions says it.
pub const BUNDLE_VERSION: &str = "v1.6.1";

/// The channel whose fields these are, as the `channel` annotation of their definitions says it.
pub const CHANNEL: &str = "standard";
