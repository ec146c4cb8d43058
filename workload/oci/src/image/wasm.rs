//! WebAssembly as an OCI artifact: a configuration that says what it is and one layer that is the file
//! (CNCF "Wasm OCI Artifact Layout").

use serde::Serialize;

use super::{Descriptor, Manifest};
use crate::{Digest, Error, RepositoryName, Store, Tag, media_type};

const MAGIC: &[u8] = b"\0asm";
const MODULE: &[u8] = &[1, 0, 0, 0];
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig {
    architecture: &'static str,
    os: &'static str,
    layer_digests: [Digest; 1],
}

/// Puts a WebAssembly component (or module) and tags it.
///
/// # Errors
/// When it is not WebAssembly, or the store refuses.
pub fn push_wasm(store: &Store, name: &RepositoryName, tag: &Tag, wasm: &[u8]) -> Result<Digest, Error> {
    let refused = |reason: &str| Error::NotWasm { reason: reason.to_owned() };
    let version = wasm.strip_prefix(MAGIC).and_then(|rest| rest.get(..4));
    let os = match version {
        Some(COMPONENT) => "wasip2",
        Some(MODULE) => "wasip1",
        Some(_) => return Err(refused("its version is unknown; build it with a current toolchain")),
        None => return Err(refused("it lacks the header of a binary; give a .wasm file, not its text form")),
    };
    let layer = store.put_blob(name, wasm)?;
    let config = WasmConfig { architecture: "wasm", os, layer_digests: [layer] };
    let config = serde_json::to_vec(&config).map_err(|error| super::invalid(error.to_string()))?;
    let digest = store.put_blob(name, &config)?;
    let config = Descriptor::new(media_type::WASM_CONFIG, digest, config.len() as u64);
    let layers = vec![Descriptor::new(media_type::WASM_LAYER, layer, wasm.len() as u64)];
    super::put(store, name, tag, media_type::OCI_MANIFEST, &Manifest::new(config, layers))
}

/// The WebAssembly of an artifact, if it is one. Older tools wrote other configurations before the same layer, and
/// their own type for it.
pub(super) fn layer(manifest: &Manifest) -> Option<&Descriptor> {
    let [layer] = manifest.layers.as_slice() else { return None };
    let kind = layer.media_type.as_str();
    matches!(kind, media_type::WASM_LAYER | media_type::OLD_WASM_LAYER).then_some(layer)
}
