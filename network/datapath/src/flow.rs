//! Flows of UDP that the kernel has in mind (`linux/netfilter/nfnetlink_conntrack.h`). A flow goes where its first packet went
//! for as long as there are packets, so one whose endpoint is gone, or that began when there was none, has to be forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::socket::Netfilter;
use crate::translation::{Chain, Closed, Door, Front, Translation, Transport};

const UDP: u8 = 17;
/// CTA_TUPLE_ORIG and CTA_TUPLE_REPLY
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
/// The bits of an attribute's type that are its type (NLA_TYPE_MASK).
const KIND: u16 = 0x3fff;

type Endpoints = BTreeSet<SocketAddrV4>;

/// The ports whose flows may lead to where nobody answers, with those who do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stale {
    fronts: BTreeMap<Front, Endpoints>,
    doors: BTreeMap<Door, Endpoints>,
}

impl Stale {
    /// What becomes stale when one translation follows another.
    pub(crate) fn between(old: &Translation, new: &Translation) -> Self {
        let mut own = Self::default();
        for (before, now) in [(&old.cluster, &new.cluster), (&old.external, &new.external)] {
            let ports = changed(old, before, new, now, |front: &Front| front.transport);
            own.fronts.extend(ports);
        }
        own.doors = changed(old, &old.doors, new, &new.doors, |door: &Door| door.transport);
        own.fronts.extend(closed(&old.closed_cluster, &new.closed_cluster, |front| front.transport));
        own.fronts.extend(closed(&old.closed_external, &new.closed_external, |front| front.transport));
        own.doors.extend(closed(&old.closed_doors, &new.closed_doors, |door| door.transport));
        own
    }

    fn is_empty(&self) -> bool {
        self.fronts.is_empty() && self.doors.is_empty()
    }

    /// Whether a flow to one place that is answered from another has to be forgotten.
    fn has(&self, asked: SocketAddrV4, answers: SocketAddrV4) -> bool {
        let (address, port, transport) = (*asked.ip(), asked.port(), Transport::Udp);
        if let Some(endpoints) = self.fronts.get(&Front { address, transport, port }) {
            return !endpoints.contains(&answers);
        }
        // Whether the address is the machine's is not known: a flow to another's is none of ours, and was not translated.
        let door = self.doors.get(&Door { transport, port });
        door.is_some_and(|endpoints| answers != asked && !endpoints.contains(&answers))
    }
}

/// The open ports of UDP that have lost an endpoint, or were not open.
fn changed<K: Ord + Copy>(
    old: &Translation,
    before: &BTreeMap<K, String>,
    new: &Translation,
    now: &BTreeMap<K, String>,
    transport: impl Fn(&K) -> Transport,
) -> BTreeMap<K, Endpoints> {
    let mut all = BTreeMap::new();
    for (port, chain) in now.iter().filter(|(port, _)| transport(port) == Transport::Udp) {
        let own = endpoints(new, chain);
        let had = before.get(port).map(|chain| endpoints(old, chain));
        if had.is_none_or(|had| !had.is_subset(&own)) {
            all.insert(*port, own);
        }
    }
    // Those that are gone altogether have no endpoint any more.
    let gone = before.keys().filter(|port| !now.contains_key(port) && transport(port) == Transport::Udp);
    all.extend(gone.map(|port| (*port, Endpoints::new())));
    all
}

fn closed<K: Ord + Copy>(
    before: &BTreeMap<K, Closed>,
    now: &BTreeMap<K, Closed>,
    transport: impl Fn(&K) -> Transport,
) -> BTreeMap<K, Endpoints> {
    let newly = now.keys().filter(|port| !before.contains_key(port) && transport(port) == Transport::Udp);
    newly.map(|port| (*port, Endpoints::new())).collect()
}

/// Everybody to whom a chain may lead.
fn endpoints(translation: &Translation, chain: &str) -> Endpoints {
    match translation.chains.get(chain) {
        None => Endpoints::new(),
        Some(Chain::Spread { endpoints, .. }) => endpoints.iter().copied().collect(),
        Some(Chain::Guarded { next, .. }) => endpoints(translation, next),
        Some(Chain::Outside { inside, local }) => {
            let mut all = endpoints(translation, inside);
            all.extend(local.iter().flat_map(|local| endpoints(translation, local)));
            all
        }
    }
}

