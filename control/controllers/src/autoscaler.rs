//! HorizontalPodAutoscalers: how many pods a workload should have, by what its pods use.
//!
//! [`proposal`] finds the number by one metric, [`limits`] keeps it within what the user allows and what happened lately,
//! `metrics` reads what pods use from the `metrics.k8s.io` API, whoever serves it.

pub mod limits;
mod metrics;
pub mod proposal;
mod reconcile;
mod status;
mod weighing;

pub(crate) use reconcile::{RIGHTS, run};
