//! Manifests: "Pulling manifests", "Pushing Manifests", "Deleting Manifests" and "Deleting tags".

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::{
    Registry,
    answer::{Answer, Refusal, broken, created, disk, full, not_allowed, reply, too_slow},
};
use crate::{Digest, Error, RepositoryName, Selector, image::Links};

/// The longest media type that a manifest may have.
const LONGEST_TYPE: usize = 255;
/// How much of a manifest that is too large is read nevertheless, so that its sender hears why it is refused.
const MOST_DROPPED: u64 = 64 << 20;

impl Registry {
    pub(super) async fn manifest(
        &self,
        name: RepositoryName,
        selector: Selector,
        request: Request<Incoming>,
    ) -> Answer {
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
            Method::PUT => self.put_manifest(name, selector, request).await,
            _ => Err(not_allowed()),
        }
    }

    async fn put_manifest(
        &self,
        name: RepositoryName,
        selector: Selector,
        request: Request<Incoming>,
    ) -> Answer {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or(crate::media_type::OCI_MANIFEST).to_owned();
        if kind.len() > LONGEST_TYPE {
            let text = format!("its type is longer than {LONGEST_TYPE} bytes");
            return Err(Error::ManifestInvalid { reason: text }.into());
        }
        let content = self.small_body(request).await?;
        let (store, target) = (Arc::clone(&self.store), name.clone());
        let stored = disk(move || {
            let subject = Links::parse(&content)?.subject;
            let digest = match selector {
                Selector::Tag(tag) => store.put_manifest(&target, Some(&tag), &kind, &content)?,
                Selector::Digest(expected) if expected != Digest::of(&content) => {
                    return Err(Error::DigestMismatch { expected, found: Digest::of(&content) });
                }
                Selector::Digest(_) => store.put_manifest(&target, None, &kind, &content)?,
            };
            Ok((digest, subject))
        });
        let (digest, subject) = stored.await.map_err(|refusal| match refusal {
            Refusal(_, "BLOB_UNKNOWN", text) => Refusal(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", text),
            other => other,
        })?;
        let mut response = created(&name, "manifests", digest);
        // Says that the registry keeps the listing of referrers itself ("Pushing Manifests with Subject").
        if let Some(subject) = subject.and_then(|subject| subject.to_string().parse().ok()) {
            response.headers_mut().insert("oci-subject", subject);
        }
        Ok(response)
    }

    async fn small_body(&self, request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
        let limit = self.store.limits().manifest_bytes;
        let asks_first = request.headers().contains_key(header::EXPECT);
        let mut body = request.into_body();
        if asks_first && body.size_hint().lower() > limit {
            return Err(Error::TooLarge { what: "the manifest", limit }.into());
        }
        let (mut content, mut read) = (Vec::new(), 0);
        while let Some(frame) = timeout(self.limits.idle, body.frame()).await.map_err(|_| too_slow())? {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            read += data.len() as u64;
            // A client that is still sending does not hear an answer: so what is too much is read on, and dropped.
            if read > limit.max(MOST_DROPPED) {
                break;
            }
            if read <= limit {
                content.extend_from_slice(&data);
            }
        }
        if read > limit {
            return Err(Error::TooLarge { what: "the manifest", limit }.into());
        }
        Ok(content)
    }
}
