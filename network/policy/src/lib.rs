//! NetworkPolicies as values. What comes in: the policies of a cluster, its pods with their addresses and labels, and its
//! namespaces. What goes out: a [`Plan`], which says of each isolated pod of this machine, by address and for each direction, from
//! or to whom it may, and by which ports. A filter of packets follows it, without knowing of labels.
//!
//! The semantics are those of Kubernetes' `networking.k8s.io/v1`: pods that no policy selects are open; those that one
//! selects are closed in the directions that it is about, but for what any policy allows; a pod always reaches itself. What is
//! true of established connections and of the machine itself is a matter of whoever filters.
//!
//! The crate knows no Kubernetes client, no objects and no packets' formats.

mod plan;
mod policy;
mod range;
mod selector;

pub use plan::{Allowance, Packet, Plan, Way, Whom, plan};
pub use policy::{Numbers, Peer, Pod, PodPort, Policy, Port, Protocol, Rule};
pub use range::{Block, Range, RangeSyntax};
pub use selector::{Labels, Requirement, Selector};
