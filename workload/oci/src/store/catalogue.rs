//! What the store holds, by name: repositories, tags, and who refers to whom.

use std::fs;

use super::{Store, at, names};
use crate::{Digest, Error, RepositoryName, Selector, Tag, image::Descriptor};

/// Folders below `repositories` are followed this deep: a name of 255 bytes has at most 128 components.
const DEEPEST_NAME: usize = 128;

impl Store {
    /// The repositories that anything was ever put into, in order.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn repositories(&self) -> Result<Vec<RepositoryName>, Error> {
        let root = self.root.join("repositories");
        let mut found = Vec::new();
        let mut waiting = vec![(String::new(), 0)];
        while let Some((prefix, depth)) = waiting.pop() {
            let mut holds = false;
            for entry in names(&root.join(&prefix))? {
                if entry.starts_with('_') {
                    holds = true;
                } else if depth < DEEPEST_NAME {
                    let nested = if prefix.is_empty() { entry } else { format!("{prefix}/{entry}") };
                    waiting.push((nested, depth + 1));
                }
            }
            if holds {
                found.extend(prefix.parse::<RepositoryName>().ok());
            }
        }
        found.sort();
        Ok(found)
    }

    /// The repository's tags in order.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn tags(&self, name: &RepositoryName) -> Result<Vec<Tag>, Error> {
        // Files being written carry a leading dot, which no tag has.
        let mut tags: Vec<Tag> = names(&self.repository(name).join("_tags"))?
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        tags.sort();
        Ok(tags)
    }

    /// Whether anything was ever put into the repository.
    #[must_use]
    pub fn holds_repository(&self, name: &RepositoryName) -> bool {
        names(&self.repository(name)).is_ok_and(|entries| entries.iter().any(|entry| entry.starts_with('_')))
    }

    /// The repository's manifests.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn manifests(&self, name: &RepositoryName) -> Result<Vec<Digest>, Error> {
        let entries = names(&self.repository(name).join("_manifests"))?;
        Ok(entries.iter().filter_map(|hex| format!("sha256:{hex}").parse().ok()).collect())
    }

    /// Descriptors of the manifests that name `subject` as their subject, with the artifact type and annotations
    /// that each carries (distribution-spec, "Listing Referrers").
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn referrers(&self, name: &RepositoryName, subject: Digest) -> Result<Vec<Descriptor>, Error> {
        let folder = self.repository(name).join("_referrers").join(subject.hex());
        let mut found = Vec::new();
        for hex in names(&folder)? {
            let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
            match self.manifest(name, &Selector::Digest(digest)) {
                Ok((_, media_type, content)) => found.push(Descriptor::of_manifest(media_type, &content)?),
                // The link outlives its manifest for a moment when one is deleted.
                Err(Error::ManifestUnknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The length of a blob that the repository holds.
    ///
    /// # Errors
    /// When the repository does not hold it.
    pub fn blob_bytes(&self, name: &RepositoryName, digest: Digest) -> Result<u64, Error> {
        self.open_blob(name, digest)?;
        let path = self.blob_path(digest);
        Ok(fs::metadata(&path).map_err(at(&path))?.len())
    }
}
