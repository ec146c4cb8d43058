//! Large answers go out compressed to clients that take that.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::reply::whole;
use crate::service::ResponseBody;

/// What is smaller goes out as it is, as upstream has it.
const THRESHOLD: u64 = 128 * 1024;

/// Marks an answer of the API's own, whose body is there whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own;

/// Whether a client takes gzip.
pub(crate) fn accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim() == "gzip")
}

/// The answer, compressed if it is one of the API's own and large.
pub(crate) async fn packed(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let large = response.body().size_hint().exact().is_some_and(|size| size > THRESHOLD);
    if !large || response.extensions().get::<Own>().is_none() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let plain = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let kept = plain.clone();
    // Megabytes take a while, in which others want to be served.
    let packed = tokio::task::spawn_blocking(move || pack(&plain)).await;
    let Ok(Some(packed)) = packed else { return Response::from_parts(head, whole(kept)) };
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, whole(packed))
}

fn pack(plain: &[u8]) -> Option<Bytes> {
    // The quickest level is nearly as good as the others for JSON.
    let mut packer = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    packer.write_all(plain).ok()?;
    packer.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_name_gzip_get_it() {
        let accepts = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
            accepted(&headers)
        };
        assert!(accepts("gzip") && accepts("deflate, gzip"));
        assert!(!accepts("br") && !accepts("") && !accepts("gzipped"));
        assert!(!accepted(&HeaderMap::new()));
    }
}
