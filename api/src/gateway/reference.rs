use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format;

/// The object that a route asks to be attached to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// The parent's API group; `""` is the core group.
    #[serde(default = "gateway_group")]
    #[schemars(with = "format::Group")]
    pub group: String,
    /// The parent's kind.
    #[serde(default = "gateway_kind")]
    #[schemars(with = "format::Kind")]
    pub kind: String,
    /// The parent's namespace; the route's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Namespace")]
    pub namespace: Option<String>,
    /// The parent's name.
    #[schemars(with = "format::Name")]
    pub name: String,
    /// One listener of the parent; all of them where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Domain")]
    pub section_name: Option<String>,
    /// The listeners of the parent on this port; all of them where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Port")]
    pub port: Option<i32>,
}

pub(super) fn gateway_group() -> String {
    super::GROUP.to_owned()
}

pub(super) fn gateway_kind() -> String {
    "Gateway".to_owned()
}

/// A place that traffic is sent to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.group != '' || self.kind != 'Service' || has(self.port)", "a Service is named with its port"))]
pub struct BackendRef {
    /// The API group; `""` is the core group.
    #[serde(default)]
    #[schemars(with = "format::Group")]
    pub group: String,
    /// The kind.
    #[serde(default = "service_kind")]
    #[schemars(with = "format::Kind")]
    pub kind: String,
    /// The name.
    #[schemars(with = "format::Name")]
    pub name: String,
    /// The namespace; the route's own where absent. Another one needs a [`ReferenceGrant`](super::ReferenceGrant).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Namespace")]
    pub namespace: Option<String>,
    /// The port; required for a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Port")]
    pub port: Option<i32>,
}

fn service_kind() -> String {
    "Service".to_owned()
}

/// A backend and its share of the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct WeightedBackendRef {
    /// The backend.
    #[serde(flatten)]
    pub backend: BackendRef,
    /// Its share: this part of the sum of all weights of the rule.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
}

pub(super) fn one() -> i32 {
    1
}

/// An object, perhaps of another namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ObjectReference {
    /// The API group; `""` is the core group.
    #[schemars(with = "format::Group")]
    pub group: String,
    /// The kind.
    #[schemars(with = "format::Kind")]
    pub kind: String,
    /// The name.
    #[schemars(with = "format::Name")]
    pub name: String,
    /// The namespace; the referrer's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Namespace")]
    pub namespace: Option<String>,
}

/// An object in the referrer's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct LocalObjectReference {
    /// The API group; `""` is the core group.
    #[schemars(with = "format::Group")]
    pub group: String,
    /// The kind.
    #[schemars(with = "format::Kind")]
    pub kind: String,
    /// The name.
    #[schemars(with = "format::Name")]
    pub name: String,
}

/// A Secret, or an object of the implementation's that stands for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// The API group; `""` is the core group.
    #[serde(default)]
    #[schemars(with = "format::Group")]
    pub group: String,
    /// The kind.
    #[serde(default = "secret_kind")]
    #[schemars(with = "format::Kind")]
    pub kind: String,
    /// The name.
    #[schemars(with = "format::Name")]
    pub name: String,
    /// The namespace; the referrer's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Namespace")]
    pub namespace: Option<String>,
}

fn secret_kind() -> String {
    "Secret".to_owned()
}

/// How a route stands with each parent that it names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteStatus {
    /// One entry a parent and controller.
    #[schemars(length(max = 32))]
    pub parents: Vec<RouteParentStatus>,
}

/// How a route stands with one parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// The parent, as the route names it.
    pub parent_ref: ParentReference,
    /// The controller that wrote this entry.
    #[schemars(with = "format::ControllerName")]
    pub controller_name: String,
    /// `Accepted`, `ResolvedRefs` and others.
    #[schemars(with = "Vec<format::Condition>", length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
