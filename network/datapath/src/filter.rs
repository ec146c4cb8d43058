//! The table that lets between pods pass what a plan allows.
//!
//! | chain | where | what it does |
//! |---|---|---|
//! | `egress` | what the machine carries on, after translation | a pod that is isolated sends only what its list has |
//! | `ingress` | the same, after `egress` | a pod that is isolated gets only what its list has |
//! | `egress-loopback`, `ingress-loopback` | what the machine gets, after translation | the same of pods on the loopback interface |
//! | `to-N`, `from-N` | from there | one list: what passes is accepted, the rest dropped |
//! | `ways-N` | from lists | the ports that are accepted |
//!
//! Beside it stands a table of bridged frames, whose chain `past-the-machine` drops what one pod sends to another by hardware
//! address: all of it has to be carried by the machine.
//!
//! What belongs to a connection that was let through passes, and what a pod sends to itself. What the machine sends passes no
//! such chain, nor what is for the machine: a pod and its node always reach each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use xebec_policy::{Allowance, Block, Plan, Protocol, Range, Way, Whom};

use crate::Error;
use crate::batch::{Batch, Data, Element, Family, Hook, Kind, Set, Value};
use crate::expression::{Expression, Meta, Part, Register, Verdict};
use crate::frame::{from, leaving_by, obey, within};
use crate::held::Held;

const INGRESS: &str = "isolated-ingress";
const EGRESS: &str = "isolated-egress";
/// Isolated pods, each twice: what one sends to itself is from and to the same.
const SELVES: &str = "isolated-themselves";
const LOOPBACK: &str = "loopback-pods";

const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
/// NF_CT_STATE_BIT of IP_CT_ESTABLISHED and of IP_CT_RELATED
const KNOWN: u32 = 1 << 1 | 1 << 2;

/// Before what is bridged is shown to tables of packets, and its hardware addresses may change.
const FRAMES: i32 = -350;
/// ETH_P_ARP
const ARP: u16 = 0x0806;

const FIRST: Register = Register(0);
const SECOND: Register = Register(1);

/// The bridge by which a pod network's pods are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its hardware address, to which pods send everything.
    pub hardware: [u8; 6],
    /// The group that the interfaces of its pods are of, and no others.
    pub group: u32,
}

/// One pod network's filter. It lets pass what the last plan allows, and goes on with it if the process ends without
/// [closing](Self::close) it. Its calls wait for the kernel.
pub struct Filter {
    packets: Held,
    frames: Held,
    table: String,
    bridge: Bridge,
    /// What the kernel has, where that is known.
    current: Option<Plan>,
}

impl Filter {
    /// A filter of what is carried to and from a bridge, in tables of a name that no other pod network of the machine may have.
    /// What an earlier process left goes on until the first plan comes.
    ///
    /// # Errors
    /// When a name cannot be one, or the kernel has no nf_tables.
    pub fn new(table: &str, bridge: Bridge) -> Result<Self, Error> {
        let packets = Held::new(Family::Ip, table, &bridge.name)?;
        let frames = Held::new(Family::Bridge, table, &bridge.name)?;
        Ok(Self { packets, frames, table: table.to_owned(), bridge, current: None })
    }

    /// Whether the kernel does all that a filter asks for. Nothing stays.
    ///
    /// # Errors
    /// What is missing.
    pub fn probe() -> Result<(), Error> {
        let bridge = Bridge { name: "xebec".to_owned(), hardware: [0; 6], group: 0 };
        let mut own = Self::new(&format!("xebec-probe-filter-{}", std::process::id()), bridge)?;
        let (one, other) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        let way = |first, last| Way { protocol: Protocol::Tcp, first, last };
        let plan = Plan {
            groups: vec![BTreeSet::from([one])],
            ways: vec![BTreeSet::from([way(1, 1), way(3, 3), way(5, 7)])],
            lists: vec![BTreeSet::from([Allowance { whom: Whom::Group(0), ways: Some(0) }])],
            ingress: BTreeMap::from([(other, 0)]),
            egress: BTreeMap::from([(other, 0)]),
            loopback: BTreeSet::new(),
        };
        own.packets.attempt(|batch| write(batch, "xebec", &plan))?;
        own.frames.attempt(|batch| wall(batch, &own.bridge))
    }

