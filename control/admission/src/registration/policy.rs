//! Policies and their bindings.

use serde_json::Value;
use xebec_expressions::Environment;
use xebec_expressions::admission::{Variables as Known, environment};
use xebec_machinery::field::{FieldError, Path};

use super::{conditions, expression, one_of, rules, selector};
use crate::object;
use crate::policy::Variables;

const MOST_ANNOTATIONS: usize = 20;
const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
const NOTHING: &str = "validations or auditAnnotations must contain at least one item";

/// What both sorts of policies have; gives their variables.
fn common(spec: &Value, at: &Path<'_>, patches: bool, errors: &mut Vec<FieldError>) -> Variables {
    one_of(spec, "failurePolicy", &["Fail", "Ignore"], at, errors);
    let has_params = object::at(spec, &["paramKind"]).is_some();
    if has_params {
        let path = at.child("paramKind");
        for field in ["apiVersion", "kind"] {
            if object::text(spec, &["paramKind", field]).is_empty() {
                errors.push(FieldError::required(&path.child(field), ""));
            }
        }
    }
    let path = at.child("matchConstraints");
    match object::at(spec, &["matchConstraints"]) {
        None => errors.push(FieldError::required(&path, "")),
        Some(constraints) => {
            match_resources(constraints, &path, errors);
            if object::list(constraints, &["resourceRules"]).is_empty() {
                errors.push(FieldError::required(&path.child("resourceRules"), ""));
            }
        }
    }
    let known = Known { params: has_params, authorizer: true, patches: false };
    let list = object::list(spec, &["matchConditions"]);
    conditions(list, &environment(known), &at.child("matchConditions"), errors);
    let base = environment(Known { patches, ..known });
    let list = object::list(spec, &["variables"]);
    let variables = Variables::compile(list, &base);
    let path = at.child("variables");
    for (index, (variable, compiled)) in list.iter().zip(variables.expressions()).enumerate() {
        let at = path.index(index);
        let name = object::name_of(variable);
        let is_identifier = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && !name.starts_with(|letter: char| letter.is_ascii_digit());
        if name.trim().is_empty() {
            errors.push(FieldError::required(&at.child("name"), "name is not specified"));
        } else if !is_identifier {
            errors.push(FieldError::invalid(&at.child("name"), name, "must be a valid CEL identifier"));
        }
        if compiled.text.trim().is_empty() {
            errors.push(FieldError::required(&at.child("expression"), "expression is not specified"));
        } else if let Err(why) = &compiled.program {
            let why = format!("compilation failed: {why}");
            errors.push(FieldError::invalid(&at.child("expression"), compiled.text.clone(), why));
        }
    }
    variables
}

fn match_resources(resources: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    one_of(resources, "matchPolicy", &["Equivalent", "Exact"], path, errors);
    selector(resources, "namespaceSelector", path, errors);
    selector(resources, "objectSelector", path, errors);
    for field in ["resourceRules", "excludeResourceRules"] {
        rules(object::list(resources, &[field]), &path.child(field), errors);
    }
}

fn with(variables: &Variables, spec: &Value, authorizer: bool, patches: bool) -> Environment {
    let params = object::at(spec, &["paramKind"]).is_some();
    variables.declare(environment(Known { params, authorizer, patches }))
}

pub(super) fn validating(policy: &Value, errors: &mut Vec<FieldError>) {
    let (spec, at) = (policy.get("spec").unwrap_or(&Value::Null), Path::ROOT.child("spec"));
    let variables = common(spec, &at, false, errors);
    let (full, plain) = (with(&variables, spec, true, false), with(&variables, spec, false, false));
    let validations = object::list(spec, &["validations"]);
    let annotations = object::list(spec, &["auditAnnotations"]);
    if validations.is_empty() && annotations.is_empty() {
        for field in ["validations", "auditAnnotations"] {
            errors.push(FieldError::required(&at.child(field), NOTHING));
        }
    }
    let path = at.child("validations");
    for (index, validation) in validations.iter().enumerate() {
        let at = path.index(index);
        let text = |field: &str| object::text(validation, &[field]);
        expression(text("expression"), &full, &["bool"], &at.child("expression"), errors);
        for field in ["message", "messageExpression"] {
            if object::at(validation, &[field]).is_some() && text(field).trim().is_empty() {
                let why = "must be non-empty if specified";
                errors.push(FieldError::invalid(&at.child(field), text(field), why));
            }
        }
        if !text("messageExpression").trim().is_empty() {
            let path = at.child("messageExpression");
            expression(text("messageExpression"), &plain, &["string"], &path, errors);
        }
        if text("message").trim().contains(['\n', '\r']) {
            let why = "must not contain line breaks";
            errors.push(FieldError::invalid(&at.child("message"), text("message"), why));
        }
        one_of(validation, "reason", &REASONS, &at, errors);
    }
    let path = at.child("auditAnnotations");
    if annotations.len() > MOST_ANNOTATIONS {
        let why = format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations");
        errors.push(FieldError::invalid(&path, annotations.to_vec(), why));
    }
    for (index, annotation) in annotations.iter().enumerate() {
        let at = path.index(index);
        let text = |field: &str| object::text(annotation, &[field]);
        if text("key").is_empty() {
            errors.push(FieldError::required(&at.child("key"), "key is not specified"));
        }
        if annotations[..index].iter().any(|other| object::text(other, &["key"]) == text("key")) {
            errors.push(FieldError::duplicate(&at.child("key"), text("key")));
        }
        let types = ["string", "null_type"];
        expression(text("valueExpression"), &plain, &types, &at.child("valueExpression"), errors);
    }
}

