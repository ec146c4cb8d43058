//! What an image is made of: descriptors, manifests, indexes and configurations (image-spec 1.1), and how images come
//! to be in a store without a client that pushes them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, RepositoryName, Selector, Store, Tag, media_type};

mod build;
mod layer;
mod load;
mod wasm;

pub(crate) use build::decompressed;
pub use build::{BuildRequest, Rootfs, build};
pub use load::{LoadLimits, load};
pub use wasm::push_wasm;

/// Descriptors in one manifest or index, at the most.
const MOST_DESCRIPTORS: usize = 1024;

/// Content of a kind, a digest and a size (image-spec, descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where else it can be had; content that has this need not be in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
    /// What people and tools say about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What a manifest runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of artifact that a manifest describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Describes content by its digest and size alone.
    #[must_use]
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: None,
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// Describes a manifest as the referrers listing does: with its annotations and its artifact type, which is the
    /// configuration's media type where the manifest names none.
    ///
    /// # Errors
    /// When the manifest is malformed.
    pub fn of_manifest(media_type: String, content: &[u8]) -> Result<Self, Error> {
        let links: LinksText = parse(content)?;
        let config = links.config.map(|config| config.media_type).filter(|kind| !kind.is_empty());
        Ok(Self {
            annotations: links.annotations.unwrap_or_default(),
            artifact_type: links.artifact_type.filter(|kind| !kind.is_empty()).or(config),
            ..Self::new(media_type, Digest::of(content), content.len() as u64)
        })
    }
}

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, by Go's name.
    pub architecture: String,
    /// The operating system, by Go's name.
    pub os: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform of the machine that this program was built for.
    #[must_use]
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Self { architecture: architecture.to_owned(), os: std::env::consts::OS.to_owned(), variant: None }
    }

    pub(crate) fn runs(&self, image: &Self) -> bool {
        let variant = self.variant.is_none() || image.variant.is_none() || self.variant == image.variant;
        self.architecture == image.architecture && self.os == image.os && variant
    }
}

/// An image manifest: one configuration and its layers, bottom first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// OCI's or Docker's manifest type.
    #[serde(default)]
    pub media_type: String,
    /// What the artifact is, where it is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What people and tools say about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// An image manifest of OCI's type.
    #[must_use]
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The blobs that lie where the manifest does: layers and configuration, but for what lives elsewhere and says so by
    /// URLs of its own (layer.md, non-distributable layers).
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().chain([&self.config]).filter(|blob| blob.urls.is_none())
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is no manifest or names more layers than anything needs.
    pub fn parse(content: &[u8]) -> Result<Self, Error> {
        let manifest: Self = parse(content)?;
        if manifest.layers.len() > MOST_DESCRIPTORS {
            return Err(invalid(format!("it has more than {MOST_DESCRIPTORS} layers")));
        }
        Ok(manifest)
    }
}

/// An index: one manifest a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// OCI's index or Docker's manifest list.
    #[serde(default)]
    pub media_type: String,
    /// What the artifact is, where it is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What people and tools say about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An index of OCI's type.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.to_owned(),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads an index.
    ///
    /// # Errors
    /// When it is no index or names more manifests than anything needs.
    pub fn parse(content: &[u8]) -> Result<Self, Error> {
        let index: Self = parse(content)?;
        if index.manifests.len() > MOST_DESCRIPTORS {
            return Err(invalid(format!("it names more than {MOST_DESCRIPTORS} manifests")));
        }
        Ok(index)
    }
}

/// An image's configuration (image-spec, config.md). Docker's has the same fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The processor, by Go's name.
    #[serde(default)]
    pub architecture: String,
    /// The operating system, by Go's name.
    #[serde(default)]
    pub os: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How a container of the image runs.
    #[serde(default)]
    pub config: RunConfig,
    /// The layers' uncompressed digests.
    #[serde(default)]
    pub rootfs: RootfsConfig,
}

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// When it is no image configuration.
    pub fn parse(content: &[u8]) -> Result<Self, Error> {
        parse(content)
    }
}

/// How a container of an image runs. Docker writes `null` for what is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `user`, `uid`, `user:group` or `uid:gid`; empty is root.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub user: String,
    /// `80/tcp` and the like.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    /// The command's fixed part.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    /// The command's default arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    /// Where the command starts; empty is `/`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub working_dir: String,
    /// What people and tools say about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the command to end; empty is SIGTERM.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub stop_signal: String,
}

