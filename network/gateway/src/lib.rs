//! Gateway API v1: GatewayClasses, Gateways and HTTPRoutes become the configuration of the proxy, and their statuses
//! say what came of them.
//!
//! What comes in: the objects, by a `kube::Client`. What goes out: an [`xebec_proxy::config::Config`] and the statuses
//! that changed. [`translate`] decides all of it as a function of a [`Snapshot`], without clock, client or socket;
//! [`run`] is the loop round it. The crate reads no request: that is the proxy's business. It serves the classes of
//! [`CONTROLLER`] and leaves the others alone.
//!
//! Gateways share one listen address. Those that ask for the same port are served together, by hostname.

mod backend;
mod condition;
mod filter;
mod gateway;
mod hostname;
mod route;
mod rule;
mod run;
mod snapshot;
mod translation;

pub use run::run;
pub use snapshot::{Options, Snapshot};
pub use translation::{Status, Translation, translate};

/// The controller's name, as a GatewayClass gives it.
pub const CONTROLLER: &str = "xebec.dev/gateway";
