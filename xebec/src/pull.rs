//! `xebec pull`: WebAssembly out of a registry into a file, or an image of another registry into the built-in one.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use xebec_oci::client::{Client, ClientOptions};
use xebec_oci::image::{Content, Platform, resolve};
use xebec_oci::{Reference, Selector};

use crate::image_registry::{Workbench, built_in, place, reference};

/// What `pull` takes.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The image, as `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`; without a host the built-in registry's.
    #[arg(value_name = "REF", value_parser = reference)]
    image: Reference,
    /// Write the WebAssembly of the artifact here, instead of copying the image to the built-in registry.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The data directory of the instance.
    #[arg(long, value_name = "DIR", default_value = ".xebec")]
    data: PathBuf,
}

/// Pulls and prints the digest.
pub(crate) async fn run(args: PullArgs) -> Result<()> {
    let from = place(args.image, &args.data)?;
    let bench = Workbench::new()?;
    let client = Client::new(ClientOptions::default());
    let platform = Platform::host();
    let digest = client
        .pull(&from, &bench.store, &from.name, None, Some(&platform))
        .await
        .with_context(|| format!("cannot pull from the registry {}", from.registry))?;
    if let Some(output) = args.output {
        let found = resolve(&bench.store, &from.name, &Selector::Digest(digest), &platform)?;
        let Content::Wasm(layer) = found.content else {
            bail!("{} is a container image, not WebAssembly: pull it without --output", from.name);
        };
        let mut blob = bench.store.open_blob(&from.name, layer.digest)?;
        File::create(&output)
            .and_then(|mut file| io::copy(&mut blob, &mut file))
            .with_context(|| format!("cannot write {}", output.display()))?;
    } else {
        let to = Reference { registry: built_in(&args.data)?.to_string(), ..from.clone() };
        if to.registry != from.registry {
            client.push(&bench.store, &from.name, &Selector::Digest(digest), &to).await?;
        }
    }
    println!("{digest}");
    Ok(())
}
