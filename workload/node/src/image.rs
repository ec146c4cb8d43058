//! Which image a pod means.

use std::sync::Arc;

use xebec_oci::image::{Content, Platform, Resolved, resolve};
use xebec_oci::{Reference, RepositoryName, Store};

use crate::Error;

/// An image that is in the registry.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) name: RepositoryName,
    pub(crate) resolved: Resolved,
}

impl Found {
    pub(crate) fn is_wasm(&self) -> bool {
        matches!(self.resolved.content, Content::Wasm(_))
    }
}

/// The registry that a name without one means: this program's own.
const OWN: &str = "localhost";

/// Finds an image in the built-in registry. A name that leads to another registry is looked up with that registry as the
/// first part of its repository, then without it, so that images of any origin can be loaded under their own names.
pub(crate) fn find(store: &Arc<Store>, image: &str) -> Result<Found, Error> {
    let refused = |detail: String| Error::Image { image: image.to_owned(), detail };
    let reference = Reference::parse(image, OWN).map_err(|error| refused(error.to_string()))?;
    let host = reference.registry.split(':').next().unwrap_or_default().to_owned();
    let own = matches!(host.as_str(), OWN | "127.0.0.1");
    let full = (!own).then(|| format!("{host}/{}", reference.name.as_str()).parse().ok()).flatten();
    let names = full.into_iter().chain([reference.name.clone()]);
    let mut last = None;
    for name in names {
        match resolve(store, &name, &reference.selector(), &Platform::host()) {
            Ok(resolved) => return Ok(Found { name, resolved }),
            Err(error) => last = Some(error),
        }
    }
    Err(refused(last.map_or_else(|| "it has no name".to_owned(), |error| error.to_string())))
}

/// The pause before an image is looked for again.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(2);

impl crate::slot::Slot {
    /// The container's image, as soon as it is here. Nothing when the container is to end first.
    pub(crate) async fn image(&self) -> Option<Found> {
        loop {
            match find(&self.life.node.options.store, self.container.image.as_deref().unwrap_or_default()) {
                Ok(found) => {
                    self.change(|progress| progress.image_id = found.resolved.digest.to_string());
                    let image = self.container.image.as_deref().unwrap_or_default();
                    let message = format!("Container image {image:?} already present on machine");
                    self.note(crate::event::Kind::Normal, "Pulled", message);
                    return Some(found);
                }
                Err(error) => self.waiting(error.reason(), error.to_string()),
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}