    /// The name of its tables, which are there while a pod is isolated.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Makes the kernel let pass what a plan allows, all at once. Where no pod is isolated it has nothing to do.
    ///
    /// # Errors
    /// When the kernel refuses. It does then what it did before.
    pub fn apply(&mut self, plan: &Plan) -> Result<(), Error> {
        if self.current.as_ref() == Some(plan) {
            return Ok(());
        }
        let before = self.current.take();
        if plan.is_empty() {
            self.packets.remove()?;
            self.frames.remove()?;
        } else {
            let bridge = &self.bridge;
            if before.is_none_or(|before| before.is_empty()) {
                self.frames.replace(|batch| wall(batch, bridge))?;
            }
            self.packets.replace(|batch| write(batch, &bridge.name, plan))?;
        }
        self.current = Some(plan.clone());
        Ok(())
    }

    /// Removes the tables: no pod is isolated any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn close(mut self) -> Result<(), Error> {
        self.packets.remove()?;
        self.frames.remove()
    }
}

/// The direction of a list.
#[derive(Clone, Copy)]
enum Side {
    From,
    To,
}

impl Side {
    fn chain(self, list: usize) -> String {
        match self {
            Self::From => format!("from-{list}"),
            Self::To => format!("to-{list}"),
        }
    }

    /// Where a packet has the address of the peer.
    fn peer(self) -> Part {
        match self {
            Self::From => Part::SOURCE,
            Self::To => Part::DESTINATION,
        }
    }
}

/// Adds all of it to a table that has nothing yet.
fn write(batch: &mut Batch, bridge: &str, plan: &Plan) {
    for (number, group) in plan.groups.iter().enumerate() {
        add_addresses(batch, &group_set(number), 1, group);
    }
    for (number, ways) in plan.ways.iter().enumerate() {
        add_ways(batch, number, ways);
    }
    for (name, isolated, side) in [(EGRESS, &plan.egress, Side::To), (INGRESS, &plan.ingress, Side::From)] {
        for list in isolated.values().collect::<BTreeSet<_>>() {
            let chain = side.chain(*list);
            batch.add_chain(&chain, None);
            let rules = plan.lists[*list].iter().map(|allowance| admit(allowance, side));
            rules.for_each(|rule| batch.add_rule(&chain, &rule));
            batch.add_rule(&chain, &[Expression::Verdict(Verdict::Drop)]);
        }
        batch.add_set(&Set { name, key: &[Kind::Address], data: Data::Verdict, timeout: None });
        let goto = |list: &usize| Value::Verdict(Verdict::Goto(side.chain(*list)));
        let elements: Vec<Element> =
            isolated.iter().map(|(address, list)| (address.octets().to_vec(), goto(list))).collect();
        batch.add_elements(name, &elements);
    }
    let isolated = plan.egress.keys().chain(plan.ingress.keys()).copied().collect();
    add_addresses(batch, SELVES, 2, &isolated);
    add_addresses(batch, LOOPBACK, 1, &plan.loopback);
    let load = |part| vec![Expression::Load(part, FIRST)];
    let (leaves, arrives) = (
        [from(bridge, true), load(Part::SOURCE), obey(EGRESS)].concat(),
        [leaving_by(bridge, true), load(Part::DESTINATION), obey(INGRESS)].concat(),
    );
    let of_loopback = [load(Part::DESTINATION), vec![among(LOOPBACK)]].concat();
    let (leaves_loopback, arrives_loopback) = (
        [from(bridge, true), of_loopback, load(Part::SOURCE), obey(EGRESS)].concat(),
        [from(bridge, true), load(Part::DESTINATION), obey(INGRESS)].concat(),
    );
    for (name, number, priority, rule) in [
        ("egress", FORWARD, 0, leaves),
        ("ingress", FORWARD, 1, arrives),
        ("egress-loopback", INPUT, 0, leaves_loopback),
        ("ingress-loopback", INPUT, 1, arrives_loopback),
    ] {
        batch.add_chain(name, Some(Hook { kind: "filter", number, priority }));
        batch.add_rule(name, &known());
        batch.add_rule(name, &itself());
        batch.add_rule(name, &rule);
    }
}

/// Adds to a table of bridged frames that pods reach the machine alone by hardware address.
fn wall(batch: &mut Batch, bridge: &Bridge) {
    const CHAIN: &str = "past-the-machine";
    batch.add_chain(CHAIN, Some(Hook { kind: "filter", number: PREROUTING, priority: FRAMES }));
    let of_pods = [
        Expression::LoadMeta(Meta::InputGroup, FIRST),
        Expression::Compare { at: FIRST, equal: true, with: bridge.group.to_ne_bytes().to_vec() },
    ];
    let past = [
        Expression::Load(Part::HARDWARE_DESTINATION, FIRST),
        Expression::Compare { at: FIRST, equal: false, with: bridge.hardware.to_vec() },
        // Whoever has an address is asked for by all.
        Expression::Load(Part::CONTENT, FIRST),
        Expression::Compare { at: FIRST, equal: false, with: ARP.to_be_bytes().to_vec() },
        Expression::Verdict(Verdict::Drop),
    ];
    batch.add_rule(CHAIN, &[of_pods.as_slice(), &past].concat());
}

