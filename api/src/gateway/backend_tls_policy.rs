use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::{LocalObjectReference, ParentReference};
use super::{format, rule};

/// How gateways speak TLS to backends.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/gateway-api/pull/4530"),
    annotation("gateway.networking.k8s.io/bundle-version", "v1.6.1"),
    annotation("gateway.networking.k8s.io/channel", "standard"),
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "BackendTLSPolicy",
    plural = "backendtlspolicies",
    namespaced,
    shortname = "btlspolicy",
    category = "gateway-api",
    label("gateway.networking.k8s.io/policy", "Direct"),
    status = "PolicyStatus",
    derive = "PartialEq",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct BackendTLSPolicySpec {
    /// The backends.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rule::TARGETS_WITH_AND_WITHOUT_SECTION, validation = rule::TARGETS_TWICE)]
    pub target_refs: Vec<PolicyTargetReference>,
    /// Which of their certificates are believed.
    pub validation: BackendTlsValidation,
    /// Settings of the controller's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, format::AnnotationValue>", extend("maxProperties" = 16))]
    pub options: BTreeMap<String, String>,
}

/// An object in the policy's namespace, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargetReference {
    /// The API group; `""` is the core group.
    #[schemars(with = "format::Group")]
    pub group: String,
    /// The kind.
    #[schemars(with = "format::Kind")]
    pub kind: String,
    /// The name.
    #[schemars(with = "format::Name")]
    pub name: String,
    /// The name of a Service's port; all of them where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Domain")]
    pub section_name: Option<String>,
}

/// Which certificates are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rule::NOT_BOTH_AUTHORITIES,
    validation = rule::SOME_AUTHORITIES,
)]
pub struct BackendTlsValidation {
    /// Objects that hold the authorities, in `ca.crt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// Authorities that the gateway knows: `System`.
    #[serde(default, rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::WellKnownAuthorities")]
    pub well_known_ca_certificates: Option<String>,
    /// The server name that backends are asked for, which their certificates must bear where no other name is given.
    #[schemars(with = "format::Domain")]
    pub hostname: String,
    /// Names of which certificates must bear one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A name that a certificate may bear: `type` names the field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = (
        "(self.type == 'Hostname') == (has(self.hostname) && self.hostname != '')",
        "`hostname` goes with the type Hostname, and with no other",
    ),
    validation = (
        "(self.type == 'URI') == (has(self.uri) && self.uri != '')",
        "`uri` goes with the type URI, and with no other",
    ),
)]
pub struct SubjectAltName {
    /// Which of the fields below is set.
    #[serde(rename = "type")]
    pub type_: SubjectAltNameType,
    /// A hostname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Hostname")]
    pub hostname: Option<String>,
    /// A URI, such as a SPIFFE identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Uri")]
    pub uri: Option<String>,
}

/// The kind of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubjectAltNameType {
    /// A hostname.
    Hostname,
    /// A URI.
    #[serde(rename = "URI")]
    Uri,
}

/// How a policy stands with each ancestor of its targets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyStatus {
    /// One entry an ancestor and controller.
    #[schemars(length(max = 16))]
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// How a policy stands with one ancestor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorStatus {
    /// The ancestor.
    pub ancestor_ref: ParentReference,
    /// The controller that wrote this entry.
    #[schemars(with = "format::ControllerName")]
    pub controller_name: String,
    /// `Accepted` and `ResolvedRefs`.
    #[schemars(with = "Vec<format::Condition>", length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
