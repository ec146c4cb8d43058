//! Containers and their network as whoever uses the crate sees them. Needs root; without, each test says that it is
//! skipped.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up must fail")]

mod attachments;
mod containers;
mod guest;
mod house;
mod network;
