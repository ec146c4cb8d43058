//! IP addresses and networks.

use std::fmt;
use std::net::IpAddr;

use crate::value::{Evaluated, EvaluationError, Library, Value, fail};

/// A network: an address and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// How many of its leading bits count.
    pub bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// What is wrong with the text of an address, in the words of Go's net/netip.
fn reason(text: &str) -> String {
    let plain = |reason: &str| format!("ParseAddr({text:?}): {reason}");
    let at = |reason: &str, rest: &str| format!("ParseAddr({text:?}): {reason} (at {rest:?})");
    let Some(first) = text.find(['.', ':', '%']) else { return plain("unable to parse IP") };
    match &text[first..=first] {
        "." => {
            let mut fields = 0;
            let mut digits = 0;
            let mut value = 0u32;
            for (i, c) in text.char_indices() {
                match c {
                    '0'..='9' if digits == 1 && value == 0 => {
                        return at("IPv4 field has octet with leading zero", "").replace(" (at \"\")", "");
                    }
                    '0'..='9' => {
                        value = value * 10 + (c as u32 - '0' as u32);
                        digits += 1;
                        if value > 255 {
                            return plain("IPv4 field has value >255");
                        }
                    }
                    '.' => {
                        if digits == 0 || i + 1 == text.len() {
                            return at("IPv4 field must have at least one digit", &text[i..]);
                        }
                        if fields == 3 {
                            return plain("IPv4 address too long");
                        }
                        fields += 1;
                        digits = 0;
                        value = 0;
                    }
                    _ => return at("unexpected character", &text[i..]),
                }
            }
            plain("IPv4 address too short")
        }
        "%" => plain("missing IPv6 address"),
        _ => reason_v6(text),
    }
}

fn reason_v6(text: &str) -> String {
    let plain = |reason: &str| format!("ParseAddr({text:?}): {reason}");
    let at = |reason: &str, rest: &str| format!("ParseAddr({text:?}): {reason} (at {rest:?})");
    let mut rest = text;
    let mut groups = 0;
    let mut ellipsis = false;
    if let Some(after) = rest.strip_prefix("::") {
        ellipsis = true;
        rest = after;
    }
    while !rest.is_empty() && groups < 8 {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if digits > 4 {
            return at("each group must have 4 or less digits", rest);
        }
        if digits == 0 {
            return at("each colon-separated field must have at least one digit", rest);
        }
        let after = &rest[digits..];
        if after.starts_with('.') {
            return plain("embedded IPv4 address must replace the final 2 fields of the address");
        }
        groups += 1;
        rest = after;
        if rest.is_empty() {
            break;
        }
        let Some(next) = rest.strip_prefix(':') else {
            return at("unexpected character, want colon", rest);
        };
        if next.is_empty() {
            return at("colon must be followed by more characters", rest);
        }
        rest = next;
        if let Some(after) = rest.strip_prefix(':') {
            if ellipsis {
                return at("multiple :: in address", rest);
            }
            ellipsis = true;
            rest = after;
        }
    }
    if !rest.is_empty() {
        return at("trailing garbage after address", rest);
    }
    if groups < 8 && !ellipsis {
        plain("address string too short")
    } else {
        plain("the :: must expand to at least one field of zeros")
    }
}

/// The address without a zone, or what is wrong with it.
pub(crate) fn address(text: &str) -> Evaluated<IpAddr> {
    if let Some((bare, zone)) = text.split_once('%')
        && !zone.is_empty()
        && bare.parse::<std::net::Ipv6Addr>().is_ok()
    {
        fail!("IP address {text:?} with zone value is not allowed");
    }
    let address: IpAddr = text.parse().map_err(|_| {
        EvaluationError::new(format!(
            "IP Address {text:?} parse error during conversion from string: {}",
            reason(text)
        ))
    })?;
    if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        fail!("IPv4-mapped IPv6 address {text:?} is not allowed");
    }
    Ok(address)
}

/// The network, or what is wrong with it.
pub(crate) fn cidr(text: &str) -> Evaluated<Cidr> {
    let twice = "network address parse error during conversion from string: ";
    let wrong =
        |reason: &str| EvaluationError::new(format!("{twice}{twice}netip.ParsePrefix({text:?}): {reason}"));
    let (address_text, bits_text) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'"))?;
    if address_text.contains('%') {
        return Err(wrong("IPv6 zones cannot be present in a prefix"));
    }
    let address: IpAddr = address_text.parse().map_err(|_| wrong(&reason(address_text)))?;
    let plain = !bits_text.is_empty() && bits_text.bytes().all(|b| b.is_ascii_digit());
    if !plain || bits_text.len() > 1 && bits_text.starts_with('0') {
        return Err(wrong(&format!("bad bits after slash: {bits_text:?}")));
    }
    let most = if address.is_ipv4() { 32 } else { 128 };
    match bits_text.parse::<u8>() {
        Ok(bits) if bits <= most => {
            if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
                fail!("{twice}IPv4-mapped IPv6 address {text:?} is not allowed");
            }
            Ok(Cidr { address, bits })
        }
        _ => Err(wrong("prefix length out of range")),
    }
}

fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    }
}

/// The address with only the leading bits kept.
fn leading(address: IpAddr, bits: u8) -> u128 {
    let (value, width) = number(address);
    let drop = width.saturating_sub(u32::from(bits));
    value.checked_shr(drop).unwrap_or(0).checked_shl(drop).unwrap_or(0)
}

pub(crate) fn contains(cidr: Cidr, address: IpAddr) -> bool {
    cidr.address.is_ipv4() == address.is_ipv4()
        && leading(cidr.address, cidr.bits) == leading(address, cidr.bits)
}

pub(crate) fn contains_cidr(cidr: Cidr, other: Cidr) -> bool {
    cidr.bits <= other.bits && contains(cidr, other.address)
}

pub(crate) fn masked(cidr: Cidr) -> Cidr {
    let kept = leading(cidr.address, cidr.bits);
    let address = match cidr.address {
        IpAddr::V4(_) => IpAddr::V4((kept as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(kept.into()),
    };
    Cidr { address, bits: cidr.bits }
}

pub(crate) fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

pub(crate) fn is_global_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local(address))
}

/// The address that a value is.
pub(crate) fn ip_of(value: &Value<'_>) -> Evaluated<IpAddr> {
    match value {
        Value::Library(Library::Ip(ip)) => Ok(*ip),
        _ => Err(EvaluationError::no_such_overload()),
    }
}

/// The network that a value is.
pub(crate) fn cidr_of(value: &Value<'_>) -> Evaluated<Cidr> {
    match value {
        Value::Library(Library::Cidr(cidr)) => Ok(*cidr),
        _ => Err(EvaluationError::no_such_overload()),
    }
}
