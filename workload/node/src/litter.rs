//! What images leave on disk when they are gone: their unpacked layers.

use std::sync::Arc;
use std::time::Duration;

use xebec_oci::image;

use crate::Error;
use crate::agent::{Containers, Node};

/// How often it is removed.
const PERIOD: Duration = Duration::from_secs(60 * 60);

/// Removes it again and again.
pub(crate) async fn sweep(node: Arc<Node>) {
    let Ok(containers) = node.containers() else { return };
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Err(error) = sweep_once(&node, containers).await {
            tracing::warn!(%error, "cannot remove the layers of images that are gone; trying again later");
        }
    }
}

async fn sweep_once(node: &Node, containers: &Containers) -> Result<(), Error> {
    let store = node.options.store.clone();
    let kept = tokio::task::spawn_blocking(move || image::layers(&store)).await?;
    let kept = kept.map_err(xebec_container::Error::from)?;
    Ok(containers.runtime.retain_layers(kept).await?)
}
