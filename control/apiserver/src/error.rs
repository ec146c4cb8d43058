//! What may be wrong with a request before any object is touched.

use xebec_machinery::status::{Reason, Status};

/// Why a request could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    #[error("query parameter {name:?} has the value {value:?}: {why}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value as it was sent.
        value: String,
        /// What it must be.
        why: &'static str,
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
            Error::UnknownPath { .. } => Self::no_such_resource(),
            Error::Method { .. } => Self::new(Reason::MethodNotAllowed, error.to_string()),
            Error::Segment { .. } | Error::Parameter { .. } | Error::UrlTooLong { .. } => {
                Self::bad_request(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_becomes_the_status_code_that_clients_expect() {
        let path = Error::UnknownPath { path: "/x".into() };
        assert_eq!(Status::from(&path).code(), 404);
        let method = Error::Method { method: "PUT".into(), path: "/api".into() };
        assert_eq!(Status::from(&method).code(), 405);
        let long = Error::UrlTooLong { length: 9, limit: 8 };
        assert_eq!(Status::from(&long).code(), 400);
    }
}
