//! The controllers of the built-in kinds: what each decides, as functions of the objects that it saw, and the loops that
//! act on it.
//!
//! What comes in: objects, by a `kube::Client`. What goes out: the changes to make and the status to write. A decision knows
//! neither clock nor client, so each is tested against values, and every state that a missed event could leave behind is
//! just another value. The loops are level-triggered: each pass reads what there is and takes the next step. Nothing here
//! reaches the store: changes go through the Kubernetes API like anybody's, so [`run`] works on any cluster.

pub mod autoscaler;
pub mod binder;
pub mod certificates;
pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
pub mod disruption;
mod drive;
pub mod election;
pub mod endpoints;
pub mod ephemeral;
mod error;
mod events;
pub mod garbage;
mod informer;
pub mod job;
pub mod namespace;
pub mod node;
mod outline;
mod owner;
mod pod;
mod protection;
pub mod quota;
pub mod replica_set;
mod resource_claim;
mod revision;
mod rights;
mod run;
mod served;
pub mod stateful_set;
mod time;

pub use error::Error;
pub use rights::rules;
pub use run::{Controller, Settings, run, run_with};
