use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listener::{Listener, ListenerStatus};
use super::reference::{gateway_group, gateway_kind};
use super::{format, rule};

/// Listeners of a Gateway that stand in an object of their own.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/gateway-api/pull/4530"),
    annotation("gateway.networking.k8s.io/bundle-version", "v1.6.1"),
    annotation("gateway.networking.k8s.io/channel", "standard"),
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "ListenerSet",
    plural = "listenersets",
    namespaced,
    shortname = "lset",
    category = "gateway-api",
    status = "ListenerSetStatus",
    derive = "PartialEq",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway to join.
    pub parent_ref: ParentGatewayReference,
    /// The listeners, told apart by name.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = rule::PLAIN_LISTENERS,
        validation = rule::HTTPS_LISTENERS,
        validation = rule::TLS_LISTENERS,
        validation = rule::NAMELESS_LISTENERS,
        validation = rule::LISTENER_NAMES,
        validation = rule::LISTENER_PLACES,
    )]
    pub listeners: Vec<Listener>,
}

/// The Gateway that a ListenerSet joins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ParentGatewayReference {
    /// The parent's API group.
    #[serde(default = "gateway_group")]
    #[schemars(with = "format::Group")]
    pub group: String,
    /// The parent's kind.
    #[serde(default = "gateway_kind")]
    #[schemars(with = "format::Kind")]
    pub kind: String,
    /// The parent's namespace; the ListenerSet's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Namespace")]
    pub namespace: Option<String>,
    /// The parent's name.
    #[schemars(with = "format::Name")]
    pub name: String,
}

/// How a ListenerSet stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ListenerSetStatus {
    /// `Accepted` and `Programmed`.
    #[serde(default)]
    #[schemars(with = "Vec<format::Condition>", length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How each listener stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub listeners: Vec<ListenerStatus>,
}
