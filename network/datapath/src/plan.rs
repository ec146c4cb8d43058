//! How one translation becomes another: the requests that change only what differs, in an order in which nothing is removed
//! that is still referred to.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::batch::{Batch, Data, Element, Kind, Set, Value};
use crate::expression::{Expression, Found, Part, Register, Verdict};
use crate::frame::{
    self, CLOSED_CLUSTER, CLOSED_DOORS, CLOSED_EXTERNAL, CLUSTER, DOORS, ENDPOINTS, EXTERNAL, FOREIGN,
    HAIRPINS,
};
use crate::translation::{Chain, Closed, Door, Front, Translation};

const FIRST: Register = Register(0);
const SECOND: Register = Register(1);
const THIRD: Register = Register(2);
/// The longest time that the kernel keeps a client, in seconds: what Kubernetes allows.
const LONGEST: u64 = 86_400;

/// Adds what makes `new` of `old` to a batch. `bridge` is by what interface pods come.
pub(crate) fn change(batch: &mut Batch, bridge: &str, old: &Translation, new: &Translation) {
    let differs = |one: &Translation, other: &Translation| -> BTreeMap<String, Piece> {
        let chains = one.chains.iter().filter(|(name, chain)| other.chains.get(*name) != Some(*chain));
        chains.flat_map(|(name, chain)| pieces(name, chain, bridge)).collect()
    };
    let (had, has) = (differs(old, new), differs(new, old));
    let places = |pieces: &BTreeMap<String, Piece>| -> BTreeMap<Vec<u8>, Value> {
        pieces.values().flat_map(|piece| piece.places.iter().cloned()).collect()
    };
    let mut changes = set_changes(old, new);
    changes.push(difference(ENDPOINTS, &places(&had), &places(&has), Vec::clone, Value::clone));
    for (name, gone, _) in &changes {
        batch.delete_elements(name, gone);
    }
    for (name, piece) in has.iter().filter(|(name, _)| !had.contains_key(*name)) {
        if let Some(timeout) = piece.remembers {
            let set = Set { name, key: &[Kind::Address], data: Data::None, timeout: Some(timeout) };
            batch.add_set(&set);
        }
        batch.add_chain(name, None);
    }
    // What refers to chains that go must go first, whichever chain it is in.
    for (name, piece) in &had {
        if has.get(name).is_none_or(|now| now.rules != piece.rules) {
            batch.empty_chain(name);
        }
    }
    for (name, piece) in &has {
        if had.get(name).is_none_or(|before| before.rules != piece.rules) {
            piece.rules.iter().for_each(|rule| rule.add(batch, name));
        }
    }
    for (name, _, come) in &changes {
        batch.add_elements(name, come);
    }
    for (name, piece) in had.iter().filter(|(name, _)| !has.contains_key(*name)) {
        batch.delete_chain(name);
        if piece.remembers.is_some() {
            batch.delete_set(name);
        }
    }
}

