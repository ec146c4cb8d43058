//! Deployments: a ReplicaSet for each pod template, and how replicas move from the old ones to the new one.
//!
//! [`template`] tells which ReplicaSet carries the current template; [`rollout`] says how large each should be now;
//! [`decision`] makes changes of that; [`status`] says how far the Deployment is and [`progress`] whether it gets on.

pub mod decision;
pub mod progress;
mod reconcile;
pub mod rollout;
pub mod status;
pub mod template;

pub(crate) use reconcile::{RIGHTS, run};
