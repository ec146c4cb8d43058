//! Addresses and ranges of addresses in the only form that newer fields take, in upstream's words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const NO_RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

const NO_INTERFACE: &str = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";

const CANONICAL: &str = "must be in canonical form";

/// An address; octets with leading zeros count too, which is told beside it.
fn lenient(text: &str) -> Option<(IpAddr, bool)> {
    if let Ok(address) = text.parse() {
        return Some((address, false));
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = decimal(parts.next()?)?;
    }
    parts.next().is_none().then(|| (Ipv4Addr::from(octets).into(), true))
}

fn decimal(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

fn canonical(form: &str) -> Vec<String> {
    vec![format!("{CANONICAL} ({form:?})")]
}

/// What is wrong with an address.
pub(crate) fn ip_problems(text: &str) -> Vec<String> {
    match lenient(text) {
        None => vec![NO_ADDRESS.to_owned()],
        Some((_, true)) => vec!["must not have leading 0s".to_owned()],
        Some((address, _)) if is_mapped(address) => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        Some((address, _)) if address.to_string() != text => canonical(&address.to_string()),
        Some(_) => Vec::new(),
    }
}

/// What is wrong with an address of an interface, which says how many of its bits are the network's.
pub(crate) fn interface_problems(text: &str) -> Vec<String> {
    let Some((address, length, _)) = lenient_cidr(text) else {
        return vec![NO_INTERFACE.to_owned()];
    };
    let form = match address {
        IpAddr::V6(mapped) if is_mapped(address) && length >= 96 => {
            let plain = mapped.to_ipv4_mapped().map_or(address, IpAddr::from);
            format!("{plain}/{}", length - 96)
        }
        _ => format!("{address}/{length}"),
    };
    if form == text { Vec::new() } else { canonical(&form) }
}

/// What is wrong with an address in a field older than the canonical form.
pub(crate) fn loose_ip_problems(text: &str) -> Vec<String> {
    loose(ip_problems(text))
}

fn loose(mut problems: Vec<String>) -> Vec<String> {
    problems.retain(|problem| !problem.starts_with(CANONICAL));
    problems
}

/// A range as its address, how many bits count, and whether there are leading zeros.
fn lenient_cidr(text: &str) -> Option<(IpAddr, u8, bool)> {
    let (address, length) = text.split_once('/')?;
    let (address, mut has_zeros) = lenient(address)?;
    has_zeros |= length.len() > 1 && length.starts_with('0');
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = decimal(length).filter(|length| *length <= most)?;
    Some((address, length, has_zeros))
}

/// The first address of a range, and how many bits count.
pub(crate) fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    lenient_cidr(text).map(|(address, length, _)| (first(address, length), length))
}

/// Whether an address is in a range.
pub(crate) fn contains((start, length): (IpAddr, u8), address: IpAddr) -> bool {
    start.is_ipv4() == address.is_ipv4() && first(address, length) == start
}

/// What is wrong with a range in a field older than the canonical form.
pub(crate) fn loose_cidr_problems(text: &str) -> Vec<String> {
    loose(cidr_problems(text))
}

/// What is wrong with a range, written as its first address and how many bits count.
pub(crate) fn cidr_problems(text: &str) -> Vec<String> {
    let Some((address, length, has_zeros)) = lenient_cidr(text) else { return vec![NO_RANGE.to_owned()] };
    if has_zeros {
        return vec!["must not have leading 0s in IP or prefix length".to_owned()];
    }
    if is_mapped(address) {
        return vec!["must not have an IPv4-mapped IPv6 address".to_owned()];
    }
    if first(address, length) != address {
        return vec!["must not have bits set beyond the prefix length".to_owned()];
    }
    let form = format!("{address}/{length}");
    if form == text { Vec::new() } else { canonical(&form) }
}

/// The family of a range, where it is one.
pub(crate) fn is_ipv4_cidr(text: &str) -> Option<bool> {
    let (address, _) = text.split_once('/')?;
    lenient(address).map(|(address, _)| address.is_ipv4() || is_mapped(address))
}

fn first(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(own) => {
            Ipv4Addr::from(u32::from(own) & u32::MAX.checked_shl(32 - length).unwrap_or(0)).into()
        }
        IpAddr::V6(own) => {
            Ipv6Addr::from(u128::from(own) & u128::MAX.checked_shl(128 - length).unwrap_or(0)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        for good in ["10.9.8.7", "0.0.0.0", "2001:db8::ffff", "::", "fe80::42:1dff:fe84:f9e2"] {
            assert_eq!(ip_problems(good), Vec::<String>::new(), "{good}");
        }
        for (bad, why) in [
            ("10.9.8", "must be a valid IP"),
            ("10.9.8.256", "must be a valid IP"),
            ("10.9.8.7.6", "must be a valid IP"),
            ("fe80::1%eth0", "must be a valid IP"),
            ("", "must be a valid IP"),
            ("010.9.8.7", "leading 0s"),
            ("::ffff:10.9.8.7", "IPv4-mapped"),
            ("FE80::1", "canonical form (\"fe80::1\")"),
            ("1:0:0:0:0:0:0:2", "canonical form (\"1::2\")"),
        ] {
            let problems = ip_problems(bad);
            assert!(problems.len() == 1 && problems[0].contains(why), "{bad}: {problems:?}");
        }
    }

    #[test]
    fn a_range_begins_where_it_says() {
        for good in ["10.96.0.0/16", "0.0.0.0/0", "10.1.2.3/32", "2001:db8::/64", "::/0", "::1/128"] {
            assert_eq!(cidr_problems(good), Vec::<String>::new(), "{good}");
        }
        for (bad, why) in [
            ("10.96.0.0", "must be a valid CIDR"),
            ("10.96.0.0/33", "must be a valid CIDR"),
            ("10.96.0.0/+8", "must be a valid CIDR"),
            ("10.96.0.0/", "must be a valid CIDR"),
            ("2001:db8::/129", "must be a valid CIDR"),
            ("10.096.0.0/16", "leading 0s in IP or prefix length"),
            ("10.96.0.0/016", "leading 0s in IP or prefix length"),
            ("10.96.0.1/16", "bits set beyond the prefix length"),
            ("2001:DB8::/64", "canonical form (\"2001:db8::/64\")"),
        ] {
            let problems = cidr_problems(bad);
            assert!(problems.len() == 1 && problems[0].contains(why), "{bad}: {problems:?}");
        }
    }
}
