//! `xebec pull`: WebAssembly out of a registry into a file, or an image of another registry into the built-in one.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;
use xebec_oci::client::{Client, ClientOptions};
use xebec_oci::image::{Content, Platform, resolve};
use xebec_oci::{Reference, Selector};

use crate::image_registry::{Workbench, built_in, place, reference};
use crate::output::OutputArgs;
use crate::progress::Bar;

/// What `pull` takes.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The image, as `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`; without a host the built-in registry's.
    #[arg(value_name = "REF", value_parser = reference)]
    image: Reference,
    /// Write the WebAssembly of the artifact here, instead of copying the image to the built-in registry.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The data directory of the instance.
    #[arg(long, value_name = "DIR", default_value = ".xebec")]
    data: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Pulls and prints the digest.
pub(crate) async fn run(args: PullArgs) -> Result<()> {
    let from = place(args.image, &args.data)?;
    let bench = Workbench::new()?;
    let bar = Bar::new("pulling");
    let client = Client::with_watcher(ClientOptions::default(), bar.watcher());
    let platform = Platform::host();
    let digest = client
        .pull(&from, &bench.store, &from.name, None, Some(&platform))
        .await
        .with_context(|| format!("cannot pull from the registry {}", from.registry))?;
    if let Some(file) = &args.file {
        let found = resolve(&bench.store, &from.name, &Selector::Digest(digest), &platform)?;
        let Content::Wasm(layer) = found.content else {
            bail!("{} is a container image, not WebAssembly: pull it without --file", from.name);
        };
        let mut blob = bench.store.open_blob(&from.name, layer.digest)?;
        File::create(file)
            .and_then(|mut out| io::copy(&mut blob, &mut out))
            .with_context(|| format!("cannot write {}", file.display()))?;
    } else {
        let to = Reference { registry: built_in(&args.data)?.to_string(), ..from.clone() };
        if to.registry != from.registry {
            bar.turn_to("pushing to the built-in registry");
            client.push(&bench.store, &from.name, &Selector::Digest(digest), &to).await?;
        }
    }
    drop(bar);
    let result = json!({"image": from.to_string(), "digest": digest.to_string(), "file": args.file});
    args.output.print(&result, || digest.to_string())
}
