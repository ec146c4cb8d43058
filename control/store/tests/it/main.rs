//! The store held to its promises: against a model, against SIGKILL, and against damaged files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod crash;
mod damage;
mod model;
mod watches;
