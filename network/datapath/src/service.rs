//! What the datapath is told: services, where they answer, and ports of the machine that are pods'.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;

use crate::Error;

/// What carries a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP, which is refused.
    Sctp,
}

/// How the traffic to some of a service's addresses is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Over all endpoints.
    #[default]
    Cluster,
    /// Over the endpoints of this machine; where there are none, nobody answers.
    Local,
}

/// How far an endpoint has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It serves.
    Ready,
    /// It ends, and serves until then: used where no other does.
    Ending,
}

/// One place where a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub address: SocketAddrV4,
    /// How far it has come.
    pub stage: Stage,
    /// Whether it is on this machine.
    pub is_local: bool,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// What carries it.
    pub protocol: Protocol,
    /// The port of the service's own addresses.
    pub port: u16,
    /// The port of all of the machine's addresses.
    pub node_port: Option<u16>,
    /// Who answers. Those that do not serve are left out.
    pub endpoints: Vec<Endpoint>,
}

/// The namespace and the name of an object. Neither holds a `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The namespace.
    pub namespace: String,
    /// The name in it.
    pub name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A service as far as addresses are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it is called.
    pub name: Name,
    /// Its addresses for pods and the machine.
    pub cluster_ips: Vec<Ipv4Addr>,
    /// Its addresses for everybody.
    pub external_ips: Vec<Ipv4Addr>,
    /// Its addresses for those whom `sources` names.
    pub balancer_ips: Vec<Ipv4Addr>,
    /// Whom the balancer's addresses are for; empty is everybody.
    pub sources: Vec<Subnet>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// For how long a client stays with the endpoint that it had last.
    pub affinity: Option<Duration>,
    /// How traffic to the cluster IPs is spread.
    pub internal: Policy,
    /// How traffic from elsewhere to all other addresses is spread.
    pub external: Policy,
}

/// A port of the machine that leads to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The pod.
    pub pod: Name,
    /// Which address of the machine; without, all of them.
    pub address: Option<Ipv4Addr>,
    /// What carries it.
    pub protocol: Protocol,
    /// The machine's port.
    pub port: u16,
    /// Where in the pod it leads.
    pub target: SocketAddrV4,
}

/// A range of addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    network: Ipv4Addr,
    length: u8,
}

impl Subnet {
    /// The range of `length` shared bits that an address is in; nothing where there are not that many bits.
    #[must_use]
    pub fn new(address: Ipv4Addr, length: u8) -> Option<Self> {
        let mask = mask(length)?;
        Some(Self { network: (u32::from(address) & mask).into(), length })
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & u32::from(self.mask()) == u32::from(self.network)
    }

    /// Its first address.
    #[must_use]
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// Ones where addresses are the same.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        mask(self.length).unwrap_or(u32::MAX).into()
    }
}

fn mask(length: u8) -> Option<u32> {
    (length <= 32).then(|| u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0))
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::SubnetSyntax { text: text.chars().take(100).collect() };
        let (address, length) = text.trim().split_once('/').ok_or_else(bad)?;
        Self::new(address.parse().map_err(|_| bad())?, length.parse().map_err(|_| bad())?).ok_or_else(bad)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_holds_what_shares_its_first_bits() {
        let subnet: Subnet = "10.244.3.77/24".parse().unwrap();
        assert_eq!(subnet.to_string(), "10.244.3.0/24");
        assert!(subnet.contains(Ipv4Addr::new(10, 244, 3, 255)));
        assert!(!subnet.contains(Ipv4Addr::new(10, 244, 4, 0)));
        assert!("0.0.0.0/0".parse::<Subnet>().unwrap().contains(Ipv4Addr::BROADCAST));
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/24", "::/64"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }
}
