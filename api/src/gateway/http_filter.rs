use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::{BackendRef, LocalObjectReference};
use super::{format, rule};

/// One thing that is done to a request or its answer: `type` names the field that says what.
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
    validation = (
        "has(self.requestRedirect) == (self.type == 'RequestRedirect')",
        "`requestRedirect` goes with the type RequestRedirect, and with no other",
    ),
    validation = (
        "has(self.urlRewrite) == (self.type == 'URLRewrite')",
        "`urlRewrite` goes with the type URLRewrite, and with no other",
    ),
    validation = (
        "has(self.cors) == (self.type == 'CORS')",
        "`cors` goes with the type CORS, and with no other",
    ),
)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct HeaderModifier {
    /// Headers to replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub set: Vec<HttpHeader>,
    /// Headers to add to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub add: Vec<HttpHeader>,
    /// Names of headers to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub remove: Vec<String>,
}

/// A header's name and value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpHeader {
    /// The name, in any case.
    #[schemars(with = "format::Token")]
    pub name: String,
    /// The value.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// Sends a copy of requests to a backend whose answers are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.percent) || !has(self.fraction)",
    "`percent` and `fraction` say the same, so one of them is enough",
))]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.denominator >= self.numerator",
    "a part is not more than the whole",
))]
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
    #[schemars(with = "format::Scheme")]
    pub scheme: Option<String>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Domain")]
    pub hostname: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// The port; that of the scheme, or the listener's, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Port")]
    pub port: Option<i32>,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    #[schemars(with = "format::RedirectStatus")]
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
    #[schemars(with = "format::Domain")]
    pub hostname: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// How a path is changed: `type` names the field that says to what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "has(self.replaceFullPath) == (self.type == 'ReplaceFullPath')",
        "`replaceFullPath` goes with the type ReplaceFullPath, and with no other",
    ),
    validation = (
        "has(self.replacePrefixMatch) == (self.type == 'ReplacePrefixMatch')",
        "`replacePrefixMatch` goes with the type ReplacePrefixMatch, and with no other",
    ),
)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Origins that may ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<format::Origin>", length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rule::ALL_OR_SOME)]
    pub allow_origins: Vec<String>,
    /// Whether they may send credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Methods that they may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<format::AnyMethod>", length(max = 9))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rule::ALL_OR_SOME)]
    pub allow_methods: Vec<String>,
    /// Headers that they may send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<format::Token>", length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rule::ALL_OR_SOME)]
    pub allow_headers: Vec<String>,
    /// Headers that they may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<format::Token>", length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub expose_headers: Vec<String>,
    /// Seconds for which an answer to a preflight holds.
    #[serde(default = "five")]
    #[schemars(range(min = 1))]
    pub max_age: i32,
}

fn five() -> i32 {
    5
}
