//! NetworkPolicies for the pods of this machine. NetworkPolicies come in by a watch and, once there is one, pods and namespaces
//! by others; the [datapath's filter](xebec_datapath::Filter) gets the [plan](xebec_policy::plan) that follows from them, all at
//! once. Whoever starts pods announces each by [`Arrivals`] and waits until it is covered, so that it sends no packet before.
//!
//! The crate knows the client, and neither what policies mean nor how packets are filtered. Pods that share the machine's
//! network are no one's matter here.

mod arrival;
mod run;
mod translation;
mod world;

pub use arrival::{Arrivals, Expected, arrivals};
pub use run::{Options, run};
