//! What is wrong with configurations of webhooks and with policies, told when they are written: later nobody is there to
//! read it.

mod policy;
mod webhook;

use serde_json::Value;
use xebec_expressions::Environment;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::validation;

use crate::expression::Expression;
use crate::object;

/// The most conditions that all must hold.
const MOST_CONDITIONS: usize = 64;

/// Everything that is wrong with an object of `admissionregistration.k8s.io`. What it replaces is not judged again where
/// nothing of it has changed.
pub fn check(kind: &str, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let is_same = |field: &str| old.is_some_and(|old| old.get(field) == new.get(field));
    if is_same("spec") && is_same("webhooks") {
        return Vec::new();
    }
    let mut errors = Vec::new();
    match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            webhook::configuration(new, kind == "MutatingWebhookConfiguration", &mut errors);
        }
        "ValidatingAdmissionPolicy" => policy::validating(new, &mut errors),
        "MutatingAdmissionPolicy" => policy::mutating(new, &mut errors),
        "ValidatingAdmissionPolicyBinding" => policy::binding(new, true, &mut errors),
        "MutatingAdmissionPolicyBinding" => policy::binding(new, false, &mut errors),
        _ => {}
    }
    errors
}

/// A text that must be one of these, where it is there.
fn one_of(of: &Value, field: &str, known: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(text) = object::at(of, &[field]).and_then(Value::as_str)
        && !known.contains(&text)
    {
        errors.push(FieldError::not_supported(&path.child(field), text, known));
    }
}

fn selector(of: &Value, field: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(selector) = object::at(of, &[field]) {
        errors.extend(validation::label_selector(selector, &path.child(field)));
    }
}

/// An expression that must be there and come to one of these types; any type, where there are none.
fn expression(
    text: &str,
    environment: &Environment,
    types: &[&str],
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) -> Option<Expression> {
    if text.trim().is_empty() {
        errors.push(FieldError::required(path, "expression is not specified"));
        return None;
    }
    let compiled = Expression::compile(text, environment);
    match &compiled.program {
        Err(why) => {
            errors.push(FieldError::invalid(path, text, format!("compilation failed: {why}")));
        }
        Ok(program) => {
            let of = program.output_type();
            if !types.is_empty() && of.name() != "dyn" && !types.contains(&of.name()) {
                let wanted = match types {
                    ["list"] => "list(JSONPatch)".to_owned(),
                    [one] => (*one).to_owned(),
                    _ => format!("one of [{}]", types.join(" ")),
                };
                let why = format!("must evaluate to {wanted} but got {of}");
                errors.push(FieldError::invalid(path, text, why));
            }
        }
    }
    Some(compiled)
}

fn conditions(list: &[Value], environment: &Environment, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if list.len() > MOST_CONDITIONS {
        errors.push(FieldError::too_many(path, list.len(), MOST_CONDITIONS));
    }
    let mut names = Vec::new();
    for (index, condition) in list.iter().enumerate() {
        let at = path.index(index);
        let text = object::text(condition, &["expression"]);
        if text.trim().is_empty() {
            errors.push(FieldError::required(&at.child("expression"), ""));
        } else {
            expression(text, environment, &["bool"], &at.child("expression"), errors);
        }
        let name = object::name_of(condition);
        if name.is_empty() {
            errors.push(FieldError::required(&at.child("name"), ""));
        } else if names.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        names.push(name);
    }
}

/// Rules with their operations.
fn rules(list: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, rule) in list.iter().enumerate() {
        let at = path.index(index);
        some(rule, "operations", "operations", &at, errors);
        let operations = at.child("operations");
        let known = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
        for (index, operation) in object::list(rule, &["operations"]).iter().enumerate() {
            if !known.iter().any(|own| operation == own) {
                errors.push(FieldError::not_supported(&operations.index(index), operation.clone(), &known));
            }
        }
        some(rule, "apiGroups", "API groups", &at, errors);
        some(rule, "apiVersions", "API versions", &at, errors);
        let versions = at.child("apiVersions");
        for (index, version) in object::list(rule, &["apiVersions"]).iter().enumerate() {
            if version == "" {
                errors.push(FieldError::required(&versions.index(index), ""));
            }
        }
        if object::list(rule, &["resources"]).is_empty() {
            errors.push(FieldError::required(&at.child("resources"), ""));
        }
        resources(object::list(rule, &["resources"]), &at.child("resources"), errors);
        one_of(rule, "scope", &["*", "Cluster", "Namespaced"], &at, errors);
    }
}

/// At least one, and only one where it stands for all.
fn some(rule: &Value, field: &str, what: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let values = object::list(rule, &[field]);
    if values.is_empty() {
        errors.push(FieldError::required(&path.child(field), ""));
    }
    if values.len() > 1 && values.iter().any(|value| value == "*") {
        let why = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(&path.child(field), values.to_vec(), why));
    }
}

fn resources(list: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    for (index, text) in texts.iter().enumerate() {
        let at = path.index(index);
        if text.is_empty() {
            errors.push(FieldError::required(&at, ""));
        }
        let Some((resource, part)) = text.split_once('/') else { continue };
        let before = &texts[..index];
        for (pattern, is_wider) in [
            (format!("{resource}/*"), before.contains(&&*format!("{resource}/*"))),
            (format!("*/{part}"), before.contains(&&*format!("*/{part}"))),
        ] {
            if is_wider {
                let why = format!("if '{pattern}' is present, must not specify {text}");
                errors.push(FieldError::invalid(&at, *text, why));
            }
        }
    }
    if texts.len() > 1 && texts.contains(&"*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, list.to_vec(), why));
    }
    if texts.contains(&"*") && texts.iter().any(|text| *text != "*" && !text.contains('/')) {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, list.to_vec(), why));
    }
}

#[cfg(test)]
mod tests;
