//! The OpenAPI documents of what is served: `/openapi/v3`, one document a group version, and `/openapi/v2`.
//!
//! Documents are written as bytes while the tables and schemas are walked, and nothing of them is kept here. The root of
//! version 3 names each document with its fingerprint, so that clients can keep what has not changed.

mod custom;
mod descriptions;
mod json;
mod names;
mod operations;
mod protobuf;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::builtin;
use crate::discovery::{self, Root};
use crate::resource::{Resource, Version};
use crate::status::Status;
use descriptions::Texts;
use json::{Fingerprint, Json, Sink};
use names::Type;
use operations::Paths;
use types::Reach;

/// The schema that a CustomResourceDefinition gives for a version of its resource, where it is at hand: it has the
/// descriptions and limits that the merge model does not.
pub type Published<'a> = &'a dyn Fn(&Resource, &str) -> Option<Value>;

/// The version of Kubernetes whose API this is, as upstream's documents name it.
const VERSION: &str = "1.36";

/// Which version of OpenAPI is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// The key that points to a definition, alone in its object.
    fn point(self, json: &mut Json<'_>, name: &str) {
        let place = match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        };
        json.entry("$ref", &format!("{place}{name}"));
    }

    /// A definition of this name, with other keys beside it: in version 3 a reference must stand alone.
    fn refer(self, json: &mut Json<'_>, name: &str) {
        match self {
            Self::V2 => self.point(json, name),
            Self::V3 => {
                json.key("allOf");
                json.list(|json| json.object(|json| self.point(json, name)));
            }
        }
    }
}

/// The documents of a set of resources.
///
/// ```
/// use xebec_machinery::{builtin, openapi::Documents};
/// let documents = Documents::new(builtin::resources());
/// let apps = documents.v3("apps", "v1").unwrap();
/// let text = std::str::from_utf8(&apps)?;
/// assert!(text.contains(r##""$ref":"#/components/schemas/io.k8s.api.apps.v1.Deployment""##));
/// # Ok::<(), std::str::Utf8Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Documents<'a> {
    resources: &'a [Arc<Resource>],
    published: Option<Published<'a>>,
}

impl std::fmt::Debug for Documents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Documents").field("resources", &self.resources.len()).finish_non_exhaustive()
    }
}

impl<'a> Documents<'a> {
    /// The documents of these resources.
    pub fn new(resources: &'a [Arc<Resource>]) -> Self {
        Self { resources, published: None }
    }

    /// Describes custom resources by the schemas that their definitions give.
    #[must_use]
    pub fn with_published(self, published: Published<'a>) -> Self {
        Self { published: Some(published), ..self }
    }

    /// `/openapi/v3`: where the document of each group version is.
    pub fn v3_root(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let json = &mut Json::new(&mut bytes);
        json.object(|json| {
            json.within("paths", |json| {
                for (group, version) in self.group_versions() {
                    let mut fingerprint = Fingerprint::new();
                    self.write_v3(&mut fingerprint, group, version);
                    let path = operations::root(group, version);
                    json.within(path.trim_start_matches('/'), |json| {
                        let url = format!("/openapi/v3{path}?hash={}", fingerprint.text());
                        json.entry("serverRelativeURL", &url);
                    });
                }
            });
        });
        bytes
    }

    /// `/openapi/v3/apis/GROUP/VERSION`, or `/openapi/v3/api/VERSION` for the core group; nothing where it is not served.
    pub fn v3(&self, group: &str, version: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_v3(&mut bytes, group, version).then_some(bytes)
    }

    /// `/openapi/v2`: everything in one document.
    pub fn v2(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let members: Vec<_> =
            self.group_versions().flat_map(|(group, version)| self.members(group, version)).collect();
        let json = &mut Json::new(&mut bytes);
        json.object(|json| {
            json.entry("swagger", "2.0");
            info(json);
            json.within("paths", |json| {
                for (group, version) in self.group_versions() {
                    self.paths(json, Dialect::V2, group, version);
                }
            });
            json.within("definitions", |json| self.definitions(json, Dialect::V2, &members));
            json.within("securityDefinitions", |json| json.within("BearerToken", bearer));
        });
        bytes
    }

    /// `/openapi/v2` in protobuf.
    pub fn v2_protobuf(&self) -> Result<Vec<u8>, Status> {
        let document = serde_json::from_slice(&self.v2()).map_err(|error| {
            Status::internal(&format!("a schema is too deep for OpenAPI version 2: {error}"))
        })?;
        Ok(protobuf(&document))
    }

