//! What reads and runs expressions from outside, under random and mutated ones: it may refuse them, it stops at the limit
//! that it was given, and it comes back.
//!
//! `XEBEC_FUZZ_SECONDS` sets how long each test tries; `XEBEC_FUZZ_SEED` repeats a run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in the functions beside it")]

mod expressions;
mod grammar;
mod patterns;
mod rules;
