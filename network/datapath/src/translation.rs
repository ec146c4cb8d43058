//! What the kernel is to do with the addresses of services, as a value: computed from all services at once, compared with
//! what stands, and asked by whoever has no kernel to do it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::service::{Endpoint, HostPort, Name, Policy, Protocol, Service, ServicePort, Stage, Subnet};

/// What carries a port that is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Its number in an IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl Protocol {
    fn transport(self) -> Option<Transport> {
        match self {
            Self::Tcp => Some(Transport::Tcp),
            Self::Udp => Some(Transport::Udp),
            Self::Sctp => None,
        }
    }
}

/// A port of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Front {
    /// The address.
    pub address: Ipv4Addr,
    /// What carries the port.
    pub transport: Transport,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.address, self.port, self.transport)
    }
}

/// A port of every address of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Door {
    /// What carries the port.
    pub transport: Transport,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}/{} of the machine", self.port, self.transport)
    }
}

/// What is said to a client where nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closed {
    /// That the port is unreachable.
    Reject,
    /// Nothing: others may answer there, only none of this machine.
    Drop,
}

/// One step of a packet's way, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// To one of the endpoints, by chance, or to the one that the client had last.
    Spread { transport: Transport, endpoints: Vec<SocketAddrV4>, affinity: Option<Duration> },
    /// From pods and the machine itself to `inside`, from others to `local` or nowhere.
    Outside { inside: String, local: Option<String> },
    /// On to `next` from some addresses, nowhere from others.
    Guarded { sources: Vec<Subnet>, next: String },
}

/// What becomes of the packets to each address of each service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// The cluster IPs: for own pods and the machine.
    pub(crate) cluster: BTreeMap<Front, String>,
    /// Addresses for everybody.
    pub(crate) external: BTreeMap<Front, String>,
    /// Ports of the machine.
    pub(crate) doors: BTreeMap<Door, String>,
    pub(crate) closed_cluster: BTreeMap<Front, Closed>,
    pub(crate) closed_external: BTreeMap<Front, Closed>,
    pub(crate) closed_doors: BTreeMap<Door, Closed>,
    pub(crate) chains: BTreeMap<String, Chain>,
    /// Pods that answer for services: one that asks itself sees the machine ask.
    pub(crate) hairpins: BTreeSet<Ipv4Addr>,
    /// Endpoints that answer to others than the machine only by another way than they were asked.
    pub(crate) foreign: BTreeSet<Front>,
}

/// Why something of a service or a pod is not translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The service or the pod.
    pub of: Name,
    /// Whether it is a pod's.
    pub is_pods: bool,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// SCTP is not translated.
    Sctp {
        /// The port.
        port: u16,
    },
    /// Another has it.
    Taken {
        /// What it is.
        what: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Sctp { port } => {
                write!(f, "port {port} of {} is not served: SCTP is not supported; use TCP or UDP", self.of)
            }
            Reason::Taken { what } => {
                write!(
                    f,
                    "{what} stays with another: {} does not get it; choose another port or address",
                    self.of
                )
            }
        }
    }
}

/// What is at a service's address, for who goes there without the kernel's help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// It is no service's.
    None,
    /// A service without endpoints has it.
    Closed,
    /// One of the service's endpoints.
    At(SocketAddrV4),
}

impl Translation {
    /// Where a connection to a cluster IP may go: `choose` picks one of so many endpoints.
    pub fn target(
        &self,
        address: SocketAddrV4,
        transport: Transport,
        choose: impl FnOnce(usize) -> usize,
    ) -> Target {
        let front = Front { address: *address.ip(), transport, port: address.port() };
        if self.closed_cluster.contains_key(&front) {
            return Target::Closed;
        }
        match self.cluster.get(&front).and_then(|name| self.chains.get(name)) {
            Some(Chain::Spread { endpoints, .. }) => {
                let chosen = choose(endpoints.len()).min(endpoints.len().saturating_sub(1));
                endpoints.get(chosen).map_or(Target::Closed, |endpoint| Target::At(*endpoint))
            }
            _ => Target::None,
        }
    }
}

/// Computes what the kernel is to do. What two claim goes to the one that stands first. `pods` are the addresses that pods
/// of this machine have.
#[must_use]
pub fn translate(services: &[Service], host_ports: &[HostPort], pods: Subnet) -> (Translation, Vec<Refusal>) {
    let translation = Translation::default();
    let mut made = Making { pods, translation, refusals: Vec::new(), is_pods: false };
    for service in services {
        for port in &service.ports {
            match port.protocol.transport() {
                Some(transport) => made.add(service, port, transport),
                None => made.refuse(&service.name, Reason::Sctp { port: port.port }),
            }
        }
    }
    made.is_pods = true;
    for port in host_ports {
        match port.protocol.transport() {
            Some(transport) => made.add_host_port(port, transport),
            None => made.refuse(&port.pod, Reason::Sctp { port: port.port }),
        }
    }
    (made.translation, made.refusals)
}

struct Making {
    pods: Subnet,
    translation: Translation,
    refusals: Vec<Refusal>,
    /// Whether pods' own ports are being added.
    is_pods: bool,
}

/// Where a packet goes next.
type Way = Result<String, Closed>;

impl Making {
    fn refuse(&mut self, of: &Name, reason: Reason) {
        self.refusals.push(Refusal { of: of.clone(), is_pods: self.is_pods, reason });
    }

