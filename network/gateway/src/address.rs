//! Which addresses each Gateway has: those that it asks for, else one of a pool, which it keeps as long as its status
//! remembers it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use xebec_api::gateway::Gateway;

use crate::Options;
use crate::condition::Verdict;
use crate::translation::names;

/// A Gateway's namespace and name.
pub(crate) type Key<'a> = (&'a str, &'a str);

/// The addresses of a Gateway, or why it cannot have what it asks for.
pub(crate) type Addresses = Result<Vec<IpAddr>, Verdict>;

/// What a Gateway asks for: addresses by name, and how many of the pool.
struct Wish {
    named: Vec<IpAddr>,
    pooled: usize,
}

/// Gives every Gateway its addresses; earlier ones of the list choose first.
pub(crate) fn assign<'a>(gateways: &[&'a Gateway], options: &Options) -> BTreeMap<Key<'a>, Addresses> {
    let wishes: Vec<_> = gateways.iter().map(|gateway| (*gateway, wish(gateway))).collect();
    let named = wishes.iter().filter_map(|(_, wish)| wish.as_ref().ok()).flat_map(|wish| &wish.named);
    let mut taken: BTreeSet<IpAddr> = named.copied().collect();
    // What was given once stays given, before anyone new chooses.
    let mut kept = BTreeMap::new();
    for (gateway, wish) in &wishes {
        let Ok(wish) = wish else { continue };
        let before = gateway.status.iter().flat_map(|status| &status.addresses);
        let before = before.filter_map(|address| address.value.parse().ok());
        let mut own = Vec::new();
        for address in before.filter(|address| options.pool.contains(*address)) {
            if own.len() < wish.pooled && taken.insert(address) {
                own.push(address);
            }
        }
        kept.insert(names(&gateway.metadata), own);
    }
    let mut free = options.pool.addresses().filter(|address| !taken.contains(address));
    let mut give = |gateway: &'a Gateway, wish: Wish| {
        let mut addresses = wish.named;
        let mut pooled = kept.remove(&names(&gateway.metadata)).unwrap_or_default();
        while pooled.len() < wish.pooled {
            let address = free.next().ok_or_else(|| {
                let message = format!("no address of {} is free; delete a Gateway", options.pool);
                Verdict::no("NoResources", message)
            })?;
            pooled.push(address);
        }
        addresses.extend(pooled);
        Ok(addresses)
    };
    wishes
        .into_iter()
        .map(|(gateway, wish)| (names(&gateway.metadata), wish.and_then(|wish| give(gateway, wish))))
        .collect()
}

fn wish(gateway: &Gateway) -> Result<Wish, Verdict> {
    let mut wish = Wish { named: Vec::new(), pooled: 0 };
    for wanted in &gateway.spec.addresses {
        let value = wanted.value.as_deref().filter(|value| !value.is_empty());
        let refused = |why: &str| {
            let value = value.unwrap_or_default();
            let message = format!("address {} {value:?} {why}; name an IPAddress, or none", wanted.type_);
            Verdict::no("UnsupportedAddress", message)
        };
        if wanted.type_ != "IPAddress" {
            return Err(refused("is of a type that cannot be served"));
        }
        match value.map(str::parse::<IpAddr>) {
            None => wish.pooled += 1,
            Some(Ok(address)) if !address.is_unspecified() && !address.is_multicast() => {
                if !wish.named.contains(&address) {
                    wish.named.push(address);
                }
            }
            Some(_) => return Err(refused("is not the address of one machine")),
        }
    }
    if gateway.spec.addresses.is_empty() {
        wish.pooled = 1;
    }
    Ok(wish)
}
