//! `xebec push`: a WebAssembly file becomes an artifact in a registry.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use wasmparser::{Validator, WasmFeatures};
use xebec_oci::Reference;
use xebec_oci::image::push_wasm;

use crate::image_registry::{Workbench, reference};
use crate::output::OutputArgs;

/// Files larger than this are not WebAssembly that anything here would run.
const MOST_BYTES: u64 = 1 << 30;

/// What `push` takes.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The WebAssembly component, in its binary form. A core module is stored too, but pods run components alone.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Its name, as `[HOST[:PORT]/]NAME[:TAG]`; without a host the built-in registry's, without a tag `latest`.
    #[arg(value_name = "REF", value_parser = reference)]
    image: Reference,
    /// The data directory of the instance.
    #[arg(long, value_name = "DIR", default_value = ".xebec")]
    data: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Pushes the file and prints the reference with its digest.
pub(crate) async fn run(args: PushArgs) -> Result<()> {
    let file = args.file;
    let make = move |store: &_, name: &_, tag: &_| {
        let size = std::fs::metadata(&file).with_context(|| format!("cannot read {}", file.display()))?.len();
        anyhow::ensure!(size <= MOST_BYTES, "{} is larger than {MOST_BYTES} bytes", file.display());
        let wasm = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        // What is no WebAssembly at all is refused below.
        if wasm.starts_with(b"\0asm") {
            Validator::new_with_features(WasmFeatures::all()).validate_all(&wasm).with_context(|| {
                format!("{} is broken WebAssembly, maybe cut off: build it again", file.display())
            })?;
        }
        push_wasm(store, name, tag, &wasm).with_context(|| format!("cannot push {}", file.display()))
    };
    Workbench::new()?.send(args.image, &args.data, args.output, make).await
}