    fn group_versions(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let resources = self.resources;
        let groups =
            [Root::Core, Root::Named].into_iter().flat_map(|root| discovery::groups(resources, root));
        groups.flat_map(|group| {
            discovery::versions(resources, group).into_iter().map(move |version| (group, version))
        })
    }

    /// The resources of a group version by name, each with its version.
    fn members(&self, group: &str, version: &str) -> Vec<(&'a Resource, &'a Version)> {
        discovery::members(self.resources, group, version)
    }

    fn write_v3(&self, sink: &mut dyn Sink, group: &str, version: &str) -> bool {
        let members = self.members(group, version);
        if members.is_empty() {
            return false;
        }
        let json = &mut Json::new(sink);
        json.object(|json| {
            json.entry("openapi", "3.0.0");
            info(json);
            json.within("paths", |json| self.paths(json, Dialect::V3, group, version));
            json.within("components", |json| {
                json.within("schemas", |json| self.definitions(json, Dialect::V3, &members));
                json.within("securitySchemes", |json| json.within("BearerToken", bearer));
            });
        });
        true
    }

    fn paths(&self, json: &mut Json<'_>, dialect: Dialect, group: &str, version: &str) {
        operations::discovery(json, dialect, group, version);
        for (resource, version) in self.members(group, version) {
            let (kind, list) = type_names(resource, version);
            Paths { dialect, resource, version, kind, list }.write(json);
        }
    }

    /// The definitions of these resources and of what they lead to.
    fn definitions(&self, json: &mut Json<'_>, dialect: Dialect, members: &[(&Resource, &Version)]) {
        let types = builtin::types();
        let mut reach = Reach::new(types);
        for name in
            ["ObjectMeta", "ListMeta", "DeleteOptions", "Status", "Patch", "WatchEvent", "APIResourceList"]
        {
            names::shared(name).into_iter().for_each(|at| reach.add(at));
        }
        for (resource, version) in members {
            let mut add = |group: &str, version: &str, kind: &str| {
                names::message(group, version, kind).into_iter().for_each(|at| reach.add(at));
            };
            if !resource.custom {
                add(&resource.group, &version.name, &resource.kind);
                add(&resource.group, &version.name, &resource.list_kind);
            }
            if version.scale.is_some() {
                add("autoscaling", "v1", "Scale");
            }
            for part in &version.subresources {
                add(&part.kind.0, &part.kind.1, &part.kind.2);
            }
        }
        let mut texts = Texts::default();
        for found in reach.found() {
            json.key(&names::of(found));
            types::define(json, dialect, types, &mut texts, found);
        }
        // Two definitions of one kind would be one key twice.
        let mut seen = BTreeSet::new();
        for (resource, version) in members {
            let (kind, list) = type_names(resource, version);
            if built_in(resource, version).is_some() || !seen.insert(kind.clone()) {
                continue;
            }
            let published = self.published.and_then(|published| published(resource, &version.name));
            json.key(&kind);
            custom::define(json, dialect, resource, version, published.as_ref());
            if seen.insert(list.clone()) {
                json.key(&list);
                custom::define_list(json, dialect, resource, version);
            }
        }
    }
}

/// The place of a built-in resource's type.
fn built_in(resource: &Resource, version: &Version) -> Option<usize> {
    if resource.custom { None } else { names::message(&resource.group, &version.name, &resource.kind) }
}

/// The names of the types of a resource's kind and of its lists.
fn type_names(resource: &Resource, version: &Version) -> (String, String) {
    match built_in(resource, version) {
        Some(at) => {
            let list = names::message(&resource.group, &version.name, &resource.list_kind);
            let list = list.unwrap_or(at);
            (names::of(Type::Message(at)), names::of(Type::Message(list)))
        }
        None => (
            names::custom(resource, &version.name, &resource.kind),
            names::custom(resource, &version.name, &resource.list_kind),
        ),
    }
}

fn info(json: &mut Json<'_>) {
    json.within("info", |json| {
        json.entry("title", "Kubernetes");
        json.entry("version", VERSION);
    });
}

fn bearer(json: &mut Json<'_>) {
    json.entry("type", "apiKey");
    json.entry("name", "authorization");
    json.entry("in", "header");
}

/// A version 2 document in protobuf.
pub fn protobuf(document: &Value) -> Vec<u8> {
    protobuf::encode(document)
}

/// The fingerprint of a document's bytes, for `ETag`.
pub fn fingerprint(bytes: &[u8]) -> String {
    let mut fingerprint = Fingerprint::new();
    fingerprint.put(bytes);
    fingerprint.text()
}
