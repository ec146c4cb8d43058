//! Compiled code on disk: one file a component and engine.
//!
//! ```text
//! DIR/engine-HASH/SHA256-HEX.cwasm      mode 0600, in directories of mode 0700
//!
//! offset  size
//!      0     8  "XBCWASM1"
//!      8    32  SHA-256 of all that follows
//!     40     8  length of the code, little endian
//!     48     …  the code, as the engine serialized it
//! ```
//!
//! HASH stands for everything that makes compiled code fit an engine: its version, its settings and the machine. A file
//! is written under a temporary name and renamed; whatever a crash leaves of it, its checksum tells. An entry that is not
//! exactly what was written is removed and its component compiled anew: the cache is never the only place of anything,
//! so nothing waits for the disk.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use crate::Error;

const MAGIC: &[u8; 8] = b"XBCWASM1";
const HEADER: usize = 48;
const ENGINE_PREFIX: &str = "engine-";
const ENTRY_SUFFIX: &str = "cwasm";
/// `O_NOFOLLOW` of Linux, the one system that has these components and containers side by side.
const O_NOFOLLOW: i32 = 0o400_000;

/// The entries of one engine.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    /// Our own user, as the file system sees it.
    owner: u32,
    /// Above this many bytes of entries the least recently used go.
    limit: u64,
}

