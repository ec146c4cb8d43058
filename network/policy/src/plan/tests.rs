use xebec_dice::{Dice, rounds};

use super::*;
use crate::policy::PodPort;
use crate::selector::{Requirement, Selector};

fn labels(all: &[(&str, &str)]) -> Labels {
    all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn equal(key: &str, value: &str) -> Selector {
    Selector(vec![Requirement::In(key.into(), BTreeSet::from([value.to_owned()]))])
}

fn pod(namespace: &str, app: &str, last: u8) -> Pod {
    let port = PodPort { name: "http".into(), protocol: Protocol::Tcp, number: 8000 + u16::from(last) };
    let address = Ipv4Addr::new(10, 244, 0, last);
    Pod {
        namespace: namespace.into(),
        labels: labels(&[("app", app)]),
        address,
        ports: vec![port],
        is_here: true,
    }
}

fn deny(namespace: &str, pods: Selector) -> Policy {
    Policy { namespace: namespace.into(), pods, ingress: Some(Vec::new()), egress: None }
}

fn from(peers: Vec<Peer>, ports: Option<Vec<Port>>) -> Rule {
    Rule { peers: Some(peers), ports }
}

fn own(app: &str) -> Peer {
    Peer::Pods { namespaces: None, pods: equal("app", app) }
}

fn tcp(numbers: Numbers) -> Port {
    Port { protocol: Protocol::Tcp, numbers }
}

/// What `from` may at a TCP port of `to`.
fn passes(plan: &Plan, from: u8, to: u8, port: u16) -> bool {
    let at = |last| Ipv4Addr::new(10, 244, 0, last);
    plan.allows(Packet { from: at(from), to: at(to), port: Some((Protocol::Tcp, port)) })
}

fn two_namespaces() -> BTreeMap<String, Labels> {
    BTreeMap::from([
        ("a".to_owned(), labels(&[("team", "red")])),
        ("b".to_owned(), labels(&[("team", "blue")])),
    ])
}

fn pods() -> Vec<Pod> {
    vec![pod("a", "web", 2), pod("a", "db", 3), pod("b", "web", 4), pod("b", "db", 5)]
}

#[test]
fn without_policies_there_is_nothing_to_do() {
    let plan = plan(&[], &pods(), &two_namespaces());
    assert_eq!(plan, Plan::default());
    assert!(plan.is_empty() && passes(&plan, 2, 3, 80));
}

#[test]
fn a_pod_is_isolated_in_the_directions_of_the_policies_that_select_it_and_no_other_is() {
    let closed = plan(&[deny("a", equal("app", "db"))], &pods(), &two_namespaces());
    assert!(!passes(&closed, 2, 3, 80) && !passes(&closed, 4, 3, 80));
    assert!(passes(&closed, 3, 2, 80), "what it asks for is not the policy's matter");
    assert!(passes(&closed, 3, 3, 80), "a pod reaches itself");
    assert!(passes(&closed, 2, 5, 80), "a policy is about its namespace alone");
    let silent = Policy { ingress: None, egress: Some(Vec::new()), ..deny("a", equal("app", "db")) };
    let silent = plan(&[silent], &pods(), &two_namespaces());
    assert!(!passes(&silent, 3, 2, 80) && passes(&silent, 2, 3, 80));
}

#[test]
fn allowances_of_all_policies_add_up_and_both_ends_have_to_allow() {
    let mut one = deny("a", Selector::default());
    one.ingress = Some(vec![from(vec![own("web")], None)]);
    let mut other = deny("a", equal("app", "db"));
    let blue = Peer::Pods { namespaces: Some(equal("team", "blue")), pods: Selector::default() };
    other.ingress = Some(vec![from(vec![blue], Some(vec![tcp(Numbers::Range(80, 82))]))]);
    let both = plan(&[one.clone(), other.clone()], &pods(), &two_namespaces());
    assert!(passes(&both, 2, 3, 9999));
    assert!(passes(&both, 4, 3, 80) && passes(&both, 5, 3, 82));
    assert!(!passes(&both, 4, 3, 83) && !passes(&both, 4, 2, 80));
    let silent = Policy { ingress: None, egress: Some(Vec::new()), ..deny("b", equal("app", "web")) };
    let all = plan(&[one, other, silent], &pods(), &two_namespaces());
    assert!(!passes(&all, 4, 3, 80) && passes(&all, 5, 3, 80));
}

#[test]
fn both_selectors_of_a_peer_hold_together() {
    let mut policy = deny("a", Selector::default());
    let peer = Peer::Pods { namespaces: Some(equal("team", "blue")), pods: equal("app", "web") };
    policy.ingress = Some(vec![from(vec![peer], None)]);
    let plan = plan(&[policy], &pods(), &two_namespaces());
    assert!(passes(&plan, 4, 2, 80));
    assert!(!passes(&plan, 5, 2, 80) && !passes(&plan, 3, 2, 80));
}

#[test]
fn named_ports_are_those_of_the_pod_that_is_reached() {
    let named = || Some(vec![tcp(Numbers::Named("http".into()))]);
    let mut policy = deny("a", Selector::default());
    policy.ingress = Some(vec![Rule { peers: None, ports: named() }]);
    let plan_in = plan(&[policy.clone()], &pods(), &two_namespaces());
    assert!(passes(&plan_in, 4, 2, 8002) && passes(&plan_in, 4, 3, 8003));
    assert!(!passes(&plan_in, 4, 2, 8003) && !passes(&plan_in, 4, 3, 8002));
    policy.egress = policy.ingress.replace(vec![Rule::default()]);
    let plan_out = plan(&[policy], &pods(), &two_namespaces());
    assert!(passes(&plan_out, 2, 4, 8004) && passes(&plan_out, 3, 5, 8005));
    assert!(!passes(&plan_out, 2, 4, 8005));
    let packet = Packet {
        from: Ipv4Addr::new(10, 244, 0, 2),
        to: Ipv4Addr::new(192, 0, 2, 1),
        port: Some((Protocol::Tcp, 8004)),
    };
    assert!(!plan_out.allows(packet), "what is no pod calls no port by name");
}

#[test]
fn a_rule_without_peers_or_ports_is_about_all_and_one_with_none_that_is_there_about_nobody() {
    let mut policy = deny("a", Selector::default());
    policy.ingress = Some(vec![Rule::default()]);
    let open = plan(&[policy.clone()], &pods(), &two_namespaces());
    let ping = Packet { from: Ipv4Addr::new(192, 0, 2, 1), to: Ipv4Addr::new(10, 244, 0, 2), port: None };
    assert!(open.allows(ping));
    policy.ingress = Some(vec![Rule { peers: None, ports: Some(vec![tcp(Numbers::All)]) }]);
    let by_port = plan(&[policy.clone()], &pods(), &two_namespaces());
    assert!(passes(&by_port, 5, 2, 1) && !by_port.allows(ping));
    for nobody in
        [from(Vec::new(), None), Rule { peers: None, ports: Some(Vec::new()) }, from(vec![own("x")], None)]
    {
        policy.ingress = Some(vec![nobody]);
        assert!(!passes(&plan(&[policy.clone()], &pods(), &two_namespaces()), 3, 2, 80));
    }
}

#[test]
fn pods_that_may_the_same_share_what_is_known_of_it() {
    let all: Vec<Pod> = (2..200).map(|last| pod("a", "web", last)).collect();
    let mut policy = deny("a", Selector::default());
    policy.ingress = Some(vec![from(vec![own("web")], Some(vec![tcp(Numbers::Range(80, 80))]))]);
    let plan = plan(&[policy.clone(), policy], &all, &two_namespaces());
    assert_eq!((plan.groups.len(), plan.ways.len(), plan.lists.len(), plan.ingress.len()), (1, 1, 1, 198));
}

#[test]
fn pods_of_other_machines_are_peers_alone_and_an_address_is_its_last_holders() {
    let mut all = pods();
    all[1].is_here = false;
    all.push(pod("b", "late", 2));
    let plan = plan(&[deny("a", Selector::default())], &all, &two_namespaces());
    assert!(plan.is_empty(), "{plan:?}");
}

/// A world at random, small enough that things meet.
struct Chance<'a>(&'a mut Dice);

