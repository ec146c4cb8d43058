use std::path::PathBuf;

/// Why a pod cannot be run as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API refused or could not be reached.
    #[error("the API refused: {0}")]
    Api(#[from] kube::Error),
    /// An image could not be brought here.
    #[error("failed to pull image {image:?}: {detail}")]
    Image {
        /// The image as the pod names it.
        image: String,
        /// What is wrong.
        detail: String,
    },
    /// An image's name is not one.
    #[error("Failed to apply default image tag {image:?}: couldn't parse image name {image:?}: {detail}")]
    ImageName {
        /// The image as the pod names it.
        image: String,
        /// What is wrong.
        detail: String,
    },
    /// An image that is not to be pulled is not here.
    #[error("Container image {image:?} is not present with pull policy of Never")]
    ImageAbsent {
        /// The image as the pod names it.
        image: String,
    },
    /// The pod refers to something that is not there.
    #[error("{0}")]
    Config(String),
    /// A volume cannot be made.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {detail}")]
    Mount {
        /// The volume's name.
        volume: String,
        /// What is wrong.
        detail: String,
    },
    /// Containers cannot be run on this machine.
    #[error("containers cannot run here: {0}; use a WebAssembly image, or give the privilege and restart")]
    Unprivileged(String),
    /// A container could not be made or watched.
    #[error("{0}")]
    Container(#[from] xebec_container::Error),
    /// A component could not be run.
    #[error("{0}")]
    Wasm(#[from] xebec_wasm::Error),
    /// A file could not be used.
    #[error("cannot use {path:?}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A container has not run before.
    #[error("previous terminated container {container:?} not found")]
    NoPrevious {
        /// The container.
        container: String,
    },
    /// A pod's address could not be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The work on this machine broke off.
    #[error("internal work broke off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

impl Error {
    /// Whether the container waits for something that may yet come, instead of having failed.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Api(_) | Self::Image { .. } | Self::Config(_) | Self::Unprivileged(_) | Self::File { .. }
        )
    }

    /// The reason in a container's waiting state, as the kubelet names it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Image { .. } => "ErrImagePull",
            Self::ImageName { .. } => "InvalidImageName",
            Self::ImageAbsent { .. } => "ErrImageNeverPull",
            Self::Config(_) => "CreateContainerConfigError",
            Self::Unprivileged(_) | Self::Container(_) => "CreateContainerError",
            _ => "RunContainerError",
        }
    }
}
