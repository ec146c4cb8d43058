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
use crate::{Digest, Error, RepositoryName, Selector, image::Links};

/// What a collection freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong with the repositories from which nothing was removed, for people.
    pub damaged: Vec<String>,
}

impl Store {
    /// Removes what no manifest needs and nobody has touched for `age`.
    ///
    /// A repository with a manifest that cannot be read keeps all that it has, since what that one needs cannot be known.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn collect(&self, age: Duration) -> Result<Collected, Error> {
        let _alone = self.collection.write().unwrap_or_else(PoisonError::into_inner);
        let mut live = BTreeSet::new();
        let mut damaged = Vec::new();
        for name in self.repositories()? {
            live.extend(self.manifests(&name)?);
            let needed = self.needed(&name).map_err(|error| damaged.push(format!("{name}: {error}"))).ok();
            let folder = self.repository(&name).join("_blobs");
            for hex in names(&folder)? {
                let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
                let link = folder.join(&hex);
                let is_needed = needed.as_ref().is_none_or(|needed| needed.contains(&digest));
                if is_needed || younger(&link, age) {
                    live.insert(digest);
                } else {
                    disk::remove_if_present(&link)?;
                }
            }
        }
        Ok(Collected { damaged, ..self.sweep(&live, age)? })
    }

    /// The blobs that a repository's manifests name.
    fn needed(&self, name: &RepositoryName) -> Result<BTreeSet<Digest>, Error> {
        let mut needed = BTreeSet::new();
        for digest in self.manifests(name)? {
            match self.manifest(name, &Selector::Digest(digest)) {
                Ok((_, _, content)) => needed.extend(Links::parse(&content)?.blobs),
                // Deleted since it was listed.
                Err(Error::ManifestUnknown { .. }) if !self.manifests(name)?.contains(&digest) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(needed)
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