/// A set, the elements that go, and those that come. One that leads elsewhere does both.
type SetChange = (&'static str, Vec<Element>, Vec<Element>);

fn set_changes(old: &Translation, new: &Translation) -> Vec<SetChange> {
    let goto = |chain: &String| Value::Verdict(Verdict::Goto(chain.clone()));
    let (front, door) = (|front: &Front| front_key(*front), |door: &Door| door_key(*door));
    let plain = |(): &()| Value::None;
    let hairpins = |own: &Translation| own.hairpins.iter().map(|address| (*address, ())).collect();
    let foreign = |own: &Translation| own.foreign.iter().map(|front| (*front, ())).collect();
    let twice = |address: &Ipv4Addr| address.octets().repeat(2);
    vec![
        difference(CLUSTER, &old.cluster, &new.cluster, front, goto),
        difference(EXTERNAL, &old.external, &new.external, front, goto),
        difference(DOORS, &old.doors, &new.doors, door, goto),
        difference(CLOSED_CLUSTER, &old.closed_cluster, &new.closed_cluster, front, close),
        difference(CLOSED_EXTERNAL, &old.closed_external, &new.closed_external, front, close),
        difference(CLOSED_DOORS, &old.closed_doors, &new.closed_doors, door, close),
        difference(HAIRPINS, &hairpins(old), &hairpins(new), twice, plain),
        difference(FOREIGN, &foreign(old), &foreign(new), front, plain),
    ]
}

fn difference<K: Ord, V: PartialEq>(
    name: &'static str,
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    key: impl Fn(&K) -> Vec<u8>,
    value: impl Fn(&V) -> Value,
) -> SetChange {
    let gone = old.iter().filter(|(key, value)| new.get(*key) != Some(*value));
    let come = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
    let gone = gone.map(|(own, _)| (key(own), Value::None)).collect();
    (name, gone, come.map(|(own, leads)| (key(own), value(leads))).collect())
}

fn close(closed: &Closed) -> Value {
    Value::Verdict(match closed {
        Closed::Reject => Verdict::Goto(frame::REJECT.to_owned()),
        Closed::Drop => Verdict::Drop,
    })
}

/// Each part begins at four bytes.
fn front_key(front: Front) -> Vec<u8> {
    [front.address.octets().to_vec(), door_key(Door { transport: front.transport, port: front.port })]
        .concat()
}

fn door_key(door: Door) -> Vec<u8> {
    let [high, low] = door.port.to_be_bytes();
    vec![door.transport.number(), 0, 0, 0, high, low, 0, 0]
}

fn place_bytes(endpoint: SocketAddrV4) -> Vec<u8> {
    let [high, low] = endpoint.port().to_be_bytes();
    [endpoint.ip().octets().to_vec(), vec![high, low, 0, 0]].concat()
}

/// A chain of the kernel's.
#[derive(Debug, Default, PartialEq, Eq)]
struct Piece {
    rules: Vec<Rule>,
    /// For how many milliseconds the set of the chain's name keeps those who were here.
    remembers: Option<u64>,
    /// The chain's endpoints in the map of all. The kernel finds one map at once, and one of thousands by looking at all.
    places: Vec<Element>,
}

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    Plain(Vec<Expression>),
    /// To one of several chains, by chance.
    Toss(Vec<String>),
}

impl Rule {
    fn add(&self, batch: &mut Batch, chain: &str) {
        let chains = match self {
            Self::Plain(rule) => return batch.add_rule(chain, rule),
            Self::Toss(chains) => chains,
        };
        let below = u32::try_from(chains.len()).unwrap_or(u32::MAX);
        let keys = (0..below).map(|key| key.to_ne_bytes().to_vec());
        let goto = |chain: &String| Value::Verdict(Verdict::Goto(chain.clone()));
        let elements: Vec<Element> = keys.zip(chains.iter().map(goto)).collect();
        // The kernel puts a number in its place.
        let name = "__map%d";
        let map = Set { name, key: &[Kind::Integer], data: Data::Verdict, timeout: None };
        let number = Some(batch.add_nameless(&map, &elements));
        let (set, to) = (name.to_owned(), Some(Found::Verdict));
        let rule =
            [Expression::LoadChance { below, to: FIRST }, Expression::Lookup { set, number, key: FIRST, to }];
        batch.add_rule(chain, &rule);
    }
}

