//! Cluster DNS. A [`Zone`] comes in: the services of a cluster, with their addresses, ports and endpoints. A [`Server`] answers
//! from it over UDP and TCP, and asks the machine's own resolvers for every other name.
//!
//! Names are those of the Kubernetes DNS specification, version 1.1.0; where that leaves a choice, the answer is that of
//! CoreDNS. Messages follow RFC 1035, RFC 2308, RFC 2782, RFC 6891 and RFC 7766.
//!
//! A zone is compiled whole and swapped whole, between two questions. The crate knows no Kubernetes client: it gets values.

mod answer;
mod error;
mod forward;
mod question;
mod resolvers;
mod server;
mod zone;

pub use error::Error;
pub use resolvers::Resolvers;
pub use server::{Limits, Server};
pub use zone::{Endpoint, Known, Port, Protocol, Scope, Service, Zone};
