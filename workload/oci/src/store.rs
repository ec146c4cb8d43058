//! Content on disk.
//!
//! ```text
//! blobs/sha256/ab/abcd…           content, named by its digest; visible only when checked and synced
//! staging/                        content that this process is making; emptied when the store is opened
//! repositories/NAME/_uploads/UUID uploads under way; the file's length is the upload's offset
//! repositories/NAME/_blobs/HEX    an empty file: the repository holds this blob
//! repositories/NAME/_manifests/HEX  the manifest's media type
//! repositories/NAME/_tags/TAG     the digest that the tag means
//! repositories/NAME/_referrers/SUBJECT/HEX  an empty file: manifest HEX names SUBJECT as its subject
//! ```
//!
//! No path component of a repository starts with `_`, so these folders never clash with a nested name. Every file
//! is written aside, synced, renamed and its folder synced before the call returns: what is acknowledged stays.
//! One process at a time opens a store.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::{PoisonError, RwLock},
};

use crate::{Digest, Error, RepositoryName, Selector, Tag, image::Links};

mod catalogue;
mod collection;
mod disk;
mod upload;

pub use collection::Collected;
use disk::{absent, at, create_folder, names, remove, remove_if_present, write_atomically};
pub use upload::{BlobWriter, StagedBlob};

/// Bounds on what the store takes in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest blob in bytes.
    pub blob_bytes: u64,
    /// The largest manifest in bytes.
    pub manifest_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { blob_bytes: 16 << 30, manifest_bytes: 4 << 20 }
    }
}

/// A directory of blobs, manifests and tags.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    limits: Limits,
    uploads: upload::Uploads,
    /// Held for writing while unreferenced blobs are swept, and for reading between a blob's or manifest's arrival
    /// and the link that keeps it.
    collection: RwLock<()>,
}

impl Store {
    /// Opens the store in `root`, creating it when absent.
    ///
    /// # Errors
    /// When the directories cannot be created.
    pub fn open(root: impl Into<PathBuf>, limits: Limits) -> Result<Self, Error> {
        let root = root.into();
        let store = Self { root, limits, uploads: upload::Uploads::default(), collection: RwLock::new(()) };
        for folder in ["blobs/sha256", "repositories", "staging"] {
            create_folder(&store.root.join(folder))?;
        }
        let staging = store.staging_path();
        for left in names(&staging)? {
            remove_if_present(&staging.join(left))?;
        }
        Ok(store)
    }

    /// The bounds the store was opened with.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Puts a blob that is in memory into the repository.
    ///
    /// # Errors
    /// When it is too large or the disk refuses.
    pub fn put_blob(&self, name: &RepositoryName, content: &[u8]) -> Result<Digest, Error> {
        if content.len() as u64 > self.limits.blob_bytes {
            return Err(Error::TooLarge { what: "the blob", limit: self.limits.blob_bytes });
        }
        let digest = Digest::of(content);
        let _no_collection = self.collection.read().unwrap_or_else(PoisonError::into_inner);
        write_atomically(&self.blob_path(digest), content)?;
        self.link(name, digest)?;
        Ok(digest)
    }

