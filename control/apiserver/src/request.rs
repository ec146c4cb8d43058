//! What a request asks for, read from its method and URL alone.

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

use xebec_machinery::builtin;
use xebec_machinery::status::Status;

use crate::Error;
use crate::options::{self, Options};

/// The longest URL that is read.
pub const URL_LIMIT: usize = 32 * 1024;

/// How many segments of a path say where it is, at the most: `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/PART`.
const OWN_SEGMENTS: usize = 8;

/// What is done to a resource, as authorizers and audit name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// One object is read.
    Get,
    /// A collection is read.
    List,
    /// Changes are streamed: of a collection, or by the older paths of one object.
    Watch,
    /// An object is made.
    Create,
    /// An object is replaced.
    Update,
    /// An object is changed in part.
    Patch,
    /// An object is deleted.
    Delete,
    /// A collection is deleted.
    DeleteCollection,
    /// What has no name of its own, and is passed on: only rules for every verb allow it.
    Unnamed,
}

impl Verb {
    /// The verb as RBAC rules write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Unnamed => "",
        }
    }
}

/// A request for objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRequest {
    /// What is done.
    pub verb: Verb,
    /// The API group; empty for the core group.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The plural name of the resource.
    pub resource: String,
    /// The namespace, where one was named.
    pub namespace: Option<String>,
    /// The object, where one was named.
    pub name: Option<String>,
    /// The subresource, where one was named.
    pub subresource: Option<String>,
    /// The query parameters.
    pub options: Options,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `/livez`, `/readyz`, `/healthz` (without the slash), and perhaps one of the checks below it.
    Health {
        /// Which of them.
        of: &'static str,
        /// The check.
        check: Option<String>,
    },
    /// `/`: which paths there are.
    Index,
    /// `/version`.
    Version,
    /// `/metrics`: what is counted.
    Metrics,
    /// `/debug/api_priority_and_fairness/`, and what is below it: who waits for what.
    Fairness(String),
    /// `/.well-known/openid-configuration`: who signs the tokens of service accounts.
    Issuer,
    /// `/openid/v1/jwks`: the keys that the tokens of service accounts are checked with.
    Keys,
    /// `/openapi/v2`, `/openapi/v3` and the documents below it: the path after `/openapi/`.
    OpenApi(String),
    /// `/api`: the versions of the core group.
    CoreVersions,
    /// `/apis`: all groups.
    Groups,
    /// `/apis/{group}`.
    Group(String),
    /// `/api/{version}` (with an empty group) and `/apis/{group}/{version}`.
    GroupVersion {
        /// The API group; empty for the core group.
        group: String,
        /// The API version.
        version: String,
    },
    /// Objects.
    Resource(Box<ResourceRequest>),
}

/// The group and version that a path is about, if any.
pub fn group_version(path: &str) -> Option<(&str, &str)> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match (parts.next()?, parts.next()?) {
        ("api", version) => Some(("", version)),
        ("apis", group) => Some((group, parts.next()?)),
        _ => None,
    }
}

/// What is told of a place within a group, or outside of all, where nothing is served: upstream's router says so in an
/// object below the groups that are built in, and all others who look find no page.
pub(crate) fn nothing_at(group: Option<&str>) -> Status {
    let is_built_in = |group: &str| builtin::resources().iter().any(|own| *own.group == *group);
    match group {
        Some(group) if is_built_in(group) => Status::no_such_resource(),
        _ => Status::page_not_found(),
    }
}

/// [`nothing_at`] of a path.
pub(crate) fn nothing_at_path(path: &str) -> Status {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    nothing_at(match parts.next() {
        Some("api") => Some(""),
        Some("apis") => parts.next(),
        _ => None,
    })
}

/// Reads a request's method and URL.
pub fn parse(method: &Method, uri: &Uri) -> Result<Target, Error> {
    read(method, uri, false)
}

/// Reads a request that is passed on to another server, as far as its place in the API says: its query and what is below
/// subresources are left to that server.
pub fn parse_passed_on(method: &Method, uri: &Uri) -> Result<Target, Error> {
    read(method, uri, true)
}