impl Chance<'_> {
    fn labels(&mut self) -> Labels {
        let mut all = Labels::new();
        for key in ["k", "l"] {
            if !self.0.once_in(3) {
                all.insert(key.to_owned(), (*self.0.pick(&["x", "y"])).to_owned());
            }
        }
        all
    }

    fn selector(&mut self) -> Selector {
        let mut requirements = Vec::new();
        for _ in 0..self.0.below(3) {
            let key = (*self.0.pick(&["k", "l"])).to_owned();
            let mut values = BTreeSet::from([(*self.0.pick(&["x", "y"])).to_owned()]);
            if self.0.once_in(4) {
                values.insert("z".to_owned());
            }
            requirements.push(match self.0.below(4) {
                0 | 1 => Requirement::In(key, values),
                2 => Requirement::NotIn(key, values),
                _ if self.0.once_in(2) => Requirement::Exists(key),
                _ => Requirement::Absent(key),
            });
        }
        Selector(requirements)
    }

    fn protocol(&mut self) -> Protocol {
        *self.0.pick(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
    }

    fn namespace(&mut self) -> String {
        (*self.0.pick(&["a", "b", "c"])).to_owned()
    }

    fn pod(&mut self, last: u8) -> Pod {
        let mut ports = Vec::new();
        for (name, number) in [("one", 1), ("two", 2)] {
            if self.0.once_in(2) {
                let number = number + u16::from(self.0.once_in(3));
                ports.push(PodPort { name: name.to_owned(), protocol: self.protocol(), number });
            }
        }
        let address = Ipv4Addr::new(10, 244, 0, last);
        let is_here = !self.0.once_in(5);
        Pod { namespace: self.namespace(), labels: self.labels(), address, ports, is_here }
    }

    fn range(&mut self) -> crate::Range {
        let (last, length) = (self.0.below(16), *self.0.pick(&[0, 24, 29, 30, 31, 32]));
        format!("10.244.0.{last}/{length}").parse().unwrap()
    }

    fn peer(&mut self) -> Peer {
        match self.0.below(4) {
            0 => {
                let except = (0..self.0.below(3)).map(|_| self.range()).collect();
                Peer::Block(Block { range: self.range(), except })
            }
            1 => Peer::Pods { namespaces: None, pods: self.selector() },
            _ => Peer::Pods { namespaces: Some(self.selector()), pods: self.selector() },
        }
    }

    fn port(&mut self) -> Port {
        let numbers = match self.0.below(5) {
            0 => Numbers::All,
            1 | 2 => Numbers::Named((*self.0.pick(&["one", "two"])).to_owned()),
            _ => {
                let first = 1 + self.0.below(4) as u16;
                Numbers::Range(first, first + self.0.below(2) as u16)
            }
        };
        Port { protocol: self.protocol(), numbers }
    }

    fn rules(&mut self) -> Vec<Rule> {
        let mut all = Vec::new();
        for _ in 0..self.0.below(3) {
            let peers = (!self.0.once_in(4)).then(|| (0..self.0.below(3)).map(|_| self.peer()).collect());
            let ports = self.0.once_in(2).then(|| (0..self.0.below(3)).map(|_| self.port()).collect());
            all.push(Rule { peers, ports });
        }
        all
    }

    fn policy(&mut self) -> Policy {
        let (ingress, egress) = (!self.0.once_in(3), self.0.once_in(2));
        Policy {
            namespace: self.namespace(),
            pods: self.selector(),
            ingress: ingress.then(|| self.rules()),
            egress: egress.then(|| self.rules()),
        }
    }
}

