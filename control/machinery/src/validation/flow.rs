//! Flow schemas and priority levels (`flowcontrol.apiserver.k8s.io`).

use serde_json::{Value, json};

use super::{given, invalid, list, names, number, required, text};
use crate::field::{FieldError, Path};
use crate::flow::{EXEMPT, mandatory};

/// In what order schemas may be tried.
const PRECEDENCE_MAX: i64 = 10_000;
const QUEUES_MAX: i64 = 10_000_000;
/// How many bits of a flow's hash say which queues it may use.
const HASH_BITS: f64 = 60.0;
/// The annotation of a version that is not served, for what it could not say.
const ZERO_SHARES: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";
const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// A FlowSchema.
pub(super) fn schema(schema: &Value, errors: &mut Vec<FieldError>) {
    let spec = schema.get("spec").unwrap_or(&Value::Null);
    let name = text(schema.get("metadata").unwrap_or(&Value::Null), "name");
    let path = Path::ROOT.child("spec");
    let precedence = number(spec, "matchingPrecedence").unwrap_or_default();
    let at = path.child("matchingPrecedence");
    if precedence <= 0 {
        errors.push(FieldError::invalid(&at, precedence, "must be a positive value"));
    }
    if precedence > PRECEDENCE_MAX {
        let why = format!("must not be greater than {PRECEDENCE_MAX}");
        errors.push(FieldError::invalid(&at, precedence, why));
    }
    if precedence == 1 && name != EXEMPT {
        let why = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.push(FieldError::invalid(&at, precedence, why));
    }
    if let Some(method) = given(spec, "distinguisherMethod") {
        let known = ["ByNamespace", "ByUser"];
        if !known.contains(&text(method, "type")) {
            let at = path.child("distinguisherMethod");
            // Upstream shows its own type, whose field has this name.
            let value = json!({"Type": text(method, "type")});
            errors.push(FieldError::not_supported(&at.child("type"), value, &known));
        }
    }
    let level = spec.get("priorityLevelConfiguration").map_or("", |level| text(level, "name"));
    let at = path.child("priorityLevelConfiguration");
    if level.is_empty() {
        errors.push(FieldError::required(&at.child("name"), "must reference a priority level"));
    } else {
        invalid(&at.child("name"), level, names::subdomain(level), errors);
    }
    let at = path.child("rules");
    for (index, rule) in list(spec, "rules").iter().enumerate() {
        policy_rule(rule, &at.index(index), errors);
    }
    if mandatory("FlowSchema", name).is_some_and(|fixed| fixed["spec"] != *spec) {
        let why = format!("spec of '{name}' must equal the fixed value");
        errors.push(FieldError::invalid(&path, spec.clone(), why));
    }
}

fn policy_rule(rule: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let at = path.child("subjects");
    let subjects = list(rule, "subjects");
    if subjects.is_empty() {
        errors.push(FieldError::required(&at, "subjects must contain at least one value"));
    }
    for (index, one) in subjects.iter().enumerate() {
        subject(one, &at.index(index), errors);
    }
    let (resources, others) = (list(rule, "resourceRules"), list(rule, "nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, why));
    }
    for (index, rule) in resources.iter().enumerate() {
        resource_rule(rule, &path.child("resourceRules").index(index), errors);
    }
    for (index, rule) in others.iter().enumerate() {
        path_rule(rule, &path.child("nonResourceRules").index(index), errors);
    }
}

/// Who a rule is for. Each kind has its own field, and no other one.
fn subject(subject: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const FIELDS: [(&str, &str); 3] =
        [("serviceAccount", "ServiceAccount"), ("user", "User"), ("group", "Group")];
    let kind = text(subject, "kind");
    let Some((own, _)) = FIELDS.iter().find(|(_, of)| *of == kind) else {
        let kinds = ["Group", "ServiceAccount", "User"];
        errors.push(FieldError::not_supported(&path.child("kind"), kind, &kinds));
        return;
    };
    match given(subject, own) {
        None => {
            let why = format!("{own} is required when subject kind is '{kind}'");
            errors.push(FieldError::required(&path.child(own), why));
        }
        Some(named) => {
            let at = path.child(own);
            let name = text(named, "name");
            if required(named, "name", &at, errors) && *own == "serviceAccount" && name != "*" {
                invalid(&at.child("name"), name, names::subdomain(name), errors);
            }
            let namespace = text(named, "namespace");
            if *own == "serviceAccount" && namespace.is_empty() {
                let why = "must specify namespace for service account";
                errors.push(FieldError::required(&at.child("namespace"), why));
            } else if *own == "serviceAccount" {
                invalid(&at.child("namespace"), namespace, names::label(namespace), errors);
            }
        }
    }
    for (field, of) in FIELDS.iter().filter(|(field, _)| field != own) {
        if given(subject, field).is_some() {
            let why = format!("{field} is forbidden when subject kind is not '{of}'");
            errors.push(FieldError::forbidden(&path.child(field), why));
        }
    }
}

/// A list in which `*` stands alone or not at all; whether it holds names.
fn alone(of: &Value, key: &str, what: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) -> bool {
    let values = list(of, key);
    let wild = values.iter().any(|value| value == "*");
    if wild && values.len() > 1 {
        let why = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(&path.child(key), Value::from(values), why));
    }
    !wild
}