pub(super) fn mutating(policy: &Value, errors: &mut Vec<FieldError>) {
    let (spec, at) = (policy.get("spec").unwrap_or(&Value::Null), Path::ROOT.child("spec"));
    let variables = common(spec, &at, true, errors);
    let full = with(&variables, spec, true, true);
    if object::text(spec, &["reinvocationPolicy"]).is_empty() {
        errors.push(FieldError::required(&at.child("reinvocationPolicy"), ""));
    } else {
        one_of(spec, "reinvocationPolicy", &["IfNeeded", "Never"], &at, errors);
    }
    let (path, mutations) = (at.child("mutations"), object::list(spec, &["mutations"]));
    if mutations.is_empty() {
        errors.push(FieldError::required(&path, "mutations must contain at least one item"));
    }
    for (index, mutation) in mutations.iter().enumerate() {
        let at = path.index(index);
        let (field, types) = match object::text(mutation, &["patchType"]) {
            "ApplyConfiguration" => ("applyConfiguration", ["Object"]),
            "JSONPatch" => ("jsonPatch", ["list"]),
            "" => {
                errors.push(FieldError::required(&at.child("patchType"), ""));
                continue;
            }
            _ => {
                one_of(mutation, "patchType", &["ApplyConfiguration", "JSONPatch"], &at, errors);
                continue;
            }
        };
        let inner = at.child(field);
        let text = object::text(mutation, &[field, "expression"]);
        expression(text, &full, &types, &inner.child("expression"), errors);
    }
}

pub(super) fn binding(binding: &Value, validating: bool, errors: &mut Vec<FieldError>) {
    let (spec, at) = (binding.get("spec").unwrap_or(&Value::Null), Path::ROOT.child("spec"));
    if object::text(spec, &["policyName"]).is_empty() {
        errors.push(FieldError::required(&at.child("policyName"), ""));
    }
    if let Some(reference) = object::at(spec, &["paramRef"]) {
        let path = at.child("paramRef");
        let (named, selects) =
            (!object::text(reference, &["name"]).is_empty(), object::at(reference, &["selector"]).is_some());
        if named == selects {
            for field in ["name", "selector"] {
                let why = if named {
                    "name and selector are mutually exclusive"
                } else {
                    "one of name or selector must be specified"
                };
                errors.push(match named {
                    true => FieldError::forbidden(&path.child(field), why),
                    false => FieldError::required(&path.child(field), why),
                });
            }
        }
        selector(reference, "selector", &path, errors);
        let field = "parameterNotFoundAction";
        if object::text(reference, &[field]).is_empty() {
            errors.push(FieldError::required(&path.child(field), ""));
        } else {
            one_of(reference, field, &["Allow", "Deny"], &path, errors);
        }
    }
    if let Some(resources) = object::at(spec, &["matchResources"]) {
        match_resources(resources, &at.child("matchResources"), errors);
    }
    if validating {
        actions(object::list(spec, &["validationActions"]), &at.child("validationActions"), errors);
    }
}

fn actions(list: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const KNOWN: [&str; 3] = ["Audit", "Deny", "Warn"];
    for (index, action) in list.iter().enumerate() {
        if !KNOWN.iter().any(|known| action == known) {
            errors.push(FieldError::not_supported(&path.index(index), action.clone(), &KNOWN));
        }
        if list[..index].contains(action) {
            errors.push(FieldError::duplicate(&path.index(index), action.clone()));
        }
    }
    let has = |wanted: &str| list.iter().any(|action| action == wanted);
    if has("Deny") && has("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        errors.push(FieldError::invalid(path, list.to_vec(), why));
    }
    if list.is_empty() {
        errors.push(FieldError::required(path, "at least one validation action is required"));
    }
}