/// The specification, word by word, for one packet: no sets, no sharing.
struct Word<'a> {
    policies: &'a [Policy],
    pods: &'a [Pod],
    namespaces: &'a BTreeMap<String, Labels>,
}

impl Word<'_> {
    fn at(&self, address: Ipv4Addr) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.address == address)
    }

    fn allows(&self, packet: Packet) -> bool {
        if packet.from == packet.to {
            return true;
        }
        let direction = |own: Ipv4Addr, peer: Ipv4Addr, rules: fn(&Policy) -> Option<&Vec<Rule>>| {
            let Some(own) = self.at(own).filter(|pod| pod.is_here) else { return true };
            let mut about = self.policies.iter().filter(|policy| {
                policy.namespace == own.namespace
                    && policy.pods.matches(&own.labels)
                    && rules(policy).is_some()
            });
            let selected: Vec<&Policy> = about.by_ref().collect();
            selected.is_empty()
                || selected.iter().any(|policy| {
                    let mut rules = rules(policy).into_iter().flatten();
                    rules.any(|rule| self.rule_allows(rule, &policy.namespace, peer, packet))
                })
        };
        direction(packet.from, packet.to, |policy| policy.egress.as_ref())
            && direction(packet.to, packet.from, |policy| policy.ingress.as_ref())
    }

    fn rule_allows(&self, rule: &Rule, namespace: &str, peer: Ipv4Addr, packet: Packet) -> bool {
        let peer_allows = |one: &Peer| match one {
            Peer::Block(block) => block.contains(peer),
            Peer::Pods { namespaces, pods } => self.at(peer).is_some_and(|pod| {
                let of = self.namespaces.get(&pod.namespace);
                let is_there = match namespaces {
                    Some(selector) => of.is_some_and(|labels| selector.matches(labels)),
                    None => pod.namespace == namespace,
                };
                is_there && pods.matches(&pod.labels)
            }),
        };
        let port_allows = |port: &Port| {
            let Some((protocol, number)) = packet.port else { return false };
            port.protocol == protocol
                && match &port.numbers {
                    Numbers::All => true,
                    Numbers::Range(first, last) => *first <= number && number <= *last,
                    Numbers::Named(name) => self.at(packet.to).is_some_and(|pod| {
                        pod.ports
                            .iter()
                            .any(|own| own.name == *name && own.protocol == protocol && own.number == number)
                    }),
                }
        };
        rule.peers.as_ref().is_none_or(|peers| peers.iter().any(peer_allows))
            && rule.ports.as_ref().is_none_or(|ports| ports.iter().any(port_allows))
    }
}

