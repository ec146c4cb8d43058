//! Answers as HTTP has them: bodies that are there already, and what stands in the heads beside them.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, WARNING};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use crate::compression;
use crate::openapi::Document;
use crate::service::ResponseBody;
use crate::transcription::Form;

/// A document as it is kept.
pub(crate) fn document_response(document: &Document) -> Response<ResponseBody> {
    let mut response = Response::new(whole(document.bytes.clone()));
    response.extensions_mut().insert(compression::Own);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(document.media));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", document.fingerprint)) {
        headers.insert(http::header::ETAG, tag);
    }
    response
}

pub(crate) fn plain_text(text: String) -> Response<ResponseBody> {
    let mut response = Response::new(whole(text));
    response.extensions_mut().insert(compression::Own);
    let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A warning as a header. It may have letters of any script, and no line ends.
fn warned(text: &str) -> Option<HeaderValue> {
    let plain: String = text.chars().filter(|letter| !letter.is_control()).collect();
    let text = plain.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()).ok()
}

/// An object in an answer's form. What has no such form is told in JSON.
pub(crate) fn written(code: u16, object: &Value, warnings: &[String], form: Form) -> Response<ResponseBody> {
    let bytes = match form.bytes(object) {
        Ok(bytes) => bytes,
        Err(status) if form == Form::Protobuf => {
            return written(status.code(), &status.to_value(), warnings, Form::Line);
        }
        Err(_) => Vec::new(),
    };
    finished(code, bytes, form.media(), warnings)
}

/// An answer of the API's own.
pub(crate) fn finished(
    code: u16,
    bytes: impl Into<Bytes>,
    media: HeaderValue,
    warnings: &[String],
) -> Response<ResponseBody> {
    let mut response = Response::new(whole(bytes));
    response.extensions_mut().insert(compression::Own);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media);
    headers.insert(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-cache, private"));
    warn(headers, warnings);
    response
}

pub(crate) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for value in warnings.iter().filter_map(|warning| warned(warning)) {
        headers.append(WARNING, value);
    }
}
