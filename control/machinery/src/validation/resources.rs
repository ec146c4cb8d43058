//! Names of resources, and the amounts that containers and pods ask for and may have.

use serde_json::Value;

use super::{entries, given, list, names, text};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

/// The resources that every machine has.
const OWN: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// What else is counted where a quota says so.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
/// What a quota is for beside these.
const SHARED: [&str; 7] = [
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "requests.storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
const POSITIVE: &str = "must be greater than zero";

/// The size of a page of this resource, as text.
fn huge(name: &str) -> Option<&str> {
    name.strip_prefix("hugepages-")
}

pub(super) fn amount(value: &Value) -> Option<Quantity> {
    Quantity::parse(value.as_str()?).ok()
}

/// Whether a resource is the platform's own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether somebody else defined a resource, in a form that a quota can name.
pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified(&format!("requests.{name}")).is_empty()
}

/// Whether more may be asked for than there is.
pub(super) fn is_shared(name: &str) -> bool {
    is_native(name) && huge(name).is_none()
}

/// Whether a quota may have a limit of this resource that has no domain.
pub(super) fn is_of_quota(name: &str) -> bool {
    OWN.contains(&name)
        || COUNTED.contains(&name)
        || SHARED.contains(&name)
        || huge(name.strip_prefix("requests.").unwrap_or(name)).is_some()
}

/// Any resource.
pub(super) fn name(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) -> bool {
    let faults = names::qualified(name);
    if !faults.is_empty() {
        super::invalid(path, name, faults, errors);
        return false;
    }
    if !name.contains('/') && name != "storage" && !is_of_quota(name) {
        errors.push(FieldError::invalid(path, name, "must be a standard resource type or fully qualified"));
        return false;
    }
    true
}

/// A resource that containers have.
pub(super) fn of_container(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    self::name(name, path, errors);
    let why = if name.matches('/').count() == 0 {
        let own = OWN.contains(&name) || huge(name).is_some();
        (!own).then_some("must be a standard resource for containers")
    } else {
        (!is_native(name) && !is_extended(name)).then_some("doesn't follow extended resource name standard")
    };
    errors.extend(why.map(|why| FieldError::invalid(path, name, why)));
}

/// A resource that a pod as a whole has.
fn of_pod(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const SUPPORTED: [&str; 3] = ["cpu", "hugepages-", "memory"];
    if self::name(name, path, errors) && !matches!(name, "cpu" | "memory") && huge(name).is_none() {
        errors.push(FieldError::not_supported(path, name, &SUPPORTED));
    }
}

/// Amounts that a container asks for and may have.
pub(super) fn resources(of: &Value, claims: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(resources) = given(of, "resources") {
        requirements(resources, of_container, &path.child("resources"), errors);
        claim_names(resources, claims, &path.child("resources"), errors);
    }
}

/// What something needs besides, as a list of amounts at this place.
pub(super) fn overhead(of: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let limits = given(of, key).cloned().unwrap_or_default();
    let path = path.child("limits");
    for (name, value) in entries(&serde_json::json!({ "limits": limits }), "limits") {
        let path = path.key(name);
        of_container(name, &path, errors);
        quantity(name, value, &path, errors);
        pages(name, value, &path, errors);
    }
}

