//! Why a volume is not made or removed.

use std::path::PathBuf;

/// Why a volume is not made or removed. It is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API refused or could not be reached.
    #[error("the API refused: {0}")]
    Api(#[from] kube::Error),
    /// A directory could not be made, read or removed.
    #[error("{path}: {source}: check the space and the permissions there")]
    Disk {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something else is mounted in a directory that is to be removed.
    #[error("{mount} is mounted within a volume that is to be removed: unmount it")]
    Mounted {
        /// The place of the mount.
        mount: PathBuf,
    },
    /// The place of a volume is not one that is made here.
    #[error("{path:?} is not the directory that was made for the volume {volume}: remove both by hand")]
    Elsewhere {
        /// The volume.
        volume: String,
        /// The place that it names.
        path: String,
    },
    /// The claim asks for something that a directory cannot be.
    #[error("{0}")]
    Unserved(String),
    /// A pass met a defect of this program.
    #[error(transparent)]
    Defect(#[from] xebec_follow::Defect),
    /// The work on this machine broke off.
    #[error("internal work broke off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}
