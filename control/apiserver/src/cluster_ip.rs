//! Addresses of services: which are taken, and the next free one.
//!
//! What is taken is read from the stored services when the server starts and is kept in step by the writes themselves,
//! so no address is given twice. An address is held from the moment it is handed out; a write that then fails gives it back
//! when its [`Held`] is dropped.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

/// A range of IPv4 addresses, from its network address and prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    network: Ipv4Addr,
    prefix: u8,
}

impl Range {
    /// The range `network/prefix`; host bits of the network are cleared. The prefix is 8 to 30 bits.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Option<Self> {
        if !(8..=30).contains(&prefix) {
            return None;
        }
        let mask = u32::MAX << (32 - prefix);
        Some(Self { network: Ipv4Addr::from(u32::from(network) & mask), prefix })
    }

    /// How many addresses there are, the network's and the broadcast address among them.
    fn size(self) -> u32 {
        1 << (32 - self.prefix)
    }

    /// How many of the first addresses are left to those who ask for them by number, as long as there are others
    /// (Kubernetes' ServiceIPStaticSubrange).
    fn by_number(self) -> u32 {
        (self.size() / 16).clamp(16, 256)
    }

    /// Whether an address can be given to a service.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.network));
        offset > 0 && offset < self.size() - 1
    }

    /// The first address, which the API's own service has.
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + 1)
    }
}

/// No range that addresses can be given from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no range of IPv4 addresses with a prefix of 8 to 30 bits, such as 10.96.0.0/16")]
pub struct NoRange;

impl std::str::FromStr for Range {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, NoRange> {
        let (network, prefix) = text.split_once('/').ok_or(NoRange)?;
        let (network, prefix) = (network.parse().map_err(|_| NoRange)?, prefix.parse().map_err(|_| NoRange)?);
        Self::new(network, prefix).ok_or(NoRange)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.network, self.prefix)
    }
}

/// Why an address cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address is not in the range.
    #[error("failed to allocate IP {address}: the provided network does not match the current range")]
    OutOfRange {
        /// The address.
        address: Ipv4Addr,
        /// The range.
        range: Range,
    },
    /// Another service has it.
    #[error("failed to allocate IP {0}: provided IP is already allocated")]
    Taken(Ipv4Addr),
    /// None is free.
    #[error("failed to allocate a serviceIP: range {0} is full; delete services that are not needed")]
    Full(Range),
}

#[derive(Debug, Default)]
struct State {
    /// How many hold an address. More than one is what an older server may have left behind.
    taken: HashMap<Ipv4Addr, u32>,
    next: u32,
    /// Further ranges than the first.
    further: Vec<Range>,
}

/// The addresses of services. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClusterIps {
    range: Range,
    state: Arc<Mutex<State>>,
}

/// An address that is kept until its write is done.
#[derive(Debug)]
pub struct Held {
    of: ClusterIps,
    /// The address.
    pub address: Ipv4Addr,
    kept: bool,
}

impl Held {
    /// The write is done; the address stays taken.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.kept {
            self.of.free(self.address);
        }
    }
}

impl ClusterIps {
    /// All addresses of the range are free.
    pub fn new(range: Range) -> Self {
        Self { range, state: Arc::default() }
    }

    /// The first range that addresses come from.
    pub fn range(&self) -> Range {
        self.range
    }

