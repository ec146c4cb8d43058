//! What a plan is made of: policies, and the pods that they are about.

use std::net::Ipv4Addr;

use crate::{Block, Labels, Selector};

/// What carries a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of a pod that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPort {
    /// The name.
    pub name: String,
    /// What carries it.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
}

/// A pod that has an address of its own. Those that share the machine's network, and those that have ended, are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Labels,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its named ports.
    pub ports: Vec<PodPort>,
    /// Whether it is on this machine.
    pub is_here: bool,
}

impl Pod {
    /// The number of a named port.
    pub(crate) fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let port = self.ports.iter().find(|port| port.name == name && port.protocol == protocol);
        port.map(|port| port.number)
    }
}

/// A policy: the pods that it isolates, and what they may nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its namespace, whose pods it is about.
    pub namespace: String,
    /// Which of these.
    pub pods: Selector,
    /// What may reach them, if it isolates them from what comes.
    pub ingress: Option<Vec<Rule>>,
    /// What they may reach, if it isolates them from what they ask for.
    pub egress: Option<Vec<Rule>>,
}

/// One allowance of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// From or to whom; without, from or to anybody.
    pub peers: Option<Vec<Peer>>,
    /// By which of the destination's ports; without, by any, and by what has none.
    pub ports: Option<Vec<Port>>,
}

/// Some who may reach a pod, or be reached by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Pods.
    Pods {
        /// Of which namespaces; without, of the policy's.
        namespaces: Option<Selector>,
        /// Which of these.
        pods: Selector,
    },
    /// Whoever has these addresses.
    Block(Block),
}

/// Some ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What carries them.
    pub protocol: Protocol,
    /// Which.
    pub numbers: Numbers,
}

/// Which ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Every one.
    All,
    /// From the first to the last.
    Range(u16, u16),
    /// What the pod that is reached calls so.
    Named(String),
}
