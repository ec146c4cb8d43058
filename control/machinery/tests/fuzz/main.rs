//! What reads bytes and objects from outside, under random and mutated ones: it may refuse them, and it comes back.
//!
//! `XEBEC_FUZZ_SECONDS` sets how long each test tries; `XEBEC_FUZZ_SEED` repeats a run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in the functions beside it")]

mod dice;
mod patches;
mod protobuf;
mod text;
