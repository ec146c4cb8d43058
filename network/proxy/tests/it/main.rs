//! The engine over real sockets, with real peers where they are at hand.

// The helpers of an integration test stand outside its test functions.
#![allow(clippy::unwrap_used)]

mod authorization;
mod domains;
mod explain;
mod framing;
mod fuzz;
mod http2;
mod lifecycle;
mod peers;
mod retries;
mod routing;
mod slow;
mod streams;
mod tls;
mod traffic;
mod upgrade;