    /// An address for a new service: the wanted one, or the next free one.
    pub fn hold(&self, wanted: Option<Ipv4Addr>) -> Result<Held, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let address = match wanted {
            Some(address) if !self.ranges(&state).any(|range| range.contains(address)) => {
                return Err(Error::OutOfRange { address, range: self.range });
            }
            Some(address) if state.taken.contains_key(&address) => return Err(Error::Taken(address)),
            Some(address) => address,
            None => self.next_free(&mut state)?,
        };
        state.taken.insert(address, 1);
        Ok(Held { of: self.clone(), address, kept: false })
    }

    fn next_free(&self, state: &mut State) -> Result<Ipv4Addr, Error> {
        let next = state.next;
        let found = self.ranges(state).find_map(|range| {
            let count = range.size() - 2;
            let address = |step: u32| {
                let offset = 1 + (next % count + range.by_number() + step) % count;
                Ipv4Addr::from(u32::from(range.network) + offset)
            };
            (0..count)
                .find(|step| !state.taken.contains_key(&address(*step)))
                .map(|step| (step, address(step)))
        });
        let (step, address) = found.ok_or(Error::Full(self.range))?;
        state.next = next.wrapping_add(step + 1);
        Ok(address)
    }

    fn ranges<'a>(&self, state: &'a State) -> impl Iterator<Item = Range> + use<'a> {
        let first = self.range;
        std::iter::once(first).chain(state.further.iter().copied().filter(move |own| *own != first))
    }

    /// Gives addresses from these ranges too from now on, and no longer from those of before.
    pub(crate) fn set_ranges(&self, further: Vec<Range>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).further = further;
    }

    /// Whether an address of a range is taken that none of those from which addresses are given holds.
    pub(crate) fn depend_on(&self, range: Range) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = state.taken.keys().filter(|address| range.contains(**address));
        taken.any(|address| !self.ranges(&state).any(|other| other.contains(*address)))
    }

    /// Marks an address of a stored service as taken.
    pub fn note(&self, address: Ipv4Addr) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state.taken.entry(address).or_default() += 1;
    }

    /// Gives an address back; it is free once nobody else holds it.
    pub fn free(&self, address: Ipv4Addr) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holders) = state.taken.get_mut(&address) {
            *holders -= 1;
            if *holders == 0 {
                state.taken.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(prefix: u8) -> ClusterIps {
        ClusterIps::new(Range::new(Ipv4Addr::new(10, 96, 0, 0), prefix).unwrap())
    }

    #[test]
    fn no_address_is_given_twice_and_a_full_range_says_so() {
        let ips = ips(28);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..14 {
            let held = ips.hold(None).unwrap();
            assert!(seen.insert(held.address), "{}", held.address);
            held.keep();
        }
        assert!(matches!(ips.hold(None), Err(Error::Full(_))));
    }

    #[test]
    fn the_first_addresses_are_left_to_those_who_ask_for_them() {
        let first = |prefix| ips(prefix).hold(None).unwrap().address;
        assert_eq!(first(16), Ipv4Addr::new(10, 96, 1, 1));
        assert_eq!(first(24), Ipv4Addr::new(10, 96, 0, 17));
    }

    #[test]
    fn a_failed_write_gives_its_address_back() {
        let ips = ips(28);
        let wanted = Ipv4Addr::new(10, 96, 0, 3);
        drop(ips.hold(Some(wanted)).unwrap());
        let held = ips.hold(Some(wanted)).unwrap();
        assert_eq!(ips.hold(Some(wanted)).unwrap_err(), Error::Taken(wanted));
        held.keep();
        ips.free(wanted);
        assert!(ips.hold(Some(wanted)).is_ok());
    }

    #[test]
    fn further_ranges_serve_while_they_stand_and_are_needed_while_they_hold_an_address() {
        let (ips, further) = (ips(28), "10.97.0.0/30".parse().unwrap());
        let wanted = Ipv4Addr::new(10, 97, 0, 2);
        assert!(matches!(ips.hold(Some(wanted)), Err(Error::OutOfRange { .. })));
        ips.set_ranges(vec![further]);
        for _ in 0..14 {
            ips.hold(None).unwrap().keep();
        }
        assert!(!ips.depend_on(further));
        let mut last: Vec<Ipv4Addr> = Vec::new();
        while let Ok(held) = ips.hold(None) {
            last.push(held.address);
            held.keep();
        }
        last.sort_unstable();
        assert_eq!(last, [Ipv4Addr::new(10, 97, 0, 1), wanted]);
        assert!(!ips.depend_on(further), "it stands");
        ips.set_ranges(Vec::new());
        assert!(ips.depend_on(further));
        last.into_iter().for_each(|address| ips.free(address));
        assert!(!ips.depend_on(further));
        assert_eq!("10.96.0.0/31".parse::<Range>(), Err(NoRange));
    }

    #[test]
    fn an_address_outside_the_range_is_refused() {
        let outside =
            [Ipv4Addr::new(10, 97, 0, 1), Ipv4Addr::new(10, 96, 0, 0), Ipv4Addr::new(10, 96, 0, 255)];
        for address in outside {
            assert!(matches!(ips(24).hold(Some(address)), Err(Error::OutOfRange { .. })), "{address}");
        }
    }
}
