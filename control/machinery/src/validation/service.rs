//! Services.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::{
    IMMUTABLE, entries, given, invalid, list, names, number, one_of, port, required, selector, text,
};
use crate::address::{loose_cidr_problems, loose_ip_problems};
use crate::field::{FieldError, Path};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
/// What ports speak.
pub(super) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const DAY: i64 = 86_400;
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const SOURCES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const OF_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const ONCE: &str = "may not change once set";

/// A Service, in the place of another or not.
pub(super) fn service(old: Option<&Value>, service: &Value, errors: &mut Vec<FieldError>) {
    let spec = service.get("spec").unwrap_or(&Value::Null);
    let before = old.and_then(|old| old.get("spec")).unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let kind = text(spec, "type");
    let headless = is_headless(spec);
    let annotation =
        |name: &str| service.pointer("/metadata/annotations").and_then(|all| all.get(name)?.as_str());
    if let (Some(mode), Some(hints)) = (annotation(TOPOLOGY_MODE), annotation(TOPOLOGY_HINTS))
        && mode != hints
    {
        let path = Path::ROOT.child("metadata");
        let path = path.child("annotations");
        let why = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        errors.push(FieldError::invalid(&path.key(TOPOLOGY_MODE), mode, why));
    }
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
    ports(spec, &path, errors);
    selector::labels(entries(spec, "selector"), &path.child("selector"), errors);
    affinity(spec, &path, errors);
    addresses(before, spec, &path, errors);
    external_addresses(before, spec, &path, errors);
    if required(spec, "type", &path, errors) {
        one_of(spec, "type", &TYPES, &path, errors);
    }
    node_ports(spec, kind, &path, errors);
    sources(before, spec, &path, errors);
    if list(spec, "loadBalancerSourceRanges").is_empty()
        && let Some(ranges) = annotation(SOURCES)
    {
        let is_same =
            old.and_then(|old| old.pointer("/metadata/annotations")?.get(SOURCES)?.as_str()) == Some(ranges);
        annotated_sources(ranges, is_same, kind, errors);
    }
    balancer(spec, kind, &path, errors);
    traffic(spec, kind, &path, errors);
}

fn is_headless(spec: &Value) -> bool {
    match list(spec, "clusterIPs") {
        // Objects that were never completed have the one address alone.
        [] => text(spec, "clusterIP") == "None",
        [one] => one == "None",
        _ => false,
    }
}

/// Whether a load balancer asks nodes if they have endpoints.
fn needs_health_check(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
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

fn ports(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("ports");
    let all = list(spec, "ports");
    let mut seen = HashSet::new();
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
        if let Some(app) = of.get("appProtocol").and_then(Value::as_str) {
            invalid(&path.child("appProtocol"), app, names::qualified(app), errors);
        }
    }
}

/// Ports of the nodes, and ports that are there twice.
fn node_ports(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("ports");
    let all = list(spec, "ports");
    let node = |of: &Value| number(of, "nodePort").filter(|port| *port != 0);
    let with_node = || all.iter().enumerate().filter_map(|(at, of)| Some((at, of, node(of)?)));
    if kind == "ClusterIP" {
        for (at, ..) in with_node() {
            let path = path.index(at);
            let why = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(&path.child("nodePort"), why));
        }
    }
    let mut seen = HashSet::new();
    for (at, of, port) in with_node() {
        if !seen.insert((text(of, "protocol"), port)) {
            errors.push(FieldError::duplicate(&path.index(at).child("nodePort"), port));
        }
    }
    let mut seen = HashSet::new();
    for (at, of) in all.iter().enumerate() {
        let (protocol, own) = (text(of, "protocol"), number(of, "port").unwrap_or_default());
        if !seen.insert((protocol, own)) {
            // Upstream shows its own type, with all fields that are not compared empty.
            let told = json!({
                "Name": "", "Protocol": protocol, "AppProtocol": null, "Port": own, "TargetPort": 0, "NodePort": 0,
            });
            errors.push(FieldError::duplicate(&path.index(at), told));
        }
    }
}

