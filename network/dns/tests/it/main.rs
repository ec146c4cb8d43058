//! Cluster DNS over real sockets of the loopback interface, with resolvers of the test's own behind it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod hostile;
mod questions;
