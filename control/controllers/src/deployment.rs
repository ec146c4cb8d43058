//! Deployments: a ReplicaSet for each pod template, and how replicas move from the old ones to the new one.
//!
//! [`template`] tells which ReplicaSet carries the current template; [`rollout`] says how large each should be now.

mod reconcile;
pub mod rollout;
pub mod template;

pub(crate) use reconcile::run;
