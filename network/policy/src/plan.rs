//! What policies mean for addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::policy::{Numbers, Peer, Pod, Policy, Port, Protocol, Rule};
use crate::range::Block;
use crate::selector::Labels;

/// Ports of one protocol, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// What carries them.
    pub protocol: Protocol,
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Way {
    /// Whether it is every port.
    #[must_use]
    pub fn is_whole(self) -> bool {
        (self.first, self.last) == (0, u16::MAX)
    }
}

/// From or to whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// Anybody.
    Anybody,
    /// One of a plan's groups.
    Group(usize),
    /// Whoever has these addresses.
    Block(Block),
}

/// What an isolated pod may: from or to whom, and by which of the plan's ways; without, by any, and by what has no ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allowance {
    /// From or to whom.
    pub whom: Whom,
    /// By which ports of the destination.
    pub ways: Option<usize>,
}

/// What all policies together come to. What is the same for several pods stands in it once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Addresses that are allowed together.
    pub groups: Vec<BTreeSet<Ipv4Addr>>,
    /// Ports that are allowed together.
    pub ways: Vec<BTreeSet<Way>>,
    /// All that one or several pods may.
    pub lists: Vec<BTreeSet<Allowance>>,
    /// The pods of this machine that are isolated from what comes, with the list of what may.
    pub ingress: BTreeMap<Ipv4Addr, usize>,
    /// Those that are isolated from what they ask for, with the list of what they may.
    pub egress: BTreeMap<Ipv4Addr, usize>,
    /// The pods on the machine's loopback interface, where any is isolated from what it asks for: they are pods, and not the
    /// machine.
    pub loopback: BTreeSet<Ipv4Addr>,
}

/// The first packet of a flow, as the one to whom it goes sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// From where.
    pub from: Ipv4Addr,
    /// To where.
    pub to: Ipv4Addr,
    /// The port that it goes to, if it has ports.
    pub port: Option<(Protocol, u16)>,
}

impl Plan {
    /// Whether no pod is isolated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ingress.is_empty() && self.egress.is_empty()
    }

    /// Whether a packet between two who are not the machine may pass.
    #[must_use]
    pub fn allows(&self, packet: Packet) -> bool {
        let passes = |own: Option<&usize>, peer: Ipv4Addr| {
            own.is_none_or(|list| {
                self.lists[*list].iter().any(|allowance| self.covers(allowance, peer, packet.port))
            })
        };
        packet.from == packet.to
            || passes(self.egress.get(&packet.from), packet.to)
                && passes(self.ingress.get(&packet.to), packet.from)
    }

    fn covers(&self, allowance: &Allowance, peer: Ipv4Addr, port: Option<(Protocol, u16)>) -> bool {
        let is_peer = match &allowance.whom {
            Whom::Anybody => true,
            Whom::Group(group) => self.groups[*group].contains(&peer),
            Whom::Block(block) => block.contains(peer),
        };
        let is_way = |way: &Way| {
            port.is_some_and(|(protocol, number)| {
                way.protocol == protocol && (way.first..=way.last).contains(&number)
            })
        };
        is_peer && allowance.ways.is_none_or(|ways| self.ways[ways].iter().any(is_way))
    }
}

/// Values that are told apart by a number, each once.
struct Numbered<T>(BTreeMap<T, usize>);

impl<T: Ord + Clone> Numbered<T> {
    fn number(&mut self, value: T) -> usize {
        let next = self.0.len();
        *self.0.entry(value).or_insert(next)
    }

    fn in_order(self) -> Vec<T> {
        let mut all: Vec<(usize, T)> = self.0.into_iter().map(|(value, number)| (number, value)).collect();
        all.sort_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, value)| value).collect()
    }
}

/// Computes what the policies mean. `namespaces` are the labels of each; one that is not there has none that a selector
/// could mean. Of two pods with one address the one that stands last counts.
#[must_use]
pub fn plan(policies: &[Policy], pods: &[Pod], namespaces: &BTreeMap<String, Labels>) -> Plan {
    let unique: BTreeMap<Ipv4Addr, &Pod> = pods.iter().map(|pod| (pod.address, pod)).collect();
    let mut making = Making {
        pods: unique.into_values().collect(),
        namespaces,
        groups: Numbered(BTreeMap::new()),
        ways: Numbered(BTreeMap::new()),
        ingress: BTreeMap::new(),
        egress: BTreeMap::new(),
    };
    for policy in policies {
        making.add(policy);
    }
    making.finish()
}

type Lists = BTreeMap<Ipv4Addr, BTreeSet<Allowance>>;

struct Making<'a> {
    pods: Vec<&'a Pod>,
    namespaces: &'a BTreeMap<String, Labels>,
    groups: Numbered<BTreeSet<Ipv4Addr>>,
    ways: Numbered<BTreeSet<Way>>,
    ingress: Lists,
    egress: Lists,
}

impl<'a> Making<'a> {
    fn add(&mut self, policy: &Policy) {
        let isolated = |pod: &&&Pod| {
            pod.is_here && pod.namespace == policy.namespace && policy.pods.matches(&pod.labels)
        };
        let isolated: Vec<&'a Pod> = self.pods.iter().filter(isolated).copied().collect();
        if isolated.is_empty() {
            return;
        }
        if let Some(rules) = &policy.ingress {
            for pod in &isolated {
                self.ingress.entry(pod.address).or_default();
            }
            for rule in rules {
                self.allow_ingress(rule, &policy.namespace, &isolated);
            }
        }
        if let Some(rules) = &policy.egress {
            let mut all = BTreeSet::new();
            for rule in rules {
                self.allow_egress(rule, &policy.namespace, &mut all);
            }
            for pod in &isolated {
                self.egress.entry(pod.address).or_default().extend(all.iter().cloned());
            }
        }
    }

