//! Whole expressions and rules against what Kubernetes says of them.

#![allow(clippy::unwrap_used, reason = "what a helper unwraps ends its test")]

#[path = "../../examples/answer/answering.rs"]
mod answering;
mod gateway;
mod hostile;
mod outside;
mod properties;
#[path = "../../examples/answer/rendering.rs"]
mod rendering;
mod upstream;