fn read(method: &Method, uri: &Uri, is_passed_on: bool) -> Result<Target, Error> {
    let path = uri.path();
    let length = path.len() + uri.query().map_or(0, str::len);
    if length > URL_LIMIT {
        return Err(Error::UrlTooLong { length, limit: URL_LIMIT });
    }
    let raw: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let own = if is_passed_on { raw.len().min(OWN_SEGMENTS) } else { raw.len() - passed_on(&raw) };
    let parts = raw[..own].iter().map(|part| segment(part)).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let target = match parts.as_slice() {
        ["livez", check @ ..] if check.len() < 2 => health("livez", check),
        ["readyz", check @ ..] if check.len() < 2 => health("readyz", check),
        ["healthz", check @ ..] if check.len() < 2 => health("healthz", check),
        [] => Target::Index,
        ["version"] => Target::Version,
        ["metrics"] => Target::Metrics,
        ["debug", "api_priority_and_fairness", what] => Target::Fairness((*what).to_owned()),
        [".well-known", "openid-configuration"] => Target::Issuer,
        ["openid", "v1", "jwks"] => Target::Keys,
        ["openapi", rest @ ..] if !rest.is_empty() => Target::OpenApi(rest.join("/")),
        ["api"] => Target::CoreVersions,
        ["apis"] => Target::Groups,
        ["apis", group] => Target::Group((*group).to_owned()),
        ["api", version] => Target::GroupVersion { group: String::new(), version: (*version).to_owned() },
        ["apis", group, version] => {
            Target::GroupVersion { group: (*group).to_owned(), version: (*version).to_owned() }
        }
        ["api", version, rest @ ..] => return resource(method, uri, ("", version), rest, is_passed_on),
        ["apis", group, version, rest @ ..] => {
            return resource(method, uri, (group, version), rest, is_passed_on);
        }
        _ => return Err(Error::UnknownPath { path: path.to_owned() }),
    };
    if method == Method::GET || method == Method::HEAD || is_passed_on {
        return Ok(target);
    }
    Err(Error::Method { method: method.to_string(), path: path.to_owned() })
}

fn health(of: &'static str, check: &[&str]) -> Target {
    Target::Health { of, check: check.first().map(|check| (*check).to_owned()) }
}

/// How many segments follow `proxy` in a path: they are for whom the request is passed on to, and not looked into.
fn passed_on(parts: &[&str]) -> usize {
    let rest = match parts {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => return 0,
    };
    let rest = match rest {
        ["namespaces", _, _, _, "proxy", rest @ ..] | [_, _, "proxy", rest @ ..] => rest,
        _ => return 0,
    };
    rest.len()
}

/// Decodes one path segment; a decoded `/`, `.` or `..` would reach another object's key.
fn segment(raw: &str) -> Result<String, Error> {
    let refuse = |why| Error::Segment { segment: raw.to_owned(), why };
    let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| refuse("it must be UTF-8"))?;
    if decoded == "." || decoded == ".." {
        return Err(refuse("it must not be \".\" or \"..\""));
    }
    if decoded.contains(['/', '\0']) {
        return Err(refuse("it must not hold an encoded \"/\" or a zero byte"));
    }
    Ok(decoded.into_owned())
}

fn resource(
    method: &Method,
    uri: &Uri,
    (group, version): (&str, &str),
    parts: &[&str],
    is_passed_on: bool,
) -> Result<Target, Error> {
    // Before there was a parameter for it, a watch was asked for by a path.
    let (is_watch, parts) = match parts {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        _ => (false, parts),
    };
    // `namespaces/{name}/status` and `/finalize` are subresources of the namespace, not resources within it.
    let (namespace, parts) = match parts {
        ["namespaces", _, "status" | "finalize"] if group.is_empty() => (None, parts),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
        _ => (None, parts),
    };
    let unknown = || Error::UnknownPath { path: uri.path().to_owned() };
    let (plural, name, subresource) = match parts {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some(name), None),
        [_, _, _, ..] if is_watch && !is_passed_on => return Err(unknown()),
        [plural, name, subresource] => (plural, Some(name), Some(subresource)),
        [plural, name, subresource, ..] if is_passed_on => (plural, Some(name), Some(subresource)),
        _ => return Err(unknown()),
    };
    let query = uri.query().unwrap_or_default();
    let passed_on = is_passed_on || subresource.is_some_and(|subresource| *subresource == "proxy");
    let verb = match (method.as_str(), name.is_some()) {
        ("GET" | "HEAD", _) if is_watch => Verb::Watch,
        _ if is_watch => {
            return Err(Error::Method { method: method.to_string(), path: uri.path().to_owned() });
        }
        ("GET" | "HEAD", true) => Verb::Get,
        // One object is read, also where its query asks for a watch.
        ("GET" | "HEAD", false) if options::asks_for_watch(query) => Verb::Watch,
        ("GET" | "HEAD", false) => Verb::List,
        ("POST", false) => Verb::Create,
        ("POST", true) if subresource.is_some() || is_passed_on => Verb::Create,
        ("PUT", true) => Verb::Update,
        ("PATCH", true) => Verb::Patch,
        ("DELETE", true) => Verb::Delete,
        ("DELETE", false) => Verb::DeleteCollection,
        ("OPTIONS", true) if passed_on => Verb::Unnamed,
        _ => return Err(Error::Method { method: method.to_string(), path: uri.path().to_owned() }),
    };
    // What is passed on has a query of its own.
    let options = if passed_on { Options::default() } else { Options::parse(query, verb)? };
    Ok(Target::Resource(Box::new(ResourceRequest {
        verb,
        group: group.to_owned(),
        version: version.to_owned(),
        resource: (*plural).to_owned(),
        namespace,
        name: name.map(|name| (*name).to_owned()),
        subresource: subresource.map(|name| (*name).to_owned()),
        options,
    })))
}

#[cfg(test)]
mod tests;
