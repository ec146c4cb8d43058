//! The datapath against the kernel: translation with real sockets between pods, in a network namespace of the test's own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod filter;
mod house;
mod services;
