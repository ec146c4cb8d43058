//! LimitRanges and ResourceQuotas.

use serde_json::Value;

use super::{IMMUTABLE, entries, given, invalid, list, names, resources, text};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];
const NOT_OF_PODS: &str = "may not be specified when `type` is 'Pod'";
/// The parts of a limit, in the order in which upstream looks at them.
const PARTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

/// A LimitRange.
pub(super) fn limit_range(range: &Value, errors: &mut Vec<FieldError>) {
    let limits = range.get("spec").map(|spec| list(spec, "limits")).unwrap_or_default();
    let path = Path::ROOT.child("spec");
    let path = path.child("limits");
    for (at, limit) in limits.iter().enumerate() {
        let path = path.index(at);
        let kind = text(limit, "type");
        type_name(kind, &path.child("type"), errors);
        if limits[..at].iter().any(|other| text(other, "type") == kind) {
            errors.push(FieldError::duplicate(&path.child("type"), kind));
        }
        let mut seen: Vec<&str> = Vec::new();
        for part in PARTS {
            let has_own_default = part.starts_with("default");
            if kind == "Pod" && has_own_default {
                if entries(limit, part).next().is_some() {
                    errors.push(FieldError::forbidden(&path.child(part), NOT_OF_PODS));
                }
                continue;
            }
            if part == "maxLimitRequestRatio" && kind == "PersistentVolumeClaim" {
                let has = |part: &str| entries(limit, part).any(|(name, _)| name == "storage");
                if !has("min") && !has("max") {
                    let why = "either minimum or maximum storage value is required, but neither was provided";
                    errors.push(FieldError::required(&path.child("limits"), why));
                }
            }
            let inner = path.child(part);
            for (name, _) in entries(limit, part) {
                let path = inner.key(name);
                if matches!(kind, "Pod" | "Container") {
                    resources::of_container(name, &path, errors);
                } else {
                    resources::name(name, &path, errors);
                }
                if !seen.contains(&name.as_str()) {
                    seen.push(name);
                }
            }
        }
        for name in seen {
            Bounds::of(limit, kind, name).check(name, &path, errors);
        }
    }
}

fn type_name(kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let faults = names::qualified(kind);
    if faults.is_empty() && !kind.contains('/') && !TYPES.contains(&kind) {
        let why = "must be a standard limit type or fully qualified";
        errors.push(FieldError::invalid(path, kind, why));
    }
    invalid(path, kind, faults, errors);
}

/// What is said of one resource.
struct Bounds {
    least: Option<Quantity>,
    most: Option<Quantity>,
    limit: Option<Quantity>,
    request: Option<Quantity>,
    ratio: Option<Quantity>,
}

impl Bounds {
    fn of(limit: &Value, kind: &str, name: &str) -> Self {
        let of = |part: &str| given(limit, part)?.get(name).and_then(resources::amount);
        let default = |part: &str| if kind == "Pod" { None } else { of(part) };
        Self {
            least: of("min"),
            most: of("max"),
            limit: default("default"),
            request: default("defaultRequest"),
            ratio: of("maxLimitRequestRatio"),
        }
    }

    fn check(&self, name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        let [least, most, limit, request] =
            [&self.least, &self.most, &self.limit, &self.request].map(Option::as_ref);
        // Which is the smaller, which the larger, where that is told, and of which value.
        let orders = [
            ("min", least, "min value", most, "max value", least),
            ("defaultRequest", least, "min value", request, "default request value", request),
            ("defaultRequest", request, "default request value", most, "max value", request),
            ("defaultRequest", request, "default request value", limit, "default limit value", request),
            ("default", least, "min value", limit, "default value", least),
            ("default", limit, "default value", most, "max value", most),
        ];
        for (place, small, small_name, large, large_name, told) in orders {
            let (Some(small), Some(large), Some(told)) = (small, large, told) else { continue };
            if small.nanos() > large.nanos() {
                let why = format!("{small_name} {small} is greater than {large_name} {large}");
                errors.push(FieldError::invalid(&path.child(place).key(name), told.to_string(), why));
            }
        }
        if let Some(ratio) = &self.ratio {
            self.check_ratio(ratio, &path.child("maxLimitRequestRatio").key(name), errors);
        }
        if let (false, Some(limit), Some(request)) = (resources::is_shared(name), limit, request)
            && limit.nanos() != request.nanos()
        {
            let why = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
            let path = path.child("defaultRequest");
            errors.push(FieldError::invalid(&path.key(name), request.to_string(), why));
        }
    }

