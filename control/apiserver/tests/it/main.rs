//! The API as clients see it: its own HTTP service over a real store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in the functions beside it")]

mod admission;
mod bad_input;
mod certificates;
mod conversion;
mod custom_resources;
mod definitions;
mod evictions;
mod gateway;
mod hook;
mod identity;
mod legacy;
mod patches;
mod policies;
mod rbac;
mod relays;
mod rules;
mod server;
mod service;
mod service_accounts;
mod services;
mod sockets;
mod verbs;
mod webhooks;
