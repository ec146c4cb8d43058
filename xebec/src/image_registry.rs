//! Which registry a reference means, and what goes there: content is made in a store of its own, then sent over HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tempfile::TempDir;
use xebec_oci::client::{Client, ClientOptions};
use xebec_oci::{Digest, Limits, Reference, RepositoryName, Selector, Store, Tag};

use crate::data_dir::{endpoints_of, start_again};
use crate::output::OutputArgs;
use crate::progress::Bar;

/// Reads a reference; one that names no registry has an empty one until [`place`] fills it in.
pub(crate) fn reference(text: &str) -> Result<Reference, xebec_oci::Error> {
    Reference::parse(text, "")
}

/// The registry of the instance that runs on `data`.
pub(crate) fn built_in(data: &Path) -> Result<SocketAddr> {
    endpoints_of(data)?.get("registry").copied().with_context(|| {
        format!(
            "the xebec on {} runs without its registry: start `xebec up` without `--without registry`",
            data.display()
        )
    })
}

/// Whether a reference's registry means the built-in one.
fn is_own(registry: &str) -> bool {
    matches!(registry, "" | "localhost" | "127.0.0.1")
}

/// Fills in the address of the built-in registry where the reference names none, or this machine without a port.
pub(crate) fn place(mut image: Reference, data: &Path) -> Result<Reference> {
    if is_own(&image.registry) {
        image.registry = built_in(data)?.to_string();
    }
    Ok(image)
}

/// A store that lasts as long as one command.
pub(crate) struct Workbench {
    /// The store.
    pub(crate) store: Arc<Store>,
    _folder: TempDir,
}

impl Workbench {
    /// An empty one.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary directory; set TMPDIR")?;
        let store = Store::open(folder.path(), Limits::default())?;
        Ok(Self { store: Arc::new(store), _folder: folder })
    }

    /// Makes an image with `make`, sends it where `to` says, and prints what it is.
    pub(crate) async fn send(
        self,
        to: Reference,
        data: &Path,
        output: OutputArgs,
        make: impl FnOnce(&Store, &RepositoryName, &Tag) -> Result<Digest> + Send + 'static,
    ) -> Result<()> {
        let Selector::Tag(tag) = to.selector() else {
            bail!("an image is pushed under a tag: leave `@sha256:…` out, for example {}:v1", to.name);
        };
        // Found first, so that nothing is made in vain.
        let is_named = !is_own(&to.registry);
        let to = place(to, data)?;
        let (store, name, made) = (Arc::clone(&self.store), to.name.clone(), tag.clone());
        let bar = Bar::new("making the image");
        let digest = tokio::task::spawn_blocking(move || make(&store, &name, &made)).await??;
        bar.turn_to("pushing");
        Client::with_watcher(ClientOptions::default(), bar.watcher())
            .push(&self.store, &to.name, &Selector::Tag(tag.clone()), &to)
            .await
            .with_context(|| match is_named {
                true => format!("cannot push to the registry {}", to.registry),
                false => format!("cannot push to the registry {} ({})", to.registry, start_again(data)),
            })?;
        drop(bar);
        // The port may be another one after the next start; by this name pods and commands find the image at any.
        let registry = if is_named { to.registry.clone() } else { "localhost".to_owned() };
        let image = Reference { tag: Some(tag), digest: None, registry, ..to };
        output.print(&json!({"image": image.to_string(), "digest": digest.to_string()}), || {
            format!("{image}@{digest}")
        })
    }
}
