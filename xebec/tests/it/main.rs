//! The program from outside: the house's rules, and the built binary driven as its users drive it.

mod client;
mod cluster;
mod console;
mod controllers;
mod corpus;
mod demo;
mod doors;
mod figures;
mod gateways;
mod images;
mod kubectl;
mod running;
mod services;
mod starts;
mod up;
