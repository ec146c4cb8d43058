//! Ingresses and NetworkPolicies.

use std::net::IpAddr;

use serde_json::Value;

use super::job::domain_path;
use super::{IMMUTABLE, given, invalid, list, names, number, one_of, port, required, selector, text};
use crate::address::{cidr, contains, loose_cidr_problems};
use crate::field::{FieldError, Path};
use crate::metadata::path_segment;

const CLASS: &str = "kubernetes.io/ingress.class";
const CONTROLLER_MAX: usize = 250;
/// The two ways of traffic, and what is at their other end.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];
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
        let inner = path.child("hosts");
        for (at, name) in list(tls, "hosts").iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            invalid(&inner.index(at), name, domain(name), errors);
        }
        let secret = text(tls, "secretName");
        if !secret.is_empty() {
            invalid(&path.child("secretName"), secret, names::subdomain(secret), errors);
        }
    }
    if let Some(class) = spec.get("ingressClassName").and_then(Value::as_str) {
        invalid(&path.child("ingressClassName"), class, names::subdomain(class), errors);
    }
}

/// A new Ingress names its class once.
pub(super) fn create_ingress(ingress: &Value, errors: &mut Vec<FieldError>) {
    let annotations = ingress.pointer("/metadata/annotations").unwrap_or(&Value::Null);
    let annotated = annotations.get(CLASS).and_then(Value::as_str);
    let class = ingress.pointer("/spec/ingressClassName").and_then(Value::as_str);
    if let (Some(annotated), Some(class)) = (annotated, class)
        && annotated != class
    {
        let path = Path::ROOT.child("annotations");
        let why = "must match `ingressClassName` when both are specified";
        errors.push(FieldError::invalid(&path.child(CLASS), annotated, why));
    }
}

/// What was let in before is not judged again: names of secrets, once one of them was wrong.
pub(super) fn update_ingress(old: &Value, errors: &mut Vec<FieldError>) {
    let tls = old.get("spec").map(|spec| list(spec, "tls")).unwrap_or_default();
    let had_wrong = tls.iter().map(|tls| text(tls, "secretName"));
    if had_wrong.filter(|name| !name.is_empty()).any(|name| !names::subdomain(name).is_empty()) {
        errors.retain(|error| !(error.field.starts_with("spec.tls") && error.field.ends_with(".secretName")));
    }
}

/// A name, after `*.` or not.
fn domain(name: &str) -> names::Faults {
    if name.contains('*') { names::wildcard(name) } else { names::subdomain(name) }
}

fn host(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return;
    }
    if name.parse::<IpAddr>().is_ok() {
        errors.push(FieldError::invalid(path, name, "must be a DNS name, not an IP address"));
    }
    invalid(path, name, domain(name), errors);
}

fn http_path(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let value = text(of, "path");
    let inner = path.child("path");
    match of.get("pathType").and_then(Value::as_str) {
        None => {
            errors.push(FieldError::required(&path.child("pathType"), "pathType must be specified"));
            return;
        }
        Some("Exact" | "Prefix") => {
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
        Some("ImplementationSpecific") => {
            if !value.is_empty() && !value.starts_with('/') {
                errors.push(FieldError::invalid(&inner, value, "must be an absolute path"));
            }
        }
        Some(other) => errors.push(FieldError::not_supported(&path.child("pathType"), other, &PATH_TYPES)),
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
        (None, Some(resource)) => typed(resource, &path.child("resource"), errors),
        (None, None) => {
            errors.push(FieldError::invalid(path, "", "resource or service backend is required"));
        }
    }
}

/// An object by its group, kind and name.
fn typed(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(group) = of.get("apiGroup").and_then(Value::as_str) {
        invalid(&path.child("apiGroup"), group, names::subdomain(group), errors);
    }
    for key in ["kind", "name"] {
        if required(of, key, path, errors) {
            let value = text(of, key);
            invalid(&path.child(key), value, path_segment(value, false), errors);
        }
    }
}

/// An IngressClass.
pub(super) fn class(class: &Value, errors: &mut Vec<FieldError>) {
    let spec = class.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let (controller, place) = (text(spec, "controller"), path.child("controller"));
    if controller.len() > CONTROLLER_MAX {
        errors.push(FieldError::too_long(&place, CONTROLLER_MAX));
    }
    domain_path(controller, &place, errors);
    let Some(parameters) = given(spec, "parameters") else { return };
    let path = path.child("parameters");
    typed(parameters, &path, errors);
    let (namespace, place) = (parameters.get("namespace").and_then(Value::as_str), path.child("namespace"));
    match (parameters.get("scope").and_then(Value::as_str), namespace) {
        (None, _) => errors.push(FieldError::required(&path.child("scope"), "")),
        (Some("Namespace"), None) => {
            errors.push(FieldError::required(&place, "`parameters.scope` is set to 'Namespace'"));
        }
        (Some("Namespace"), Some(namespace)) => invalid(&place, namespace, names::label(namespace), errors),
        (Some("Cluster"), Some(_)) => {
            errors.push(FieldError::forbidden(&place, "`parameters.scope` is set to 'Cluster'"));
        }
        (Some("Cluster"), None) => {}
        (Some(other), _) => {
            errors.push(FieldError::not_supported(&path.child("scope"), other, &["Cluster", "Namespace"]));
        }
    }
}

/// A class keeps its controller.
pub(super) fn update_class(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let controller = |of: &Value| of.pointer("/spec/controller").cloned().unwrap_or_default();
    if controller(old) != controller(new) {
        let path = Path::ROOT.child("spec");
        errors.push(FieldError::invalid(&path.child("controller"), controller(new), IMMUTABLE));
    }
}

/// A NetworkPolicy. Ranges that are known already are not judged again.
pub(super) fn network_policy(policy: &Value, known: &[String], errors: &mut Vec<FieldError>) {
    let spec = policy.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    if let Some(of) = given(spec, "podSelector") {
        selector::selector(of, &path.child("podSelector"), errors);
    }
    for (direction, peers) in DIRECTIONS {
        let all = path.child(direction);
        for (at, rule) in list(spec, direction).iter().enumerate() {
            let path = all.index(at);
            let inner = path.child("ports");
            for (at, port) in list(rule, "ports").iter().enumerate() {
                policy_port(port, &inner.index(at), errors);
            }
            let inner = path.child(peers);
            for (at, peer) in list(rule, peers).iter().enumerate() {
                policy_peer(peer, known, &inner.index(at), errors);
            }
        }
    }
    let kinds = list(spec, "policyTypes");
    let inner = path.child("policyTypes");
    if kinds.len() > 2 {
        let why = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(&inner, kinds.to_vec(), why));
        return;
    }
    for (at, kind) in kinds.iter().filter_map(Value::as_str).enumerate() {
        if !matches!(kind, "Ingress" | "Egress") {
            errors.push(FieldError::not_supported(&inner.index(at), kind, &["Ingress", "Egress"]));
        }
    }
}

