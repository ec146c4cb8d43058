//! What the table always has, whatever services there are: the chains where packets enter, and the maps in which they find
//! their service.
//!
//! | chain | where | what it does |
//! |---|---|---|
//! | `guard` | before everything | pods reach nothing of the machine's loopback interface by its own address |
//! | `refuse`, `refuse-output` | before translation | ports of services where nobody answers are closed |
//! | `translate`, `translate-output` | translation | a service's address becomes an endpoint's |
//! | `unassigned` | after translation | what pods send to an address that is no service's is refused |
//! | `masquerade` | on the way out | what leaves the pods' range, and what would be answered by another way, goes in the machine's name |
//! | `redirects` | from the machine | pods are never told of shorter ways: none of them passes the translation |

use std::net::Ipv4Addr;

use crate::batch::{Batch, Data, Hook, Kind, Set};
use crate::expression::{Expression, Found, Meta, Part, Register, Verdict};
use crate::kernel::Place;

pub(crate) const CLUSTER: &str = "cluster-addresses";
pub(crate) const EXTERNAL: &str = "external-addresses";
pub(crate) const DOORS: &str = "ports";
pub(crate) const CLOSED_CLUSTER: &str = "closed-cluster-addresses";
pub(crate) const CLOSED_EXTERNAL: &str = "closed-external-addresses";
pub(crate) const CLOSED_DOORS: &str = "closed-ports";
pub(crate) const HAIRPINS: &str = "hairpins";
/// All endpoints of services with several: by the number of their chain, of two parts, and their own number in it.
pub(crate) const ENDPOINTS: &str = "endpoints";
pub(crate) const FOREIGN: &str = "foreign-endpoints";
/// The chain that refuses.
pub(crate) const REJECT: &str = "reject";

pub(crate) const FRONT: &[Kind] = &[Kind::Address, Kind::Protocol, Kind::Port];
pub(crate) const DOOR: &[Kind] = &[Kind::Protocol, Kind::Port];

const PREROUTING: u32 = 0;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
/// Before connections are known, and where addresses are translated (`enum nf_ip_hook_priorities`).
const RAW: i32 = -300;
const DESTINATION: i32 = -100;
const SOURCE: i32 = 100;
/// IPS_DST_NAT
const TRANSLATED: u32 = 1 << 5;
/// RTN_LOCAL
const LOCAL: u32 = 2;
/// ICMP_REDIRECT
const REDIRECT: u8 = 5;
/// The room for an interface's name in a register.
const INTERFACE: usize = 16;

const FIRST: Register = Register(0);

/// Adds all of it to a table that has nothing yet.
pub(crate) fn add(batch: &mut Batch, network: &Place) {
    for (name, key) in
        [(CLUSTER, FRONT), (CLOSED_CLUSTER, FRONT), (EXTERNAL, FRONT), (CLOSED_EXTERNAL, FRONT)]
            .into_iter()
            .chain([(DOORS, DOOR), (CLOSED_DOORS, DOOR)])
    {
        batch.add_set(&Set { name, key, data: Data::Verdict, timeout: None });
    }
    let both = &[Kind::Address, Kind::Address];
    batch.add_set(&Set { name: HAIRPINS, key: both, data: Data::None, timeout: None });
    batch.add_set(&Set { name: FOREIGN, key: FRONT, data: Data::None, timeout: None });
    let (number, place) = ([Kind::Mark; 3], [Kind::Address, Kind::Port]);
    batch.add_set(&Set { name: ENDPOINTS, key: &number, data: Data::Value(&place), timeout: None });
    batch.add_chain(REJECT, None);
    batch.add_rule(REJECT, &[Expression::Reject]);
    let filter = |number, priority| Hook { kind: "filter", number, priority };
    let nat = |number, priority| Hook { kind: "nat", number, priority };
    let from_pods = from(&network.bridge, true);
    let mut chain = |name: &str, hook: Hook, rules: &[Vec<Expression>]| {
        batch.add_chain(name, Some(hook));
        rules.iter().for_each(|rule| batch.add_rule(name, rule));
    };
    let loopback = within(Part::DESTINATION, Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0), true);
    let drop = vec![Expression::Verdict(Verdict::Drop)];
    chain("guard", filter(PREROUTING, RAW), &[[from_pods.clone(), loopback, drop.clone()].concat()]);

    let by_address = |map: &str| [load_front(), obey(map)].concat();
    let by_door = |map: &str| [to_machine(), load_door(), obey(map)].concat();
    let closed = [
        [from_pods.clone(), by_address(CLOSED_CLUSTER)].concat(),
        by_address(CLOSED_EXTERNAL),
        by_door(CLOSED_DOORS),
    ];
    chain("refuse", filter(PREROUTING, DESTINATION - 10), &closed);
    let closed = [by_address(CLOSED_CLUSTER), by_address(CLOSED_EXTERNAL), by_door(CLOSED_DOORS)];
    chain("refuse-output", filter(OUTPUT, DESTINATION - 10), &closed);
    let open = [[from_pods.clone(), by_address(CLUSTER)].concat(), by_address(EXTERNAL), by_door(DOORS)];
    chain("translate", nat(PREROUTING, DESTINATION), &open);
    let open = [by_address(CLUSTER), by_address(EXTERNAL), by_door(DOORS)];
    chain("translate-output", nat(OUTPUT, DESTINATION), &open);
    let unassigned = within(Part::DESTINATION, network.services.network(), network.services.mask(), true);
    let refused = [from_pods, unassigned, vec![Expression::Reject]].concat();
    chain("unassigned", filter(PREROUTING, DESTINATION + 10), &[refused]);

    chain("masquerade", nat(POSTROUTING, SOURCE), &masquerade(network));
    let redirect = [
        leaving_by(&network.bridge, true),
        vec![
            Expression::LoadMeta(Meta::Protocol, FIRST),
            Expression::Compare { at: FIRST, equal: true, with: vec![1] },
            Expression::Load(Part::ICMP_TYPE, FIRST),
            Expression::Compare { at: FIRST, equal: true, with: vec![REDIRECT] },
        ],
        drop,
    ];
    chain("redirects", filter(OUTPUT, 0), &[redirect.concat()]);
}

