//! The files of an image as a volume (KEP-4639).

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, ImageVolumeSource};
use xebec_oci::image::Content;
use xebec_oci::unpack::{UnpackLimits, unpack_merged};

use super::blocking;
use crate::Error;
use crate::pod::Life;
use crate::slot::{Role, Slot};

/// Brings the image here, and its files to `path`, where they are not yet.
pub(super) async fn prepare(
    life: &Arc<Life>,
    volume: &str,
    source: &ImageVolumeSource,
    path: &Path,
) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    let reference = source.reference.clone().unwrap_or_default();
    // It is pulled as a container's image is, with the pod's secrets and the same words.
    let wanted = Container {
        name: volume.to_owned(),
        image: Some(reference.clone()),
        image_pull_policy: source.pull_policy.clone(),
        ..Container::default()
    };
    let slot = Slot::new(life.clone(), Role::Volume, 0, wanted, life.halt.clone());
    let pulled = tokio::select! {
        // A pod that is to end does not wait for it.
        () = life.halt.cancelled() => {
            return Err(Error::Image { image: reference, detail: "the pod is to end".to_owned() });
        }
        pulled = slot.try_image(&reference) => pulled,
    };
    let (_, found) = pulled?;
    let Content::Container(config) = found.resolved.content.clone() else {
        return Err(Error::Config(format!("image {reference:?} has no files: name a container image")));
    };
    let store = life.node.options.store.clone();
    let path = path.to_owned();
    blocking(move || {
        // What is whole alone gets the name by which it is found.
        let partial = path.with_extension("partial");
        let failed = |source| Error::File { path: partial.clone(), source };
        match std::fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::fs::create_dir_all(&partial).map_err(failed)?;
        let manifest = &found.resolved.manifest;
        unpack_merged(&store, &found.name, manifest, &config, &partial, UnpackLimits::default())
            .map_err(|error| Error::Image { image: reference, detail: error.to_string() })?;
        std::fs::rename(&partial, &path).map_err(failed)
    })
    .await?
}
