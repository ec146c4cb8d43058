//! StatefulSets: pods with names and claims of their own, made and ended in order.
//!
//! [`identity`] makes the pod of an ordinal and its claims; [`decision`] says which step comes next.

pub mod decision;
pub mod identity;
mod reconcile;

pub(crate) use reconcile::{RIGHTS, run};
