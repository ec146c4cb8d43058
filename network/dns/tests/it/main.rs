//! Cluster DNS over real sockets of the loopback interface, with resolvers of the test's own behind it.

mod hostile;
mod questions;
