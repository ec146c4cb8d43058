//! DaemonSets: a pod on each node that admits it.
//!
//! [`placement`] says which nodes do, [`decision`] which pods are made and which go, also where the template changed.

pub mod decision;
pub mod placement;
mod reconcile;

pub(crate) use reconcile::{RIGHTS, run};
