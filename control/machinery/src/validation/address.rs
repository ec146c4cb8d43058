//! IPAddresses and ServiceCIDRs.

use serde_json::Value;

use super::{IMMUTABLE, given, invalid, list, names, required, text};
use crate::address::{cidr_problems, is_ipv4_cidr};
use crate::field::{FieldError, Path};
use crate::metadata::path_segment;

/// An IPAddress; its name has a rule of its own.
pub(super) fn ip_address(address: &Value, errors: &mut Vec<FieldError>) {
    let spec = address.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let path = path.child("parentRef");
    let Some(parent) = given(spec, "parentRef") else {
        errors.push(FieldError::required(&path, ""));
        return;
    };
    let group = text(parent, "group");
    if !group.is_empty() {
        invalid(&path.child("group"), group, names::subdomain(group), errors);
    }
    for key in ["resource", "name"] {
        if required(parent, key, &path, errors) {
            invalid(&path.child(key), text(parent, key), path_segment(text(parent, key), false), errors);
        }
    }
    let namespace = text(parent, "namespace");
    invalid(&path.child("namespace"), namespace, path_segment(namespace, false), errors);
}

/// What an IPAddress is for does not change.
pub(super) fn update_ip_address(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let parent = |of: &Value| of.pointer("/spec/parentRef").cloned().unwrap_or_default();
    if parent(old) != parent(new) {
        let path = Path::ROOT.child("spec");
        errors.push(FieldError::invalid(&path.child("parentRef"), parent(new), IMMUTABLE));
    }
}

/// A ServiceCIDR: a range, or one of each family.
pub(super) fn service_cidr(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let path = path.child("cidrs");
    let ranges = list(spec, "cidrs");
    if ranges.is_empty() {
        errors.push(FieldError::required(&path, "at least one CIDR required"));
        return;
    }
    if ranges.len() > 2 {
        errors.push(FieldError::invalid(&path, spec.clone(), "may only hold up to 2 values"));
        return;
    }
    let texts: Vec<&str> = ranges.iter().map(|range| range.as_str().unwrap_or_default()).collect();
    for (at, range) in texts.iter().enumerate() {
        invalid(&path.index(at), range, cidr_problems(range), errors);
    }
    if let [first, second] = texts[..]
        && is_ipv4_cidr(first).is_some()
        && is_ipv4_cidr(first) == is_ipv4_cidr(second)
    {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(FieldError::invalid(&path, Value::from(ranges), why));
    }
}

/// The ranges of a ServiceCIDR stay as they are; one of the other family may join.
pub(super) fn update_service_cidr(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let ranges = |of: &Value| list(of.get("spec").unwrap_or(&Value::Null), "cidrs").to_vec();
    let (before, after) = (ranges(old), ranges(new));
    let path = Path::ROOT.child("spec");
    let path = path.child("cidrs");
    let joined = before.len() == 1 && after.len() == 2;
    if before.len() != after.len() && !joined {
        errors.push(FieldError::invalid(&path, Value::from(after), IMMUTABLE));
        return;
    }
    for (at, (was, is)) in before.iter().zip(&after).enumerate() {
        if was != is {
            errors.push(FieldError::invalid(&path.index(at), is.clone(), IMMUTABLE));
        }
    }
    if joined {
        service_cidr(new, errors);
    }
}