    /// How much larger a limit may be than the request: at least as large, and no larger than the bounds allow.
    fn check_ratio(&self, ratio: &Quantity, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        const NANO: i128 = 1_000_000_000;
        if ratio.nanos() < NANO {
            let why = format!("ratio {ratio} is less than 1");
            errors.push(FieldError::invalid(path, ratio.to_string(), why));
        }
        let (Some(least), Some(most)) = (&self.least, &self.most) else { return };
        #[expect(clippy::cast_precision_loss, reason = "upstream compares these as floating-point numbers")]
        let [ratio_value, least, most] = [ratio, least, most].map(|of| of.nanos() as f64);
        let limit = most / least;
        if ratio_value / 1e9 > limit {
            let limit = if limit.is_infinite() { "+Inf".to_owned() } else { format!("{limit:.6}") };
            let why = format!("ratio {ratio} is greater than max/min = {limit}");
            errors.push(FieldError::invalid(path, ratio.to_string(), why));
        }
    }
}

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];
/// Scopes that no object is in both of.
const OPPOSITES: [(&str, &str); 2] = [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];
const EXISTS_ONLY: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                           ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                           ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";

/// A ResourceQuota.
pub(super) fn quota(quota: &Value, errors: &mut Vec<FieldError>) {
    let spec = quota.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    hard(spec, "hard", &path, errors);
    scopes(spec, &path, errors);
    if let Some(selector) = given(spec, "scopeSelector") {
        scope_selector(spec, selector, &path.child("scopeSelector"), errors);
    }
}

/// Amounts that a quota has room for, or of which so much is used.
fn hard(of: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child(key);
    for (name, value) in entries(of, key) {
        let path = path.key(name);
        resources::name(name, &path, errors);
        if !name.contains('/') && !resources::is_of_quota(name) {
            errors.push(FieldError::invalid(&path, name.as_str(), "must be a standard resource for quota"));
        }
        resources::quantity(name, value, &path, errors);
    }
}

/// The limits that a scope says nothing of.
fn unfit<'a>(spec: &'a Value, scope: &'a str) -> impl Iterator<Item = &'a String> {
    let of_pods = |name: &str| {
        let name = name.strip_prefix("limits.").or_else(|| name.strip_prefix("requests.")).unwrap_or(name);
        matches!(name, "pods" | "cpu" | "memory")
    };
    let fits = move |name: &str| match scope {
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ if SCOPES.contains(&scope) => of_pods(name),
        _ => true,
    };
    entries(spec, "hard")
        .map(|(name, _)| name)
        .filter(move |name| resources::is_of_quota(name) && !fits(name))
}

fn scopes(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let all = list(spec, "scopes");
    let path = path.child("scopes");
    let refused = |why: &str| FieldError::invalid(&path, all.to_vec(), why);
    for scope in all.iter().filter_map(Value::as_str) {
        if !SCOPES.contains(&scope) {
            errors.push(refused("unsupported scope"));
        }
        errors.extend(unfit(spec, scope).map(|_| refused("unsupported scope applied to resource")));
    }
    let has = |scope: &str| all.iter().any(|own| own == scope);
    let conflicts = OPPOSITES.iter().filter(|(one, other)| has(one) && has(other));
    errors.extend(conflicts.map(|_| refused("conflicting scopes")));
}

fn scope_selector(spec: &Value, selector: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("matchExpressions");
    let all = list(selector, "matchExpressions");
    for expression in all {
        let (scope, operator) = (text(expression, "scopeName"), text(expression, "operator"));
        let values = list(expression, "values");
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(&path.child("scopeName"), scope, "unsupported scope"));
        }
        let why = "unsupported scope applied to resource";
        errors.extend(unfit(spec, scope).map(|_| FieldError::invalid(&path, selector.clone(), why)));
        let valueless =
            SCOPES.contains(&scope) && !matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if valueless && operator != "Exists" {
            errors.push(FieldError::invalid(&path.child("operator"), operator, EXISTS_ONLY));
        }
        let inner = path.child("values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(FieldError::required(&inner, why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(FieldError::invalid(&inner, values.to_vec(), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                let why = "not a valid selector operator";
                errors.push(FieldError::invalid(&path.child("operator"), operator, why));
            }
        }
    }
    let has = |scope: &str| all.iter().any(|own| text(own, "scopeName") == scope);
    let conflicts = OPPOSITES.iter().filter(|(one, other)| has(one) && has(other));
    // Upstream tells the other list of scopes.
    let told = || given(spec, "scopes").cloned().unwrap_or_default();
    errors.extend(conflicts.map(|_| FieldError::invalid(&path, told(), "conflicting scopes")));
}

/// A quota stays in its scopes.
pub(super) fn update_quota(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let scopes = |of: &Value| of.pointer("/spec/scopes").cloned().unwrap_or_default();
    let (before, after) = (scopes(old), scopes(new));
    let names = |of: &Value| -> std::collections::BTreeSet<String> {
        of.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if names(&before) != names(&after) {
        let path = Path::ROOT.child("spec");
        errors.push(FieldError::invalid(&path.child("scopes"), after, IMMUTABLE));
    }
}
