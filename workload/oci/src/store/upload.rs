//! Content on its way in: uploads that clients resume, and content that this process makes itself.
//!
//! An upload belongs to the repository it was begun in. Its bytes are digested as they arrive, so finishing one does
//! not read it again, unless the process was restarted meanwhile.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::{
    Store,
    disk::{absent, at, create_folder, names, parent, sync_folder},
};
use crate::{Digest, Error, Hasher, RepositoryName};

/// What has been digested of each upload that this process has touched. One lock an upload: a large blob that is
/// digested or synced delays no other.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<HashMap<Uuid, Arc<Mutex<Digested>>>>);

#[derive(Debug, Default)]
struct Digested {
    hasher: Hasher,
    bytes: u64,
}

impl Uploads {
    fn of(&self, id: Uuid) -> Arc<Mutex<Digested>> {
        Arc::clone(locked(&self.0).entry(id).or_default())
    }

    fn forget(&self, id: Uuid) {
        locked(&self.0).remove(&id);
    }
}

/// What a panic elsewhere left under the lock is a count of bytes that is compared with the disk before use.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown(id: Uuid) -> Error {
    Error::UploadUnknown { id: id.to_string() }
}

impl Store {
    /// Begins an upload and returns its identifier, which stays valid across restarts until it expires.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin_upload(&self, name: &RepositoryName) -> Result<Uuid, Error> {
        let id = Uuid::new_v4();
        let path = self.upload_path(name, id);
        create_folder(parent(&path))?;
        File::create_new(&path).and_then(|file| file.sync_all()).map_err(at(&path))?;
        sync_folder(&path)?;
        Ok(id)
    }

    /// How many bytes the upload holds.
    ///
    /// # Errors
    /// When the repository has no such upload.
    pub fn upload_offset(&self, name: &RepositoryName, id: Uuid) -> Result<u64, Error> {
        let path = self.upload_path(name, id);
        fs::metadata(&path).map(|found| found.len()).map_err(absent(&path, || unknown(id)))
    }

    /// Appends a chunk that starts at `start` and returns the new offset, once the bytes are on disk.
    ///
    /// # Errors
    /// When the chunk leaves a gap or overlaps, passes the size limit, or the disk refuses.
    pub fn append(&self, name: &RepositoryName, id: Uuid, start: u64, chunk: &[u8]) -> Result<u64, Error> {
        self.upload_offset(name, id)?;
        let upload = self.uploads.of(id);
        let mut digested = locked(&upload);
        let held = self.upload_offset(name, id)?;
        if held != start {
            return Err(Error::OffsetMismatch { held, start });
        }
        let end = held.saturating_add(chunk.len() as u64);
        if end > self.limits.blob_bytes {
            return Err(Error::TooLarge { what: "the blob", limit: self.limits.blob_bytes });
        }
        let path = self.upload_path(name, id);
        let mut file = OpenOptions::new().append(true).open(&path).map_err(at(&path))?;
        if let Err(source) = file.write_all(chunk).and_then(|()| file.sync_data()) {
            // A torn chunk must not count as held: the client will send it again from `held`.
            let _ = file.set_len(held);
            return Err(Error::Disk { path, source });
        }
        if digested.bytes == held {
            digested.hasher.update(chunk);
            digested.bytes = end;
        }
        Ok(end)
    }

    /// Checks the upload against `expected` and makes it a blob of the repository.
    ///
    /// # Errors
    /// When the content has another digest; the upload is then gone.
    pub fn finish_upload(&self, name: &RepositoryName, id: Uuid, expected: Digest) -> Result<(), Error> {
        self.upload_offset(name, id)?;
        let upload = self.uploads.of(id);
        let mut digested = locked(&upload);
        let held = self.upload_offset(name, id)?;
        let path = self.upload_path(name, id);
        let mut file = File::open(&path).map_err(absent(&path, || unknown(id)))?;
        let found = if digested.bytes == held {
            std::mem::take(&mut *digested).hasher.finish()
        } else {
            digest_of(&mut file).map_err(at(&path))?
        };
        self.uploads.forget(id);
        if found != expected {
            fs::remove_file(&path).map_err(at(&path))?;
            return Err(Error::DigestMismatch { expected, found });
        }
        file.sync_all().map_err(at(&path))?;
        let _no_collection = self.collection.read().unwrap_or_else(PoisonError::into_inner);
        let blob = self.blob_path(expected);
        create_folder(parent(&blob))?;
        fs::rename(&path, &blob).map_err(at(&blob))?;
        sync_folder(&blob)?;
        self.link(name, expected)
    }

    /// Gives up an upload.
    ///
    /// # Errors
    /// When the repository has no such upload.
    pub fn cancel_upload(&self, name: &RepositoryName, id: Uuid) -> Result<(), Error> {
        let path = self.upload_path(name, id);
        fs::remove_file(&path).map_err(absent(&path, || unknown(id)))?;
        self.uploads.forget(id);
        Ok(())
    }

    /// Gives up the uploads that nobody has added to for `age`, and returns how many there were.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn expire_uploads(&self, age: Duration) -> Result<usize, Error> {
        let mut expired = 0;
        for name in self.repositories()? {
            let folder = self.repository(&name).join("_uploads");
            for id in names(&folder)?.iter().filter_map(|text| text.parse::<Uuid>().ok()) {
                let path = self.upload_path(&name, id);
                let touched = fs::metadata(&path).and_then(|found| found.modified()).ok();
                let idle = touched.and_then(|when| SystemTime::now().duration_since(when).ok());
                if idle.is_some_and(|idle| idle >= age) && self.cancel_upload(&name, id).is_ok() {
                    expired += 1;
                }
            }
        }
        Ok(expired)
    }

    /// Begins a blob whose content this process makes. It becomes part of a repository by [`Store::keep`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn stage(&self) -> Result<BlobWriter, Error> {
        let folder = self.staging_path();
        let file = tempfile::NamedTempFile::new_in(&folder).map_err(at(&folder))?;
        Ok(BlobWriter { file, hasher: Hasher::default(), bytes: 0, limit: self.limits.blob_bytes })
    }

    /// Makes staged content a blob of the repository.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(&self, name: &RepositoryName, staged: StagedBlob) -> Result<(), Error> {
        let _no_collection = self.collection.read().unwrap_or_else(PoisonError::into_inner);
        let blob = self.blob_path(staged.digest);
        create_folder(parent(&blob))?;
        staged.path.persist(&blob).map_err(|refused| at(&blob)(refused.error))?;
        sync_folder(&blob)?;
        self.link(name, staged.digest)
    }

    /// Makes a blob of any repository a blob of this one too; false when none holds it. For content that this machine
    /// fetches for itself: a client must name the repository, see [`Store::mount`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn adopt(&self, name: &RepositoryName, digest: Digest) -> Result<bool, Error> {
        let _no_collection = self.collection.read().unwrap_or_else(PoisonError::into_inner);
        let held = self.blob_path(digest).is_file();
        if held {
            self.link(name, digest)?;
        }
        Ok(held)
    }

    fn upload_path(&self, name: &RepositoryName, id: Uuid) -> PathBuf {
        self.repository(name).join("_uploads").join(id.to_string())
    }
}

/// A blob being written by this process; dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    file: tempfile::NamedTempFile,
    hasher: Hasher,
    bytes: u64,
    limit: u64,
}

/// A whole blob on disk that no repository holds yet; dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct StagedBlob {
    path: tempfile::TempPath,
    /// The content's digest.
    pub digest: Digest,
    /// The content's length.
    pub bytes: u64,
}

impl BlobWriter {
    /// Syncs the content and names it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(self) -> Result<StagedBlob, Error> {
        self.file.as_file().sync_all().map_err(at(self.file.path()))?;
        Ok(StagedBlob { path: self.file.into_temp_path(), digest: self.hasher.finish(), bytes: self.bytes })
    }
}

impl Write for BlobWriter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.saturating_add(piece.len() as u64) > self.limit {
            let error = Error::TooLarge { what: "the blob", limit: self.limit };
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
        }
        let length = self.file.write(piece)?;
        self.hasher.update(&piece[..length]);
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl StagedBlob {
    /// Where the content lies until it is kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn digest_of(file: &mut File) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&piece[..length]),
        }
    }
}