    /// Makes a blob of `from` a blob of `name` too.
    ///
    /// # Errors
    /// When `from` does not hold it.
    pub fn mount(&self, name: &RepositoryName, from: &RepositoryName, digest: Digest) -> Result<(), Error> {
        let _no_collection = self.collection.read().unwrap_or_else(PoisonError::into_inner);
        self.open_blob(from, digest)?;
        self.link(name, digest)
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// When the repository does not hold it.
    pub fn open_blob(&self, name: &RepositoryName, digest: Digest) -> Result<File, Error> {
        let link = self.repository(name).join("_blobs").join(digest.hex());
        let unknown = || Error::BlobUnknown { digest };
        fs::metadata(&link).map_err(absent(&link, unknown))?;
        let path = self.blob_path(digest);
        File::open(&path).map_err(absent(&path, unknown))
    }

    /// Takes a blob out of the repository. Its bytes stay until a collection finds that no repository holds them.
    ///
    /// # Errors
    /// When the repository does not hold it.
    pub fn unlink_blob(&self, name: &RepositoryName, digest: Digest) -> Result<(), Error> {
        remove(&self.repository(name).join("_blobs").join(digest.hex()), || Error::BlobUnknown { digest })
    }

    /// Stores a manifest whose configuration and layers the repository already holds, and moves `tag` to it.
    ///
    /// # Errors
    /// When it is too large, not a JSON object, or refers to a blob that is absent.
    pub fn put_manifest(
        &self,
        name: &RepositoryName,
        tag: Option<&Tag>,
        media_type: &str,
        content: &[u8],
    ) -> Result<Digest, Error> {
        if content.len() as u64 > self.limits.manifest_bytes {
            return Err(Error::TooLarge { what: "the manifest", limit: self.limits.manifest_bytes });
        }
        let links = Links::parse(content)?;
        let _no_collection = self.collection.read().unwrap_or_else(PoisonError::into_inner);
        for digest in links.blobs {
            self.open_blob(name, digest)?;
        }
        let digest = Digest::of(content);
        write_atomically(&self.blob_path(digest), content)?;
        let folder = self.repository(name);
        write_atomically(&folder.join("_manifests").join(digest.hex()), media_type.as_bytes())?;
        if let Some(subject) = links.subject {
            write_atomically(&folder.join("_referrers").join(subject.hex()).join(digest.hex()), b"")?;
        }
        if let Some(tag) = tag {
            write_atomically(&folder.join("_tags").join(tag.as_str()), digest.to_string().as_bytes())?;
        }
        Ok(digest)
    }

    /// The manifest that a tag or digest selects: its digest, media type and bytes.
    ///
    /// # Errors
    /// When there is none.
    pub fn manifest(
        &self,
        name: &RepositoryName,
        selector: &Selector,
    ) -> Result<(Digest, String, Vec<u8>), Error> {
        let unknown = || Error::ManifestUnknown { selector: selector.to_string() };
        let folder = self.repository(name);
        let digest = match selector {
            Selector::Digest(digest) => *digest,
            Selector::Tag(tag) => {
                let path = folder.join("_tags").join(tag.as_str());
                fs::read_to_string(&path).map_err(absent(&path, unknown))?.parse()?
            }
        };
        let path = folder.join("_manifests").join(digest.hex());
        let media_type = fs::read_to_string(&path).map_err(absent(&path, unknown))?;
        let path = self.blob_path(digest);
        let content = fs::read(&path).map_err(absent(&path, unknown))?;
        let found = Digest::of(&content);
        if found != digest {
            return Err(Error::DigestMismatch { expected: digest, found });
        }
        Ok((digest, media_type, content))
    }

    /// Takes a tag away, or a manifest by digest together with the tags that mean it.
    ///
    /// # Errors
    /// When there is none.
    pub fn delete_manifest(&self, name: &RepositoryName, selector: &Selector) -> Result<(), Error> {
        let folder = self.repository(name);
        let unknown = || Error::ManifestUnknown { selector: selector.to_string() };
        let digest = match selector {
            Selector::Tag(tag) => return remove(&folder.join("_tags").join(tag.as_str()), unknown),
            Selector::Digest(digest) => *digest,
        };
        let path = folder.join("_manifests").join(digest.hex());
        fs::metadata(&path).map_err(absent(&path, unknown))?;
        // Tags go first: after a crash between the two a tag never means a manifest that is gone.
        for tag in self.tags(name)? {
            let path = folder.join("_tags").join(tag.as_str());
            let meant = fs::read_to_string(&path).unwrap_or_default();
            if meant == digest.to_string() {
                remove_if_present(&path)?;
            }
        }
        let content = fs::read(self.blob_path(digest)).unwrap_or_default();
        if let Some(subject) = Links::parse(&content).ok().and_then(|links| links.subject) {
            remove_if_present(&folder.join("_referrers").join(subject.hex()).join(digest.hex()))?;
        }
        remove(&path, unknown)
    }

    fn link(&self, name: &RepositoryName, digest: Digest) -> Result<(), Error> {
        write_atomically(&self.repository(name).join("_blobs").join(digest.hex()), b"")
    }

    fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    fn staging_path(&self) -> PathBuf {
        self.root.join("staging")
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs/sha256").join(&hex[..2]).join(hex)
    }
}

#[cfg(test)]
mod tests;
