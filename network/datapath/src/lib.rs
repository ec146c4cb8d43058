//! The addresses of services, in the kernel. Values come in: the services, who answers for each of their ports, and the ports
//! of the machine that are pods'. [`translate`] computes from them what is to become of every packet, and [`Table`] makes
//! the kernel do it: one table of nf_tables, written over netlink, that belongs to one pod network alone.
//!
//! The behaviour is that of Kubernetes' "Virtual IPs and Service Proxies": cluster IPs, node ports, external and balancer
//! addresses, policies of internal and external traffic, affinity by client, endpoints that end. A packet finds its service
//! in one hash lookup however many there are, and a change of one service touches that one's elements only.
//!
//! Beside it, a [`Filter`] lets between pods pass what a [plan](xebec_policy) allows: a table of its own, which is there only
//! while a pod is isolated.
//!
//! The crate knows no Kubernetes client, no pods as objects and no containers.

mod batch;
mod error;
mod expression;
mod filter;
mod flow;
mod frame;
mod held;
mod kernel;
mod plan;
mod service;
mod setting;
mod socket;
mod translation;

pub use error::Error;
pub use filter::{Bridge, Filter};
pub use kernel::{Place, Table, probe};
pub use service::{Endpoint, HostPort, Name, Policy, Protocol, Service, ServicePort, Stage, Subnet};
pub use translation::{Closed, Door, Front, Reason, Refusal, Target, Translation, Transport, translate};
