//! PodDisruptionBudgets: how many pods may be missing now.
//!
//! Whoever evicts pods asks the status that is kept here; [`budget`] works it out.

pub mod budget;
mod reconcile;

pub(crate) use reconcile::{RIGHTS, run};