/// To one of a chain's several endpoints, by chance, and these endpoints in the map of all.
fn toss(chain: &str, endpoints: &[SocketAddrV4]) -> (Vec<Expression>, Vec<Element>) {
    let mut hasher = DefaultHasher::new();
    chain.hash(&mut hasher);
    let number = hasher.finish().to_be_bytes();
    let (high, low) = (number[..4].to_vec(), number[4..].to_vec());
    let below = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
    let key = |at: u32| [high.as_slice(), &low, &at.to_ne_bytes()].concat();
    let value = |endpoint: &SocketAddrV4| Value::Bytes(place_bytes(*endpoint));
    let places = (0..below).map(key).zip(endpoints.iter().map(value)).collect();
    let rule = vec![
        Expression::LoadValue(high.clone(), FIRST),
        Expression::LoadValue(low.clone(), SECOND),
        Expression::LoadChance { below, to: THIRD },
        Expression::Lookup {
            set: ENDPOINTS.to_owned(),
            number: None,
            key: FIRST,
            to: Some(Found::Register(FIRST)),
        },
        Expression::Translate { address: FIRST, port: SECOND },
    ];
    (rule, places)
}

/// The kernel's chains of which one chain is made.
fn pieces(name: &str, chain: &Chain, bridge: &str) -> Vec<(String, Piece)> {
    let goto = |chain: &str| vec![Expression::Verdict(Verdict::Goto(chain.to_owned()))];
    let drop = vec![Expression::Verdict(Verdict::Drop)];
    let rules = match chain {
        Chain::Spread { endpoints, affinity: Some(affinity), .. } => {
            return lasting(name, endpoints, affinity.as_secs());
        }
        Chain::Spread { endpoints, affinity: None, .. } => match endpoints.as_slice() {
            [only] => plain([translate(*only)]),
            _ => {
                let (rule, places) = toss(name, endpoints);
                return vec![(name.to_owned(), Piece { rules: plain([rule]), remembers: None, places })];
            }
        },
        Chain::Outside { inside, local } => plain([
            [frame::from(bridge, true), goto(inside)].concat(),
            [frame::from_machine(), goto(inside)].concat(),
            local.as_ref().map_or(drop, |local| goto(local)),
        ]),
        Chain::Guarded { sources, next } => {
            let unique: BTreeSet<_> = sources.iter().collect();
            let admitted = unique.into_iter().map(|range| {
                [frame::within(Part::SOURCE, range.network(), range.mask(), true), goto(next)].concat()
            });
            plain(admitted.chain([drop]))
        }
    };
    vec![(name.to_owned(), Piece { rules, ..Piece::default() })]
}

/// Chains of one endpoint each, with a set of the clients that were there, and the one that chooses between them.
fn lasting(name: &str, endpoints: &[SocketAddrV4], seconds: u64) -> Vec<(String, Piece)> {
    let seconds = seconds.clamp(1, LONGEST);
    let timeout = seconds * 1000;
    let mut all = Vec::new();
    let (mut rules, mut names) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        // A set's timeout never changes: with another one it is another set.
        let own = format!("{name}-{}/{}-{seconds}", endpoint.ip(), endpoint.port());
        rules.push(Rule::Plain(vec![
            Expression::Load(Part::SOURCE, FIRST),
            Expression::Lookup { set: own.clone(), number: None, key: FIRST, to: None },
            Expression::Verdict(Verdict::Goto(own.clone())),
        ]));
        let remember = vec![
            Expression::Load(Part::SOURCE, FIRST),
            Expression::Remember { set: own.clone(), key: FIRST, timeout },
        ];
        let rules = plain([remember, translate(*endpoint)]);
        let piece = Piece { rules, remembers: Some(timeout), places: Vec::new() };
        all.push((own.clone(), piece));
        names.push(own);
    }
    rules.push(Rule::Toss(names));
    all.push((name.to_owned(), Piece { rules, ..Piece::default() }));
    all
}

fn plain(rules: impl IntoIterator<Item = Vec<Expression>>) -> Vec<Rule> {
    rules.into_iter().map(Rule::Plain).collect()
}

fn translate(endpoint: SocketAddrV4) -> Vec<Expression> {
    let [high, low] = endpoint.port().to_be_bytes();
    vec![
        Expression::LoadValue(endpoint.ip().octets().to_vec(), FIRST),
        Expression::LoadValue(vec![high, low], SECOND),
        Expression::Translate { address: FIRST, port: SECOND },
    ]
}
