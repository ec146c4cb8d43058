//! `xebec image`: images without another tool.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use xebec_oci::Reference;
use xebec_oci::client::{Client, ClientOptions, Kind, Listed};
use xebec_oci::image::{BuildRequest, LoadLimits, Platform, Rootfs, RunConfig, build, load};

use crate::data_dir::start_again;
use crate::image_registry::{Workbench, built_in, reference};
use crate::output::{OutputArgs, bytes, table, tell};

/// No listing is longer.
const MOST_LISTED: usize = 10_000;

/// What `image` does.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Make an image of a directory or a tar archive and push it.
    ///
    /// The same files and settings give the same digest. Example:
    /// `xebec image build --rootfs ./root --tag shop:v1 --entrypoint /shop --env PORT=8080`
    Build(BuildArgs),
    /// Push the image of an archive: an OCI layout as tar, or the output of `docker save`.
    Load(LoadArgs),
    /// List the images of the built-in registry.
    List(ListArgs),
}

/// What `image build` takes.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The image's files: a directory, or a tar archive.
    #[arg(long, value_name = "DIR|TAR")]
    rootfs: PathBuf,
    /// The image's name; without a host the built-in registry's.
    #[arg(long, value_name = "REF", value_parser = reference)]
    tag: Reference,
    /// A word of the command's fixed part; repeat it for more.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// A default argument; repeat it for more.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// A variable of the environment; repeat it for more.
    #[arg(long, value_name = "K=V", value_parser = variable)]
    env: Vec<String>,
    /// Where the command starts.
    #[arg(long, value_name = "PATH", default_value = "")]
    workdir: String,
    /// The data directory of the instance.
    #[arg(long, value_name = "DIR", default_value = ".xebec")]
    data: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// What `image load` takes.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The archive.
    file: PathBuf,
    /// The image's name; without a host the built-in registry's.
    #[arg(long, value_name = "REF", value_parser = reference)]
    tag: Reference,
    /// The data directory of the instance.
    #[arg(long, value_name = "DIR", default_value = ".xebec")]
    data: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// What `image list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The data directory of the instance.
    #[arg(long, value_name = "DIR", default_value = ".xebec")]
    data: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

fn variable(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("write it as NAME=value".to_owned()),
    }
}

/// Does what was typed.
pub(crate) async fn run(command: ImageCommand) -> Result<()> {
    match command {
        ImageCommand::Build(args) => {
            if !args.rootfs.exists() {
                bail!(
                    "{} does not exist: name the directory, or the tar archive, of the image's files with --rootfs",
                    args.rootfs.display()
                );
            }
            let rootfs =
                if args.rootfs.is_dir() { Rootfs::Directory(args.rootfs) } else { Rootfs::Tar(args.rootfs) };
            let config = RunConfig {
                env: args.env,
                entrypoint: args.entrypoint,
                cmd: args.cmd,
                working_dir: args.workdir,
                ..RunConfig::default()
            };
            let request = BuildRequest { rootfs, config, platform: Platform::host() };
            let make = move |store: &_, name: &_, tag: &_| Ok(build(store, name, tag, &request)?);
            Workbench::new()?.send(args.tag, &args.data, args.output, make).await
        }
        ImageCommand::Load(args) => {
            let file = args.file;
            let make = move |store: &_, name: &_, tag: &_| {
                load(store, name, tag, &file, LoadLimits::default())
                    .with_context(|| format!("cannot load {}", file.display()))
            };
            Workbench::new()?.send(args.tag, &args.data, args.output, make).await
        }
        ImageCommand::List(args) => list(&args).await,
    }
}

async fn list(args: &ListArgs) -> Result<()> {
    let registry = built_in(&args.data)?.to_string();
    let listed = Client::new(ClientOptions::default())
        .list(&registry, MOST_LISTED)
        .await
        .with_context(|| format!("cannot list the registry {registry} ({})", start_again(&args.data)))?;
    if listed.len() == MOST_LISTED {
        tell(&format!("only the first {MOST_LISTED} images are shown"));
    }
    let kind = |one: &Listed| match one.kind {
        Kind::Container => "container",
        Kind::Wasm => "wasm",
        Kind::Index => "index",
    };
    let value = |one: &Listed| {
        json!({
            "repository": one.image.name.as_str(),
            "tag": one.image.selector().to_string(),
            "digest": one.digest.to_string(),
            "kind": kind(one),
            "bytes": one.bytes,
        })
    };
    args.output.print(&listed.iter().map(value).collect::<Vec<_>>(), || {
        let row = |one: &Listed| {
            let (name, tag) = (one.image.name.to_string(), one.image.selector().to_string());
            [name, tag, kind(one).to_owned(), bytes(one.bytes), one.digest.to_string()]
        };
        table(["REPOSITORY", "TAG", "KIND", "SIZE", "DIGEST"], &listed.iter().map(row).collect::<Vec<_>>())
    })
}