fn masquerade(place: &Place) -> [Vec<Expression>; 4] {
    let (network, mask) = (place.pods.network(), place.pods.mask());
    let done = vec![Expression::Masquerade];
    let leaves = [
        leaving_by(&place.bridge, false),
        within(Part::SOURCE, network, mask, true),
        within(Part::DESTINATION, network, mask, false),
        done.clone(),
    ];
    let to_itself = [
        leaving_by(&place.bridge, true),
        vec![
            Expression::Load(Part::SOURCE, FIRST),
            Expression::Load(Part::DESTINATION, Register(1)),
            Expression::Lookup { set: HAIRPINS.to_owned(), number: None, key: FIRST, to: None },
        ],
        done.clone(),
    ];
    let from_loopback = [
        leaving_by(&place.bridge, true),
        within(Part::SOURCE, Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0), true),
        done.clone(),
    ];
    let status = TRANSLATED.to_ne_bytes();
    let foreign = [
        vec![
            Expression::LoadStatus(FIRST),
            Expression::Mask { at: FIRST, mask: status.to_vec() },
            Expression::Compare { at: FIRST, equal: false, with: vec![0; 4] },
        ],
        load_front(),
        vec![Expression::Lookup { set: FOREIGN.to_owned(), number: None, key: FIRST, to: None }],
        done,
    ];
    [leaves.concat(), to_itself.concat(), from_loopback.concat(), foreign.concat()]
}

/// What comes in by an interface, or by another.
pub(crate) fn from(interface: &str, equal: bool) -> Vec<Expression> {
    named(Meta::InputName, interface, equal)
}

/// What goes out by an interface, or by another.
pub(crate) fn leaving_by(interface: &str, equal: bool) -> Vec<Expression> {
    named(Meta::OutputName, interface, equal)
}

fn named(meta: Meta, interface: &str, equal: bool) -> Vec<Expression> {
    let mut name = interface.as_bytes().to_vec();
    name.resize(INTERFACE, 0);
    vec![Expression::LoadMeta(meta, FIRST), Expression::Compare { at: FIRST, equal, with: name }]
}

/// What has an address in a range, or has not.
pub(crate) fn within(part: Part, network: Ipv4Addr, mask: Ipv4Addr, equal: bool) -> Vec<Expression> {
    vec![
        Expression::Load(part, FIRST),
        Expression::Mask { at: FIRST, mask: mask.octets().to_vec() },
        Expression::Compare { at: FIRST, equal, with: network.octets().to_vec() },
    ]
}

/// What is for one of the machine's own addresses.
fn to_machine() -> Vec<Expression> {
    route_kind(false)
}

/// What comes from one of the machine's own addresses.
pub(crate) fn from_machine() -> Vec<Expression> {
    route_kind(true)
}

fn route_kind(of_source: bool) -> Vec<Expression> {
    vec![
        Expression::LoadRouteKind { of_source, to: FIRST },
        Expression::Compare { at: FIRST, equal: true, with: LOCAL.to_ne_bytes().to_vec() },
    ]
}

fn load_front() -> Vec<Expression> {
    vec![
        Expression::Load(Part::DESTINATION, FIRST),
        Expression::LoadMeta(Meta::Protocol, Register(1)),
        Expression::Load(Part::DESTINATION_PORT, Register(2)),
    ]
}

fn load_door() -> Vec<Expression> {
    vec![Expression::LoadMeta(Meta::Protocol, FIRST), Expression::Load(Part::DESTINATION_PORT, Register(1))]
}

/// What a map says of what the registers hold.
pub(crate) fn obey(map: &str) -> Vec<Expression> {
    vec![Expression::Lookup { set: map.to_owned(), number: None, key: FIRST, to: Some(Found::Verdict) }]
}
