use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::{LocalObjectReference, ObjectReference, SecretReference, gateway_group};
use super::{format, rule};

/// Places where traffic enters.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/gateway-api/pull/4530"),
    annotation("gateway.networking.k8s.io/bundle-version", "v1.6.1"),
    annotation("gateway.networking.k8s.io/channel", "standard"),
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "Gateway",
    namespaced,
    shortname = "gtw",
    category = "gateway-api",
    status = "GatewayStatus",
    derive = "PartialEq",
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.gatewayClassName"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[*].value"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// The class, and so the controller, that serves this Gateway.
    #[schemars(with = "format::Name")]
    pub gateway_class_name: String,
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
    /// Addresses asked for; the controller chooses where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rule::IP_ADDRESSES, validation = rule::HOSTNAME_ADDRESSES)]
    pub addresses: Vec<GatewayAddress>,
    /// What the controller puts on the objects that it makes for this Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<Infrastructure>,
    /// TLS with clients and backends, beyond what listeners say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTls>,
    /// Which ListenerSets may join; none where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_listeners: Option<AllowedListeners>,
}

/// Which ListenerSets may join a Gateway.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AllowedListeners {
    /// The namespaces that they may come from.
    #[serde(default)]
    pub namespaces: ListenerNamespaces,
}

/// Namespaces that ListenerSets may come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerNamespaces {
    /// How they are chosen.
    #[serde(default)]
    pub from: FromListenerNamespaces,
    /// Their labels, for [`FromListenerNamespaces::Selector`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::LabelSelector")]
    pub selector: Option<LabelSelector>,
}

/// How namespaces of ListenerSets are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FromListenerNamespaces {
    /// All of them.
    All,
    /// Those that a selector picks.
    Selector,
    /// The Gateway's own.
    Same,
    /// None of them.
    #[default]
    None,
}

/// TLS of a whole Gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayTls {
    /// With backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<GatewayBackendTls>,
    /// With clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend: Option<FrontendTls>,
}

/// What backends are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayBackendTls {
    /// A certificate for backends that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretReference>,
}

/// What clients must show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTls {
    /// On every port that is not named below.
    pub default: FrontendTlsConfig,
    /// On single ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["port".into()]), validation = rule::TLS_PORTS)]
    pub per_port: Vec<PortTls>,
}

/// What clients must show on one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortTls {
    /// The port.
    #[schemars(with = "format::Port")]
    pub port: i32,
    /// What is asked of clients there.
    pub tls: FrontendTlsConfig,
}

/// What is asked of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrontendTlsConfig {
    /// Their certificates; none are asked for where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<FrontendValidation>,
}

/// Which certificates of clients are believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrontendValidation {
    /// Objects that hold the authorities, in `ca.crt`.
    #[schemars(length(min = 1, max = 16))]
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// What becomes of clients without such a certificate.
    #[serde(default)]
    pub mode: FrontendValidationMode,
}

/// What becomes of clients without a certificate that is believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FrontendValidationMode {
    /// They are refused.
    #[default]
    AllowValidOnly,
    /// They are let in.
    AllowInsecureFallback,
}

/// One port, protocol and hostname.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The name, unique in the object that the listener stands in.
    #[schemars(with = "format::Domain")]
    pub name: String,
    /// The hostname that requests must bear, perhaps with a `*.` prefix; any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Hostname")]
    pub hostname: Option<String>,
    /// The port.
    #[schemars(with = "format::Port")]
    pub port: i32,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`, or a domain-prefixed name.
    #[schemars(with = "format::Protocol")]
    pub protocol: String,
    /// How TLS is ended, or passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Which routes may attach.
    #[serde(default)]
    pub allowed_routes: AllowedRoutes,
}

/// How a listener treats TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.mode != 'Terminate' || (has(self.certificateRefs) && self.certificateRefs.size() > 0) \
     || (has(self.options) && self.options.size() > 0)",
    "a gateway that ends TLS has certificates to show, or options that say where they are",
))]
pub struct ListenerTls {
    /// Whether the gateway ends TLS.
    #[serde(default)]
    pub mode: TlsMode,
    /// The certificates to show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub certificate_refs: Vec<SecretReference>,
    /// Settings of the controller's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, format::AnnotationValue>", extend("maxProperties" = 16))]
    pub options: BTreeMap<String, String>,
}

/// Where TLS ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// At the gateway.
    #[default]
    Terminate,
    /// At the backend.
    Passthrough,
}

/// Which routes may attach to a listener.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AllowedRoutes {
    /// The namespaces that they may come from.
    #[serde(default)]
    pub namespaces: RouteNamespaces,
    /// The kinds that they may be of; those that fit the protocol where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub kinds: Vec<RouteGroupKind>,
}

/// Namespaces that routes may come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteNamespaces {
    /// How they are chosen.
    #[serde(default)]
    pub from: FromNamespaces,
    /// Their labels, for [`FromNamespaces::Selector`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::LabelSelector")]
    pub selector: Option<LabelSelector>,
}

/// How namespaces are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FromNamespaces {
    /// All of them.
    All,
    /// Those that a selector picks.
    Selector,
    /// The Gateway's own.
    #[default]
    Same,
}

/// A kind of route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RouteGroupKind {
    /// The API group.
    #[serde(default = "gateway_group")]
    #[schemars(with = "format::Group")]
    pub group: String,
    /// The kind.
    #[schemars(with = "format::Kind")]
    pub kind: String,
}

/// An address asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rule::HOSTNAME_ADDRESS)]
pub struct GatewayAddress {
    /// `IPAddress`, `Hostname`, `NamedAddress`, or a domain-prefixed name.
    #[serde(rename = "type", default = "ip_address")]
    #[schemars(with = "format::AddressType")]
    pub type_: String,
    /// The address; the controller chooses one of the type where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub value: Option<String>,
}

fn ip_address() -> String {
    "IPAddress".to_owned()
}

/// What the controller puts on the objects that it makes for a Gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Infrastructure {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, format::LabelValue>", extend("maxProperties" = 8))]
    #[x_kube(validation = rule::KEYS, validation = rule::KEY_PREFIXES)]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, format::AnnotationValue>", extend("maxProperties" = 16))]
    #[x_kube(validation = rule::KEYS, validation = rule::KEY_PREFIXES)]
    pub annotations: BTreeMap<String, String>,
    /// Settings of the controller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<LocalObjectReference>,
}

/// How a Gateway stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct GatewayStatus {
    /// Addresses that it is served on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub addresses: Vec<GatewayStatusAddress>,
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
    /// How many ListenerSets have joined.
    #[serde(default, rename = "attachedListenerSets", skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<i32>,
}

/// An address that a Gateway is served on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rule::HOSTNAME_ADDRESS)]
pub struct GatewayStatusAddress {
    /// `IPAddress`, `Hostname`, or a domain-prefixed name.
    #[serde(rename = "type", default = "ip_address")]
    #[schemars(with = "format::AddressType")]
    pub type_: String,
    /// The address.
    #[schemars(length(min = 1, max = 253))]
    pub value: String,
}

/// How a listener stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// The listener's name.
    #[schemars(with = "format::Domain")]
    pub name: String,
    /// The kinds of route that it serves.
    #[serde(default)]
    #[schemars(skip_serializing_if = "Vec::is_empty", length(max = 8))]
    pub supported_kinds: Vec<RouteGroupKind>,
    /// How many routes are attached.
    pub attached_routes: i32,
    /// `Accepted`, `Programmed`, `ResolvedRefs`, `Conflicted`.
    #[schemars(with = "Vec<format::Condition>", length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
