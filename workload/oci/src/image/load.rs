//! Images out of archives: an OCI layout as a tar archive, or what `docker save` writes.
//!
//! Entries come in any order, so all of them are staged first under their names; nothing of the archive is ever used as
//! a path on disk. Then the index says which of them make the image, each is checked against its digest, and the rest
//! vanish.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use super::{Descriptor, ImageConfig, Index, Manifest, build::decompressed, is_index};
use crate::{Digest, Error, Hasher, RepositoryName, StagedBlob, Store, Tag, media_type};

/// Annotations that name an image in an index of several.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Bounds on what an archive may hold.
#[derive(Clone, Copy, Debug)]
pub struct LoadLimits {
    /// Entries.
    pub entries: usize,
    /// Bytes of all entries together, after decompression.
    pub bytes: u64,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { entries: 20_000, bytes: 64 << 30 }
    }
}

/// Loads the image of an archive, gzipped or not, and tags it. Returns the digest of its manifest or index.
///
/// Of an archive with several images the one whose name ends in `:TAG`, or is the tag, is taken.
///
/// # Errors
/// When the archive is malformed, passes a limit, holds no image or several that the tag does not tell apart, or its
/// content is not what its digests say.
pub fn load(
    store: &Store,
    name: &RepositoryName,
    tag: &Tag,
    archive: &Path,
    limits: LoadLimits,
) -> Result<Digest, Error> {
    let mut staged = Staged::read(store, archive, limits)?;
    if staged.files.contains_key("index.json") {
        staged.load_layout(store, name, tag)
    } else if staged.files.contains_key("manifest.json") {
        staged.load_docker(store, name, tag)
    } else {
        Err(staged.refused(
            "it has neither index.json nor manifest.json: give an OCI layout or the output of docker save",
        ))
    }
}

/// The files of an archive by their names in it.
struct Staged<'a> {
    archive: &'a Path,
    files: HashMap<String, StagedBlob>,
    /// Names that stand for another name; older versions of Docker share layers like this.
    links: HashMap<String, String>,
    /// The largest file that is read into memory.
    document_bytes: u64,
    /// Bytes of all files together, and of what each decompresses to.
    bytes: u64,
}