fn affinity(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if required(spec, "sessionAffinity", path, errors) {
        one_of(spec, "sessionAffinity", &["ClientIP", "None"], path, errors);
    }
    let config = given(spec, "sessionAffinityConfig");
    let path = path.child("sessionAffinityConfig");
    match text(spec, "sessionAffinity") {
        "None" if config.is_some() => {
            let why = "must not be set when session affinity is None";
            errors.push(FieldError::forbidden(&path, why));
        }
        "ClientIP" => {
            let why = "when session affinity type is ClientIP";
            let Some(config) = config else {
                errors.push(FieldError::required(&path, why));
                return;
            };
            let path = path.child("clientIP");
            let Some(client) = given(config, "clientIP") else {
                errors.push(FieldError::required(&path, why));
                return;
            };
            let path = path.child("timeoutSeconds");
            match number(client, "timeoutSeconds") {
                None => errors.push(FieldError::required(&path, why)),
                Some(seconds) if !(1..=DAY).contains(&seconds) => {
                    let why = "must be greater than 0 and less than 86400";
                    errors.push(FieldError::invalid(&path, seconds, why));
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

/// What is wrong with an address that was not there before.
fn new_address(before: &Value, key: &str, ip: &str) -> names::Faults {
    if list(before, key).iter().any(|own| own == ip) { Vec::new() } else { loose_ip_problems(ip) }
}

fn external_addresses(before: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let inner = path.child("externalIPs");
    for (at, ip) in list(spec, "externalIPs").iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        let path = inner.index(at);
        let faults = new_address(before, "externalIPs", ip);
        if faults.is_empty() {
            routable(ip, &path, errors);
        }
        invalid(&path, ip, faults, errors);
    }
}

/// An address that somebody else can reach.
pub(super) fn routable(ip: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Ok(address) = ip.parse::<IpAddr>() else { return };
    let why = if address.is_unspecified() {
        Some(format!("may not be unspecified ({ip})"))
    } else {
        unroutable(address).map(str::to_owned)
    };
    errors.extend(why.map(|why| FieldError::invalid(path, ip, why)));
}

/// The addresses of the service itself, and their families.
pub(super) fn addresses(before: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if text(spec, "type") == "ExternalName" {
        return;
    }
    let (one, all) = (text(spec, "clusterIP"), list(spec, "clusterIPs"));
    let inner = path.child("clusterIPs");
    let refused = |why: &str| FieldError::invalid(&inner, all.to_vec(), why);
    match all.first().and_then(Value::as_str) {
        // A server that allots addresses mirrors the one into the list; until then the list may be missing.
        None => {
            if !one.is_empty() && one != "None" {
                invalid(&inner.index(0), one, loose_ip_problems(one), errors);
            }
        }
        Some(_) if one.is_empty() => errors.push(refused("must be empty when `clusterIP` is not specified")),
        Some(first) if first != one => errors.push(refused("first value must match `clusterIP`")),
        Some(_) => {}
    }
    let families = list(spec, "ipFamilies");
    let family_path = path.child("ipFamilies");
    for (at, family) in families.iter().filter_map(Value::as_str).enumerate() {
        if !FAMILIES.contains(&family) {
            errors.push(FieldError::not_supported(&family_path.index(at), family, &FAMILIES));
        }
        if families[..at].iter().any(|other| other == family) {
            errors.push(FieldError::duplicate(&family_path.index(at), family));
        }
    }
    one_of(spec, "ipFamilyPolicy", &POLICIES, path, errors);
    let mut is_wrong = false;
    for (at, ip) in all.iter().filter_map(Value::as_str).enumerate() {
        if ip == "None" && at == 0 {
            if all.len() > 1 {
                is_wrong = true;
                errors.push(refused("'None' must be the first and only value"));
            }
            continue;
        }
        let faults = new_address(before, "clusterIPs", ip);
        is_wrong |= !faults.is_empty();
        invalid(&inner.index(at), ip, faults, errors);
    }
    if all.len() > 2 {
        errors.push(refused("may only hold up to 2 values"));
    }
    if is_wrong {
        return;
    }
    let is_six = |ip: &Value| ip.as_str().is_some_and(|ip| ip.contains(':'));
    if all.len() > 1 && (all.iter().all(is_six) || !all.iter().any(is_six)) {
        errors.push(refused("may specify no more than one IP for each IP family"));
    }
    if is_headless(spec) {
        return;
    }
    for (at, (ip, family)) in all.iter().zip(families).enumerate() {
        let wanted = match (family.as_str(), is_six(ip)) {
            (Some("IPv4"), true) => "IPv4",
            (Some("IPv6"), false) => "IPv6",
            _ => continue,
        };
        let why = format!("expected an {wanted} value as indicated by `ipFamilies[{at}]`");
        errors.push(FieldError::invalid(&inner.index(at), ip.clone(), why));
    }
}

/// Where clients of a load balancer may be.
fn sources(before: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let key = "loadBalancerSourceRanges";
    let ranges = list(spec, key);
    // Upstream writes the first letter so.
    let path = path.child("LoadBalancerSourceRanges");
    if !ranges.is_empty() && text(spec, "type") != "LoadBalancer" {
        errors.push(FieldError::forbidden(&path, OF_BALANCERS));
    }
    let known: Vec<&str> = list(before, key).iter().filter_map(Value::as_str).map(str::trim).collect();
    for (at, range) in ranges.iter().filter_map(Value::as_str).map(str::trim).enumerate() {
        if !known.contains(&range) {
            invalid(&path.index(at), range, loose_cidr_problems(range), errors);
        }
    }
}

fn annotated_sources(ranges: &str, is_same: bool, kind: &str, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("metadata");
    let path = path.child("annotations");
    let path = path.key(SOURCES);
    if kind != "LoadBalancer" {
        errors.push(FieldError::forbidden(&path, OF_BALANCERS));
    }
    let ranges = ranges.trim();
    if is_same || ranges.is_empty() {
        return;
    }
    for range in ranges.split(',').map(str::trim) {
        invalid(&path, range, loose_cidr_problems(range), errors);
    }
}

/// What is said to load balancers alone.
fn balancer(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let allocates = given(spec, "allocateLoadBalancerNodePorts");
    if kind == "LoadBalancer" {
        if allocates.is_none() {
            errors.push(FieldError::required(&Path::ROOT.child("allocateLoadBalancerNodePorts"), ""));
        }
    } else if allocates.is_some() {
        errors.push(FieldError::forbidden(&path.child("allocateLoadBalancerNodePorts"), OF_BALANCERS));
    }
    class(spec, kind, path, errors);
}

fn class(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(class) = spec.get("loadBalancerClass").and_then(Value::as_str) else { return };
    let path = path.child("loadBalancerClass");
    if kind == "LoadBalancer" {
        invalid(&path, class, names::qualified(class), errors);
    } else {
        errors.push(FieldError::forbidden(&path, OF_BALANCERS));
    }
}

/// Which endpoints traffic goes to.
fn traffic(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const WAYS: [&str; 2] = ["Cluster", "Local"];
    let policy = text(spec, "externalTrafficPolicy");
    let place = path.child("externalTrafficPolicy");
    let is_reached = matches!(kind, "LoadBalancer" | "NodePort")
        || kind == "ClusterIP" && !list(spec, "externalIPs").is_empty();
    match (is_reached, policy) {
        (false, "") => {}
        (false, policy) => {
            let why = "may only be set for externally-accessible services";
            errors.push(FieldError::invalid(&place, policy, why));
        }
        (true, "") => errors.push(FieldError::required(&place, "")),
        (true, policy) if !WAYS.contains(&policy) => {
            errors.push(FieldError::not_supported(&place, policy, &WAYS));
        }
        (true, _) => {}
    }
    let health = number(spec, "healthCheckNodePort").unwrap_or_default();
    let place = path.child("healthCheckNodePort");
    match (needs_health_check(spec), health) {
        (false, 0) => {}
        (false, health) => {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(FieldError::invalid(&place, health, why));
        }
        (true, 0) => errors.push(FieldError::required(&place, "")),
        (true, health) => port(&health.into(), &place, errors),
    }
    let inner = spec.get("internalTrafficPolicy").and_then(Value::as_str);
    let place = path.child("internalTrafficPolicy");
    match inner {
        None if matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP") => {
            errors.push(FieldError::required(&place, ""));
        }
        Some(policy) if !WAYS.contains(&policy) => {
            errors.push(FieldError::not_supported(&place, policy, &WAYS));
        }
        _ => {}
    }
    if let Some(spread) = spec.get("trafficDistribution").and_then(Value::as_str)
        && !DISTRIBUTIONS.contains(&spread)
    {
        let path = path.child("trafficDistribution");
        errors.push(FieldError::not_supported(&path, spread, &DISTRIBUTIONS));
    }
}

/// Why traffic for an address cannot come from outside.
fn unroutable(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let link_multicast = match address {
        IpAddr::V4(address) => address.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    };
    if address.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if link_multicast {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}

/// What a Service has stays its own, unless it becomes or was a mere name.
pub(super) fn update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let (before, after) = (old.get("spec").unwrap_or(&Value::Null), new.get("spec").unwrap_or(&Value::Null));
    let path = Path::ROOT.child("spec");
    let was_name = [before, after].into_iter().any(|spec| text(spec, "type") == "ExternalName");
    let stays_headless = is_headless(before) && is_headless(after);
    if !was_name && !stays_headless {
        kept_addresses(before, after, &path, errors);
    }
    if !was_name && !is_headless(before) && !is_headless(after) {
        kept_families(before, after, &path, errors);
    }
    let kind = text(after, "type");
    let class_of = |spec: &Value| given(spec, "loadBalancerClass").cloned();
    let both = [before, after].into_iter().all(|spec| text(spec, "type") == "LoadBalancer");
    if both && class_of(before) != class_of(after) {
        let value = class_of(after).unwrap_or_default();
        errors.push(FieldError::invalid(&path.child("loadBalancerClass"), value, ONCE));
    }
    class(after, kind, &path, errors);
    let health = |spec: &Value| number(spec, "healthCheckNodePort");
    if needs_health_check(before) && needs_health_check(after) && health(before) != health(after) {
        errors.push(FieldError::forbidden(&path.child("healthCheckNodePort"), IMMUTABLE));
    }
    service(Some(old), new, errors);
}

fn kept_addresses(before: &Value, after: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    // Objects that were never completed have the one address alone.
    let all = |spec: &Value| match list(spec, "clusterIPs") {
        [] => given(spec, "clusterIP").filter(|ip| *ip != "").into_iter().cloned().collect(),
        many => many.to_vec(),
    };
    let (had, has): (Vec<Value>, Vec<Value>) = (all(before), all(after));
    let path_of_all = path.child("clusterIPs");
    if had.len() == has.len() {
        for (at, _) in had.iter().zip(&has).enumerate().filter(|(_, (was, is))| was != is) {
            errors.push(FieldError::invalid(&path_of_all.index(at), has.clone(), ONCE));
        }
        return;
    }
    let first = path_of_all.index(0);
    if has.is_empty() {
        errors.push(FieldError::invalid(&first, has.clone(), "primary clusterIP can not be unset"));
    }
    if let (Some(was), Some(is)) = (had.first(), has.first())
        && was != is
    {
        errors.push(FieldError::invalid(&first, has.clone(), ONCE));
    }
    if had.len() > has.len() && has.len() == 1 {
        released(after, "clusterIP", path, errors);
    }
}

fn kept_families(before: &Value, after: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (had, has) = (list(before, "ipFamilies"), list(after, "ipFamilies"));
    let first = path.child("ipFamilies");
    let first = first.index(0);
    if had.len() == has.len() {
        for _ in had.iter().zip(has).filter(|(was, is)| was != is) {
            errors.push(FieldError::invalid(&first, has.to_vec(), ONCE));
        }
        return;
    }
    if had.len() > has.len() && list(after, "clusterIPs").is_empty() {
        errors.push(FieldError::invalid(&first, has.to_vec(), "primary ipFamily can not be unset"));
    }
    if let (Some(was), Some(is)) = (had.first(), has.first())
        && was != is
    {
        // Upstream tells the addresses.
        errors.push(FieldError::invalid(&first, list(after, "clusterIPs").to_vec(), ONCE));
    }
    if had.len() > has.len() && has.len() == 1 {
        released(after, "ipFamily", path, errors);
    }
}

/// A service gives its second address back by saying so.
fn released(spec: &Value, what: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let policy = given(spec, "ipFamilyPolicy").cloned().unwrap_or_default();
    if policy != "SingleStack" {
        let why = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        errors.push(FieldError::invalid(&path.child("ipFamilyPolicy"), policy, why));
    }
}
