//! The program from outside: the house's rules, and the built binary driven as its users drive it.

mod busybox;
mod client;
mod cluster;
mod console;
mod controllers;
mod corpus;
mod demo;
mod devices;
mod doors;
mod figures;
mod gateways;
#[allow(dead_code, reason = "the tests that are alone use the rest")]
mod hooks;
mod images;
mod kills;
mod kubectl;
mod metrics;
mod policies;
#[allow(dead_code, reason = "the tests that are alone use the rest")]
mod running;
mod services;
mod starts;
mod up;
mod volumes;
