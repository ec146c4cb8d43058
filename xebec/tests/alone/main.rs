//! The program under attack. What is measured here wants the machine for itself, so these tests have a binary of their
//! own: cargo runs one binary after the other.

#[allow(dead_code, reason = "the tests beside this binary use the rest")]
#[path = "../it/cluster.rs"]
mod cluster;
#[path = "../it/hooks.rs"]
mod hooks;
mod hostility;
#[allow(dead_code, reason = "the tests beside this binary use the rest")]
#[path = "../it/running.rs"]
mod running;
