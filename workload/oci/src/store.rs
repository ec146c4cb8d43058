//! Content on disk.
//!
//! ```text
//! blobs/sha256/ab/abcd…           content, named by its digest; visible only when checked and synced
//! uploads/UUID                    uploads under way; the file's length is the upload's offset
//! repositories/NAME/_blobs/HEX    an empty file: the repository holds this blob
//! repositories/NAME/_manifests/HEX  the manifest's media type
//! repositories/NAME/_tags/TAG     the digest that the tag means
//! ```
//!
//! No path component of a repository starts with `_`, so the three folders never clash with a nested name. Every file
//! is written aside, synced, renamed and its folder synced before the call returns: what is acknowledged stays.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use uuid::Uuid;

use crate::{Digest, Error, Hasher, RepositoryName, Selector, Tag};

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
    /// Uploads are appended to by one caller at a time; what a lock guards is the length on disk.
    appending: Mutex<()>,
}

impl Store {
    /// Opens the store in `root`, creating it when absent.
    ///
    /// # Errors
    /// When the directories cannot be created.
    pub fn open(root: impl Into<PathBuf>, limits: Limits) -> Result<Self, Error> {
        let root = root.into();
        for folder in ["blobs/sha256", "uploads", "repositories"] {
            create_folder(&root.join(folder))?;
        }
        Ok(Self { root, limits, appending: Mutex::new(()) })
    }

    /// The bounds the store was opened with.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Begins an upload and returns its identifier, which stays valid across restarts.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin_upload(&self) -> Result<Uuid, Error> {
        let id = Uuid::new_v4();
        let path = self.upload_path(id);
        File::create_new(&path).and_then(|file| file.sync_all()).map_err(at(&path))?;
        sync_folder(&path)?;
        Ok(id)
    }

    /// How many bytes the upload holds.
    ///
    /// # Errors
    /// When there is no such upload.
    pub fn upload_offset(&self, id: Uuid) -> Result<u64, Error> {
        let path = self.upload_path(id);
        fs::metadata(&path).map(|found| found.len()).map_err(absent(&path, || unknown_upload(id)))
    }

    /// Appends a chunk that starts at `start` and returns the new offset, once the bytes are on disk.
    ///
    /// # Errors
    /// When the chunk leaves a gap or overlaps, passes the size limit, or the disk refuses.
    pub fn append(&self, id: Uuid, start: u64, chunk: &[u8]) -> Result<u64, Error> {
        let _turn = self.appending.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = self.upload_path(id);
        let held = self.upload_offset(id)?;
        if held != start {
            return Err(Error::OffsetMismatch { held, start });
        }
        let end = held.saturating_add(chunk.len() as u64);
        if end > self.limits.blob_bytes {
            return Err(Error::TooLarge { what: "the blob", limit: self.limits.blob_bytes });
        }
        let mut file = OpenOptions::new().append(true).open(&path).map_err(at(&path))?;
        if let Err(source) = file.write_all(chunk).and_then(|()| file.sync_data()) {
            // A torn chunk must not count as held: the client will send it again from `held`.
            let _ = file.set_len(held);
            return Err(Error::Disk { path, source });
        }
        Ok(end)
    }

    /// Checks the upload against `expected` and makes it a blob of the repository.
    ///
    /// # Errors
    /// When the content has another digest; the upload is then gone.
    pub fn finish_upload(&self, id: Uuid, name: &RepositoryName, expected: Digest) -> Result<(), Error> {
        let _turn = self.appending.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = self.upload_path(id);
        let mut file = File::open(&path).map_err(absent(&path, || unknown_upload(id)))?;
        let mut hasher = Hasher::default();
        let mut piece = vec![0; 64 << 10];
        loop {
            match file.read(&mut piece).map_err(at(&path))? {
                0 => break,
                length => hasher.update(&piece[..length]),
            }
        }
        let found = hasher.finish();
        if found != expected {
            fs::remove_file(&path).map_err(at(&path))?;
            return Err(Error::DigestMismatch { expected, found });
        }
        let blob = self.blob_path(expected);
        file.sync_all().map_err(at(&path))?;
        create_folder(parent(&blob))?;
        fs::rename(&path, &blob).map_err(at(&blob))?;
        sync_folder(&blob)?;
        self.link(name, expected)
    }

    /// Gives up an upload.
    ///
    /// # Errors
    /// When there is no such upload.
    pub fn cancel_upload(&self, id: Uuid) -> Result<(), Error> {
        let path = self.upload_path(id);
        fs::remove_file(&path).map_err(absent(&path, || unknown_upload(id)))
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
        write_atomically(&self.blob_path(digest), content)?;
        self.link(name, digest)?;
        Ok(digest)
    }

    /// Makes a blob of `from` a blob of `name` too.
    ///
    /// # Errors
    /// When `from` does not hold it.
    pub fn mount(&self, name: &RepositoryName, from: &RepositoryName, digest: Digest) -> Result<(), Error> {
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

    /// Takes a blob out of the repository. Its bytes stay while another repository may hold them.
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
        for digest in required_blobs(content)? {
            self.open_blob(name, digest)?;
        }
        let digest = Digest::of(content);
        write_atomically(&self.blob_path(digest), content)?;
        let folder = self.repository(name);
        write_atomically(&folder.join("_manifests").join(digest.hex()), media_type.as_bytes())?;
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

    /// Takes a tag away, or a manifest by digest (tags that mean it then select nothing).
    ///
    /// # Errors
    /// When there is none.
    pub fn delete_manifest(&self, name: &RepositoryName, selector: &Selector) -> Result<(), Error> {
        let folder = self.repository(name);
        let path = match selector {
            Selector::Tag(tag) => folder.join("_tags").join(tag.as_str()),
            Selector::Digest(digest) => folder.join("_manifests").join(digest.hex()),
        };
        remove(&path, || Error::ManifestUnknown { selector: selector.to_string() })
    }

    /// The repository's tags in order.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn tags(&self, name: &RepositoryName) -> Result<Vec<Tag>, Error> {
        let path = self.repository(name).join("_tags");
        let entries = match fs::read_dir(&path) {
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(at(&path))?,
        };
        let mut tags = Vec::new();
        for entry in entries {
            // Files being written carry a leading dot, which no tag has.
            tags.extend(
                entry.map_err(at(&path))?.file_name().to_str().and_then(|text| text.parse::<Tag>().ok()),
            );
        }
        tags.sort();
        Ok(tags)
    }

    fn link(&self, name: &RepositoryName, digest: Digest) -> Result<(), Error> {
        write_atomically(&self.repository(name).join("_blobs").join(digest.hex()), b"")
    }

    fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    fn upload_path(&self, id: Uuid) -> PathBuf {
        self.root.join("uploads").join(id.to_string())
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs/sha256").join(&hex[..2]).join(hex)
    }
}