impl Cache {
    /// Opens the engine's directory below `root`, and removes what engines of other versions left there.
    pub(crate) fn open(root: &Path, engine: &Engine, limit: u64) -> Result<Self, Error> {
        let directory = root.join(format!("{ENGINE_PREFIX}{:016x}", compatibility(engine)));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|source| Error::cache(&directory, source))?;
        // The owner of a file that we have just made is us: no system call for it is needed.
        let probe = tempfile::tempfile_in(&directory).and_then(|file| file.metadata());
        let owner = probe.map_err(|source| Error::cache(&directory, source))?.uid();
        let cache = Self { directory, owner, limit };
        cache.remove_leftovers(root);
        Ok(cache)
    }

    /// Whether there is an entry, good or bad.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Loads an entry, or says that there is none that can be used.
    pub(crate) fn load(&self, engine: &Engine, name: &str) -> Option<Component> {
        let path = self.path(name);
        match self.read(&path) {
            Ok(entry) => match load_compiled(engine, &entry[HEADER..]) {
                Ok(component) => {
                    touch(&path);
                    return Some(component);
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), error = %error, "compiled code does not fit the engine");
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => tracing::warn!(path = %path.display(), %error, "compiled code is damaged"),
        }
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "damaged compiled code stays");
        }
        None
    }

    /// Keeps compiled code. What fails here costs the next start a compilation and nothing else.
    pub(crate) fn keep(&self, name: &str, code: &[u8]) -> Result<(), Error> {
        let path = self.path(name);
        self.write(&path, code).map_err(|source| Error::cache(&path, source))?;
        self.make_room(&path);
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name).with_extension(ENTRY_SUFFIX)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != self.owner || metadata.mode() & 0o077 != 0 {
            return Err(io::Error::other("it is not a file of ours that nobody else may open"));
        }
        let mut entry = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        file.read_to_end(&mut entry)?;
        check(&entry).map_err(io::Error::other)?;
        Ok(entry)
    }

    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let length = u64::try_from(code.len()).map_err(io::Error::other)?.to_le_bytes();
        // A named temporary file has mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(MAGIC)?;
        file.write_all(&checksum(&length, code))?;
        file.write_all(&length)?;
        file.write_all(code)?;
        file.persist(path)?;
        Ok(())
    }

    /// Removes the least recently used entries until the rest fits, but never the one just kept.
    fn make_room(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in entries {
            if total <= self.limit {
                return;
            }
            if path != newest && fs::remove_file(&path).is_ok() {
                total -= length;
            }
        }
    }

    /// Compiled code of other engines is of no use, nor are files that a crash left half written.
    fn remove_leftovers(&self, root: &Path) {
        for entry in fs::read_dir(root).into_iter().flatten().filter_map(Result::ok) {
            let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(ENGINE_PREFIX));
            if ours && entry.path() != self.directory {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        for entry in fs::read_dir(&self.directory).into_iter().flatten().filter_map(Result::ok) {
            if entry.path().extension().is_none_or(|extension| extension != ENTRY_SUFFIX) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Turns bytes of our own making back into code.
#[allow(unsafe_code, reason = "the one door by which compiled code comes back from disk")]
fn load_compiled(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be what this program's engine serialized, unaltered. They come from a file that our user
    // owns and nobody else may open (`Cache::read` checks the owner and mode of the open file), under a directory of mode
    // 0700, and their SHA-256 is the one written with them. They are read into memory first, so the file may change
    // meanwhile. The engine itself refuses code of another version or of other settings.
    unsafe { Component::deserialize(engine, code) }
}

fn check(entry: &[u8]) -> Result<(), &'static str> {
    let (header, code) = entry.split_at_checked(HEADER).ok_or("it is cut off")?;
    if &header[..8] != MAGIC {
        return Err("it does not begin as an entry does");
    }
    if u64::try_from(code.len()).is_ok_and(|length| header[40..] != length.to_le_bytes()) {
        return Err("its length is not the one written in it");
    }
    if header[8..40] != checksum(&header[40..], code) {
        return Err("its checksum does not match");
    }
    Ok(())
}

fn checksum(length: &[u8], code: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(length).chain_update(code).finalize().into()
}

/// Marks the entry as used now; where that fails it merely ages.
fn touch(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn kept() -> (tempfile::TempDir, Engine, Cache) {
        let root = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(root.path(), &engine, u64::MAX).unwrap();
        let code = Component::from_binary(&engine, EMPTY_COMPONENT).unwrap().serialize().unwrap();
        cache.keep("a", &code).unwrap();
        (root, engine, cache)
    }

    #[test]
    fn what_was_kept_is_found_again_by_another_opening() {
        let (root, engine, _) = kept();
        let reopened = Cache::open(root.path(), &engine, u64::MAX).unwrap();
        assert!(reopened.load(&engine, "a").is_some());
        assert!(reopened.load(&engine, "b").is_none());
    }

    #[test]
    fn any_flipped_byte_and_any_cut_is_noticed_and_the_entry_removed() {
        let (_root, engine, cache) = kept();
        let path = cache.path("a");
        let entry = fs::read(&path).unwrap();
        for place in [0, 8, 39, 40, 47, HEADER, entry.len() / 2, entry.len() - 1] {
            let mut flipped = entry.clone();
            flipped[place] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert!(cache.load(&engine, "a").is_none(), "a flipped byte at {place} went unnoticed");
            assert!(!path.exists());
            cache.write(&path, &entry[HEADER..]).unwrap();
        }
        for length in [0, 7, HEADER - 1, HEADER, entry.len() - 1] {
            fs::write(&path, &entry[..length]).unwrap();
            assert!(cache.load(&engine, "a").is_none(), "a cut at {length} went unnoticed");
            cache.write(&path, &entry[HEADER..]).unwrap();
        }
        assert!(cache.load(&engine, "a").is_some());
    }

    #[test]
    fn a_file_that_others_may_write_or_a_link_is_not_trusted() {
        let (root, engine, cache) = kept();
        let path = cache.path("a");
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o666);
        fs::set_permissions(&path, permissions).unwrap();
        assert!(cache.load(&engine, "a").is_none());

        let code = Component::from_binary(&engine, EMPTY_COMPONENT).unwrap().serialize().unwrap();
        let elsewhere = root.path().join("elsewhere");
        cache.write(&elsewhere, &code).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(cache.load(&engine, "a").is_none());
    }

    #[test]
    fn code_of_another_engine_is_refused_and_swept_at_the_next_start() {
        let (root, engine, cache) = kept();
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        assert!(cache.load(&other, "a").is_none());
        let swept = cache.directory.clone();
        Cache::open(root.path(), &other, u64::MAX).unwrap();
        assert!(!swept.exists());
        drop(engine);
    }

    #[test]
    fn the_least_recently_used_make_room() {
        let (root, engine, cache) = kept();
        let code = Component::from_binary(&engine, EMPTY_COMPONENT).unwrap().serialize().unwrap();
        let entry = (code.len() + HEADER) as u64;
        let cache = Cache { limit: 2 * entry, ..cache };
        cache.keep("b", &code).unwrap();
        let old = SystemTime::now() - std::time::Duration::from_secs(3600);
        File::open(cache.path("b")).unwrap().set_modified(old).unwrap();
        cache.keep("c", &code).unwrap();
        assert!(cache.path("a").exists() && cache.path("c").exists());
        assert!(!cache.path("b").exists());
        drop(root);
    }
}
