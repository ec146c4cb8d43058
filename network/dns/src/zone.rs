//! The names of a cluster, as a value.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;

use hickory_proto::rr::rdata::{A, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::Error;

/// The version of the specification that the names follow.
const VERSION: &str = "1.1.0";
/// All endpoints of a service are as good as each other.
const PRIORITY: u16 = 0;
const WEIGHT: u16 = 100;
/// The zone's timers, in seconds: for secondary servers, of which there are none, and for how long it is remembered that a
/// name is not there.
const REFRESH: i32 = 7200;
const RETRY: i32 = 1800;
const EXPIRE: i32 = 86_400;
const MISSING: u32 = 5;

/// What carries a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    fn label(self) -> &'static str {
        match self {
            Self::Tcp => "_tcp",
            Self::Udp => "_udp",
            Self::Sctp => "_sctp",
        }
    }
}

/// A port that a service or an endpoint has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name; empty where it has none.
    pub name: String,
    /// What carries it.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
}

/// One place where a service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub address: Ipv4Addr,
    /// What it is called below its service's name.
    pub hostname: Option<String>,
    /// Its ports.
    pub ports: Vec<Port>,
}

impl Endpoint {
    /// Its name below the service's: the one it was given, or its address.
    fn label(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| self.address.to_string().replace('.', "-"))
    }
}

/// What a service's name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// Addresses of its own.
    Address {
        /// The addresses.
        addresses: Vec<Ipv4Addr>,
        /// Its ports.
        ports: Vec<Port>,
        /// Those of its endpoints that have names.
        named: Vec<Endpoint>,
    },
    /// The addresses of its endpoints.
    Headless {
        /// Those that are ready.
        endpoints: Vec<Endpoint>,
    },
    /// Another name.
    Alias {
        /// That name.
        target: String,
    },
}

/// Which names and addresses are the cluster's, whatever services there are.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The domain, such as `cluster.local`.
    pub domain: String,
    /// Where the zone's own server is asked.
    pub server: Option<Ipv4Addr>,
    /// The ranges of addresses whose names nobody else knows: the first address and how many bits count.
    pub ranges: Vec<(Ipv4Addr, u8)>,
}

/// The names of a cluster.
#[derive(Debug)]
pub struct Zone {
    domain: Name,
    labels: Vec<String>,
    server: Option<Ipv4Addr>,
    ranges: Vec<(Ipv4Addr, u8)>,
    serial: u32,
    namespaces: HashSet<String>,
    services: HashMap<(String, String), Service>,
    reverse: BTreeMap<Ipv4Addr, Vec<Name>>,
}

/// What is known of a name.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// Nothing: others may know.
    Elsewhere,
    /// It is the cluster's, and not there.
    Missing,
    /// It is there, with these records of the type that was asked for, and what helps with them.
    There { answers: Vec<RData>, additionals: Vec<(Name, RData)> },
    /// It stands for another name.
    Alias(Name),
}

/// What is known of a name to whoever only wants addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: others may know.
    Elsewhere,
    /// These; none for a name that has no addresses.
    Addresses(Vec<Ipv4Addr>),
    /// It stands for a name that others know.
    Alias(String),
}

impl Found {
    fn only(answers: Vec<RData>) -> Self {
        Self::There { answers, additionals: Vec::new() }
    }

    fn nothing() -> Self {
        Self::only(Vec::new())
    }
}

impl Zone {
    /// Compiles a zone. `serial` is higher than that of the zone before.
    ///
    /// # Errors
    /// When the domain is no name.
    pub fn compile(
        scope: Scope,
        serial: u32,
        namespaces: impl IntoIterator<Item = String>,
        services: impl IntoIterator<Item = ((String, String), Service)>,
    ) -> Result<Self, Error> {
        let bad = || Error::Domain { text: scope.domain.chars().take(100).collect() };
        let mut domain = Name::from_ascii(&scope.domain).map_err(|_| bad())?.to_lowercase();
        domain.set_fqdn(true);
        let labels = labels(&domain);
        if labels.is_empty() {
            return Err(bad());
        }
        let mut zone = Self {
            domain,
            labels,
            server: scope.server,
            ranges: scope.ranges,
            serial,
            namespaces: namespaces.into_iter().collect(),
            services: services.into_iter().collect(),
            reverse: BTreeMap::new(),
        };
        zone.reverse = zone.reversed();
        Ok(zone)
    }

