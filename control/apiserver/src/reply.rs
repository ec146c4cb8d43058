//! Answers as HTTP has them: bodies that are there already, and what stands in the heads beside them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, WARNING};
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde_json::Value;
use xebec_machinery::status::PAGE_NOT_FOUND;

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

/// A text with a code, as Go writes an error of its own.
pub(crate) fn text(code: StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// The answer at a path that belongs to nothing at all.
pub(crate) fn page_not_found() -> Response<ResponseBody> {
    text(StatusCode::NOT_FOUND, format!("{PAGE_NOT_FOUND}\n"))
}

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> ResponseBody {
    Pieces(bytes.into()).boxed_unsync()
}

/// How much is handed on at a time.
const PIECE: usize = 128 << 10;

/// Bytes that go out piece by piece, each once there is room for it: the body lasts for as long as it is being sent.
struct Pieces(Bytes);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let length = self.0.len().min(PIECE);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(self.0.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// The answer to a HEAD: all but the body.
pub(crate) fn headed(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let size = response.body().size_hint().exact();
    let mut response = response.map(|_| whole(Bytes::new()));
    if let Some(size) = size {
        response.headers_mut().insert(CONTENT_LENGTH, size.into());
    }
    response
}

/// Whether so much is to be sent that a client who does not read keeps much of it here.
pub(crate) fn is_large(response: &Response<ResponseBody>) -> bool {
    response.body().size_hint().exact().is_some_and(|size| size > PIECE as u64)
}

/// A body, and what is kept for as long as it is being sent.
pub(crate) fn with<T: Send + Unpin + 'static>(body: ResponseBody, kept: T) -> ResponseBody {
    With { body, _kept: kept }.boxed_unsync()
}

struct With<T> {
    body: ResponseBody,
    _kept: T,
}

impl<T: Unpin> Body for With<T> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
