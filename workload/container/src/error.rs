use std::{
    io,
    path::{Path, PathBuf},
};

/// What can go wrong with containers and their network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A container's identifier is malformed.
    #[error(
        "{text:?} cannot name a container: use 1 to 128 letters, digits, `_`, `.` and `-`, starting with a letter or digit"
    )]
    IdSyntax {
        /// The text, cut short.
        text: String,
    },
    /// There is a container of that name.
    #[error("container {id} exists: delete it first or use another name")]
    Exists {
        /// The container.
        id: String,
    },
    /// A container cannot be what was asked for.
    #[error("container {id}: {reason}")]
    Refused {
        /// The container.
        id: String,
        /// What is wrong, and the remedy where there is one.
        reason: String,
    },
    /// A container is not in the state that this needs.
    #[error("container {id} {state}")]
    State {
        /// The container.
        id: String,
        /// What it is instead.
        state: &'static str,
    },
    /// A container's streams are out of reach.
    #[error(
        "container {id} was begun by a version that lets nobody attach: look at its log, or begin it anew"
    )]
    NotAttachable {
        /// The container.
        id: String,
    },
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] xebec_oci::Error),
    /// The kernel refused something about the network.
    #[error("{what}: {source}")]
    Network {
        /// What was tried.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A pod cannot have identities of its own.
    #[error("a user namespace cannot be made: {source}: run the pod with `hostUsers: true`")]
    UserNamespace {
        /// Why.
        source: io::Error,
    },
    /// No address is left.
    #[error("no address is left in {range}: delete pods or choose a larger range")]
    AddressesExhausted {
        /// The range.
        range: String,
    },
    /// An address range is malformed.
    #[error("{text:?} is not a range of pod addresses: write ADDRESS/LENGTH, IPv4, length 8 to 29")]
    RangeSyntax {
        /// The text, cut short.
        text: String,
    },
    /// The disk or the kernel refused.
    #[error("{path}: {source}: check the space and the permissions there")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the disk or the kernel says of a path.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Disk { path: path.to_owned(), source }
}
