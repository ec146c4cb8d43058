//! The amounts that a container asks for and may have.

use serde_json::Value;

use super::{entries, given, names};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

/// The resources that every machine has.
const OWN: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Other names that mean something without a domain.
const STANDARD: [&str; 14] = [
    "storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
];

fn huge(name: &str) -> Option<&str> {
    name.strip_prefix("hugepages-")
}

fn amount(value: &Value) -> Option<Quantity> {
    Quantity::parse(value.as_str()?).ok()
}

/// `resources` of a container.
pub(super) fn resources(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(resources) = given(container, "resources") else { return };
    let path = path.child("resources");
    for part in ["limits", "requests"] {
        let part_path = path.child(part);
        for (name, value) in entries(resources, part) {
            let path = part_path.key(name);
            resource_name(name, &path, errors);
            quantity(name, value, &path, errors);
        }
    }
    let limit = |name: &str| resources.get("limits").and_then(|limits| limits.get(name));
    let mut unlimited = false;
    for (name, value) in entries(resources, "requests") {
        let shared = !name.contains('/') && huge(name).is_none();
        let (Some(request), Some(most)) = (amount(value), limit(name).and_then(amount)) else {
            unlimited |= !shared;
            continue;
        };
        let why = if shared && request.nanos() > most.nanos() {
            format!("must be less than or equal to {name} limit of {most}")
        } else if !shared && request.nanos() != most.nanos() {
            format!("must be equal to {name} limit of {most}")
        } else {
            continue;
        };
        errors.push(FieldError::invalid(&path.child("requests"), value.clone(), why));
    }
    if unlimited {
        let why = "Limit must be set for non overcommitable resources";
        errors.push(FieldError::required(&path.child("limits"), why));
    }
    let names =
        || entries(resources, "limits").chain(entries(resources, "requests")).map(|(name, _)| name.as_str());
    if names().any(|name| huge(name).is_some()) && !names().any(|name| matches!(name, "cpu" | "memory")) {
        errors.push(FieldError::forbidden(&path, "HugePages require cpu or memory"));
    }
}

fn resource_name(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let faults = names::qualified(name);
    let faulty = !faults.is_empty();
    errors.extend(faults.into_iter().map(|fault| FieldError::invalid(path, name, fault)));
    if name.contains('/') || OWN.contains(&name) || huge(name).is_some() {
        return;
    }
    if !faulty && !STANDARD.contains(&name) {
        errors.push(FieldError::invalid(path, name, "must be a standard resource type or fully qualified"));
    }
    errors.push(FieldError::invalid(path, name, "must be a standard resource for containers"));
}

/// An amount of a resource is not below zero, and whole where the resource is counted.
pub(super) fn quantity(name: &str, value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(quantity) = amount(value) else { return };
    if quantity.nanos() < 0 {
        errors.push(FieldError::invalid(path, value.clone(), "must be greater than or equal to 0"));
    }
    if name.contains('/') && !quantity.is_whole() {
        errors.push(FieldError::invalid(path, value.clone(), "must be an integer"));
    }
    if let Some(Ok(page)) = huge(name).map(Quantity::parse)
        && page.nanos() > 0
        && (quantity.nanos() <= 0 || quantity.nanos() % page.nanos() != 0)
    {
        let why = format!("{quantity} is not positive integer multiple of {name}");
        errors.push(FieldError::invalid(path, value.clone(), why));
    }
}
