//! Endpoints and EndpointSlices.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::Value;

use super::service::{self, PROTOCOLS};
use super::{IMMUTABLE, entries, given, invalid, list, names, one_of, port, required, selector, text};
use crate::address::{ip_problems, loose_ip_problems};
use crate::field::{FieldError, Path};

const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
const MOST_ENDPOINTS: usize = 1_000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20_000;
const MOST_LABELS: usize = 16;
const MOST_HINTS: usize = 8;

/// An Endpoints object.
pub(super) fn endpoints(object: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("subsets");
    for (at, subset) in list(object, "subsets").iter().enumerate() {
        let path = path.index(at);
        let (ready, waiting) = (list(subset, "addresses"), list(subset, "notReadyAddresses"));
        if ready.is_empty() && waiting.is_empty() {
            errors.push(FieldError::required(&path, "must specify `addresses` or `notReadyAddresses`"));
        }
        for (key, all) in [("addresses", ready), ("notReadyAddresses", waiting)] {
            let path = path.child(key);
            for (at, of) in all.iter().enumerate() {
                let path = path.index(at);
                let (ip, place) = (text(of, "ip"), path.child("ip"));
                invalid(&place, ip, loose_ip_problems(ip), errors);
                hostname(of, &path, errors);
                node_name(of, &path, errors);
                if ip.parse::<IpAddr>().is_err() && !is_with_zeros(ip) {
                    errors.push(FieldError::invalid(&place, ip, "must be a valid IP address"));
                }
                routable(&place, ip, errors);
            }
        }
        let ports = list(subset, "ports");
        let path = path.child("ports");
        for (at, of) in ports.iter().enumerate() {
            let path = path.index(at);
            let name = text(of, "name");
            if !name.is_empty() {
                invalid(&path.child("name"), name, names::label(name), errors);
            } else if ports.len() > 1 {
                errors.push(FieldError::required(&path.child("name"), ""));
            }
            port(of.get("port").unwrap_or(&Value::Null), &path.child("port"), errors);
            protocol(of, &path, errors);
        }
    }
}

/// Whether an address is one but for zeros before its numbers.
fn is_with_zeros(ip: &str) -> bool {
    loose_ip_problems(ip).first().is_some_and(|why| why.contains("leading 0s"))
}

/// An EndpointSlice.
pub(super) fn slice(object: &Value, errors: &mut Vec<FieldError>) {
    let kind = text(object, "addressType");
    if required(object, "addressType", &Path::ROOT, errors) {
        one_of(object, "addressType", &ADDRESS_TYPES, &Path::ROOT, errors);
    }
    slice_ports(object, errors);
    let path = Path::ROOT.child("endpoints");
    let all = list(object, "endpoints");
    if all.len() > MOST_ENDPOINTS {
        errors.push(FieldError::too_many(&path, all.len(), MOST_ENDPOINTS));
        return;
    }
    for (at, endpoint) in all.iter().enumerate() {
        let path = path.index(at);
        let (addresses, inner) = (list(endpoint, "addresses"), path.child("addresses"));
        if addresses.is_empty() {
            errors.push(FieldError::required(&inner, "must contain at least 1 address"));
        } else if addresses.len() > MOST_ADDRESSES {
            errors.push(FieldError::too_many(&inner, addresses.len(), MOST_ADDRESSES));
        }
        for (at, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
            slice_address(kind, address, &inner, at, errors);
        }
        node_name(endpoint, &path, errors);
        let topology = path.child("deprecatedTopology");
        let count = entries(endpoint, "deprecatedTopology").count();
        if count > MOST_LABELS {
            errors.push(FieldError::too_many(&topology, count, MOST_LABELS));
        }
        selector::labels(entries(endpoint, "deprecatedTopology"), &topology, errors);
        hostname(endpoint, &path, errors);
        if let Some(hints) = given(endpoint, "hints") {
            self::hints(hints, &path.child("hints"), errors);
        }
    }
}

fn slice_address(kind: &str, address: &str, path: &Path<'_>, at: usize, errors: &mut Vec<FieldError>) {
    let place = path.index(at);
    let wrong = match kind {
        "FQDN" => return fully_qualified(&place, address, errors),
        "IPv4" => loose_ip_problems(address),
        "IPv6" => ip_problems(address),
        _ => return,
    };
    if !wrong.is_empty() {
        invalid(&place, address, wrong, errors);
        return;
    }
    if (kind == "IPv6") != address.contains(':') {
        errors.push(FieldError::invalid(path, address, format!("must be an {kind} address")));
    }
    routable(&place, address, errors);
}

/// For whom an endpoint is.
fn hints(hints: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (key, problems) in
        [("forZones", names::label_value as fn(&str) -> names::Faults), ("forNodes", names::subdomain)]
    {
        let all = list(hints, key);
        let path = path.child(key);
        if all.len() > MOST_HINTS {
            errors.push(FieldError::too_many(&path, all.len(), MOST_HINTS));
            return;
        }
        let mut seen = HashSet::new();
        for (at, hint) in all.iter().enumerate() {
            let (name, path) = (text(hint, "name"), path.index(at));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            invalid(&path.child("name"), name, problems(name), errors);
        }
    }
}

fn node_name(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(name) = of.get("nodeName").and_then(Value::as_str) {
        invalid(&path.child("nodeName"), name, names::subdomain(name), errors);
    }
}

/// What was let in before stays.
pub(super) fn update_slice(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    if old.get("endpoints") == new.get("endpoints") {
        errors.retain(|error| !error.field.starts_with("endpoints"));
    }
    if old.get("addressType") != new.get("addressType") {
        let path = Path::ROOT.child("addressType");
        errors.push(FieldError::invalid(&path, text(new, "addressType"), IMMUTABLE));
    }
}

fn slice_ports(object: &Value, errors: &mut Vec<FieldError>) {
    let (ports, path) = (list(object, "ports"), Path::ROOT.child("ports"));
    if ports.len() > MOST_PORTS {
        errors.push(FieldError::too_many(&path, ports.len(), MOST_PORTS));
        return;
    }
    let mut seen = HashSet::new();
    for (at, of) in ports.iter().enumerate() {
        let path = path.index(at);
        let name = text(of, "name");
        if !name.is_empty() {
            invalid(&path.child("name"), name, names::label(name), errors);
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        protocol(of, &path, errors);
    }
}

fn protocol(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if required(of, "protocol", path, errors) {
        one_of(of, "protocol", &PROTOCOLS, path, errors);
    }
    let app = text(of, "appProtocol");
    if !app.is_empty() {
        invalid(&path.child("appProtocol"), app, names::qualified(app), errors);
    }
}

fn hostname(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(name) = given(of, "hostname").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        invalid(&path.child("hostname"), name, names::label(name), errors);
    }
}

fn fully_qualified(path: &Path<'_>, name: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    let faults = names::subdomain(bare);
    if !faults.is_empty() {
        errors.push(FieldError::invalid(path, bare, faults.join(",")));
    } else if !bare.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, bare, why));
    }
}

/// Endpoints are somewhere in the network. Pods without a network of their own are the exception: they have addresses of
/// the loopback network (127.128.0.0/10) that nothing else uses.
fn routable(path: &Path<'_>, ip: &str, errors: &mut Vec<FieldError>) {
    let Ok(address) = ip.parse::<IpAddr>() else { return };
    if matches!(address, IpAddr::V4(own) if own.octets()[0] == 127 && own.octets()[1] >> 6 == 0b10) {
        return;
    }
    service::routable(ip, path, errors);
}
