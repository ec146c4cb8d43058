//! The OCI Distribution API v1.1 over the store: pull, push (whole, in chunks, by mount), tags and deletion.
//!
//! Bodies stream: an upload holds at most one batch in memory and the sender waits while it is synced. The referrers
//! endpoint answers 404, on which clients fall back to the referrers tag (distribution-spec, "Unavailable Referrers API").

use std::{convert::Infallible, future::Future, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::{rt::TokioIo, rt::TokioTimer, server::graceful::GracefulShutdown};
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    net::TcpListener,
};
use uuid::Uuid;

use crate::{Digest, Error, RepositoryName, Selector, Store, Tag};

const BATCH_BYTES: usize = 1 << 20;
const DRAIN: Duration = Duration::from_secs(5);

type Body = BoxBody<Bytes, io::Error>;
type Answer = Result<Response<Body>, Refusal>;

/// Serves one store.
#[derive(Debug)]
pub struct Registry {
    store: Arc<Store>,
}

/// Why a request is not done: the status, the specification's code, and a message for people.
struct Refusal(StatusCode, &'static str, String);

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

impl Registry {
    /// A registry over `store`.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Accepts connections until `shutdown` is done, then lets requests under way end for a few seconds.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let stream = tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(_) => {
                        // Out of file descriptors, most likely: wait for some to come back.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let registry = Arc::clone(&self);
            let service = hyper::service::service_fn(move |request| {
                let registry = Arc::clone(&registry);
                async move { Ok::<_, Infallible>(registry.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(graceful.watch(connection));
        }
        let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        self.route(request).await.unwrap_or_else(|Refusal(status, code, message)| {
            let body = serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
            reply(status, &[(header::CONTENT_TYPE, "application/json".to_owned())], body)
        })
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let unknown = || Refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", format!("no endpoint at {path}"));
        let rest = path.strip_prefix("/v2/").ok_or_else(unknown)?;
        if rest.is_empty() {
            return Ok(reply(StatusCode::OK, &[], "{}"));
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return self.tags(name.parse()?, &request).await;
        }
        if let Some((name, id)) = rest.rsplit_once("/blobs/uploads/") {
            return self.upload(name.parse()?, id, request).await;
        }
        if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
            return self.blob(name.parse()?, digest.parse()?, &request).await;
        }
        if let Some((name, selector)) = rest.rsplit_once("/manifests/") {
            return self.manifest(name.parse()?, selector.parse()?, request).await;
        }
        Err(unknown())
    }

    async fn tags(&self, name: RepositoryName, request: &Request<Incoming>) -> Answer {
        require(request.method() == Method::GET)?;
        let store = Arc::clone(&self.store);
        let repository = name.clone();
        let mut tags = disk(move || store.tags(&repository)).await?;
        if let Some(last) = query(request, "last") {
            tags.retain(|tag| tag.as_str() > last.as_str());
        }
        let mut headers = vec![(header::CONTENT_TYPE, "application/json".to_owned())];
        if let Some(n) = query(request, "n").and_then(|n| n.parse::<usize>().ok()).filter(|n| *n < tags.len())
        {
            tags.truncate(n);
            if let Some(last) = tags.last() {
                headers
                    .push((header::LINK, format!("</v2/{name}/tags/list?n={n}&last={last}>; rel=\"next\"")));
            }
        }
        let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
        let body = serde_json::json!({"name": name.as_str(), "tags": tags}).to_string();
        Ok(reply(StatusCode::OK, &headers, body))
    }

    async fn blob(&self, name: RepositoryName, digest: Digest, request: &Request<Incoming>) -> Answer {
        let store = Arc::clone(&self.store);
        if request.method() == Method::DELETE {
            disk(move || store.unlink_blob(&name, digest)).await?;
            return Ok(reply(StatusCode::ACCEPTED, &[], ""));
        }
        require(matches!(*request.method(), Method::GET | Method::HEAD))?;
        let (file, length) = disk(move || {
            let file = store.open_blob(&name, digest)?;
            let length = file
                .metadata()
                .map_err(|source| Error::Disk { path: PathBuf::from(digest.to_string()), source })?
                .len();
            Ok((file, length))
        })
        .await?;
        let asked = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
        let (first, end) = match asked.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')) {
            Some((first, last)) if !first.is_empty() => {
                let first = first.parse::<u64>().ok().filter(|first| *first < length);
                let last = if last.is_empty() { Some(u64::MAX) } else { last.parse::<u64>().ok() };
                match (first, last) {
                    (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(length)),
                    _ => return Err(range_refusal()),
                }
            }
            _ => (0, length),
        };
        let partial = end - first < length;
        let mut response = Response::builder()
            .status(if partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK })
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CONTENT_LENGTH, end - first)
            .header("docker-content-digest", digest.to_string());
        if partial {
            response = response.header(header::CONTENT_RANGE, format!("bytes {first}-{}/{length}", end - 1));
        }
        let mut file = tokio::fs::File::from_std(file);
        file.seek(io::SeekFrom::Start(first)).await.map_err(broken)?;
        let stream = tokio_util::io::ReaderStream::with_capacity(file.take(end - first), 64 << 10);
        let body = if request.method() == Method::HEAD {
            full("")
        } else {
            StreamBody::new(stream.map_ok(Frame::data)).boxed()
        };
        response.body(body).map_err(broken)
    }

    async fn upload(&self, name: RepositoryName, id: &str, request: Request<Incoming>) -> Answer {
        let store = Arc::clone(&self.store);
        let wanted = query(&request, "digest").map(|text| text.parse::<Digest>()).transpose()?;
        if id.is_empty() {
            require(request.method() == Method::POST)?;
            if let (Some(mount), Some(from)) = (query(&request, "mount"), query(&request, "from")) {
                let (digest, from) = (mount.parse::<Digest>()?, from.parse::<RepositoryName>()?);
                let (source, target) = (Arc::clone(&store), name.clone());
                if disk(move || source.mount(&target, &from, digest)).await.is_ok() {
                    return Ok(created(&name, "blobs", digest));
                }
            }
            let (begun, target) = (Arc::clone(&store), name.clone());
            let id = disk(move || begun.begin_upload(&target)).await?;
            let Some(digest) = wanted else { return Ok(progress(StatusCode::ACCEPTED, &name, id, 0)) };
            self.receive(&name, id, 0, request).await?;
            return self.finish(name, id, digest).await;
        }
        let id =
            id.parse::<Uuid>().map_err(|_| Error::UploadUnknown { id: id.chars().take(64).collect() })?;
        let held = {
            let (store, target) = (Arc::clone(&store), name.clone());
            disk(move || store.upload_offset(&target, id)).await?
        };
        match *request.method() {
            Method::GET => Ok(progress(StatusCode::NO_CONTENT, &name, id, held)),
            Method::DELETE => {
                disk(move || store.cancel_upload(&name, id)).await?;
                Ok(reply(StatusCode::NO_CONTENT, &[], ""))
            }
            Method::PATCH | Method::PUT => {
                let start = match request.headers().get(header::CONTENT_RANGE) {
                    None => held,
                    Some(range) => {
                        let first = range.to_str().ok().and_then(|text| text.split_once('-')?.0.parse().ok());
                        first.ok_or_else(range_refusal)?
                    }
                };
                if start != held {
                    return Err(Error::OffsetMismatch { held, start }.into());
                }
                if request.method() == Method::PATCH {
                    let held = self.receive(&name, id, start, request).await?;
                    return Ok(progress(StatusCode::ACCEPTED, &name, id, held));
                }
                let missing =
                    || Refusal(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "add ?digest=".to_owned());
                let digest = wanted.ok_or_else(missing)?;
                self.receive(&name, id, start, request).await?;
                self.finish(name, id, digest).await
            }
            _ => require(false).map(|()| reply(StatusCode::OK, &[], "")),
        }
    }

    async fn finish(&self, name: RepositoryName, id: Uuid, digest: Digest) -> Answer {
        let (store, target) = (Arc::clone(&self.store), name.clone());
        disk(move || store.finish_upload(&target, id, digest)).await?;
        Ok(created(&name, "blobs", digest))
    }

    async fn receive(
        &self,
        name: &RepositoryName,
        id: Uuid,
        mut held: u64,
        request: Request<Incoming>,
    ) -> Result<u64, Refusal> {
        let mut body = request.into_body();
        let mut batch = BytesMut::new();
        loop {
            let frame = body.frame().await.transpose().map_err(broken)?;
            let ended = frame.is_none();
            if let Some(Ok(data)) = frame.map(Frame::into_data) {
                batch.extend_from_slice(&data);
            }
            if batch.len() >= BATCH_BYTES || (ended && !batch.is_empty()) {
                let (store, target, chunk) = (Arc::clone(&self.store), name.clone(), batch.split().freeze());
                held = disk(move || store.append(&target, id, held, &chunk)).await?;
            }
            if ended {
                return Ok(held);
            }
        }
    }

    async fn manifest(&self, name: RepositoryName, selector: Selector, request: Request<Incoming>) -> Answer {
        let store = Arc::clone(&self.store);
        match *request.method() {
            Method::GET | Method::HEAD => {
                let (digest, kind, content) = disk(move || store.manifest(&name, &selector)).await?;
                let response = Response::builder()
                    .header(header::CONTENT_TYPE, kind)
                    .header(header::CONTENT_LENGTH, content.len())
                    .header("docker-content-digest", digest.to_string());
                let body = if request.method() == Method::HEAD { full("") } else { full(content) };
                response.body(body).map_err(broken)
            }
            Method::DELETE => {
                disk(move || store.delete_manifest(&name, &selector)).await?;
                Ok(reply(StatusCode::ACCEPTED, &[], ""))
            }
            Method::PUT => {
                let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                let kind = kind.unwrap_or(crate::media_type::OCI_MANIFEST).to_owned();
                let limit = self.store.limits().manifest_bytes;
                let large = || Error::TooLarge { what: "the manifest", limit };
                let limited = http_body_util::Limited::new(
                    request.into_body(),
                    usize::try_from(limit).unwrap_or(usize::MAX),
                );
                let content = limited.collect().await.map_err(|_| large())?.to_bytes();
                let target = name.clone();
                let stored = disk(move || match selector {
                    Selector::Tag(tag) => store.put_manifest(&target, Some(&tag), &kind, &content),
                    Selector::Digest(expected) if expected != Digest::of(&content) => {
                        Err(Error::DigestMismatch { expected, found: Digest::of(&content) })
                    }
                    Selector::Digest(_) => store.put_manifest(&target, None, &kind, &content),
                })
                .await;
                let digest = stored.map_err(|refusal| match refusal {
                    Refusal(_, "BLOB_UNKNOWN", text) => {
                        Refusal(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", text)
                    }
                    other => other,
                })?;
                Ok(created(&name, "manifests", digest))
            }
            _ => require(false).map(|()| reply(StatusCode::OK, &[], "")),
        }
    }
}

async fn disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(broken)?.map_err(Refusal::from)
}

fn require(allowed: bool) -> Result<(), Refusal> {
    let refusal =
        || Refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "method not allowed here".to_owned());
    if allowed { Ok(()) } else { Err(refusal()) }
}

fn range_refusal() -> Refusal {
    Refusal(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "the range is malformed or outside".to_owned())
}

fn broken(error: impl std::fmt::Display) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error.to_string())
}

fn query(request: &Request<Incoming>, key: &str) -> Option<String> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
        .next()
}

fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed()
}

fn reply(
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

fn created(name: &RepositoryName, kind: &str, digest: Digest) -> Response<Body> {
    let digest_header = header::HeaderName::from_static("docker-content-digest");
    let location = format!("/v2/{name}/{kind}/{digest}");
    reply(StatusCode::CREATED, &[(header::LOCATION, location), (digest_header, digest.to_string())], "")
}

fn progress(status: StatusCode, name: &RepositoryName, id: Uuid, held: u64) -> Response<Body> {
    let location = format!("/v2/{name}/blobs/uploads/{id}");
    reply(
        status,
        &[(header::LOCATION, location), (header::RANGE, format!("0-{}", held.saturating_sub(1)))],
        "",
    )
}