type Name = fn(&str, &Path<'_>, &mut Vec<FieldError>);

fn requirements(resources: &Value, named: Name, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let limits = path.child("limits");
    for (name, value) in entries(resources, "limits") {
        let path = limits.key(name);
        named(name, &path, errors);
        quantity(name, value, &path, errors);
        pages(name, value, &path, errors);
    }
    let requests = path.child("requests");
    for (name, value) in entries(resources, "requests") {
        let path = requests.key(name);
        named(name, &path, errors);
        quantity(name, value, &path, errors);
        let limit = resources.get("limits").and_then(|limits| limits.get(name)).and_then(amount);
        match (amount(value), limit) {
            (Some(asked), Some(most)) => {
                let why = if !is_shared(name) && asked.nanos() != most.nanos() {
                    Some(format!("must be equal to {name} limit of {most}"))
                } else if asked.nanos() > most.nanos() {
                    Some(format!("must be less than or equal to {name} limit of {most}"))
                } else {
                    None
                };
                errors.extend(why.map(|why| FieldError::invalid(&requests, value.clone(), why)));
            }
            (_, None) if !is_shared(name) => {
                let why = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(&limits, why));
            }
            _ => {}
        }
        pages(name, value, &path, errors);
    }
    let names =
        || entries(resources, "limits").chain(entries(resources, "requests")).map(|(name, _)| name.as_str());
    if names().any(|name| huge(name).is_some()) && !names().any(|name| matches!(name, "cpu" | "memory")) {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
}

/// The names of the claims of devices that a pod has.
pub(super) fn names_of_claims(spec: &Value) -> Vec<&str> {
    let names = list(spec, "resourceClaims").iter().map(|claim| text(claim, "name"));
    names.filter(|name| !name.is_empty()).collect()
}

/// The claims of devices that a container has a share in.
fn claim_names(resources: &Value, known: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("claims");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (at, claim) in list(resources, "claims").iter().enumerate() {
        let path = path.index(at);
        let (name, request) = (text(claim, "name"), text(claim, "request"));
        if name.is_empty() {
            errors.push(FieldError::required(&path, ""));
            continue;
        }
        if seen.contains(&(name, "")) {
            errors.push(FieldError::duplicate(&path, name));
        } else {
            if !request.is_empty() {
                super::invalid(&path.child("request"), request, names::label(request), errors);
            }
            if seen.contains(&(name, request)) {
                errors.push(FieldError::duplicate(&path, format!("{name}/{request}")));
            } else if request.is_empty() {
                let parts = seen.iter().filter(|(other, _)| *other == name).count();
                errors.extend((0..parts).map(|_| FieldError::duplicate(&path, name)));
            }
            seen.push((name, request));
        }
        if !known.contains(&name) {
            let mut all = known.to_vec();
            all.sort_unstable();
            let rest =
                if all.is_empty() { " which is empty".into() } else { format!(": {}", all.join(", ")) };
            let why = format!("must be one of the names in pod.spec.resourceClaims{rest}");
            errors.push(FieldError::not_found(&path, name).because(why));
        }
    }
}

/// Amounts of a pod as a whole: as much as its containers ask for, and no less than any of them may have.
pub(super) fn of_whole_pod(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(own) = given(spec, "resources") else { return };
    let path = path.child("resources");
    if given(spec, "os").is_some_and(|os| text(os, "name") == "windows") {
        errors.push(FieldError::forbidden(&path, "may not be set for a windows pod"));
        return;
    }
    if given(own, "claims").is_some() {
        let why = "claims may not be set for Resources at pod-level";
        errors.push(FieldError::forbidden(&path.child("claims"), why));
    }
    requirements(own, of_pod, &path, errors);
    claim_names(own, &names_of_claims(spec), &path, errors);
    let inner = path.child("requests");
    for (name, value) in entries(own, "requests") {
        let (Some(own), Some(sum)) = (amount(value), asked_together(spec, name)) else { continue };
        if sum.nanos() > own.nanos() {
            let why = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.push(FieldError::invalid(&inner.key(name), own.to_string(), why));
        }
    }
    let containers = path.child("containers");
    for (at, container) in list(spec, "containers").iter().enumerate() {
        let path = containers.index(at);
        let resources = container.get("resources").unwrap_or(&Value::Null);
        for (name, value) in entries(resources, "limits") {
            let most = own.get("limits").and_then(|limits| limits.get(name)).and_then(amount);
            let (Some(most), Some(own)) = (most, amount(value)) else { continue };
            if own.nanos() > most.nanos() {
                let why = format!("must be less than or equal to pod limits of {most}");
                errors.push(FieldError::invalid(&path.key(name).child("limits"), own.to_string(), why));
            }
        }
    }
}

/// How much of a resource a pod's containers need while it runs or while it is being prepared.
fn asked_together(spec: &Value, name: &str) -> Option<Quantity> {
    let asked = |container: &Value| container.get("resources")?.get("requests")?.get(name).and_then(amount);
    let plus = |sum: Option<Quantity>, more: Option<Quantity>| match (sum, more) {
        (Some(sum), Some(more)) => Some(sum.plus(&more)),
        (sum, more) => sum.or(more),
    };
    let larger = |one: Option<Quantity>, other: Option<Quantity>| match (one, other) {
        (Some(one), Some(other)) => Some(if other.nanos() > one.nanos() { other } else { one }),
        (one, other) => one.or(other),
    };
    let (mut beside, mut first) = (None, None);
    for container in list(spec, "initContainers") {
        if text(container, "restartPolicy") == "Always" {
            beside = plus(beside, asked(container));
            first = larger(first, beside.clone());
        } else {
            first = larger(first, plus(beside.clone(), asked(container)));
        }
    }
    let running = list(spec, "containers").iter().fold(beside, |sum, container| plus(sum, asked(container)));
    larger(running, first)
}

/// An amount of a resource is not below zero, and whole where the resource is counted.
pub(super) fn quantity(name: &str, value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(quantity) = amount(value) else { return };
    if quantity.nanos() < 0 {
        errors.push(FieldError::invalid(path, value.clone(), "must be greater than or equal to 0"));
    }
    if (COUNTED.contains(&name) || is_extended(name)) && !quantity.is_whole() {
        errors.push(FieldError::invalid(path, value.clone(), "must be an integer"));
    }
}

/// An amount that is more than nothing.
pub(super) fn positive(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) -> bool {
    let found = amount(value).is_none_or(|amount| amount.nanos() > 0);
    if !found {
        errors.push(FieldError::invalid(path, value.clone(), POSITIVE));
    }
    found
}

/// Memory in large pages comes in whole ones.
fn pages(name: &str, value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (Some(page), Some(quantity)) = (huge(name), amount(value)) else { return };
    let page = Quantity::parse(page).ok().filter(|page| page.nanos() > 0 && page.is_whole());
    if page.is_none_or(|page| quantity.nanos() % page.nanos() != 0) {
        let why = format!("{quantity} is not positive integer multiple of {name}");
        errors.push(FieldError::invalid(path, value.clone(), why));
    }
}
