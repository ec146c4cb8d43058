//! What goes back to a client, and what all endpoints need to come to it.

use std::io;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use crate::{Digest, Error, RepositoryName};

pub(super) type Body = BoxBody<Bytes, io::Error>;
pub(super) type Answer = Result<Response<Body>, Refusal>;

/// Why a request is not done: the status, the specification's code, and a message for people.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str, pub(super) String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::DigestSyntax { .. } | Error::DigestMismatch { .. } => {
                (StatusCode::BAD_REQUEST, "DIGEST_INVALID")
            }
            Error::NameSyntax { .. } => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Error::TagSyntax { .. } | Error::ManifestInvalid { .. } => {
                (StatusCode::BAD_REQUEST, "MANIFEST_INVALID")
            }
            Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
            Error::OffsetMismatch { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
            Error::UploadUnknown { .. } => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Error::BlobUnknown { .. } => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Error::ManifestUnknown { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        };
        Self(status, code, error.to_string())
    }
}

/// A refusal in the specification's form ("Error Codes").
pub(super) fn refused(Refusal(status, code, message): Refusal) -> Response<Body> {
    let body = serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
    reply(status, &[(header::CONTENT_TYPE, "application/json".to_owned())], body)
}

/// Does what waits for the disk where waiting is allowed.
pub(super) async fn disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(broken)?.map_err(Refusal::from)
}

pub(super) fn not_allowed() -> Refusal {
    Refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "method not allowed here".to_owned())
}

pub(super) fn range_refusal() -> Refusal {
    Refusal(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "the range is malformed or outside".to_owned())
}

pub(super) fn broken(error: impl std::fmt::Display) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error.to_string())
}

pub(super) fn too_slow() -> Refusal {
    let text = "the body's next piece took too long: send it again".to_owned();
    Refusal(StatusCode::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID", text)
}

pub(super) fn query(request: &Request<Incoming>, key: &str) -> Option<String> {
    let mut pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == key)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

pub(super) fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed()
}

pub(super) fn reply(
    status: StatusCode,
    headers: &[(header::HeaderName, String)],
    content: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(full(content));
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

pub(super) fn created(name: &RepositoryName, kind: &str, digest: Digest) -> Response<Body> {
    let digest_header = header::HeaderName::from_static("docker-content-digest");
    let location = format!("/v2/{name}/{kind}/{digest}");
    reply(StatusCode::CREATED, &[(header::LOCATION, location), (digest_header, digest.to_string())], "")
}
