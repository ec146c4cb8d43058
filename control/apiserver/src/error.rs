//! What may be wrong with a request before any object is touched.

use xebec_machinery::field::FieldError;
use xebec_machinery::status::{Qualified, Reason, Status};

use crate::request::nothing_at_path;

/// Why a request could not be understood.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// No API is served at this path.
    #[error("no API is served at the path {path:?}; list what is served with GET /api and GET /apis")]
    UnknownPath {
        /// The path asked for.
        path: String,
    },
    /// A path segment is not what its place allows.
    #[error("path segment {segment:?} is not valid: {why}")]
    Segment {
        /// The segment as it was sent.
        segment: String,
        /// What it must be.
        why: &'static str,
    },
    /// A method that means nothing at this path.
    #[error("the method {method} is not supported at the path {path:?}")]
    Method {
        /// The HTTP method.
        method: String,
        /// The path asked for.
        path: String,
    },
    /// A query parameter is not what its name allows.
    #[error("a query parameter has the value {value:?}: it must be UTF-8")]
    Query {
        /// Its value as it was sent.
        value: String,
    },
    /// A number in the query is none.
    #[error("strconv.{function}: parsing {value:?}: {why}")]
    Number {
        /// What reads such numbers upstream.
        function: &'static str,
        /// Its value as it was sent.
        value: String,
        /// What it must be.
        why: &'static str,
    },
    /// The `resourceVersion` is no number.
    #[error(
        "invalid resource version: resourceVersion: Invalid value: {value:?}: strconv.ParseUint: parsing {value:?}: {why}"
    )]
    Revision {
        /// Its value as it was sent.
        value: String,
        /// What it must be.
        why: &'static str,
    },
    /// Query parameters break a rule.
    #[error("{kind} is invalid")]
    Options {
        /// The kind of the verb's options.
        kind: &'static str,
        /// Each thing that is wrong.
        errors: Vec<FieldError>,
    },
    /// The URL is longer than the server reads.
    #[error("the URL has {length} bytes and the limit is {limit}; send a shorter name or selector")]
    UrlTooLong {
        /// Its length.
        length: usize,
        /// The most that is read.
        limit: usize,
    },
}

impl From<&Error> for Status {
    fn from(error: &Error) -> Self {
        match error {
            Error::UnknownPath { path } => nothing_at_path(path),
            Error::Method { .. } => Self::new(Reason::MethodNotAllowed, error.to_string()),
            Error::Options { kind, errors } => Self::invalid(Qualified::new("meta.k8s.io", kind), "", errors),
            Error::Segment { .. }
            | Error::Query { .. }
            | Error::Number { .. }
            | Error::Revision { .. }
            | Error::UrlTooLong { .. } => Self::bad_request(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_becomes_the_status_code_that_clients_expect() {
        let path = Error::UnknownPath { path: "/x".into() };
        assert!(Status::from(&path).is_page_not_found());
        let below = Error::UnknownPath { path: "/apis/apps/v1/a/b/c/d".into() };
        assert_eq!(Status::from(&below).code(), 404);
        assert!(!Status::from(&below).is_page_not_found());
        let method = Error::Method { method: "PUT".into(), path: "/api".into() };
        assert_eq!(Status::from(&method).code(), 405);
        let long = Error::UrlTooLong { length: 9, limit: 8 };
        assert_eq!(Status::from(&long).code(), 400);
    }
}
