//! Blobs on their way in: "Pushing blobs", whole, in chunks or from another repository.

use std::sync::Arc;

use bytes::BytesMut;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Registry,
    answer::{
        Answer, Body, Refusal, broken, created, disk, not_allowed, query, range_refusal, reply, too_slow,
    },
};
use crate::{Digest, Error, RepositoryName};

/// Bytes that are synced together.
const BATCH_BYTES: usize = 1 << 20;

impl Registry {
    pub(super) async fn begin_upload(&self, name: RepositoryName, request: Request<Incoming>) -> Answer {
        if request.method() != Method::POST {
            return Err(not_allowed());
        }
        let wanted = query(&request, "digest").map(|text| text.parse::<Digest>()).transpose()?;
        if let (Some(mount), Some(from)) = (query(&request, "mount"), query(&request, "from")) {
            let (digest, from) = (mount.parse::<Digest>()?, from.parse::<RepositoryName>()?);
            let (store, target) = (Arc::clone(&self.store), name.clone());
            if disk(move || store.mount(&target, &from, digest)).await.is_ok() {
                return Ok(created(&name, "blobs", digest));
            }
        }
        let (store, target) = (Arc::clone(&self.store), name.clone());
        let id = disk(move || store.begin_upload(&target)).await?;
        let Some(digest) = wanted else { return Ok(progress(StatusCode::ACCEPTED, &name, id, 0)) };
        self.receive(&name, id, 0, request).await?;
        self.finish(name, id, digest).await
    }

    pub(super) async fn upload(&self, name: RepositoryName, id: &str, request: Request<Incoming>) -> Answer {
        let id =
            id.parse::<Uuid>().map_err(|_| Error::UploadUnknown { id: id.chars().take(64).collect() })?;
        let (store, target) = (Arc::clone(&self.store), name.clone());
        match *request.method() {
            Method::GET => {
                let held = disk(move || store.upload_offset(&target, id)).await?;
                Ok(progress(StatusCode::NO_CONTENT, &name, id, held))
            }
            Method::DELETE => {
                disk(move || store.cancel_upload(&target, id)).await?;
                Ok(reply(StatusCode::NO_CONTENT, &[], ""))
            }
            Method::PATCH => {
                let held = disk(move || store.upload_offset(&target, id)).await?;
                let start = start(&request, held)?;
                let held = self.receive(&name, id, start, request).await?;
                Ok(progress(StatusCode::ACCEPTED, &name, id, held))
            }
            Method::PUT => {
                let missing =
                    || Refusal(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "add ?digest=".to_owned());
                let digest = query(&request, "digest").ok_or_else(missing)?.parse::<Digest>()?;
                let held = disk(move || store.upload_offset(&target, id)).await?;
                let start = start(&request, held)?;
                self.receive(&name, id, start, request).await?;
                self.finish(name, id, digest).await
            }
            _ => Err(not_allowed()),
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
            let frame = timeout(self.limits.idle, body.frame()).await.map_err(|_| too_slow())?;
            let frame = frame.transpose().map_err(broken)?;
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
}

/// Where the chunk begins, which must be where the last one ended.
fn start(request: &Request<Incoming>, held: u64) -> Result<u64, Refusal> {
    let Some(range) = request.headers().get(header::CONTENT_RANGE) else { return Ok(held) };
    let first = range.to_str().ok().and_then(|text| text.split_once('-')?.0.parse().ok());
    let start = first.ok_or_else(range_refusal)?;
    if start == held { Ok(start) } else { Err(Error::OffsetMismatch { held, start }.into()) }
}

fn progress(status: StatusCode, name: &RepositoryName, id: Uuid, held: u64) -> Response<Body> {
    let location = format!("/v2/{name}/blobs/uploads/{id}");
    let range = format!("0-{}", held.saturating_sub(1));
    let id_header = header::HeaderName::from_static("docker-upload-uuid");
    reply(status, &[(header::LOCATION, location), (header::RANGE, range), (id_header, id.to_string())], "")
}