#[test]
fn a_plan_says_what_the_specification_says() {
    let mut judged = [0u64; 2];
    rounds("a plan says what the specification says", |dice| {
        let mut chance = Chance(dice);
        // `c` is not known yet.
        let namespaces: BTreeMap<String, Labels> =
            ["a", "b"].map(|name| (name.to_owned(), chance.labels())).into_iter().collect();
        let count = chance.0.below(8) as u8;
        let pods: Vec<Pod> = (2..2 + count).map(|last| chance.pod(last)).collect();
        let policies: Vec<Policy> = (0..chance.0.below(5)).map(|_| chance.policy()).collect();
        let word = Word { policies: &policies, pods: &pods, namespaces: &namespaces };
        let own = plan(&policies, &pods, &namespaces);
        for (from, to) in (1..12u8).flat_map(|from| (1..12u8).map(move |to| (from, to))) {
            let port = (!chance.0.once_in(6)).then(|| (chance.protocol(), chance.0.below(6) as u16));
            let at = |last| Ipv4Addr::new(10, 244, 0, last);
            let packet = Packet { from: at(from), to: at(to), port };
            let expected = word.allows(packet);
            judged[usize::from(expected)] += 1;
            assert_eq!(own.allows(packet), expected, "{packet:?} {policies:?} {pods:?} {namespaces:?}");
        }
        assert_eq!(own, plan(&policies, &pods, &namespaces), "the same comes of the same");
    });
    assert!(judged.iter().all(|count| *count > 100), "{judged:?}");
}