    /// Named ports are those of the pod that is reached: here, of each isolated one.
    fn allow_ingress(&mut self, rule: &Rule, namespace: &str, isolated: &[&'a Pod]) {
        let whom = self.whom(rule, namespace);
        for pod in isolated {
            let ways = match &rule.ports {
                None => None,
                Some(ports) => {
                    let ways: BTreeSet<Way> = ports.iter().filter_map(|port| way(port, Some(pod))).collect();
                    if ways.is_empty() {
                        continue;
                    }
                    Some(self.ways.number(ways))
                }
            };
            let all = whom.iter().map(|whom| Allowance { whom: whom.clone(), ways });
            self.ingress.entry(pod.address).or_default().extend(all);
        }
    }

    /// Named ports are those of the pod that is reached: here, of each peer that is a pod.
    fn allow_egress(&mut self, rule: &Rule, namespace: &str, all: &mut BTreeSet<Allowance>) {
        let whom = self.whom(rule, namespace);
        let Some(ports) = &rule.ports else {
            all.extend(whom.into_iter().map(|whom| Allowance { whom, ways: None }));
            return;
        };
        let ways: BTreeSet<Way> = ports.iter().filter_map(|port| way(port, None)).collect();
        if !ways.is_empty() {
            let ways = Some(self.ways.number(ways));
            all.extend(whom.into_iter().map(|whom| Allowance { whom, ways }));
        }
        let mut named: BTreeMap<Way, BTreeSet<Ipv4Addr>> = BTreeMap::new();
        let peers: Vec<&Pod> =
            self.pods.iter().filter(|pod| self.is_peer(rule, namespace, pod)).copied().collect();
        for port in ports.iter().filter(|port| matches!(port.numbers, Numbers::Named(_))) {
            for pod in &peers {
                if let Some(way) = way(port, Some(pod)) {
                    named.entry(way).or_default().insert(pod.address);
                }
            }
        }
        for (way, addresses) in named {
            let whom = Whom::Group(self.groups.number(addresses));
            all.insert(Allowance { whom, ways: Some(self.ways.number(BTreeSet::from([way]))) });
        }
    }

    /// Whom a rule is about. A group without members is nobody, and left out.
    fn whom(&mut self, rule: &Rule, namespace: &str) -> Vec<Whom> {
        let Some(peers) = &rule.peers else { return vec![Whom::Anybody] };
        let selected = |pod: &&&Pod| peers.iter().any(|peer| self.selects(peer, namespace, pod));
        let group: BTreeSet<Ipv4Addr> = self.pods.iter().filter(selected).map(|pod| pod.address).collect();
        let blocks = peers.iter().filter_map(|peer| match peer {
            Peer::Block(block) => Some(Whom::Block(block.clone())),
            Peer::Pods { .. } => None,
        });
        let mut all: Vec<Whom> = blocks.collect();
        if !group.is_empty() {
            all.push(Whom::Group(self.groups.number(group)));
        }
        all
    }

    /// Whether a peer selects a pod by labels.
    fn selects(&self, peer: &Peer, namespace: &str, pod: &Pod) -> bool {
        let Peer::Pods { namespaces, pods } = peer else { return false };
        let is_there = match namespaces {
            None => pod.namespace == namespace,
            Some(selector) => {
                self.namespaces.get(&pod.namespace).is_some_and(|labels| selector.matches(labels))
            }
        };
        is_there && pods.matches(&pod.labels)
    }

    fn is_peer(&self, rule: &Rule, namespace: &str, pod: &Pod) -> bool {
        rule.peers.as_ref().is_none_or(|peers| {
            peers.iter().any(|peer| match peer {
                Peer::Block(block) => block.contains(pod.address),
                Peer::Pods { .. } => self.selects(peer, namespace, pod),
            })
        })
    }

    fn finish(self) -> Plan {
        let mut lists = Numbered(BTreeMap::new());
        let mut number = |all: Lists| -> BTreeMap<Ipv4Addr, usize> {
            all.into_iter().map(|(address, own)| (address, lists.number(least(own)))).collect()
        };
        let (ingress, egress) = (number(self.ingress), number(self.egress));
        let on_loopback = self.pods.iter().map(|pod| pod.address).filter(Ipv4Addr::is_loopback);
        let loopback = if egress.is_empty() { BTreeSet::new() } else { on_loopback.collect() };
        let (groups, ways, lists) = (self.groups.in_order(), self.ways.in_order(), lists.in_order());
        Plan { groups, ways, lists, ingress, egress, loopback }
    }
}

/// Where everything is allowed, the rest need not be asked.
fn least(all: BTreeSet<Allowance>) -> BTreeSet<Allowance> {
    let everything = Allowance { whom: Whom::Anybody, ways: None };
    if all.contains(&everything) { BTreeSet::from([everything]) } else { all }
}

/// The ports that are meant, where named ones are the pod's. Without a pod, named ones are left out.
fn way(port: &Port, pod: Option<&Pod>) -> Option<Way> {
    let protocol = port.protocol;
    let (first, last) = match &port.numbers {
        Numbers::All => (0, u16::MAX),
        Numbers::Range(first, last) => (*first, *last),
        Numbers::Named(name) => {
            let number = pod?.port(name, protocol)?;
            (number, number)
        }
    };
    Some(Way { protocol, first, last })
}

#[cfg(test)]
mod tests;
