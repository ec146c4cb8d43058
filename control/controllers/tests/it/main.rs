//! The controllers against a real API in this process, through a client that fails as networks and servers do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod auditor;
mod cluster;
mod faults;
mod node;

mod autoscaler;
mod certificates;
mod cron_job;
mod daemon_set;
mod deployment;
mod devices;
mod election;
mod garbage;
mod job;
mod namespace;
mod policies;
mod services;
mod stateful_set;
mod transport;
mod volumes;

/// The seeds that a test runs with: one of the environment's choice, or a few.
fn seeds() -> Vec<u64> {
    match std::env::var("XEBEC_SEED") {
        Ok(seed) => vec![seed.parse().expect("XEBEC_SEED is a number")],
        Err(_) => vec![1, 2, 3],
    }
}