/// The layers of an image without their compression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsConfig {
    /// Always `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The digests of the layers' tar streams, bottom first.
    #[serde(default)]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootfsConfig {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// What a manifest or an index of any type needs and points to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// The configuration and layers. An index names manifests, which may arrive later.
    pub blobs: Vec<Digest>,
    /// The manifest that this one is about; it may arrive later or never.
    pub subject: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinksText {
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Links {
    /// Reads the links out of a manifest.
    ///
    /// # Errors
    /// When it is not a JSON object, or a descriptor is malformed.
    pub fn parse(content: &[u8]) -> Result<Self, Error> {
        let text: LinksText = parse(content)?;
        let blobs = text.config.into_iter().chain(text.layers.unwrap_or_default());
        Ok(Self {
            // Content with URLs of its own lives outside the registry (layer.md, non-distributable layers).
            blobs: blobs.filter(|blob| blob.urls.is_none()).map(|blob| blob.digest).collect(),
            subject: text.subject.map(|subject| subject.digest),
        })
    }
}

/// What a reference means on a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The digest of the manifest below (not of an index that led to it).
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// What it holds.
    pub content: Content,
}

/// What an artifact holds, as far as this program runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file system and how to run it.
    Container(Box<ImageConfig>),
    /// A WebAssembly module or component: its one layer.
    Wasm(Descriptor),
}

/// Follows a tag or digest to the manifest for `platform`. WebAssembly runs on every platform.
///
/// # Errors
/// When there is no such manifest, none for the platform, or it or its configuration is malformed.
pub fn resolve(
    store: &Store,
    name: &RepositoryName,
    selector: &Selector,
    platform: &Platform,
) -> Result<Resolved, Error> {
    let (mut digest, mut kind, mut content) = store.manifest(name, selector)?;
    if is_index(&kind) {
        let index = Index::parse(&content)?;
        let wasm = |image: &Platform| image.architecture == "wasm";
        let found = index
            .manifests
            .iter()
            .find(|entry| entry.platform.as_ref().is_some_and(|image| platform.runs(image) || wasm(image)))
            .ok_or_else(|| Error::NoPlatform {
                image: format!("{name}:{selector}"),
                wanted: format!("{}/{}", platform.os, platform.architecture),
            })?;
        (digest, kind, content) = store.manifest(name, &Selector::Digest(found.digest))?;
        if is_index(&kind) {
            return Err(invalid("an index leads to another index".to_owned()));
        }
    }
    let manifest = Manifest::parse(&content)?;
    let content = if let Some(layer) = wasm::layer(&manifest) {
        Content::Wasm(layer.clone())
    } else {
        let config = read_small(store, name, &manifest.config)?;
        Content::Container(Box::new(ImageConfig::parse(&config)?))
    };
    Ok(Resolved { digest, manifest, content })
}

/// The layers of all images in a store, by their diff ids. What is no image, or cannot be read, has none.
///
/// # Errors
/// When the disk refuses.
pub fn layers(store: &Store) -> Result<BTreeSet<Digest>, Error> {
    let mut found = BTreeSet::new();
    for name in store.repositories()? {
        for digest in store.manifests(&name)? {
            let config = store.manifest(&name, &Selector::Digest(digest)).and_then(|(_, _, content)| {
                ImageConfig::parse(&read_small(store, &name, &Manifest::parse(&content)?.config)?)
            });
            found.extend(config.into_iter().flat_map(|config| config.rootfs.diff_ids));
        }
    }
    Ok(found)
}

/// Puts a manifest or index that was made here.
fn put(
    store: &Store,
    name: &RepositoryName,
    tag: &Tag,
    kind: &str,
    it: &impl Serialize,
) -> Result<Digest, Error> {
    let content = serde_json::to_vec(it).map_err(|error| invalid(error.to_string()))?;
    store.put_manifest(name, Some(tag), kind, &content)
}

/// Reads a blob that must be no larger than a manifest, and checks it.
pub(crate) fn read_small(store: &Store, name: &RepositoryName, blob: &Descriptor) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let limit = store.limits().manifest_bytes;
    if blob.size > limit {
        return Err(Error::TooLarge { what: "the configuration", limit });
    }
    let mut content = Vec::new();
    let read = store.open_blob(name, blob.digest)?.take(limit).read_to_end(&mut content);
    read.map_err(|source| Error::Disk { path: blob.digest.to_string().into(), source })?;
    let found = Digest::of(&content);
    if found == blob.digest {
        Ok(content)
    } else {
        Err(Error::DigestMismatch { expected: blob.digest, found })
    }
}

pub(crate) fn is_wasm(manifest: &Manifest) -> bool {
    wasm::layer(manifest).is_some()
}

pub(crate) fn is_index(kind: &str) -> bool {
    matches!(kind, media_type::OCI_INDEX | media_type::DOCKER_LIST)
}

fn parse<'a, T: Deserialize<'a>>(content: &'a [u8]) -> Result<T, Error> {
    // Serde would read a structure from a list, too.
    if content.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(invalid("it is not a JSON object".to_owned()));
    }
    serde_json::from_slice(content).map_err(|error| invalid(error.to_string()))
}

fn invalid(reason: String) -> Error {
    Error::ManifestInvalid { reason }
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
