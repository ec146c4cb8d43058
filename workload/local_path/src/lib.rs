//! Volumes out of directories of this machine.
//!
//! What comes in: claims that ask [`PROVISIONER`] for a volume, by a `kube::Client`. What goes out: for each a directory
//! below one that is this crate's own, and a PersistentVolume that says where it is; once the claim is gone, and if the volume's
//! policy says so, neither. The directory is made before the volume and removed before it, and each step is one that may be taken
//! twice, so a process that is killed anywhere leaves nothing that the next does not finish. Nothing outside of a volume's
//! own directory is ever removed.
//!
//! The behaviour is that of external provisioners of Kubernetes, and the layout that of Rancher's local-path provisioner.
//! The crate knows neither who matches claims with volumes nor who mounts them: they meet in objects.

mod class;
mod error;
mod folder;
mod run;
mod volume;

pub use class::announce;
pub use error::Error;
pub use run::{Options, run};

/// The name by which classes and claims ask for these volumes.
pub const PROVISIONER: &str = "xebec.dev/local-path";
