use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http_filter::HttpFilter;
use super::reference::{BackendRef, ParentReference, RouteStatus, one};
use super::{format, rule};

/// Sends HTTP requests to backends.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/gateway-api/pull/4530"),
    annotation("gateway.networking.k8s.io/bundle-version", "v1.6.1"),
    annotation("gateway.networking.k8s.io/channel", "standard"),
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    plural = "httproutes",
    namespaced,
    category = "gateway-api",
    status = "RouteStatus",
    derive = "PartialEq",
    printcolumn(name = "Hostnames", type_ = "string", json_path = ".spec.hostnames"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct HTTPRouteSpec {
    /// The parents to attach to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rule::PARENTS_WITH_AND_WITHOUT_SECTION, validation = rule::PARENTS_TWICE)]
    pub parent_refs: Vec<ParentReference>,
    /// The hostnames to match, perhaps with a `*.` prefix; those of the listener where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<format::Hostname>", length(max = 16))]
    pub hostnames: Vec<String>,
    /// The rules; one that matches every request where there are none.
    #[serde(default = "one_rule")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rule::MATCHES, validation = rule::RULE_NAMES)]
    pub rules: Vec<HttpRule>,
}

fn one_rule() -> Vec<HttpRule> {
    vec![HttpRule { matches: every_request(), ..HttpRule::default() }]
}

fn every_request() -> Vec<HttpMatch> {
    vec![HttpMatch::default()]
}

/// Which requests, changed how, sent where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rule::REDIRECT_OR_BACKENDS,
    validation = rule::REDIRECT_OF_PREFIX,
    validation = rule::REWRITE_OF_PREFIX,
    validation = rule::REDIRECT_OF_PREFIX_BELOW,
    validation = rule::REWRITE_OF_PREFIX_BELOW,
)]
pub struct HttpRule {
    /// The rule's name, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Domain")]
    pub name: Option<String>,
    /// A request fits if it fits any of these.
    #[serde(default = "every_request")]
    #[schemars(length(max = 64))]
    pub matches: Vec<HttpMatch>,
    /// What is done to the request and its answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = rule::REDIRECT_OR_REWRITE,
        validation = rule::ONE_CORS,
        validation = rule::ONE_REQUEST_HEADER_MODIFIER,
        validation = rule::ONE_RESPONSE_HEADER_MODIFIER,
        validation = rule::ONE_REDIRECT,
        validation = rule::ONE_REWRITE,
    )]
    pub filters: Vec<HttpFilter>,
    /// Where the request goes, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub backend_refs: Vec<HttpBackendRef>,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// When it is sent again; of the experimental channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub retry: Option<Retry>,
    /// Where requests of one session go; of the experimental channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub session_persistence: Option<SessionPersistence>,
}

/// When a request is sent again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// Statuses that are tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// How often at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    /// The least wait between two tries, as a Gateway API duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<String>,
}

/// Where requests of one session go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// The name of the cookie or header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// What bears the session.
    #[serde(rename = "type", default)]
    pub type_: SessionPersistenceType,
    /// How long a session lasts at most, as a Gateway API duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<String>,
    /// How a cookie lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_config: Option<CookieConfig>,
}

/// What bears a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SessionPersistenceType {
    /// A cookie.
    #[default]
    Cookie,
    /// A header.
    Header,
}

/// How a cookie lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// As long as the client, or as long as the session.
    #[serde(default)]
    pub lifetime_type: CookieLifetimeType,
}

/// How long a cookie lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CookieLifetimeType {
    /// As long as the client.
    #[default]
    Session,
    /// As long as the session's absolute timeout.
    Permanent,
}

/// What a request must have; all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// The path.
    #[serde(default)]
    pub path: PathMatch,
    /// Headers, told apart by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Vec<HeaderMatch>,
    /// Query parameters, told apart by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub query_params: Vec<QueryParamMatch>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Method")]
    pub method: Option<String>,
}

/// How a path is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = rule::PATH_FROM_ROOT,
    validation = rule::PATH_WITHOUT_EMPTY_SEGMENTS,
    validation = rule::PATH_WITHOUT_DOT_SEGMENTS,
    validation = rule::PATH_WITHOUT_ESCAPED_SLASHES,
    validation = rule::PATH_WITHOUT_FRAGMENT,
    validation = rule::PATH_CHARACTERS,
)]
pub struct PathMatch {
    /// The comparison.
    #[serde(rename = "type", default)]
    pub type_: PathMatchType,
    /// What the path is compared with.
    #[serde(default = "root")]
    #[schemars(length(max = 1024))]
    pub value: String,
}

impl Default for PathMatch {
    fn default() -> Self {
        Self { type_: PathMatchType::PathPrefix, value: root() }
    }
}

fn root() -> String {
    "/".to_owned()
}

/// The comparison of paths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// The path is the value.
    Exact,
    /// The path's first elements are the value's.
    #[default]
    PathPrefix,
    /// The whole path fits the expression.
    RegularExpression,
}

/// The comparison of headers and query parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MatchType {
    /// The value is the same.
    #[default]
    Exact,
    /// The whole value fits the expression.
    RegularExpression,
}

/// A header that a request must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderMatch {
    /// The comparison.
    #[serde(rename = "type", default)]
    pub type_: MatchType,
    /// The header's name, in any case.
    #[schemars(with = "format::Token")]
    pub name: String,
    /// What its value is compared with.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// A query parameter that a request must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueryParamMatch {
    /// The comparison.
    #[serde(rename = "type", default)]
    pub type_: MatchType,
    /// The parameter's name.
    #[schemars(with = "format::Token")]
    pub name: String,
    /// What its value is compared with.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// A backend, its share of the requests, and what is done to those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct HttpBackendRef {
    /// The backend.
    #[serde(flatten)]
    pub backend: BackendRef,
    /// Its share: this part of the sum of all weights of the rule.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
    /// What is done to the requests that it gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = rule::REDIRECT_OR_REWRITE,
        validation = rule::ONE_CORS,
        validation = rule::ONE_REQUEST_HEADER_MODIFIER,
        validation = rule::ONE_RESPONSE_HEADER_MODIFIER,
        validation = rule::ONE_REDIRECT,
        validation = rule::ONE_REWRITE,
    )]
    pub filters: Vec<HttpFilter>,
}

/// How long a request may take, as Gateway API durations (`1h30m`, `500ms`; `0s` means no limit).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.request) || !has(self.backendRequest) || duration(self.request) == duration('0s') \
     || duration(self.backendRequest) <= duration(self.request)",
    "one try cannot take longer than the whole request",
))]
pub struct Timeouts {
    /// From the request's arrival to the end of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Duration")]
    pub request: Option<String>,
    /// For one try of one backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Duration")]
    pub backend_request: Option<String>,
}
