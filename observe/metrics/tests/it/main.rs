//! The crate seen from outside: random expositions, and the API asked by Prometheus' own tools.

#![allow(clippy::unwrap_used, reason = "what a helper unwraps ends its test")]

mod api;
mod fuzz;
mod oracle;
mod rules;
mod scrape;
mod server;
