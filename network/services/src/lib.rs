//! Services for pods. Services, EndpointSlices and the ports that pods have of their machine come in by watches; the
//! [datapath](xebec_datapath) gets the translation that follows from them, all at once, and [cluster DNS](xebec_dns) its zone. What
//! cannot be translated is said by an event at its object. A [`Directory`] tells both to who is in this process.
//!
//! The behaviour is that of kube-proxy and of CoreDNS. The crate knows the client, and neither how packets are translated nor
//! how questions are answered.

mod directory;
mod name_server;
mod run;
mod translation;
mod world;
mod zone;

pub use directory::{Destination, Directory};
pub use name_server::announce;
pub use run::{Names, Options, run};
