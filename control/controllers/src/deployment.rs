//! Deployments: a ReplicaSet for each pod template, and how replicas move from the old ones to the new one.
//!
//! [`template`] tells which ReplicaSet carries the current template; [`rollout`] says how large each should be now.

pub mod rollout;
pub mod template;
