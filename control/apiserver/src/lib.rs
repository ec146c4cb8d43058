//! The Kubernetes HTTP API over the store and the machinery.
//!
//! What comes in: HTTP requests as Kubernetes clients send them. What goes out: objects, lists, watch streams, or a
//! `Status` that says what was wrong. This crate owns the meaning of URLs, query parameters and storage keys, and the way of
//! an object from a request to the store; it must not know how objects are patched or validated (the machinery does) nor
//! what controllers do with them. It follows the "Kubernetes API Concepts" reference and the API conventions.
//!
//! The way of a request: [`request`] reads its URL, [`authenticate`], [`impersonation`] and [`policy`] say who may, [`service`] picks the
//! verb, [`codec`] reads its body, [`write`], [`patch`], [`delete`], [`read`] and [`watch`] do it over [`storage`], and
//! [`view`] shows what came of it.

mod admission;
mod advertisement;
pub mod aggregation;
pub mod api;
pub mod audit;
pub mod authenticate;
pub mod authorizer;
mod backoff;
mod bodies;
mod bootstrap;
pub mod call;
pub mod catalog;
mod certificates;
pub mod cluster_ip;
pub mod codec;
mod completion;
pub mod components;
mod compression;
mod conversion;
pub mod convert;
mod course;
pub mod definitions;
pub mod delete;
mod devices;
pub mod error;
mod escalation;
mod eviction;
pub mod fairness;
mod field_order;
mod flow_control;
mod follow;
mod follower;
mod health;
pub mod impersonation;
mod intake;
mod ip_address;
pub mod jwt;
pub mod key;
mod labour;
mod log_options;
pub mod node_port;
pub mod object;
pub mod openapi;
pub mod options;
mod pages;
pub mod patch;
pub mod pki;
pub mod pods;
mod policies;
pub mod policy;
mod raw;
pub mod rbac;
pub mod read;
mod relay;
mod release;
mod reply;
pub mod request;
pub mod review;
mod roles;
pub mod select;
pub mod serve;
pub mod service;
pub mod service_account;
mod service_address;
mod service_cidr;
mod service_shape;
mod slices;
pub mod storage;
pub mod strategy;
mod streams;
pub mod subresource;
mod transcription;
mod upgrades;
pub mod usage;
pub mod view;
pub mod watch;
mod world;
pub mod write;

pub use error::Error;
pub use xebec_admission::user;
