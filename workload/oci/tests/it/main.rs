//! The registry and the client of other registries, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up must fail")]

mod exchange;
mod registry;
