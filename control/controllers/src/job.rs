//! Jobs: pods that run until enough of them have succeeded.
//!
//! Each pod carries a finalizer until it was counted, so none is lost and none counts twice: first its uid is written into
//! `status.uncountedTerminatedPods`, then its finalizer goes, then it moves from the uids to the counts. [`decision`] takes
//! the next of these steps; [`policy`] judges failures and successes by the Job's rules; [`indexes`] are the parts that an
//! indexed Job has done.

pub mod conditions;
pub mod decision;
pub mod indexes;
mod orphans;
pub mod pods;
pub mod policy;
mod reconcile;

pub(crate) use reconcile::{RIGHTS, run};

/// Keeps a pod until its Job has counted it.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