fn group_set(number: usize) -> String {
    format!("group-{number}")
}

/// Makes a set of addresses, each so many times in its key.
fn add_addresses(batch: &mut Batch, name: &str, times: usize, addresses: &BTreeSet<Ipv4Addr>) {
    let key = [Kind::Address, Kind::Address];
    batch.add_set(&Set { name, key: &key[..times], data: Data::None, timeout: None });
    let elements: Vec<Element> =
        addresses.iter().map(|address| (address.octets().repeat(times), Value::None)).collect();
    batch.add_elements(name, &elements);
}

/// Makes the chain that accepts by some ports.
fn add_ways(batch: &mut Batch, number: usize, ways: &BTreeSet<Way>) {
    let chain = ways_chain(number);
    batch.add_chain(&chain, None);
    let (single, others): (Vec<&Way>, Vec<&Way>) = ways.iter().partition(|way| way.first == way.last);
    if !single.is_empty() {
        let ports = format!("ports-{number}");
        batch.add_set(&Set {
            name: &ports,
            key: &[Kind::Protocol, Kind::Port],
            data: Data::None,
            timeout: None,
        });
        let key = |way: &&Way| {
            let [high, low] = way.first.to_be_bytes();
            (vec![protocol(way.protocol), 0, 0, 0, high, low, 0, 0], Value::None)
        };
        batch.add_elements(&ports, &single.iter().map(key).collect::<Vec<_>>());
        let rule = [
            Expression::LoadMeta(Meta::Protocol, FIRST),
            Expression::Load(Part::DESTINATION_PORT, SECOND),
            among(&ports),
            Expression::Verdict(Verdict::Accept),
        ];
        batch.add_rule(&chain, &rule);
    }
    for way in others {
        let mut rule = vec![
            Expression::LoadMeta(Meta::Protocol, FIRST),
            Expression::Compare { at: FIRST, equal: true, with: vec![protocol(way.protocol)] },
        ];
        if !way.is_whole() {
            let (first, last) = (way.first.to_be_bytes().to_vec(), way.last.to_be_bytes().to_vec());
            rule.push(Expression::Load(Part::DESTINATION_PORT, FIRST));
            rule.push(Expression::Between { at: FIRST, first, last });
        }
        rule.push(Expression::Verdict(Verdict::Accept));
        batch.add_rule(&chain, &rule);
    }
}

fn ways_chain(number: usize) -> String {
    format!("ways-{number}")
}

/// The number of a protocol in an IP header.
fn protocol(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// One rule of a list.
fn admit(allowance: &Allowance, side: Side) -> Vec<Expression> {
    let mut rule = match &allowance.whom {
        Whom::Anybody => Vec::new(),
        Whom::Group(number) => vec![Expression::Load(side.peer(), FIRST), among(&group_set(*number))],
        Whom::Block(block) => within_block(block, side.peer()),
    };
    rule.push(Expression::Verdict(match allowance.ways {
        None => Verdict::Accept,
        Some(number) => Verdict::Jump(ways_chain(number)),
    }));
    rule
}

fn within_block(block: &Block, part: Part) -> Vec<Expression> {
    let is_in = |range: &Range, equal| within(part, range.network(), range.mask(), equal);
    let excepted = block.except.iter().flat_map(|range| is_in(range, false));
    is_in(&block.range, true).into_iter().chain(excepted).collect()
}

/// What the registers hold is in a set.
fn among(set: &str) -> Expression {
    Expression::Lookup { set: set.to_owned(), number: None, key: FIRST, to: None }
}

/// What belongs to a connection that was let through passes.
fn known() -> [Expression; 4] {
    [
        Expression::LoadState(FIRST),
        Expression::Mask { at: FIRST, mask: KNOWN.to_ne_bytes().to_vec() },
        Expression::Compare { at: FIRST, equal: false, with: vec![0; 4] },
        Expression::Verdict(Verdict::Accept),
    ]
}

/// What a pod sends to itself, by way of a service, passes.
fn itself() -> [Expression; 4] {
    [
        Expression::Load(Part::SOURCE, FIRST),
        Expression::Load(Part::DESTINATION, SECOND),
        among(SELVES),
        Expression::Verdict(Verdict::Accept),
    ]
}
