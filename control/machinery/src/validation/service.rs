//! Services.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::Value;

use super::{entries, given, invalid, list, names, number, one_of, port, required, selector, text};
use crate::field::{FieldError, Path};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
/// What ports speak.
pub(super) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const DAY: i64 = 86_400;

/// A Service.
pub(super) fn service(service: &Value, errors: &mut Vec<FieldError>) {
    let spec = service.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let kind = text(spec, "type");
    let headless = text(spec, "clusterIP") == "None";
    if list(spec, "ports").is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(&path.child("clusterIPs").index(0), "None", why));
        }
        "ExternalName" => external(spec, &path, errors),
        _ => {}
    }
    ports(spec, kind, &path, errors);
    selector::labels(entries(spec, "selector"), &path.child("selector"), errors);
    affinity(spec, &path, errors);
    if required(spec, "type", &path, errors) {
        one_of(spec, "type", &TYPES, &path, errors);
    }
    addresses(spec, kind, &path, errors);
    for key in ["externalTrafficPolicy", "internalTrafficPolicy"] {
        one_of(spec, key, &["Cluster", "Local"], &path, errors);
    }
    one_of(spec, "ipFamilyPolicy", &["PreferDualStack", "RequireDualStack", "SingleStack"], &path, errors);
}

fn external(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let single = key == "clusterIPs" && !text(spec, "clusterIP").is_empty();
        if single
            || given(spec, key).is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()))
        {
            let why = "may not be set for ExternalName services";
            errors.push(FieldError::forbidden(&path.child(key), why));
        }
    }
    let name = text(spec, "externalName");
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.is_empty() {
        errors.push(FieldError::required(&path.child("externalName"), ""));
    } else {
        invalid(&path.child("externalName"), bare, names::subdomain(bare), errors);
    }
}

fn ports(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("ports");
    let all = list(spec, "ports");
    let (mut seen, mut used, mut node_ports) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (at, of) in all.iter().enumerate() {
        let path = path.index(at);
        let name = text(of, "name");
        if name.is_empty() {
            if all.len() > 1 {
                errors.push(FieldError::required(&path.child("name"), ""));
            }
        } else {
            invalid(&path.child("name"), name, names::label(name), errors);
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
        port(of.get("port").unwrap_or(&Value::Null), &path.child("port"), errors);
        if required(of, "protocol", &path, errors) {
            one_of(of, "protocol", &PROTOCOLS, &path, errors);
        }
        port(of.get("targetPort").unwrap_or(&Value::Null), &path.child("targetPort"), errors);
        let app = text(of, "appProtocol");
        if !app.is_empty() {
            invalid(&path.child("appProtocol"), app, names::qualified(app), errors);
        }
        let (protocol, own) = (text(of, "protocol"), number(of, "port"));
        if !used.insert((protocol, own)) {
            errors.push(FieldError::duplicate(&path, of.clone()));
        }
        let node = number(of, "nodePort").unwrap_or_default();
        if node == 0 {
            continue;
        }
        let path = path.child("nodePort");
        if kind == "ClusterIP" {
            errors.push(FieldError::forbidden(&path, "may not be used when `type` is 'ClusterIP'"));
        } else if !node_ports.insert((protocol, node)) {
            errors.push(FieldError::duplicate(&path, node));
        }
    }
}

fn affinity(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if required(spec, "sessionAffinity", path, errors) {
        one_of(spec, "sessionAffinity", &["ClientIP", "None"], path, errors);
    }
    let config = given(spec, "sessionAffinityConfig").and_then(|config| given(config, "clientIP"));
    if let Some(seconds) = config.and_then(|config| number(config, "timeoutSeconds"))
        && !(1..=DAY).contains(&seconds)
    {
        let path = path.child("sessionAffinityConfig");
        let path = path.child("clientIP");
        let why = "must be greater than 0 and less than 86400";
        errors.push(FieldError::invalid(&path.child("timeoutSeconds"), seconds, why));
    }
}

fn addresses(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let inner = path.child("externalIPs");
    for (at, ip) in list(spec, "externalIPs").iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        let path = inner.index(at);
        invalid(&path, ip, names::ip(ip), errors);
        if let Ok(address) = ip.parse::<IpAddr>()
            && let Some(why) = unroutable(address)
        {
            errors.push(FieldError::invalid(&path, ip, why));
        }
    }
    if kind == "ExternalName" {
        return;
    }
    let (one, all) = (text(spec, "clusterIP"), list(spec, "clusterIPs"));
    let inner = path.child("clusterIPs");
    match all.first().and_then(Value::as_str) {
        // A server that allots addresses mirrors the one into the list; until then the list may be missing.
        None => {
            if !one.is_empty() && one != "None" {
                invalid(&inner.index(0), one, names::ip(one), errors);
            }
        }
        Some(_) if one.is_empty() => {
            let why = "must be empty when `clusterIP` is not specified";
            errors.push(FieldError::invalid(&inner, all.to_vec(), why));
        }
        Some(first) if first != one => {
            errors.push(FieldError::invalid(&inner, all.to_vec(), "first value must match `clusterIP`"));
        }
        Some(_) => {}
    }
    for (at, ip) in all.iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if ip == "None" && at == 0 && all.len() > 1 {
            let why = "'None' must be the first and only value";
            errors.push(FieldError::invalid(&inner, all.to_vec(), why));
        } else if ip != "None" {
            invalid(&inner.index(at), ip, names::ip(ip), errors);
        }
    }
}

/// Why traffic for an address cannot come from outside.
pub(super) fn unroutable(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let link_multicast = match address {
        IpAddr::V4(address) => address.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    };
    if address.is_unspecified() {
        Some("may not be unspecified (0.0.0.0 or ::)")
    } else if address.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if link_multicast {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}

/// Addresses that a Service has stay its own, unless it becomes or was a mere name.
pub(super) fn update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let (old, new) = (old.get("spec").unwrap_or(&Value::Null), new.get("spec").unwrap_or(&Value::Null));
    if [old, new].into_iter().any(|spec| text(spec, "type") == "ExternalName") {
        return;
    }
    let path = Path::ROOT.child("spec");
    let path = path.child("clusterIPs");
    // Objects that were never completed have the one address alone.
    let all = |spec: &Value| match list(spec, "clusterIPs") {
        [] => given(spec, "clusterIP").filter(|ip| *ip != "").into_iter().cloned().collect(),
        many => many.to_vec(),
    };
    let (before, after) = (all(old), all(new));
    for (at, which) in ["primary", "secondary"].into_iter().enumerate() {
        let Some(ip) = before.get(at) else { continue };
        match after.get(at) {
            Some(other) if other != ip => {
                errors.push(FieldError::invalid(&path.index(at), after.clone(), "may not change once set"));
            }
            None if at == 0 => {
                let why = format!("{which} clusterIP can not be unset");
                errors.push(FieldError::invalid(&path.index(at), after.clone(), why));
            }
            _ => {}
        }
    }
}