/// One image of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl<'a> Staged<'a> {
    fn read(store: &Store, archive: &'a Path, limits: LoadLimits) -> Result<Self, Error> {
        let file = File::open(archive).map_err(|source| Error::Disk { path: archive.to_owned(), source })?;
        let mut staged = Self {
            archive,
            files: HashMap::new(),
            links: HashMap::new(),
            document_bytes: store.limits().manifest_bytes,
            bytes: limits.bytes,
        };
        let malformed = |source: io::Error| match source.downcast::<Error>() {
            Ok(ours) => ours,
            Err(source) => Error::ArchiveInvalid {
                archive: archive.to_owned(),
                reason: format!("{source}: it is cut off or no tar archive, so write it again"),
            },
        };
        let file = decompressed(file).map_err(malformed)?;
        let mut left = limits.bytes;
        crate::archive::entries(file, limits.entries, |entry| staged.take(store, entry, &mut left))
            .map_err(malformed)?;
        Ok(staged)
    }

    /// An error of ours is carried as the cause; another one is the archive's.
    fn take(
        &mut self,
        store: &Store,
        entry: &mut tar::Entry<'_, impl Read>,
        left: &mut u64,
    ) -> io::Result<()> {
        let Some(path) = plain(&entry.path()?) else {
            return Err(io::Error::other(self.refused("an entry's path leaves the archive: do not use it")));
        };
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                *left = left
                    .checked_sub(entry.size())
                    .ok_or(Error::TooLarge { what: "the archive's content", limit: self.bytes })
                    .map_err(io::Error::other)?;
                let mut writer = store.stage().map_err(io::Error::other)?;
                let length = io::copy(entry, &mut writer)?;
                if length != entry.size() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.files.insert(path, writer.finish().map_err(io::Error::other)?);
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let hard = entry.header().entry_type() == tar::EntryType::Link;
                let target = entry.link_name()?.unwrap_or_default();
                let folder = Path::new(&path).parent().filter(|_| !hard).unwrap_or(Path::new(""));
                if let Some(target) = plain(&folder.join(target)) {
                    self.links.insert(path, target);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn load_layout(&mut self, store: &Store, name: &RepositoryName, tag: &Tag) -> Result<Digest, Error> {
        let index = Index::parse(&self.document("index.json")?)?;
        let chosen = match index.manifests.as_slice() {
            [] => return Err(self.refused("its index names no image")),
            [only] => only.clone(),
            several => match several.iter().find(|entry| named(entry, tag)) {
                Some(found) => found.clone(),
                None if several.iter().all(|entry| entry.platform.is_some()) => {
                    // The index itself is the image, one manifest a platform.
                    let mut present = Vec::new();
                    for entry in several {
                        if self.keep_tree(store, name, None, entry, true)? {
                            present.push(entry.clone());
                        }
                    }
                    if present.is_empty() {
                        return Err(self.refused("its index names only content that it lacks"));
                    }
                    return super::put(store, name, tag, media_type::OCI_INDEX, &Index::new(present));
                }
                None => return Err(self.refused("it holds several images: use the tag of one of them")),
            },
        };
        if self.keep_tree(store, name, Some(tag), &chosen, false)? {
            Ok(chosen.digest)
        } else {
            Err(self.refused(&format!("it lacks the manifest {}", chosen.digest)))
        }
    }

    /// Keeps a manifest and what it needs, or an index and those of its manifests that the archive holds. One that an index
    /// named (`is_inner`) is none itself: an index is known by its content, too. False when the archive lacks the manifest
    /// itself.
    fn keep_tree(
        &mut self,
        store: &Store,
        name: &RepositoryName,
        tag: Option<&Tag>,
        root: &Descriptor,
        is_inner: bool,
    ) -> Result<bool, Error> {
        let path = blob_name(root.digest);
        if !self.files.contains_key(&path) {
            return Ok(false);
        }
        let content = self.document(&path)?;
        let found = Digest::of(&content);
        if found != root.digest {
            return Err(Error::DigestMismatch { expected: root.digest, found });
        }
        let kind = media_type_of(root, &content);
        if is_index(&kind) {
            if is_inner {
                return Err(self.refused("an index leads to another index"));
            }
            for child in Index::parse(&content)?.manifests {
                self.keep_tree(store, name, None, &child, true)?;
            }
        } else {
            let manifest = Manifest::parse(&content)?;
            let mut seen = HashSet::new();
            for blob in manifest.blobs() {
                if seen.insert(blob.digest) {
                    self.keep(store, name, &blob_name(blob.digest), Some(blob.digest))?;
                }
            }
        }
        store.put_manifest(name, tag, &kind, &content)?;
        Ok(true)
    }

    fn load_docker(&mut self, store: &Store, name: &RepositoryName, tag: &Tag) -> Result<Digest, Error> {
        let images: Vec<DockerImage> = serde_json::from_slice(&self.document("manifest.json")?)
            .map_err(|error| self.refused(&format!("manifest.json is malformed: {error}")))?;
        let wanted = format!(":{tag}");
        let tagged = |image: &&DockerImage| {
            image.repo_tags.iter().flatten().any(|reference| reference.ends_with(&wanted))
        };
        let image = match images.as_slice() {
            [] => return Err(self.refused("manifest.json names no image")),
            [only] => only,
            several => several
                .iter()
                .find(tagged)
                .ok_or_else(|| self.refused("it holds several images: use the tag of one of them"))?,
        };
        let config = self.document(&image.config)?;
        let diff_ids = ImageConfig::parse(&config)?.rootfs.diff_ids;
        if diff_ids.len() != image.layers.len() {
            return Err(self.refused("its configuration and manifest.json disagree on the number of layers"));
        }
        let mut layers = Vec::new();
        let mut kept = HashMap::new();
        for (path, diff_id) in image.layers.iter().zip(diff_ids) {
            let layer = match kept.remove(&diff_id) {
                Some(layer) => layer,
                None => self.keep_layer(store, name, path, diff_id)?,
            };
            kept.insert(diff_id, layer.clone());
            layers.push(layer);
        }
        let digest = store.put_blob(name, &config)?;
        let config = Descriptor::new(media_type::OCI_CONFIG, digest, config.len() as u64);
        super::put(store, name, tag, media_type::OCI_MANIFEST, &Manifest::new(config, layers))
    }

    /// Keeps a layer as it is. `docker save` writes plain tar streams, whose digest is the layer's uncompressed one; others
    /// write the same archive with compressed layers.
    fn keep_layer(
        &mut self,
        store: &Store,
        name: &RepositoryName,
        path: &str,
        diff_id: Digest,
    ) -> Result<Descriptor, Error> {
        let compressed = match self.files.get(&self.target(path)) {
            Some(blob) if blob.digest != diff_id => Some((blob.digest, blob.path().to_owned())),
            _ => None,
        };
        let Some((digest, file)) = compressed else {
            let bytes = self.keep(store, name, path, Some(diff_id))?;
            return Ok(Descriptor::new(media_type::OCI_LAYER, diff_id, bytes));
        };
        let (form, found) =
            digest_within(&file, self.bytes).map_err(|source| match source.downcast::<Error>() {
                Ok(ours) => ours,
                Err(source) => self.refused(&format!("{path}: {source}: write it again")),
            })?;
        if found != diff_id {
            return Err(Error::DigestMismatch { expected: diff_id, found });
        }
        let bytes = self.keep(store, name, path, Some(digest))?;
        Ok(Descriptor::new(form, digest, bytes))
    }

    /// Moves a staged file into the store after checking its digest, and returns its length.
    fn keep(
        &mut self,
        store: &Store,
        name: &RepositoryName,
        path: &str,
        expected: Option<Digest>,
    ) -> Result<u64, Error> {
        let path = self.target(path);
        let Some(blob) = self.files.remove(&path) else {
            // Another image of the same archive may have brought it.
            let held = expected.and_then(|digest| store.blob_bytes(name, digest).ok());
            return held.ok_or_else(|| self.refused(&format!("it lacks {path}")));
        };
        if let Some(expected) = expected.filter(|expected| *expected != blob.digest) {
            return Err(Error::DigestMismatch { expected, found: blob.digest });
        }
        let bytes = blob.bytes;
        store.keep(name, blob)?;
        Ok(bytes)
    }

    /// Reads a staged file that must be no larger than a manifest.
    fn document(&self, path: &str) -> Result<Vec<u8>, Error> {
        let path = self.target(path);
        let blob = self.files.get(&path).ok_or_else(|| self.refused(&format!("it lacks {path}")))?;
        if blob.bytes > self.document_bytes {
            return Err(Error::TooLarge { what: "a document in the archive", limit: self.document_bytes });
        }
        let mut content = Vec::new();
        File::open(blob.path())
            .and_then(|file| file.take(self.document_bytes).read_to_end(&mut content))
            .map_err(|source| Error::Disk { path: blob.path().to_owned(), source })?;
        Ok(content)
    }

    fn target(&self, path: &str) -> String {
        let path = plain(Path::new(path)).unwrap_or_default();
        self.links.get(&path).filter(|_| !self.files.contains_key(&path)).cloned().unwrap_or(path)
    }

    fn refused(&self, reason: &str) -> Error {
        Error::ArchiveInvalid { archive: self.archive.to_owned(), reason: reason.to_owned() }
    }
}

/// The form of a compressed layer, and the digest of what it decompresses to.
fn digest_within(layer: &Path, most: u64) -> io::Result<(&'static str, Digest)> {
    let mut begin = [0; 2];
    let length = File::open(layer)?.read(&mut begin)?;
    let form = match &begin[..length] {
        [0x1f, 0x8b] => media_type::OCI_LAYER_GZIP,
        [0x28, 0xb5] => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    };
    let mut stream = decompressed(File::open(layer)?)?.take(most.saturating_add(1));
    let mut hasher = Hasher::default();
    if io::copy(&mut stream, &mut hasher)? > most {
        return Err(io::Error::other(Error::TooLarge { what: "a layer of the archive", limit: most }));
    }
    Ok((form, hasher.finish()))
}

fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Older writers leave the type out of the descriptor.
fn media_type_of(descriptor: &Descriptor, content: &[u8]) -> String {
    if !descriptor.media_type.is_empty() {
        descriptor.media_type.clone()
    } else if Index::parse(content).is_ok() {
        media_type::OCI_INDEX.to_owned()
    } else {
        media_type::OCI_MANIFEST.to_owned()
    }
}

fn named(entry: &Descriptor, tag: &Tag) -> bool {
    let suffix = format!(":{tag}");
    let names = NAMES.iter().filter_map(|key| entry.annotations.get(*key));
    names.into_iter().any(|name| name == tag.as_str() || name.ends_with(&suffix))
}

/// The path with `.` and `..` resolved, or nothing when it leaves its root.
fn plain(path: &Path) -> Option<String> {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !parts.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    parts.into_os_string().into_string().ok()
}
