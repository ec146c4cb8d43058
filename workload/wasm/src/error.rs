//! What can be wrong with a component, its cache or its options.

use std::{io, path::PathBuf};

use crate::Kind;

/// Why a component could not be compiled, served or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The digest is not of the form that names cached code.
    #[error("{digest:?} is not a digest: expected sha256: and 64 lowercase hexadecimal digits")]
    Digest {
        /// What was given.
        digest: String,
    },

    /// The bytes are not the ones that the digest names.
    #[error("the content of {digest} hashes to {actual}: fetch it again, it was damaged on its way")]
    DigestMismatch {
        /// What was asked for.
        digest: String,
        /// What the bytes hash to.
        actual: String,
    },

    /// The bytes are not WebAssembly at all.
    #[error("{digest} is not WebAssembly: {found}; build a component (for Rust: --target wasm32-wasip2)")]
    NotWasm {
        /// Which content.
        digest: String,
        /// What it looks like instead.
        found: String,
    },

    /// The bytes are a core module.
    #[error(
        "{digest} is a core WebAssembly module, not a component: \
         build for wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule {
        /// Which content.
        digest: String,
    },

    /// The bytes call themselves a component but do not validate.
    #[error("{digest} is not a valid component: {reason}")]
    Malformed {
        /// Which content.
        digest: String,
        /// What the validator says.
        reason: String,
    },

    /// The component is larger than the host compiles.
    #[error(
        "{digest} has {size} bytes, the host compiles at most {limit}: strip it, or raise max_component_size"
    )]
    TooLarge {
        /// Which content.
        digest: String,
        /// How large it is.
        size: usize,
        /// The limit in force.
        limit: usize,
    },

    /// The component imports something that the host does not give.
    #[error("{digest} cannot be linked: {reason}; the host gives WASI 0.2 and 0.3, and wasi:http")]
    Import {
        /// Which content.
        digest: String,
        /// Which import.
        reason: String,
    },

    /// The component has no way in that the host knows.
    #[error(
        "{digest} exports neither wasi:http/incoming-handler (0.2), wasi:http/handler (0.3) nor wasi:cli/run; \
         it exports {exports}"
    )]
    NoEntry {
        /// Which content.
        digest: String,
        /// What it does export.
        exports: String,
    },

    /// A command was to be served, or a service to be run to its end.
    #[error("{digest} is {kind}: {remedy}")]
    WrongKind {
        /// Which content.
        digest: String,
        /// What it is.
        kind: Kind,
        /// What to do with such a one.
        remedy: &'static str,
    },

    /// The component could not be brought to life under the given options.
    #[error("{digest} does not start: {reason}")]
    Start {
        /// Which content.
        digest: String,
        /// Why not.
        reason: String,
    },

    /// A command ended without an exit code.
    #[error("{digest} failed: {reason}")]
    Trap {
        /// Which content.
        digest: String,
        /// Where and why.
        reason: String,
    },

    /// An option has no sensible meaning.
    #[error("{name}: {reason}")]
    Option {
        /// Which option.
        name: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },

    /// A volume's directory could not be opened.
    #[error("volume {} cannot be opened: {reason}", path.display())]
    Volume {
        /// The directory on the host.
        path: PathBuf,
        /// The system's word.
        reason: String,
    },

    /// The engine could not be made.
    #[error(
        "the WebAssembly engine does not start: {reason}; lower `instances` where address space is scarce"
    )]
    Engine {
        /// The engine's word.
        reason: String,
    },

    /// The cache of compiled code could not be used.
    #[error("the cache of compiled code at {}: {source}", path.display())]
    Cache {
        /// Which file or directory.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn cache(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Cache { path: path.into(), source }
    }
}