    fn add(&mut self, service: &Service, port: &ServicePort, transport: Transport) {
        let name = format!("{}/{transport}/{}", service.name, port.port);
        let all = candidates(port.endpoints.iter());
        let local = candidates(port.endpoints.iter().filter(|endpoint| endpoint.is_local));
        let mut spread = |kind: &str, endpoints: Vec<SocketAddrV4>| {
            (!endpoints.is_empty()).then(|| {
                let name = format!("{kind}-{name}");
                self.note(transport, &endpoints);
                let chain = Chain::Spread { transport, endpoints, affinity: service.affinity };
                self.translation.chains.insert(name.clone(), chain);
                name
            })
        };
        let (has_external, is_local) = (
            !service.external_ips.is_empty() || !service.balancer_ips.is_empty() || port.node_port.is_some(),
            (service.internal == Policy::Local, service.external == Policy::Local),
        );
        let has_endpoints = !all.is_empty();
        let inside = if is_local.0 && !(has_external) { None } else { spread("all", all) };
        let near = if is_local.0 || (is_local.1 && has_external) { spread("local", local) } else { None };
        let closed = if has_endpoints { Closed::Drop } else { Closed::Reject };
        let internal: Way = if is_local.0 { near.clone() } else { inside.clone() }.ok_or(closed);
        let external: Way = match inside {
            Some(inside) if is_local.1 => {
                Ok(self.chain(format!("outside-{name}"), Chain::Outside { inside, local: near }))
            }
            inside => inside.ok_or(closed),
        };
        for address in &service.cluster_ips {
            self.open(
                &service.name,
                Front { address: *address, transport, port: port.port },
                &internal,
                true,
            );
        }
        if !has_external {
            return;
        }
        for address in &service.external_ips {
            self.open(
                &service.name,
                Front { address: *address, transport, port: port.port },
                &external,
                false,
            );
        }
        let guarded = match &external {
            Ok(next) if !service.sources.is_empty() && !service.balancer_ips.is_empty() => {
                let chain = Chain::Guarded { sources: service.sources.clone(), next: next.clone() };
                Ok(self.chain(format!("balancer-{name}"), chain))
            }
            way => way.clone(),
        };
        for address in &service.balancer_ips {
            self.open(
                &service.name,
                Front { address: *address, transport, port: port.port },
                &guarded,
                false,
            );
        }
        if let Some(port) = port.node_port {
            self.open_door(&service.name, Door { transport, port }, &external);
        }
    }

    fn add_host_port(&mut self, port: &HostPort, transport: Transport) {
        let place = port.address.map_or("host".to_owned(), |address| format!("host-{address}"));
        let name = format!("{place}/{transport}/{}", port.port);
        let way = Ok(name.clone());
        let got = match port.address {
            Some(address) => self.open(&port.pod, Front { address, transport, port: port.port }, &way, false),
            None => self.open_door(&port.pod, Door { transport, port: port.port }, &way),
        };
        if got {
            let endpoints = vec![port.target];
            self.note(transport, &endpoints);
            self.chain(name, Chain::Spread { transport, endpoints, affinity: None });
        }
    }

    fn chain(&mut self, name: String, chain: Chain) -> String {
        self.translation.chains.insert(name.clone(), chain);
        name
    }

    /// Keeps in mind which endpoints need the machine's own address as the one that asks.
    fn note(&mut self, transport: Transport, endpoints: &[SocketAddrV4]) {
        for endpoint in endpoints {
            let address = *endpoint.ip();
            if self.pods.contains(address) {
                self.translation.hairpins.insert(address);
            } else if !address.is_loopback() {
                self.translation.foreign.insert(Front { address, transport, port: endpoint.port() });
            }
        }
    }

    fn open(&mut self, of: &Name, front: Front, way: &Way, is_cluster: bool) -> bool {
        let own = &mut self.translation;
        let is_taken = [&own.cluster, &own.external].iter().any(|map| map.contains_key(&front))
            || [&own.closed_cluster, &own.closed_external].iter().any(|map| map.contains_key(&front));
        if is_taken {
            self.refuse(of, Reason::Taken { what: front.to_string() });
            return false;
        }
        let (open, closed) = if is_cluster {
            (&mut own.cluster, &mut own.closed_cluster)
        } else {
            (&mut own.external, &mut own.closed_external)
        };
        match way {
            Ok(chain) => drop(open.insert(front, chain.clone())),
            Err(why) => drop(closed.insert(front, *why)),
        }
        true
    }

    fn open_door(&mut self, of: &Name, door: Door, way: &Way) -> bool {
        let own = &mut self.translation;
        if own.doors.contains_key(&door) || own.closed_doors.contains_key(&door) {
            self.refuse(of, Reason::Taken { what: door.to_string() });
            return false;
        }
        match way {
            Ok(chain) => drop(own.doors.insert(door, chain.clone())),
            Err(why) => drop(own.closed_doors.insert(door, *why)),
        }
        true
    }
}

/// Those that serve; where none does, those that end but serve until then. In order, each once.
fn candidates<'a>(endpoints: impl Iterator<Item = &'a Endpoint> + Clone) -> Vec<SocketAddrV4> {
    let of = |stage: Stage| -> BTreeSet<SocketAddrV4> {
        endpoints
            .clone()
            .filter(|endpoint| endpoint.stage == stage)
            .map(|endpoint| endpoint.address)
            .collect()
    };
    let ready = of(Stage::Ready);
    let chosen = if ready.is_empty() { of(Stage::Ending) } else { ready };
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests;
