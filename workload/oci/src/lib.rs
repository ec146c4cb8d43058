//! OCI images: how content is named, checked, kept and served.
//!
//! In come blobs and manifests, out come the same bytes under the same digest, after any crash. The store knows
//! directories and digests; it knows neither Kubernetes nor how content is run. It follows the OCI image
//! specification 1.1 and the OCI distribution specification 1.1.

mod archive;
pub mod client;
mod digest;
mod error;
pub mod image;
pub mod media_type;
mod reference;
mod registry;
pub mod store;
pub mod unpack;

pub use digest::{Digest, Hasher};
pub use error::Error;
pub use reference::{Reference, RepositoryName, Selector, Tag};
pub use registry::{Registry, RegistryLimits};
pub use store::{BlobWriter, Collected, Limits, StagedBlob, Store};
