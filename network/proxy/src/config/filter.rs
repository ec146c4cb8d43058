//! Changes to requests and responses on their way.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

use super::Backend;

/// One change to the request or response.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Changes the request's headers.
    RequestHeaders(HeaderModifier),
    /// Changes the response's headers.
    ResponseHeaders(HeaderModifier),
    /// Changes where the request goes by the backend's own understanding.
    UrlRewrite(UrlRewrite),
    /// Sends a copy of the request elsewhere too.
    Mirror(Mirror),
}

/// A backend that gets copies of requests, as they go to their own. Its answers are read and dropped; what it does not
/// keep up with it does not get.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// Where the copies go; its weight does not matter.
    pub backend: Arc<Backend>,
    /// This many …
    pub part: u32,
    /// … of this many requests are copied.
    pub of: u32,
}

/// Changes to headers: first what is set, then what is added, then what is removed. Headers that say how a message
/// lies on its connection (`Connection`, `Content-Length`, `Transfer-Encoding`, `Upgrade`, `TE`, `Expect`) stay as
/// they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderModifier {
    /// Replaces every value of the name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Adds a value to those of the name.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Takes every value of the name away.
    pub remove: Vec<HeaderName>,
}

/// A changed host or path for the backend; the query stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UrlRewrite {
    /// The `Host` that the backend sees.
    pub hostname: Option<HeaderValue>,
    /// The path that the backend sees.
    pub path: Option<PathRewrite>,
}

/// A changed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// This path instead.
    ReplaceFull(String),
    /// This in place of the prefix that the route matched; of a route that matches otherwise, in place of nothing.
    ReplacePrefix(String),
}

/// Where a client is sent; what is none is as in its request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redirect {
    /// The scheme.
    pub scheme: Option<RedirectScheme>,
    /// The host, without a port.
    pub hostname: Option<String>,
    /// The port; none is the scheme's own where a scheme is given, else the port of the request's host. A scheme's
    /// own port is never written.
    pub port: Option<u16>,
    /// The path; the query stays.
    pub path: Option<PathRewrite>,
    /// The status.
    pub status: RedirectStatus,
}

/// A scheme to redirect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectScheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

/// The statuses of RFC 9110 section 15.4 that name another place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectStatus {
    /// 301.
    MovedPermanently,
    /// 302.
    #[default]
    Found,
    /// 303.
    SeeOther,
    /// 307.
    TemporaryRedirect,
    /// 308.
    PermanentRedirect,
}

impl RedirectStatus {
    /// The status with this code, if it is one of these.
    pub fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            301 => Self::MovedPermanently,
            302 => Self::Found,
            303 => Self::SeeOther,
            307 => Self::TemporaryRedirect,
            308 => Self::PermanentRedirect,
            _ => return None,
        })
    }
}

impl From<RedirectStatus> for StatusCode {
    fn from(status: RedirectStatus) -> Self {
        match status {
            RedirectStatus::MovedPermanently => Self::MOVED_PERMANENTLY,
            RedirectStatus::Found => Self::FOUND,
            RedirectStatus::SeeOther => Self::SEE_OTHER,
            RedirectStatus::TemporaryRedirect => Self::TEMPORARY_REDIRECT,
            RedirectStatus::PermanentRedirect => Self::PERMANENT_REDIRECT,
        }
    }
}
