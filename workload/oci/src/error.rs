use std::{io, path::PathBuf};

use crate::Digest;

/// What can go wrong with images and their content.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A digest's text is malformed.
    #[error("{text:?} is not a digest: write sha256: and 64 lower-case hexadecimal digits")]
    DigestSyntax {
        /// The text, cut short.
        text: String,
    },
    /// A repository's name is malformed.
    #[error("{text:?} is not a repository name: use lower-case path components, at most 255 bytes")]
    NameSyntax {
        /// The text, cut short.
        text: String,
    },
    /// A tag is malformed.
    #[error(
        "{text:?} is not a tag: use up to 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`"
    )]
    TagSyntax {
        /// The text, cut short.
        text: String,
    },
    /// The content is not what its digest says.
    #[error("the content has digest {found}, not {expected}: send it again or correct the digest")]
    DigestMismatch {
        /// What the sender claimed.
        expected: Digest,
        /// What arrived.
        found: Digest,
    },
    /// The content is larger than allowed.
    #[error("{what} is larger than the limit of {limit} bytes: make it smaller or raise the limit")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// An upload's chunk does not continue where the last one ended.
    #[error("the upload holds {held} bytes, the chunk starts at {start}: continue at {held}")]
    OffsetMismatch {
        /// Bytes already held.
        held: u64,
        /// Where the chunk claims to start.
        start: u64,
    },
    /// There is no such upload.
    #[error("upload {id:?} is unknown: it ended or never began, so begin a new one")]
    UploadUnknown {
        /// The upload's identifier.
        id: String,
    },
    /// The blob is not in the repository.
    #[error("blob {digest} is not in the repository: push it first")]
    BlobUnknown {
        /// The blob.
        digest: Digest,
    },
    /// The manifest is not in the repository.
    #[error("manifest {selector} is not in the repository: push it first")]
    ManifestUnknown {
        /// Tag or digest.
        selector: String,
    },
    /// The manifest cannot be understood.
    #[error("the manifest is invalid: {reason}")]
    ManifestInvalid {
        /// What is wrong with it.
        reason: String,
    },
    /// An index has no manifest for the platform.
    #[error("{image} has no manifest for {wanted}: build or pull it for that platform")]
    NoPlatform {
        /// The image.
        image: String,
        /// The operating system and processor.
        wanted: String,
    },
    /// A file system cannot become a layer.
    #[error("{path}: {reason}")]
    BuildRefused {
        /// Where.
        path: PathBuf,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// An archive does not hold an image.
    #[error("{archive}: {reason}")]
    ArchiveInvalid {
        /// The archive.
        archive: PathBuf,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A file is not WebAssembly.
    #[error("this is not WebAssembly: {reason}")]
    NotWasm {
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A layer cannot be unpacked.
    #[error("layer {layer}: {reason}")]
    LayerInvalid {
        /// The layer's digest.
        layer: Digest,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// Another registry did not give or take what was asked.
    #[error("{what}: {source}")]
    Remote {
        /// What was tried, with which image.
        what: String,
        /// What the registry or the network said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk refused.
    #[error("{path}: {source}: {}", remedy(source))]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What helps against a refusal of the disk.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space there",
        io::ErrorKind::NotFound => "check the name",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "check the permissions there",
        _ => "check the disk, and the permissions there",
    }
}
