//! May this object in, and how changed: the stages between the decoding of a request and its storage.
//!
//! What comes in: a [`Request`] (who wants to do what with which object), the object, the one that it replaces, and a
//! [`World`] in which stages look up what they need to know. What goes out: the object as the stages changed it, or the
//! [`Status`](xebec_machinery::status::Status) with which one of them refused it; beside that the warnings in [`Notes`],
//! and the [`Companions`] of the write, which are stored with it or not at all.
//!
//! A [`Chain`] holds the stages in their order. First each [`Mutation`] has its turn, then each [`Validation`] judges what
//! came of it. The built-in stages are those of Kubernetes 1.36 in its order and with its words; further policy engines
//! join as stages of their own. A stage does not know the store, keeps no state of a request, and gets everything that it
//! reads from the world, parsed. Only the webhooks reach beyond this process.

pub mod chain;
pub mod companions;
pub mod notes;
pub mod object;
pub mod passes;
pub mod registration;
pub mod request;
pub mod stage;
pub mod type_check;
pub mod user;
pub mod world;

mod class;
mod expression;
mod in_use;
mod lifecycle;
mod limit_range;
mod matching;
mod pod_resources;
mod pod_security;
mod policy;
mod priority;
mod quota;
mod runtime_class;
#[cfg(test)]
mod sample;
mod service_account;
mod toleration;
mod webhook;

pub use chain::Chain;
pub use companions::Companions;
pub use notes::Notes;
pub use request::{Kind, Operation, Request, Resource};
pub use stage::{Case, Mutation, Outcome, Validation};
pub use user::User;
pub use webhook::{Client, roots};
pub use world::{Listing, World};