/// The configuration and layers of an image manifest; an index names manifests, which may arrive later.
fn required_blobs(content: &[u8]) -> Result<Vec<Digest>, Error> {
    let invalid = |reason: String| Error::ManifestInvalid { reason };
    let manifest: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(content).map_err(|error| invalid(error.to_string()))?;
    let layers = match manifest.get("layers") {
        None => [].as_slice(),
        Some(layers) => layers.as_array().ok_or_else(|| invalid("`layers` is not a list".to_owned()))?,
    };
    manifest
        .get("config")
        .into_iter()
        .chain(layers)
        // Content with URLs of its own lives outside the registry (image-spec, layer.md, non-distributable layers).
        .filter(|descriptor| descriptor.get("urls").is_none())
        .map(|descriptor| {
            let digest = descriptor.get("digest").and_then(serde_json::Value::as_str);
            digest.ok_or_else(|| invalid("a descriptor has no `digest`".to_owned()))?.parse()
        })
        .collect()
}

fn unknown_upload(id: Uuid) -> Error {
    Error::UploadUnknown { id: id.to_string() }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Disk { path: path.to_owned(), source }
}

fn absent(path: &Path, unknown: impl FnOnce() -> Error) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => unknown(),
        _ => Error::Disk { path: path.to_owned(), source },
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn remove(path: &Path, unknown: impl FnOnce() -> Error) -> Result<(), Error> {
    fs::remove_file(path).map_err(absent(path, unknown))?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = parent(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// Creates the folder and makes each new name on the way to it durable.
fn create_folder(path: &Path) -> Result<(), Error> {
    if path.is_dir() || path.as_os_str().is_empty() {
        return Ok(());
    }
    create_folder(parent(path))?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(path)(error)),
        _ => {}
    }
    // A relative path of one component has the empty parent, which cannot be opened.
    if parent(path).as_os_str().is_empty() { Ok(()) } else { sync_folder(path) }
}

fn write_atomically(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = parent(path);
    create_folder(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(at(folder))?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(at(path))?;
    file.persist(path).map_err(|refused| at(path)(refused.error))?;
    sync_folder(path)
}

#[cfg(test)]
mod tests;
