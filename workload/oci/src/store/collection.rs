//! Garbage: blobs that no manifest needs.
//!
//! A repository's blob stays while one of its manifests names it, or while it is young: a client pushes blobs first and
//! the manifest last. Bytes stay while any repository links them.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use super::{Store, at, disk, names};
use crate::{Digest, Error, Selector, image::Links};

/// What a collection freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes what no manifest needs and nobody has touched for `age`.
    ///
    /// # Errors
    /// When a manifest cannot be read (nothing is then removed from its repository) or the disk refuses.
    pub fn collect(&self, age: Duration) -> Result<Collected, Error> {
        let _alone = self.collection.write().unwrap_or_else(PoisonError::into_inner);
        let mut live = BTreeSet::new();
        for name in self.repositories()? {
            let mut needed = BTreeSet::new();
            for digest in self.manifests(&name)? {
                live.insert(digest);
                let (_, _, content) = self.manifest(&name, &Selector::Digest(digest))?;
                needed.extend(Links::parse(&content)?.blobs);
            }
            let folder = self.repository(&name).join("_blobs");
            for hex in names(&folder)? {
                let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
                let link = folder.join(&hex);
                if needed.contains(&digest) || younger(&link, age) {
                    live.insert(digest);
                } else {
                    disk::remove_if_present(&link)?;
                }
            }
        }
        self.sweep(&live, age)
    }

    fn sweep(&self, live: &BTreeSet<Digest>, age: Duration) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        let root = self.root.join("blobs/sha256");
        for prefix in names(&root)? {
            let folder = root.join(prefix);
            for hex in names(&folder)? {
                let path = folder.join(&hex);
                // A name that is no digest is a write that a crash cut off.
                let kept = format!("sha256:{hex}").parse().is_ok_and(|digest: Digest| live.contains(&digest));
                if kept || younger(&path, age) {
                    continue;
                }
                collected.bytes += fs::metadata(&path).map_err(at(&path))?.len();
                collected.blobs += 1;
                disk::remove_if_present(&path)?;
            }
        }
        Ok(collected)
    }
}

/// Whether the file was made or linked less than `age` ago. A clock that went backwards makes it young.
fn younger(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|found| found.modified());
    modified.is_ok_and(|when| SystemTime::now().duration_since(when).map_or(true, |idle| idle < age))
}
