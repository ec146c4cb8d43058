//! Ingresses and NetworkPolicies.

use std::net::IpAddr;

use serde_json::Value;

use super::{given, invalid, list, names, number, one_of, port, required, selector, text};
use crate::field::{FieldError, Path};

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
/// What would make two ways of writing one path.
const AMBIGUOUS: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];

/// An Ingress.
pub(super) fn ingress(ingress: &Value, errors: &mut Vec<FieldError>) {
    let spec = ingress.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    if given(spec, "defaultBackend").is_none() && list(spec, "rules").is_empty() {
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(&path, Value::Null, why));
    }
    if let Some(of) = given(spec, "defaultBackend") {
        backend(of, &path.child("defaultBackend"), errors);
    }
    let rules = path.child("rules");
    for (at, rule) in list(spec, "rules").iter().enumerate() {
        let path = rules.index(at);
        host(text(rule, "host"), &path.child("host"), errors);
        let Some(http) = given(rule, "http") else { continue };
        let path = path.child("http");
        let path = path.child("paths");
        let paths = list(http, "paths");
        if paths.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        for (at, of) in paths.iter().enumerate() {
            http_path(of, &path.index(at), errors);
        }
    }
    let all = path.child("tls");
    for (at, tls) in list(spec, "tls").iter().enumerate() {
        let path = all.index(at);
        let path = path.child("hosts");
        for (at, name) in list(tls, "hosts").iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            invalid(&path.index(at), name, domain(name), errors);
        }
    }
}

/// A name, after `*.` or not.
fn domain(name: &str) -> names::Faults {
    names::subdomain(name.strip_prefix("*.").unwrap_or(name))
}

fn host(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return;
    }
    if name.parse::<IpAddr>().is_ok() {
        errors.push(FieldError::invalid(path, name, "must be a DNS name, not an IP address"));
    } else {
        invalid(path, name, domain(name), errors);
    }
}

fn http_path(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let value = text(of, "path");
    let inner = path.child("path");
    match text(of, "pathType") {
        "" => errors.push(FieldError::required(&path.child("pathType"), "pathType must be specified")),
        "Exact" | "Prefix" => {
            if !value.starts_with('/') {
                errors.push(FieldError::invalid(&inner, value, "must be an absolute path"));
            }
            for part in AMBIGUOUS.iter().filter(|part| value.contains(**part)) {
                errors.push(FieldError::invalid(&inner, value, format!("must not contain '{part}'")));
            }
            for part in ["/..", "/."].iter().filter(|part| value.ends_with(**part)) {
                errors.push(FieldError::invalid(&inner, value, format!("cannot end with '{part}'")));
            }
        }
        "ImplementationSpecific" => {
            if !value.is_empty() && !value.starts_with('/') {
                errors.push(FieldError::invalid(&inner, value, "must be an absolute path"));
            }
        }
        other => errors.push(FieldError::not_supported(&path.child("pathType"), other, &PATH_TYPES)),
    }
    backend(of.get("backend").unwrap_or(&Value::Null), &path.child("backend"), errors);
}

fn backend(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match (given(of, "service"), given(of, "resource")) {
        (Some(_), Some(_)) => {
            errors.push(FieldError::invalid(path, "", "cannot set both resource and service backends"));
        }
        (Some(service), None) => {
            let inner = path.child("service");
            if required(service, "name", &inner, errors) {
                let name = text(service, "name");
                invalid(&inner.child("name"), name, names::label(name), errors);
            }
            let port = service.get("port").unwrap_or(&Value::Null);
            let (name, own) = (text(port, "name"), number(port, "number").unwrap_or_default());
            let inner = inner.child("port");
            match (name.is_empty(), own) {
                (true, 0) => errors.push(FieldError::required(path, "port name or number is required")),
                (true, own) if !(1..=65535).contains(&own) => {
                    errors.push(FieldError::invalid(&inner.child("number"), own, names::PORT));
                }
                (false, 0) => invalid(&inner.child("name"), name, names::port_name(name), errors),
                (true, _) => {}
                (false, _) => {
                    errors.push(FieldError::invalid(path, "", "cannot set both port name & port number"));
                }
            }
        }
        _ => {}
    }
}

/// A NetworkPolicy.
pub(super) fn network_policy(policy: &Value, errors: &mut Vec<FieldError>) {
    let spec = policy.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    if let Some(of) = given(spec, "podSelector") {
        selector::selector(of, &path.child("podSelector"), errors);
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let all = path.child(direction);
        for (at, rule) in list(spec, direction).iter().enumerate() {
            let path = all.index(at);
            let inner = path.child("ports");
            for (at, port) in list(rule, "ports").iter().enumerate() {
                policy_port(port, &inner.index(at), errors);
            }
            let inner = path.child(peers);
            for (at, peer) in list(rule, peers).iter().enumerate() {
                policy_peer(peer, &inner.index(at), errors);
            }
        }
    }
    let inner = path.child("policyTypes");
    for (at, kind) in list(spec, "policyTypes").iter().filter_map(Value::as_str).enumerate() {
        if !matches!(kind, "Ingress" | "Egress") {
            errors.push(FieldError::not_supported(&inner.index(at), kind, &["Ingress", "Egress"]));
        }
    }
}

fn policy_port(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    one_of(of, "protocol", &["TCP", "UDP", "SCTP"], path, errors);
    let first = of.get("port").unwrap_or(&Value::Null);
    port(first, &path.child("port"), errors);
    let Some(last) = number(of, "endPort") else { return };
    let inner = path.child("endPort");
    match first {
        Value::Number(number) => {
            if number.as_i64().is_some_and(|first| last < first) {
                errors.push(FieldError::invalid(
                    &inner,
                    first.clone(),
                    "must be greater than or equal to `port`",
                ));
            }
            port(&last.into(), &inner, errors);
        }
        Value::Null => {
            errors.push(FieldError::invalid(
                &inner,
                last,
                "may not be specified when `port` is not specified",
            ));
        }
        _ => {
            errors.push(FieldError::invalid(&inner, last, "may not be specified when `port` is non-numeric"))
        }
    }
}

fn policy_peer(peer: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut peers = 0;
    for key in ["podSelector", "namespaceSelector"] {
        if let Some(of) = given(peer, key) {
            peers += 1;
            selector::selector(of, &path.child(key), errors);
        }
    }
    if given(peer, "ipBlock").is_some() {
        if peers > 0 {
            errors.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
        }
        peers += 1;
    }
    if peers == 0 {
        errors.push(FieldError::required(path, "must specify a peer"));
    }
}
