use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format;

/// Which controller serves the Gateways that name this class.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/gateway-api/pull/4530"),
    annotation("gateway.networking.k8s.io/bundle-version", "v1.6.1"),
    annotation("gateway.networking.k8s.io/channel", "standard"),
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GatewayClass",
    plural = "gatewayclasses",
    shortname = "gc",
    category = "gateway-api",
    status = "GatewayClassStatus",
    derive = "PartialEq",
    printcolumn(name = "Controller", type_ = "string", json_path = ".spec.controllerName"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Description", type_ = "string", json_path = ".spec.description", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassSpec {
    /// The controller's name, a domain and a path. It never changes.
    #[schemars(with = "format::ControllerName")]
    #[x_kube(validation = ("oldSelf == self", "a class keeps its controller"))]
    pub controller_name: String,
    /// A word for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub description: Option<String>,
    /// Settings of the controller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<ParametersReference>,
}

/// An object that holds a controller's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParametersReference {
    /// The API group; `""` is the core group.
    #[schemars(with = "format::Group")]
    pub group: String,
    /// The kind.
    #[schemars(with = "format::Kind")]
    pub kind: String,
    /// The name.
    #[schemars(with = "format::Name")]
    pub name: String,
    /// The namespace, for a namespaced kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Namespace")]
    pub namespace: Option<String>,
}

/// How a class stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassStatus {
    /// `Accepted` and `SupportedVersion`.
    #[serde(default)]
    #[schemars(with = "Vec<format::Condition>", length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Features of Gateway API that the controller supports, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub supported_features: Vec<SupportedFeature>,
}

/// One feature of Gateway API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SupportedFeature {
    /// The feature's name, such as `HTTPRouteQueryParamMatching`.
    pub name: String,
}