fn verbs(rule: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let verbs = list(rule, "verbs");
    let known = |verb: &Value| verb.as_str().is_some_and(|verb| VERBS.contains(&verb));
    if verbs.is_empty() {
        errors.push(FieldError::required(&path.child("verbs"), "verbs must contain at least one value"));
    } else if alone(rule, "verbs", "verbs", path, errors) && !verbs.iter().all(known) {
        errors.push(FieldError::not_supported(&path.child("verbs"), Value::from(verbs), &VERBS));
    }
}

fn resource_rule(rule: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    verbs(rule, path, errors);
    for (key, one, many) in [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")]
    {
        if list(rule, key).is_empty() {
            let why = format!("resource rules must supply at least one {one}");
            errors.push(FieldError::required(&path.child(key), why));
        } else {
            alone(rule, key, many, path, errors);
        }
    }
    let (namespaces, at) = (list(rule, "namespaces"), path.child("namespaces"));
    if namespaces.is_empty() && rule.get("clusterScope") != Some(&Value::Bool(true)) {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(FieldError::required(&at, why));
    } else if alone(rule, "namespaces", "namespaces", path, errors) {
        for (index, namespace) in namespaces.iter().enumerate() {
            let namespace = namespace.as_str().unwrap_or_default();
            let told =
                |why: String| format!("each member of this list must be '*' or a DNS-1123 label; {why}");
            let faults = names::label(namespace).into_iter().map(told).collect();
            invalid(&at.index(index), namespace, faults, errors);
        }
    }
}

fn path_rule(rule: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    verbs(rule, path, errors);
    let (urls, at) = (list(rule, "nonResourceURLs"), path.child("nonResourceURLs"));
    if urls.is_empty() {
        errors.push(FieldError::required(&at, "nonResourceURLs must contain at least one value"));
    } else if alone(rule, "nonResourceURLs", "non-resource URLs", path, errors) {
        for (index, url) in urls.iter().enumerate() {
            let url = url.as_str().unwrap_or_default();
            if let Some(why) = url_fault(url) {
                errors.push(FieldError::invalid(&at.index(index), url, why));
            }
        }
    }
}

fn url_fault(url: &str) -> Option<&'static str> {
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ => match url.matches('*').count() {
            0 => None,
            1 if url.ends_with("/*") => None,
            _ => Some("wildcard can only do suffix matching"),
        },
    }
}

