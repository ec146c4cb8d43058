//! Pods on this machine: from the API to running, and back.
//!
//! What comes in: Pods, by a `kube::Client`, and images, from the built-in registry. What goes out: running containers and
//! WebAssembly components, and the Pods' status as the kubelet writes it. A pod whose images are all WebAssembly runs in
//! this process at an address of its own on the loopback interface; any other pod runs as containers in a network
//! namespace of its own, where the machine gives the privilege for that, and its components, if it has any, listen there.
//! This crate knows no store and no other controller; that a pod belongs to a ReplicaSet is nothing to it.

mod adoption;
mod agent;
mod component;
mod credentials;
mod devices;
mod duration;
mod environment;
mod error;
mod event;
pub mod exec;
mod grpc_health;
mod handler;
mod heartbeat;
mod image;
mod litter;
mod log_writer;
pub mod logs;
mod machine;
pub mod meter;
mod place;
mod pod;
mod probe;
mod process;
mod pull;
mod quantity;
mod resolution;
mod scheduler;
mod security;
mod service_links;
mod slot;
mod state;
mod taint;
mod termination;
mod vigil;
mod volumes;
mod wasm;

pub use agent::{ClusterDns, Containers, Covers, NamesOf, Options, run};
pub use error::Error;