/// All ranges of a policy, which stay as they are in one that replaces it.
pub(super) fn ranges(policy: &Value) -> Vec<String> {
    let spec = policy.get("spec").unwrap_or(&Value::Null);
    let mut found = Vec::new();
    for (direction, peers) in DIRECTIONS {
        for block in list(spec, direction)
            .iter()
            .flat_map(|rule| list(rule, peers))
            .filter_map(|p| given(p, "ipBlock"))
        {
            found.push(text(block, "cidr").to_owned());
            found.extend(list(block, "except").iter().filter_map(Value::as_str).map(str::to_owned));
        }
    }
    found
}

fn policy_port(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    one_of(of, "protocol", &["TCP", "UDP", "SCTP"], path, errors);
    let first = of.get("port").unwrap_or(&Value::Null);
    let place = path.child("port");
    let last = number(of, "endPort");
    let inner = path.child("endPort");
    if let Value::Number(number) = first {
        port(first, &place, errors);
        let Some(last) = last else { return };
        if number.as_i64().is_some_and(|first| last < first) {
            let why = "must be greater than or equal to `port`";
            errors.push(FieldError::invalid(&inner, first.clone(), why));
        }
        port(&last.into(), &inner, errors);
        return;
    }
    let why = if first.is_null() { "not specified" } else { "non-numeric" };
    let why = format!("may not be specified when `port` is {why}");
    errors.extend(last.map(|last| FieldError::invalid(&inner, last, why)));
    port(first, &place, errors);
}

fn policy_peer(peer: &Value, known: &[String], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut peers = 0;
    for key in ["podSelector", "namespaceSelector"] {
        if let Some(of) = given(peer, key) {
            peers += 1;
            selector::selector(of, &path.child(key), errors);
        }
    }
    if let Some(block) = given(peer, "ipBlock") {
        peers += 1;
        ip_block(block, known, &path.child("ipBlock"), errors);
        if peers > 1 {
            errors.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
        }
    }
    if peers == 0 {
        errors.push(FieldError::required(path, "must specify a peer"));
    }
}

/// A range, but for some within it.
fn ip_block(block: &Value, known: &[String], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !required(block, "cidr", path, errors) {
        return;
    }
    let problems = |range: &str| {
        if known.iter().any(|own| own == range) { Vec::new() } else { loose_cidr_problems(range) }
    };
    let range = text(block, "cidr");
    invalid(&path.child("cidr"), range, problems(range), errors);
    let Some(outer) = cidr(range) else { return };
    let path = path.child("except");
    for (at, range) in list(block, "except").iter().filter_map(Value::as_str).enumerate() {
        let path = path.index(at);
        invalid(&path, range, problems(range), errors);
        let Some((start, length)) = cidr(range) else { continue };
        if !contains(outer, start) || outer.1 >= length {
            errors.push(FieldError::invalid(&path, range, "must be a strict subset of `cidr`"));
        }
    }
}