/// A PriorityLevelConfiguration.
pub(super) fn level(level: &Value, errors: &mut Vec<FieldError>) {
    let metadata = level.get("metadata").unwrap_or(&Value::Null);
    if metadata.get("annotations").is_some_and(|annotations| annotations.get(ZERO_SHARES).is_some()) {
        let at = Path::ROOT.child("metadata");
        let why = format!("annotation '{ZERO_SHARES}' is forbidden");
        errors.push(FieldError::forbidden(&at.child("annotations"), why));
    }
    let spec = level.get("spec").unwrap_or(&Value::Null);
    let (name, kind) = (text(metadata, "name"), text(spec, "type"));
    let path = Path::ROOT.child("spec");
    if (name == EXEMPT) != (kind == "Exempt") {
        let why = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(FieldError::invalid(&path.child("type"), kind, why));
    }
    let (own, other) = (given(spec, "limited"), given(spec, "exempt"));
    match kind {
        "Exempt" => {
            if own.is_some() {
                let why = "must be nil if the type is not Limited";
                errors.push(FieldError::forbidden(&path.child("limited"), why));
            }
            if let Some(exempt) = other {
                shares(exempt, &path.child("exempt"), errors);
                lendable(exempt, &path.child("exempt"), errors);
            }
        }
        "Limited" => {
            if other.is_some() {
                errors
                    .push(FieldError::forbidden(&path.child("exempt"), "must be nil if the type is Limited"));
            }
            match own {
                None => {
                    let why = "must not be empty when type is Limited";
                    errors.push(FieldError::required(&path.child("limited"), why));
                }
                Some(own) => limited(own, &path.child("limited"), errors),
            }
        }
        "" => errors.push(FieldError::required(&path.child("type"), "")),
        _ => errors.push(FieldError::not_supported(&path.child("type"), kind, &["Exempt", "Limited"])),
    }
    if let Some(fixed) = mandatory("PriorityLevelConfiguration", name) {
        let mut fixed = fixed["spec"].clone();
        let why = if name == EXEMPT {
            // What it has to lend is for those who run the cluster to say.
            fixed["exempt"] = spec.get("exempt").cloned().unwrap_or_default();
            format!("spec of '{name}' except the 'spec.exempt' field must equal the fixed value")
        } else {
            format!("spec of '{name}' must equal the fixed value")
        };
        if name == EXEMPT && other.is_none() {
            fixed.as_object_mut().map(|fields| fields.remove("exempt"));
        }
        if fixed != *spec {
            errors.push(FieldError::invalid(&path, spec.clone(), why));
        }
    }
}

fn shares(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(shares) = number(of, "nominalConcurrencyShares").filter(|shares| *shares < 0) {
        let at = path.child("nominalConcurrencyShares");
        errors.push(FieldError::invalid(&at, shares, "must be a non-negative integer"));
    }
}

fn lendable(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(percent) = number(of, "lendablePercent").filter(|percent| !(0..=100).contains(percent)) {
        let at = path.child("lendablePercent");
        errors.push(FieldError::invalid(&at, percent, "must be between 0 and 100, inclusive"));
    }
}

fn limited(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    shares(of, path, errors);
    let response = of.get("limitResponse").unwrap_or(&Value::Null);
    let at = path.child("limitResponse");
    match (text(response, "type"), given(response, "queuing")) {
        ("Reject", Some(_)) => {
            let why = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(FieldError::forbidden(&at.child("queuing"), why));
        }
        ("Reject", None) => {}
        ("Queue", None) => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(FieldError::required(&at.child("queuing"), why));
        }
        ("Queue", Some(of)) => queuing(of, &at.child("queuing"), errors),
        ("", _) => errors.push(FieldError::required(&at.child("type"), "")),
        (kind, _) => {
            errors.push(FieldError::not_supported(&at.child("type"), kind, &["Queue", "Reject"]));
        }
    }
    lendable(of, path, errors);
    if let Some(percent) = number(of, "borrowingLimitPercent").filter(|percent| *percent < 0) {
        let at = path.child("borrowingLimitPercent");
        errors.push(FieldError::invalid(&at, percent, "if specified, must be a non-negative integer"));
    }
}

fn queuing(of: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let value = |key: &str| number(of, key).unwrap_or_default();
    let (length, queues, hand) = (value("queueLengthLimit"), value("queues"), value("handSize"));
    let mut refuse = |key: &str, value: i64, why: String| {
        errors.push(FieldError::invalid(&path.child(key), value, why));
    };
    if length <= 0 {
        refuse("queueLengthLimit", length, "must be positive".into());
    }
    if queues <= 0 {
        refuse("queues", queues, "must be positive".into());
    } else if queues > QUEUES_MAX {
        refuse("queues", queues, format!("must not be greater than {QUEUES_MAX}"));
    }
    // Both are 32-bit numbers, so nothing is lost.
    let bits = ((queues as f64).log2() * hand as f64).ceil();
    if hand <= 0 {
        refuse("handSize", hand, "must be positive".into());
    } else if hand > queues {
        refuse("handSize", hand, format!("should not be greater than queues ({queues})"));
    } else if bits > HASH_BITS {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        refuse("handSize", hand, why);
    }
}

#[cfg(test)]
mod tests;