    /// The names of addresses: of services, and of endpoints that were given one.
    fn reversed(&self) -> BTreeMap<Ipv4Addr, Vec<Name>> {
        let mut all: BTreeMap<Ipv4Addr, BTreeSet<Name>> = BTreeMap::new();
        for ((namespace, service), own) in &self.services {
            let (addresses, endpoints) = match own {
                Service::Address { addresses, named, .. } => (addresses.as_slice(), named),
                Service::Headless { endpoints } => (&[][..], endpoints),
                Service::Alias { .. } => continue,
            };
            for address in addresses {
                all.entry(*address).or_default().extend(self.name(&[service, namespace, "svc"]));
            }
            for endpoint in endpoints {
                if let Some(hostname) = &endpoint.hostname {
                    let name = self.name(&[hostname, service, namespace, "svc"]);
                    all.entry(endpoint.address).or_default().extend(name);
                }
            }
        }
        all.into_iter().map(|(address, names)| (address, names.into_iter().collect())).collect()
    }

    /// The name of these labels in the domain. One that is too long is none.
    fn name(&self, own: &[&str]) -> Option<Name> {
        let name = Name::from_labels(own.iter().map(|label| label.as_bytes())).ok()?;
        name.append_domain(&self.domain).ok()
    }

    /// What answers that something is not there refer to.
    pub(crate) fn authority(&self) -> (Name, RData) {
        let server = self.name(&["ns", "dns"]).unwrap_or_else(Name::root);
        let people = self.name(&["hostmaster"]).unwrap_or_else(Name::root);
        let data = SOA::new(server, people, self.serial, REFRESH, RETRY, EXPIRE, MISSING);
        (self.domain.clone(), RData::SOA(data))
    }

    /// What is known of a name, about records of a type. Names differ by more than case.
    pub(crate) fn find(&self, name: &Name, kind: RecordType) -> Found {
        let labels = labels(name);
        let Some(own) = labels.strip_suffix(self.labels.as_slice()) else {
            return self.find_reverse(&labels, kind);
        };
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        match own.as_slice() {
            [] => self.find_apex(kind),
            ["dns-version"] if kind == RecordType::TXT => {
                Found::only(vec![RData::TXT(TXT::new(vec![VERSION.to_owned()]))])
            }
            ["ns", "dns"] if kind == RecordType::A => Found::only(addresses(self.server)),
            ["dns-version" | "svc" | "pod" | "dns"] | ["ns", "dns"] => Found::nothing(),
            [namespace, "svc" | "pod"] if self.namespaces.contains(*namespace) => Found::nothing(),
            [pod, namespace, "pod"] if self.namespaces.contains(*namespace) => {
                match pod.replace('-', ".").parse::<Ipv4Addr>() {
                    Ok(address) if kind == RecordType::A => Found::only(addresses([address])),
                    Ok(_) => Found::nothing(),
                    Err(_) => Found::Missing,
                }
            }
            [below @ .., service, namespace, "svc"] => {
                match self.services.get(&((*namespace).to_owned(), (*service).to_owned())) {
                    Some(found) => self.find_service(found, (namespace, service), below, kind),
                    None => Found::Missing,
                }
            }
            _ => Found::Missing,
        }
    }

    fn find_apex(&self, kind: RecordType) -> Found {
        match kind {
            RecordType::SOA => Found::only(vec![self.authority().1]),
            RecordType::NS => match self.name(&["ns", "dns"]) {
                Some(name) => Found::There {
                    answers: vec![RData::NS(NS(name.clone()))],
                    additionals: addresses(self.server)
                        .into_iter()
                        .map(|data| (name.clone(), data))
                        .collect(),
                },
                None => Found::nothing(),
            },
            _ => Found::nothing(),
        }
    }

    fn find_service(
        &self,
        service: &Service,
        (namespace, name): (&str, &str),
        below: &[&str],
        kind: RecordType,
    ) -> Found {
        let path = [name, namespace, "svc"];
        let endpoints = match service {
            Service::Alias { target } => {
                let target = Name::from_ascii(target).ok().map(|mut target| {
                    target.set_fqdn(true);
                    target
                });
                return match (below, target) {
                    ([], Some(target)) => Found::Alias(target),
                    _ => Found::Missing,
                };
            }
            Service::Address { addresses: own, ports, named } => {
                let whole = |ports: Vec<&Port>| self.records(kind, &path, own, ports);
                match below {
                    [] => return whole(ports.iter().collect()),
                    [port, protocol] => match matching(ports, port, protocol) {
                        found if found.is_empty() => {}
                        found => return whole(found),
                    },
                    _ => {}
                }
                named
            }
            Service::Headless { endpoints } => endpoints,
        };
        let chosen: Vec<(&Endpoint, Vec<&Port>)> = match below {
            [] if matches!(service, Service::Headless { .. }) => {
                endpoints.iter().map(|own| (own, own.ports.iter().collect())).collect()
            }
            [label] => endpoints
                .iter()
                .filter(|own| own.label().eq_ignore_ascii_case(label))
                .map(|own| (own, own.ports.iter().collect()))
                .collect(),
            [port, protocol] => endpoints
                .iter()
                .map(|own| (own, matching(&own.ports, port, protocol)))
                .filter(|(_, ports)| !ports.is_empty())
                .collect(),
            _ => Vec::new(),
        };
        if chosen.is_empty() {
            return Found::Missing;
        }
        let (mut answers, mut additionals) = (Vec::new(), Vec::new());
        for (endpoint, ports) in chosen {
            let label = endpoint.label();
            let found =
                self.records(kind, &[&[label.as_str()], &path[..]].concat(), &[endpoint.address], ports);
            if let Found::There { answers: more, additionals: help } = found {
                answers.extend(more);
                additionals.extend(help);
            }
        }
        Found::There { answers: deduplicated(answers), additionals }
    }

