//! Roles and their bindings, and disruption budgets.

use serde_json::{Value, json};

use super::workload::{at_most_all, share};
use super::{given, invalid, list, names, one_of, required, selector, text};
use crate::field::{FieldError, Path};
use crate::metadata::path_segment;

const RBAC: &str = "rbac.authorization.k8s.io";

/// A Role or ClusterRole.
pub(super) fn role(kind: &str, role: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("rules");
    for (at, rule) in list(role, "rules").iter().enumerate() {
        let path = path.index(at);
        let empty = |key: &str| list(rule, key).is_empty();
        if empty("verbs") {
            errors.push(FieldError::required(&path.child("verbs"), "verbs must contain at least one value"));
        }
        if !empty("nonResourceURLs") {
            let urls = rule.get("nonResourceURLs").cloned().unwrap_or_default();
            let path = path.child("nonResourceURLs");
            if kind == "Role" {
                let why = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(&path, urls.clone(), why));
            }
            if !(empty("apiGroups") && empty("resources") && empty("resourceNames")) {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(&path, urls, why));
            }
            continue;
        }
        for (key, what) in [("apiGroups", "api group"), ("resources", "resource")] {
            if empty(key) {
                let why = format!("resource rules must supply at least one {what}");
                errors.push(FieldError::required(&path.child(key), why));
            }
        }
    }
    let Some(rule) = given(role, "aggregationRule").filter(|_| kind == "ClusterRole") else { return };
    let path = Path::ROOT.child("aggregationRule");
    let path = path.child("clusterRoleSelectors");
    let selectors = list(rule, "clusterRoleSelectors");
    if selectors.is_empty() {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(&path, why));
    }
    for (at, of) in selectors.iter().enumerate() {
        let path = path.index(at);
        selector::selector(of, &path, errors);
        if !selector::is_sound(of) {
            // Upstream tells what it could not make of it.
            errors.push(FieldError::invalid(&path, Value::Null, "invalid label selector."));
        }
    }
}

/// A RoleBinding or ClusterRoleBinding.
pub(super) fn binding(kind: &str, binding: &Value, errors: &mut Vec<FieldError>) {
    let reference = binding.get("roleRef").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("roleRef");
    let (group, target) = (text(reference, "apiGroup"), text(reference, "kind"));
    if group != RBAC {
        errors.push(FieldError::not_supported(&path.child("apiGroup"), group, &[RBAC]));
    }
    let roles: &[&str] = if kind == "RoleBinding" { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !roles.contains(&target) {
        errors.push(FieldError::not_supported(&path.child("kind"), target, roles));
    }
    if required(reference, "name", &path, errors) {
        let name = text(reference, "name");
        invalid(&path.child("name"), name, path_segment(name, false), errors);
    }
    let path = Path::ROOT.child("subjects");
    for (at, subject) in list(binding, "subjects").iter().enumerate() {
        let path = path.index(at);
        let is_named = required(subject, "name", &path, errors);
        let group = text(subject, "apiGroup");
        let wanted = match text(subject, "kind") {
            "ServiceAccount" => {
                let name = text(subject, "name");
                if is_named {
                    invalid(&path.child("name"), name, names::subdomain(name), errors);
                }
                if !group.is_empty() {
                    errors.push(FieldError::not_supported(&path.child("apiGroup"), group, &[""]));
                }
                if kind == "ClusterRoleBinding" {
                    required(subject, "namespace", &path, errors);
                }
                continue;
            }
            "User" | "Group" => RBAC,
            other => {
                let kinds = ["ServiceAccount", "User", "Group"];
                errors.push(FieldError::not_supported(&path.child("kind"), other, &kinds));
                continue;
            }
        };
        if group != wanted {
            errors.push(FieldError::not_supported(&path.child("apiGroup"), group, &[wanted]));
        }
    }
}

/// A binding stays with its role.
pub(super) fn update_binding(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    if old.get("roleRef") != new.get("roleRef") {
        // Upstream shows its own type, whose fields have these names.
        let part = |name| new.pointer(&format!("/roleRef/{name}")).cloned().unwrap_or_default();
        let value = json!({"APIGroup": part("apiGroup"), "Kind": part("kind"), "Name": part("name")});
        errors.push(FieldError::invalid(&Path::ROOT.child("roleRef"), value, "cannot change roleRef"));
    }
}

/// A PodDisruptionBudget.
pub(super) fn disruption_budget(budget: &Value, errors: &mut Vec<FieldError>) {
    let spec = budget.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    if given(spec, "minAvailable").is_some() && given(spec, "maxUnavailable").is_some() {
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid(&path, spec.clone(), why));
    }
    for key in ["minAvailable", "maxUnavailable"] {
        if let Some(value) = given(spec, key) {
            share(value, &path.child(key), errors);
            at_most_all(value, &path.child(key), errors);
        }
    }
    if let Some(of) = given(spec, "selector") {
        selector::selector(of, &path.child("selector"), errors);
    }
    one_of(spec, "unhealthyPodEvictionPolicy", &["AlwaysAllow", "IfHealthyBudget"], &path, errors);
}
