//! Endpoints and EndpointSlices.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::Value;

use super::service::{PROTOCOLS, unroutable};
use super::{IMMUTABLE, given, invalid, list, names, one_of, port, required, text};
use crate::field::{FieldError, Path};

const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
const MOST_ENDPOINTS: usize = 1_000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20_000;

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
                let ip = text(of, "ip");
                invalid(&path.child("ip"), ip, names::ip(ip), errors);
                routable(&path.child("ip"), ip, errors);
                hostname(of, &path, errors);
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
        hostname(endpoint, &path, errors);
        let (addresses, path) = (list(endpoint, "addresses"), path.child("addresses"));
        if addresses.is_empty() {
            errors.push(FieldError::required(&path, "must contain at least 1 address"));
        } else if addresses.len() > MOST_ADDRESSES {
            errors.push(FieldError::too_many(&path, addresses.len(), MOST_ADDRESSES));
        }
        for (at, address) in addresses.iter().enumerate() {
            let place = path.index(at);
            let address = address.as_str().unwrap_or_default();
            if kind == "FQDN" {
                fully_qualified(&place, address, errors);
                continue;
            }
            let wrong = names::ip(address);
            if !wrong.is_empty() {
                invalid(&place, address, wrong, errors);
                continue;
            }
            let six = address.contains(':');
            if !matches!((kind, six), ("IPv4", false) | ("IPv6", true)) && ADDRESS_TYPES.contains(&kind) {
                errors.push(FieldError::invalid(&path, address, format!("must be an {kind} address")));
            }
            routable(&place, address, errors);
        }
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
    let bare = name.strip_suffix('.').unwrap_or(name);
    invalid(path, name, names::subdomain(bare), errors);
    if names::subdomain(bare).is_empty() && !bare.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, name, why));
    }
}

/// Endpoints are somewhere in the network. Pods without a network of their own are the exception: they have addresses of
/// the loopback network (127.128.0.0/10) that nothing else uses.
fn routable(path: &Path<'_>, ip: &str, errors: &mut Vec<FieldError>) {
    let Ok(address) = ip.parse::<IpAddr>() else { return };
    if matches!(address, IpAddr::V4(own) if own.octets()[0] == 127 && own.octets()[1] >> 6 == 0b10) {
        return;
    }
    if address.is_unspecified() {
        errors.push(FieldError::invalid(path, ip, format!("may not be unspecified ({ip})")));
    } else if let Some(why) = unroutable(address) {
        errors.push(FieldError::invalid(path, ip, why));
    }
}
