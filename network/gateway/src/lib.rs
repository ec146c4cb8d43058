//! Gateway API v1: GatewayClasses, Gateways, ListenerSets, routes of every protocol and policies become the configuration
//! of the proxy, and their statuses say what came of them.
//!
//! What comes in: the objects, by a `kube::Client`. What goes out: an [`xebec_proxy::config::Config`] and the statuses
//! that changed. [`translate`] decides all of it as a function of a [`Snapshot`], without clock, client or socket;
//! [`run`] is the loop round it. The crate reads no request: that is the proxy's business. It serves the classes of
//! [`CONTROLLER`] and leaves the others alone.
//!
//! Ingresses of the classes of [`INGRESS_CONTROLLER`] are served too, together, as one Gateway would serve them.
//!
//! Each Gateway has addresses of its own: those that it asks for, else one of [`Options::pool`]. Of Gateways that ask
//! for one place the oldest has it.

mod account;
mod address;
mod backend;
mod class;
mod condition;
mod filter;
mod gateway;
mod grant;
mod grpc_rule;
mod hostname;
mod http_rule;
mod ingress;
mod listener;
mod material;
mod policy;
mod route;
mod rule;
mod run;
mod snapshot;
mod status;
mod stream_rule;
mod translation;
mod world;

pub use ingress::INGRESS_CONTROLLER;
pub use run::run;
pub use snapshot::{Options, Place, Pool, Snapshot, Unbound, served_port};
pub use translation::{Notice, Said, Status, Translation, translate};

/// The controller's name, as a GatewayClass gives it.
pub const CONTROLLER: &str = "xebec.dev/gateway";
