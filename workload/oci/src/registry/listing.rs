//! Repositories, tags and referrers.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::{
    Registry,
    answer::{Answer, Body, Refusal, broken, disk, not_allowed, query, reply},
};
use crate::{Digest, RepositoryName, Tag, image::Index, media_type};

impl Registry {
    /// The repositories, as clients of Docker's registry know it.
    pub(super) async fn catalogue(&self, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::GET {
            return Err(not_allowed());
        }
        let store = Arc::clone(&self.store);
        let names = disk(move || store.repositories()).await?;
        let names = names.iter().map(|name| name.as_str().to_owned()).collect();
        Ok(page(request, "/v2/_catalog", names, |names| serde_json::json!({"repositories": names})))
    }

    /// "Listing Tags".
    pub(super) async fn tags(&self, name: RepositoryName, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::GET {
            return Err(not_allowed());
        }
        let (store, repository) = (Arc::clone(&self.store), name.clone());
        let (tags, known) =
            disk(move || Ok((store.tags(&repository)?, store.holds_repository(&repository)))).await?;
        if !known {
            let text = format!("repository {name} is unknown: push something to it first");
            return Err(Refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", text));
        }
        let tags = tags.iter().map(|tag| Tag::as_str(tag).to_owned()).collect();
        let path = format!("/v2/{name}/tags/list");
        Ok(page(request, &path, tags, |tags| serde_json::json!({"name": name.as_str(), "tags": tags})))
    }

    /// "Listing Referrers". A subject that is unknown has none.
    pub(super) async fn referrers(
        &self,
        name: RepositoryName,
        subject: Digest,
        request: &Request<Incoming>,
    ) -> Answer {
        if request.method() != Method::GET {
            return Err(not_allowed());
        }
        let store = Arc::clone(&self.store);
        let mut found = disk(move || store.referrers(&name, subject)).await?;
        let mut headers = vec![(header::CONTENT_TYPE, media_type::OCI_INDEX.to_owned())];
        if let Some(wanted) = query(request, "artifactType") {
            found.retain(|referrer| referrer.artifact_type.as_deref() == Some(wanted.as_str()));
            headers.push((header::HeaderName::from_static("oci-filters-applied"), "artifactType".to_owned()));
        }
        let index = serde_json::to_vec(&Index::new(found)).map_err(broken)?;
        Ok(reply(StatusCode::OK, &headers, index))
    }
}

/// The part of a sorted list that the request asks for by `n` and `last`, with a link to the next part.
fn page(
    request: &Request<Incoming>,
    path: &str,
    mut names: Vec<String>,
    document: impl FnOnce(&[String]) -> serde_json::Value,
) -> Response<Body> {
    if let Some(last) = query(request, "last") {
        names.retain(|name| *name > last);
    }
    let mut headers = vec![(header::CONTENT_TYPE, "application/json".to_owned())];
    let wanted = query(request, "n").and_then(|n| n.parse::<usize>().ok());
    if let Some(n) = wanted.filter(|n| *n < names.len()) {
        names.truncate(n);
        if let Some(last) = names.last() {
            headers.push((header::LINK, format!("<{path}?n={n}&last={last}>; rel=\"next\"")));
        }
    }
    reply(StatusCode::OK, &headers, document(&names).to_string())
}