    /// The records of a name that has addresses and ports.
    fn records(&self, kind: RecordType, path: &[&str], own: &[Ipv4Addr], ports: Vec<&Port>) -> Found {
        match kind {
            RecordType::A | RecordType::ANY => Found::only(addresses(own.iter().copied())),
            RecordType::SRV => {
                let Some(target) = self.name(path) else { return Found::nothing() };
                let answer =
                    |port: &&Port| RData::SRV(SRV::new(PRIORITY, WEIGHT, port.number, target.clone()));
                Found::There {
                    answers: ports.iter().map(answer).collect(),
                    additionals: addresses(own.iter().copied())
                        .into_iter()
                        .map(|data| (target.clone(), data))
                        .collect(),
                }
            }
            _ => Found::nothing(),
        }
    }

    /// What is known of the name of an address (RFC 1035, 3.5).
    fn find_reverse(&self, labels: &[String], kind: RecordType) -> Found {
        let [d, c, b, a, "in-addr", "arpa"] = labels.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            return Found::Elsewhere;
        };
        let Ok(address) = format!("{a}.{b}.{c}.{d}").parse::<Ipv4Addr>() else { return Found::Elsewhere };
        match self.reverse.get(&address) {
            Some(names) if kind == RecordType::PTR => {
                Found::only(names.iter().map(|name| RData::PTR(PTR(name.clone()))).collect())
            }
            Some(_) => Found::nothing(),
            None if self.is_ours(address) => Found::Missing,
            None => Found::Elsewhere,
        }
    }

    fn is_ours(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|(network, length)| {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(u32::from(*length))).unwrap_or(0);
            (u32::from(address) ^ u32::from(*network)) & mask == 0
        })
    }

    /// The addresses that a host's name has for pods of a namespace, who may leave out what their own names end in.
    #[must_use]
    pub fn look_up(&self, host: &str, namespace: &str) -> Known {
        let Ok(mut name) = Name::from_ascii(host) else { return Known::Elsewhere };
        let is_full = name.is_fqdn();
        name.set_fqdn(false);
        // As the pods' resolv.conf has it.
        let searches = [&[namespace, "svc"][..], &["svc"], &[]];
        let searched = searches
            .iter()
            .filter(|_| !is_full)
            .filter_map(|search| name.clone().append_domain(&self.name(search)?).ok());
        let mut whole = name.clone();
        whole.set_fqdn(true);
        for name in searched.chain([whole]) {
            match self.find(&name, RecordType::A) {
                Found::Elsewhere | Found::Missing => {}
                Found::There { answers, .. } => {
                    let address =
                        |data: &RData| if let RData::A(A(address)) = data { Some(*address) } else { None };
                    return Known::Addresses(answers.iter().filter_map(address).collect());
                }
                Found::Alias(target) => return Known::Alias(target.to_ascii()),
            }
        }
        Known::Elsewhere
    }
}

/// What a name stands for instead.
pub(crate) fn alias(target: &Name) -> RData {
    RData::CNAME(CNAME(target.clone()))
}

/// Labels in lower case. One that is no text is unlike any that is known.
fn labels(name: &Name) -> Vec<String> {
    name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect()
}

fn addresses(own: impl IntoIterator<Item = Ipv4Addr>) -> Vec<RData> {
    own.into_iter().map(|address| RData::A(A(address))).collect()
}

/// The ports that `_port._protocol` means.
fn matching<'a>(ports: &'a [Port], port: &str, protocol: &str) -> Vec<&'a Port> {
    let name = port.strip_prefix('_').filter(|name| !name.is_empty());
    let is_meant = |own: &&Port| Some(own.name.as_str()) == name && own.protocol.label() == protocol;
    ports.iter().filter(is_meant).collect()
}

/// Several names may stand for one address.
fn deduplicated(mut all: Vec<RData>) -> Vec<RData> {
    let mut known = HashSet::new();
    all.retain(|data| !matches!(data, RData::A(A(address)) if !known.insert(*address)));
    all
}

#[cfg(test)]
mod tests;
