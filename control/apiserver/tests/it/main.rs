//! The API as clients see it: its own HTTP service over a real store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in the functions beside it")]

mod admission;
mod aggregation;
mod at_rest;
mod bad_input;
mod bodies;
mod certificates;
mod conversion;
mod custom_resources;
mod definitions;
mod depth;
mod encodings;
mod evictions;
mod extension;
mod flow_control;
mod gateway;
mod hook;
mod identity;
mod legacy;
mod logs;
mod media;
mod patches;
mod policies;
mod rbac;
mod refusals;
mod relays;
mod rules;
mod server;
mod service;
mod service_accounts;
mod service_ranges;
mod services;
mod sockets;
mod transcription;
mod upgrades;
mod verbs;
mod watches;
mod webhooks;
