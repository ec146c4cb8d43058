//! Pods as who declares them sees them: created through the API, run by the node, told of in statuses, events and logs.
//! Containers need root; without, each test says that it is skipped.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up must fail")]

mod claims;
mod cluster;
mod companions;
mod exec;
#[path = "../../../container/tests/it/guest.rs"]
mod guest;
mod lifecycle;
mod node;
mod probes;
mod pulling;
mod restart;
mod users;
mod volumes;