/// Has the kernel forget flows that are stale, and tells how many there were.
pub(crate) fn forget(stale: &Stale) -> io::Result<usize> {
    if stale.is_empty() {
        return Ok(0);
    }
    let mut netfilter = Netfilter::open()?;
    let mut found = Vec::new();
    netfilter.list_flows(|message| {
        let original = attributes(message).find(|(kind, _)| *kind == ORIGINAL);
        let reply = attributes(message).find(|(kind, _)| *kind == REPLY);
        if let (Some((_, original)), Some((_, reply))) = (original, reply)
            && let (Some((_, asked)), Some((answers, _))) = (ends(original), ends(reply))
            && stale.has(asked, answers)
        {
            found.push(original.to_vec());
        }
    })?;
    for original in &found {
        netfilter.delete_flow(ORIGINAL, original)?;
    }
    Ok(found.len())
}

/// Where a flow of UDP comes from and goes to.
fn ends(tuple: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let of = |bytes, kind: u16| attributes(bytes).find(|(own, _)| *own == kind).map(|(_, value)| value);
    let (addresses, protocol) = (of(tuple, 1)?, of(tuple, 2)?);
    if of(protocol, 1)? != [UDP] {
        return None;
    }
    let end = |address, port| {
        let address: [u8; 4] = of(addresses, address)?.try_into().ok()?;
        let port = u16::from_be_bytes(of(protocol, port)?.try_into().ok()?);
        Some(SocketAddrV4::new(Ipv4Addr::from(address), port))
    };
    Some((end(1, 2)?, end(2, 3)?))
}

/// The attributes in some bytes, as far as these are some.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & KIND;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Attributes;
    use crate::{Endpoint, Name, Policy, Protocol, Service, ServicePort, Stage, translate};

    fn translation(endpoints: &[&str]) -> Translation {
        let endpoint =
            |text: &&str| Endpoint { address: text.parse().unwrap(), stage: Stage::Ready, is_local: true };
        let port = |protocol| ServicePort {
            protocol,
            port: 53,
            node_port: None,
            endpoints: endpoints.iter().map(endpoint).collect(),
        };
        let service = Service {
            name: Name { namespace: "default".into(), name: "dns".into() },
            cluster_ips: vec![[10, 96, 0, 10].into()],
            external_ips: Vec::new(),
            balancer_ips: Vec::new(),
            sources: Vec::new(),
            ports: vec![port(Protocol::Udp), port(Protocol::Tcp)],
            affinity: None,
            internal: Policy::Cluster,
            external: Policy::Cluster,
        };
        translate(&[service], &[], "10.244.0.0/24".parse().unwrap()).0
    }

    #[test]
    fn flows_to_endpoints_that_are_gone_are_stale_and_others_are_not() {
        let one = translation(&["10.244.0.5:53", "10.244.0.6:53"]);
        let at = |text: &str| text.parse::<SocketAddrV4>().unwrap();
        let asked = at("10.96.0.10:53");
        let lost = Stale::between(&one, &translation(&["10.244.0.6:53"]));
        assert!(lost.has(asked, at("10.244.0.5:53")));
        assert!(!lost.has(asked, at("10.244.0.6:53")));
        assert!(!lost.has(at("10.96.0.11:53"), at("10.244.0.5:53")));
        // What was not translated when it began.
        let opened = Stale::between(&translation(&[]), &one);
        assert!(opened.has(asked, asked));
        let closed = Stale::between(&one, &translation(&[]));
        assert!(closed.has(asked, at("10.244.0.6:53")));
        let mut door = lost;
        door.doors.insert(Door { transport: Transport::Udp, port: 5353 }, Endpoints::new());
        assert!(door.has(at("192.0.2.2:5353"), at("10.244.0.5:53")));
        assert!(!door.has(at("192.0.2.9:5353"), at("192.0.2.9:5353")), "another machine's");
        let more = Stale::between(&translation(&["10.244.0.5:53"]), &one);
        assert!(more.is_empty(), "{more:?}");
    }

    #[test]
    fn the_ends_of_a_flow_are_read_and_other_protocols_are_left_alone() {
        let tuple = |protocol: u8| {
            let mut bytes = Vec::new();
            Attributes::new(&mut bytes)
                .nested(1, |inner| {
                    inner.bytes(1, &[10, 0, 0, 1]).bytes(2, &[10, 0, 0, 2]);
                })
                .nested(2, |inner| {
                    inner.bytes(1, &[protocol]).bytes(2, &[0x30, 0x39]).bytes(3, &[0, 53]);
                });
            bytes
        };
        let expected = ("10.0.0.1:12345".parse().unwrap(), "10.0.0.2:53".parse().unwrap());
        assert_eq!(ends(&tuple(UDP)), Some(expected));
        assert_eq!(ends(&tuple(6)), None);
        let whole = tuple(UDP);
        for length in 0..whole.len() {
            let _ = ends(&whole[..length]);
        }
    }
}
