//! Roles and their bindings, disruption budgets and autoscalers.

use serde_json::{Value, json};

use super::workload::{at_most_all, share};
use super::{given, list, number, required, selector, text};
use crate::field::{FieldError, Path};

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
                errors.push(FieldError::invalid(&path, urls, why));
            } else if !(empty("apiGroups") && empty("resources") && empty("resourceNames")) {
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
    required(reference, "name", &path, errors);
    let path = Path::ROOT.child("subjects");
    for (at, subject) in list(binding, "subjects").iter().enumerate() {
        let path = path.index(at);
        required(subject, "name", &path, errors);
        let group = text(subject, "apiGroup");
        let wanted = match text(subject, "kind") {
            "ServiceAccount" => {
                if kind == "ClusterRoleBinding" {
                    required(subject, "namespace", &path, errors);
                }
                ""
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
}

/// A HorizontalPodAutoscaler.
pub(super) fn autoscaler(autoscaler: &Value, errors: &mut Vec<FieldError>) {
    let spec = autoscaler.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let (least, most) = (number(spec, "minReplicas"), number(spec, "maxReplicas").unwrap_or_default());
    if let Some(least) = least.filter(|least| *least < 1) {
        let why = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(&path.child("minReplicas"), least, why));
    }
    if most < 1 {
        errors.push(FieldError::required(&path.child("maxReplicas"), "must be set and greater than 0"));
    }
    if least.is_some_and(|least| most < least) {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(&path.child("maxReplicas"), most, why));
    }
    let target = spec.get("scaleTargetRef").unwrap_or(&Value::Null);
    let inner = path.child("scaleTargetRef");
    required(target, "kind", &inner, errors);
    required(target, "name", &inner, errors);
    let group = text(target, "apiVersion");
    if group.is_empty() && text(target, "kind") != "ReplicationController" {
        let why = "apiVersion must specify API group";
        errors.push(FieldError::invalid(&inner.child("apiVersion"), group, why));
    }
    if least == Some(0)
        && !list(spec, "metrics").iter().any(|m| matches!(text(m, "type"), "Object" | "External"))
    {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden(&path.child("metrics"), why));
    }
}
