//! The OpenAPI documents, written when they are first asked for and kept as bytes until what is served changes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use xebec_machinery::negotiation::{Endpoint, Media, negotiate};
use xebec_machinery::openapi::{Documents, Published, fingerprint, protobuf};
use xebec_machinery::status::Status;

use crate::aggregation::Known;
use crate::catalog::Served;

/// A document as it goes out.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its media type.
    pub media: &'static str,
    /// What changes with its content.
    pub fingerprint: String,
}

#[derive(Debug, Default)]
struct Kept {
    /// Of what is served here, and of what other servers have.
    generation: (u64, u64),
    documents: HashMap<(String, &'static str), Document>,
}

/// The documents of what is served now.
#[derive(Debug, Default)]
pub struct OpenApi {
    kept: Mutex<Kept>,
}

impl OpenApi {
    /// The document at a path below `/openapi/`, with what `known` servers have. `published` gives the schemas of custom resources as they were defined.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is none, `NotAcceptable` where the client takes no form of it.
    pub(crate) fn document(
        &self,
        served: &Served,
        known: &Known,
        published: Published<'_>,
        path: &str,
        accept: &str,
    ) -> Result<Document, Status> {
        let forms: &[Media] =
            if path == "v2" { &[Media::Json, Media::OpenApiV2Protobuf] } else { &[Media::Json] };
        // Clients of version 3 ask for protobuf too, and take JSON where it is not offered.
        let media = match negotiate(accept, Endpoint::Plain, forms) {
            Ok(encoding) => encoding.media,
            Err(_) if path != "v2" => Media::Json,
            Err(status) => return Err(status),
        };
        let key = (path.to_owned(), media.name());
        let generation = (served.generation(), known.generation);
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.generation != generation {
                *kept = Kept { generation, documents: HashMap::new() };
            }
            if let Some(document) = kept.documents.get(&key) {
                return Ok(document.clone());
            }
        }
        let documents = Documents::new(served.resources()).with_published(published);
        let bytes = write(documents, known, path, media)?;
        let document =
            Document { fingerprint: fingerprint(&bytes), bytes: bytes.into(), media: media.name() };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.generation == generation {
            kept.documents.insert(key, document.clone());
        }
        Ok(document)
    }
}

fn write(documents: Documents<'_>, known: &Known, path: &str, media: Media) -> Result<Vec<u8>, Status> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["v2"] if !known.specs.is_without_v2() => {
            let mut document = tree(&documents.v2())?;
            known.specs.add_to_v2(&mut document);
            match media {
                Media::OpenApiV2Protobuf => Ok(protobuf(&document)),
                _ => Ok(document.to_string().into_bytes()),
            }
        }
        ["v3"] if !known.foreign.is_empty() => {
            let mut root = tree(&documents.v3_root())?;
            known.specs.add_to_v3_root(&mut root);
            Ok(root.to_string().into_bytes())
        }
        ["v2"] if media == Media::OpenApiV2Protobuf => documents.v2_protobuf(),
        ["v2"] => Ok(documents.v2()),
        ["v3"] => Ok(documents.v3_root()),
        ["v3", "api", version] => documents.v3("", version).ok_or_else(Status::page_not_found),
        ["v3", "apis", group, version] => documents.v3(group, version).ok_or_else(Status::page_not_found),
        _ => Err(Status::page_not_found()),
    }
}

fn tree(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes).map_err(|error| {
        Status::internal(&format!("a schema is too deep to be put beside those of other servers: {error}"))
    })
}
