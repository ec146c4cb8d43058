use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::{BackendRef, LocalObjectReference, ParentReference, RouteStatus, one};

/// Sends HTTP requests to backends.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    pub parent_refs: Vec<ParentReference>,
    /// The hostnames to match, perhaps with a `*.` prefix; those of the listener where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub hostnames: Vec<String>,
    /// The rules; one that matches every request where there are none.
    #[serde(default = "one_rule")]
    #[schemars(length(min = 1, max = 16))]
    pub rules: Vec<HttpRule>,
}

fn one_rule() -> Vec<HttpRule> {
    vec![HttpRule { matches: every_request(), ..HttpRule::default() }]
}

fn every_request() -> Vec<HttpMatch> {
    vec![HttpMatch::default()]
}

/// Which requests, changed how, sent where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRule {
    /// The rule's name, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// A request fits if it fits any of these.
    #[serde(default = "every_request")]
    #[schemars(length(max = 64))]
    pub matches: Vec<HttpMatch>,
    /// What is done to the request and its answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// The path.
    #[serde(default)]
    pub path: PathMatch,
    /// Headers, told apart by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HeaderMatch>,
    /// Query parameters, told apart by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub query_params: Vec<QueryParamMatch>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// How a path is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PathMatch {
    /// The comparison.
    #[serde(rename = "type")]
    pub type_: PathMatchType,
    /// What the path is compared with.
    #[schemars(length(max = 1024))]
    pub value: String,
}

impl Default for PathMatch {
    fn default() -> Self {
        Self { type_: PathMatchType::PathPrefix, value: "/".to_owned() }
    }
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
    #[schemars(length(min = 1, max = 256))]
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
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// What its value is compared with.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// One thing that is done to a request or its answer: `type` names the field that says what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpFilter {
    /// Which of the fields below is set.
    #[serde(rename = "type")]
    pub type_: HttpFilterType,
    /// Changes the request's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes the answer's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,
    /// Sends a copy elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirror>,
    /// Answers with another place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<RequestRedirect>,
    /// Changes the request's host and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<UrlRewrite>,
    /// Answers for other origins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// A filter of the controller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
    /// Asks another service first; of the experimental channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub external_auth: Option<ExternalAuth>,
}

/// A service that is asked whether a request may pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalAuth {
    /// What the service speaks.
    pub protocol: ExternalAuthProtocol,
    /// The service.
    pub backend_ref: BackendRef,
    /// How it is asked by HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuth>,
    /// How much of the body it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBody>,
}

/// What a service speaks that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExternalAuthProtocol {
    /// HTTP, where 200 lets pass.
    Http,
    /// Envoy's ext_authz.
    Grpc,
}

/// How a service is asked by HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpAuth {
    /// What the request's path is put behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Headers of the request that it is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_headers: Vec<String>,
    /// Headers of its answer that the request takes along; all where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_response_headers: Vec<String>,
}

/// How much of a body is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardBody {
    /// The largest body; none is shown where 0.
    #[serde(default)]
    pub max_size: u32,
}

/// What a filter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HttpFilterType {
    /// Changes the request's headers.
    RequestHeaderModifier,
    /// Changes the answer's headers.
    ResponseHeaderModifier,
    /// Sends a copy elsewhere.
    RequestMirror,
    /// Answers with another place.
    RequestRedirect,
    /// Changes the request's host and path.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// A filter of the controller's own.
    ExtensionRef,
    /// Answers for other origins.
    #[serde(rename = "CORS")]
    Cors,
    /// Asks another service first; of the experimental channel.
    #[schemars(skip)]
    ExternalAuth,
}

/// How headers are changed: first removed, then set, then added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderModifier {
    /// Headers to replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub set: Vec<HttpHeader>,
    /// Headers to add to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub add: Vec<HttpHeader>,
    /// Names of headers to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub remove: Vec<String>,
}

/// A header's name and value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpHeader {
    /// The name, in any case.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// Sends a copy of requests to a backend whose answers are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestMirror {
    /// Where the copy goes.
    pub backend_ref: BackendRef,
    /// How many of a hundred requests; all where neither this nor `fraction` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// Which part of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fraction {
    /// How many.
    #[schemars(range(min = 0))]
    pub numerator: i32,
    /// Of how many.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1))]
    pub denominator: i32,
}

fn hundred() -> i32 {
    100
}

/// Answers with another place. What is absent stays as the request has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestRedirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub hostname: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// The port; that of the scheme, or the listener's, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    pub status_code: u16,
}

fn found() -> u16 {
    302
}

/// Changes a request's host and path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UrlRewrite {
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub hostname: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// How a path is changed: `type` names the field that says to what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathModifier {
    /// Which of the fields below is set.
    #[serde(rename = "type")]
    pub type_: PathModifierType,
    /// The whole new path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replace_full_path: Option<String>,
    /// What stands in place of the prefix that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replace_prefix_match: Option<String>,
}

/// What of a path is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathModifierType {
    /// All of it.
    ReplaceFullPath,
    /// The prefix that matched.
    ReplacePrefixMatch,
}

/// Cross-origin resource sharing, as the Fetch standard has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Origins that may ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow_origins: Vec<String>,
    /// Whether they may send credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Methods that they may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9))]
    pub allow_methods: Vec<String>,
    /// Headers that they may send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow_headers: Vec<String>,
    /// Headers that they may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub expose_headers: Vec<String>,
    /// Seconds for which an answer to a preflight holds.
    #[serde(default = "five")]
    #[schemars(range(min = 1))]
    pub max_age: i32,
}

fn five() -> i32 {
    5
}

/// A backend, its share of the requests, and what is done to those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    pub filters: Vec<HttpFilter>,
}

/// How long a request may take, as Gateway API durations (`1h30m`, `500ms`; `0s` means no limit).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// From the request's arrival to the end of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// For one try of one backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<String>,
}
