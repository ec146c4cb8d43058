use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::{ParentReference, RouteStatus, WeightedBackendRef};
use super::{format, rule};

/// Carries TCP connections to backends.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/gateway-api/pull/4530"),
    annotation("gateway.networking.k8s.io/bundle-version", "v1.6.1"),
    annotation("gateway.networking.k8s.io/channel", "standard"),
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "TCPRoute",
    plural = "tcproutes",
    namespaced,
    category = "gateway-api",
    status = "RouteStatus",
    derive = "PartialEq",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TCPRouteSpec {
    /// The parents to attach to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rule::PARENTS_WITH_AND_WITHOUT_SECTION, validation = rule::PARENTS_TWICE)]
    pub parent_refs: Vec<ParentReference>,
    /// The rule.
    #[schemars(length(min = 1, max = 1))]
    pub rules: Vec<StreamRule>,
}

/// Carries UDP datagrams to backends.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/gateway-api/pull/4530"),
    annotation("gateway.networking.k8s.io/bundle-version", "v1.6.1"),
    annotation("gateway.networking.k8s.io/channel", "standard"),
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "UDPRoute",
    plural = "udproutes",
    namespaced,
    category = "gateway-api",
    status = "RouteStatus",
    derive = "PartialEq",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct UDPRouteSpec {
    /// The parents to attach to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rule::PARENTS_WITH_AND_WITHOUT_SECTION, validation = rule::PARENTS_TWICE)]
    pub parent_refs: Vec<ParentReference>,
    /// The rule.
    #[schemars(length(min = 1, max = 1))]
    pub rules: Vec<StreamRule>,
}

/// Carries TLS connections to backends by the server name that they ask for.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/gateway-api/pull/4530"),
    annotation("gateway.networking.k8s.io/bundle-version", "v1.6.1"),
    annotation("gateway.networking.k8s.io/channel", "standard"),
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "TLSRoute",
    plural = "tlsroutes",
    namespaced,
    category = "gateway-api",
    status = "RouteStatus",
    derive = "PartialEq",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TLSRouteSpec {
    /// The parents to attach to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rule::PARENTS_WITH_AND_WITHOUT_SECTION, validation = rule::PARENTS_TWICE)]
    pub parent_refs: Vec<ParentReference>,
    /// The server names, perhaps with a `*.` prefix.
    #[schemars(with = "Vec<format::Hostname>", length(min = 1, max = 1024))]
    #[x_kube(validation = rule::NO_ADDRESSES, validation = rule::WILDCARD_DOMAINS)]
    pub hostnames: Vec<String>,
    /// The rule.
    #[schemars(length(min = 1, max = 1))]
    pub rules: Vec<StreamRule>,
}

/// Where connections or datagrams go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamRule {
    /// The rule's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Domain")]
    pub name: Option<String>,
    /// The backends, by weight.
    #[schemars(length(min = 1, max = 16))]
    pub backend_refs: Vec<WeightedBackendRef>,
}
