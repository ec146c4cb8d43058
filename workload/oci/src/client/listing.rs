//! What another registry holds.

use super::{Client, Remote, remote_error};
use crate::{
    Digest, Error, Reference, Selector,
    image::{Index, Manifest, is_index, is_wasm},
};

/// Names asked for at once.
const PAGE: usize = 500;
/// The largest manifest that is read for a listing.
const MANIFEST_BYTES: u64 = 4 << 20;

/// What kind of thing a tag stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An image of a file system.
    Container,
    /// A WebAssembly component or module.
    Wasm,
    /// Several images, one a platform.
    Index,
}

/// One tag of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Registry, name and tag.
    pub image: Reference,
    /// What the tag stands for now.
    pub digest: Digest,
    /// What kind of thing that is.
    pub kind: Kind,
    /// Bytes of its configuration and layers as they are stored; for an index, of its manifests.
    pub bytes: u64,
}

impl Client {
    /// The tags of a registry by name, at most `most` of them.
    ///
    /// # Errors
    /// When the registry does not give its catalogue, or what it gives is malformed.
    pub async fn list(&self, registry: &str, most: usize) -> Result<Vec<Listed>, Error> {
        // The catalogue is of no repository, but the library asks for one.
        let whole = self.remote(&Reference::parse("catalogue", registry)?)?;
        let mut listed = Vec::new();
        let mut last: Option<String> = None;
        loop {
            let any = whole.reference(&Selector::Tag("latest".parse()?));
            let page = whole.client.catalog(&any, &whole.auth, Some(PAGE), last.as_deref()).await;
            let page = page.map_err(|error| remote_error(&format!("listing {registry}"), error))?;
            for name in &page.repositories {
                let name = Reference::parse(name, registry)?;
                self.list_repository(&name, most, &mut listed).await?;
                if listed.len() >= most {
                    return Ok(listed);
                }
            }
            // A page that leads nowhere new would be asked for forever.
            let next = page.repositories.last().cloned();
            if page.repositories.len() < PAGE || next == last {
                return Ok(listed);
            }
            last = next;
        }
    }

    async fn list_repository(
        &self,
        repository: &Reference,
        most: usize,
        listed: &mut Vec<Listed>,
    ) -> Result<(), Error> {
        let remote = self.remote(repository)?;
        let mut last: Option<String> = None;
        loop {
            let any = remote.reference(&repository.selector());
            let page = remote.client.list_tags(&any, &remote.auth, Some(PAGE), last.as_deref()).await;
            let what = format!("listing the tags of {}/{}", repository.registry, repository.name);
            let page = page.map_err(|error| remote_error(&what, error))?;
            for tag in &page.tags {
                if listed.len() >= most {
                    return Ok(());
                }
                let image = Reference { tag: Some(tag.parse()?), ..repository.clone() };
                listed.push(describe(&remote, image).await?);
            }
            let next = page.tags.last().cloned();
            if page.tags.len() < PAGE || next == last {
                return Ok(());
            }
            last = next;
        }
    }
}

async fn describe(remote: &Remote, image: Reference) -> Result<Listed, Error> {
    let what = format!("fetching {image}");
    let (kind, content) = remote.manifest(&image.selector(), MANIFEST_BYTES, &what).await?;
    let digest = Digest::of(&content);
    let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0_u64, u64::saturating_add);
    if is_index(&kind) {
        let index = Index::parse(&content)?;
        let bytes = sum(&mut index.manifests.iter().map(|one| one.size));
        return Ok(Listed { image, digest, kind: Kind::Index, bytes });
    }
    let manifest = Manifest::parse(&content)?;
    let kind = if is_wasm(&manifest) { Kind::Wasm } else { Kind::Container };
    let bytes = sum(&mut manifest.layers.iter().chain([&manifest.config]).map(|one| one.size));
    Ok(Listed { image, digest, kind, bytes })
}
