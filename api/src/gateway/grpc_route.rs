use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http_filter::{HeaderModifier, RequestMirror};
use super::http_route::{HeaderMatch, MatchType};
use super::reference::{BackendRef, LocalObjectReference, ParentReference, RouteStatus, one};
use super::{format, rule};

/// Sends gRPC calls to backends.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/gateway-api/pull/4530"),
    annotation("gateway.networking.k8s.io/bundle-version", "v1.6.1"),
    annotation("gateway.networking.k8s.io/channel", "standard"),
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GRPCRoute",
    plural = "grpcroutes",
    namespaced,
    category = "gateway-api",
    status = "RouteStatus",
    derive = "PartialEq",
    printcolumn(name = "Hostnames", type_ = "string", json_path = ".spec.hostnames"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct GRPCRouteSpec {
    /// The parents to attach to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rule::PARENTS_WITH_AND_WITHOUT_SECTION, validation = rule::PARENTS_TWICE)]
    pub parent_refs: Vec<ParentReference>,
    /// The hostnames to match, perhaps with a `*.` prefix; those of the listener where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<format::Hostname>", length(max = 16))]
    pub hostnames: Vec<String>,
    /// The rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rule::MATCHES, validation = rule::RULE_NAMES)]
    pub rules: Vec<GrpcRule>,
}

/// Which calls, changed how, sent where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRule {
    /// The rule's name, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Domain")]
    pub name: Option<String>,
    /// A call fits if it fits any of these; every call where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub matches: Vec<GrpcMatch>,
    /// What is done to the call and its answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rule::ONE_REQUEST_HEADER_MODIFIER, validation = rule::ONE_RESPONSE_HEADER_MODIFIER)]
    pub filters: Vec<GrpcFilter>,
    /// Where the call goes, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub backend_refs: Vec<GrpcBackendRef>,
}

/// What a call must have; all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct GrpcMatch {
    /// The service and method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethodMatch>,
    /// Metadata, told apart by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Vec<HeaderMatch>,
}

/// A service, a method, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = rule::SERVICE_OR_METHOD,
    validation = rule::EXACT_SERVICE,
    validation = rule::EXACT_METHOD,
)]
pub struct GrpcMethodMatch {
    /// The comparison.
    #[serde(rename = "type", default)]
    pub type_: MatchType,
    /// The service, with its package; any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub service: Option<String>,
    /// The method; any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub method: Option<String>,
}

/// One thing that is done to a call or its answer: `type` names the field that says what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "has(self.requestHeaderModifier) == (self.type == 'RequestHeaderModifier')",
        "`requestHeaderModifier` goes with the type RequestHeaderModifier, and with no other",
    ),
    validation = (
        "has(self.responseHeaderModifier) == (self.type == 'ResponseHeaderModifier')",
        "`responseHeaderModifier` goes with the type ResponseHeaderModifier, and with no other",
    ),
    validation = (
        "has(self.requestMirror) == (self.type == 'RequestMirror')",
        "`requestMirror` goes with the type RequestMirror, and with no other",
    ),
    validation = (
        "has(self.extensionRef) == (self.type == 'ExtensionRef')",
        "`extensionRef` goes with the type ExtensionRef, and with no other",
    ),
)]
pub struct GrpcFilter {
    /// Which of the fields below is set.
    #[serde(rename = "type")]
    pub type_: GrpcFilterType,
    /// Changes the call's metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes the answer's metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,
    /// Sends a copy elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirror>,
    /// A filter of the controller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

/// What a filter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GrpcFilterType {
    /// Changes the answer's metadata.
    ResponseHeaderModifier,
    /// Changes the call's metadata.
    RequestHeaderModifier,
    /// Sends a copy elsewhere.
    RequestMirror,
    /// A filter of the controller's own.
    ExtensionRef,
}

/// A backend, its share of the calls, and what is done to those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct GrpcBackendRef {
    /// The backend.
    #[serde(flatten)]
    pub backend: BackendRef,
    /// Its share: this part of the sum of all weights of the rule.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
    /// What is done to the calls that it gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rule::ONE_REQUEST_HEADER_MODIFIER, validation = rule::ONE_RESPONSE_HEADER_MODIFIER)]
    pub filters: Vec<GrpcFilter>,
}
