//! ResourceQuotas: how much of what they limit is in use.
//!
//! [`usage`] adds up; whoever admits objects compares. The status is brought up to date whenever something that counts comes
//! or goes, and every so often for kinds that nobody watches here.

mod reconcile;
pub mod usage;

pub(crate) use reconcile::{RIGHTS, run};
