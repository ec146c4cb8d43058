//! CronJobs: a Job at each time of a schedule.
//!
//! [`schedule`] reads a schedule and finds its times, [`decision`] says which Job is due and which go. The name of a Job
//! tells the time that it is for, so that a Job is made once however often a pass is repeated.

pub mod decision;
mod reconcile;
pub mod schedule;

pub(crate) use reconcile::{RIGHTS, run};
