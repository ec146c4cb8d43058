//! Services for pods. Services, EndpointSlices and the ports that pods have of their machine come in by watches; the
//! [datapath](xebec_datapath) gets the translation that follows from them, all at once. What cannot be translated is said by an
//! event at its object.
//!
//! The behaviour is kube-proxy's. The crate knows the client, and neither sockets nor how packets are translated.

mod run;
mod translation;
mod world;

pub use run::{Options, run};
