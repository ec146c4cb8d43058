//! Configurations of webhooks.

use http::Uri;
use serde_json::Value;
use xebec_expressions::admission::{Variables, environment};
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::metadata::{NameRule, dns_label_1035};

use super::{conditions, one_of, rules, selector};
use crate::object;

const VERSIONS: &str = "v1, v1beta1";
const FORM: &str = "; desired format: https://host[/path]";

pub(super) fn configuration(new: &Value, mutating: bool, errors: &mut Vec<FieldError>) {
    let path = Path::ROOT.child("webhooks");
    let mut names = Vec::new();
    for (index, hook) in object::list(new, &["webhooks"]).iter().enumerate() {
        let at = path.index(index);
        one(hook, mutating, &at, errors);
        let name = object::name_of(hook);
        if !name.is_empty() && names.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        names.push(name);
    }
}

fn one(hook: &Value, mutating: bool, at: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (name, path) = (object::name_of(hook), at.child("name"));
    if name.is_empty() {
        errors.push(FieldError::required(&path, ""));
    } else {
        let problems = NameRule::Subdomain.problems(name);
        errors.extend(problems.into_iter().map(|why| FieldError::invalid(&path, name, why)));
        if name.split('.').count() < 3 {
            let why = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(&path, name, why));
        }
    }
    rules(object::list(hook, &["rules"]), &at.child("rules"), errors);
    one_of(hook, "failurePolicy", &["Fail", "Ignore"], at, errors);
    one_of(hook, "matchPolicy", &["Equivalent", "Exact"], at, errors);
    if mutating {
        one_of(hook, "reinvocationPolicy", &["IfNeeded", "Never"], at, errors);
    }
    if object::at(hook, &["sideEffects"]).is_none() {
        let why = "must specify one of None, NoneOnDryRun";
        errors.push(FieldError::required(&at.child("sideEffects"), why));
    }
    one_of(hook, "sideEffects", &["None", "NoneOnDryRun"], at, errors);
    if let Some(seconds) = object::at(hook, &["timeoutSeconds"]).and_then(Value::as_i64)
        && !(1..=30).contains(&seconds)
    {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(&at.child("timeoutSeconds"), seconds, why));
    }
    selector(hook, "namespaceSelector", at, errors);
    selector(hook, "objectSelector", at, errors);
    client(object::at(hook, &["clientConfig"]).unwrap_or(&Value::Null), &at.child("clientConfig"), errors);
    let known = environment(Variables { authorizer: true, ..Variables::default() });
    conditions(object::list(hook, &["matchConditions"]), &known, &at.child("matchConditions"), errors);
    versions(object::list(hook, &["admissionReviewVersions"]), &at.child("admissionReviewVersions"), errors);
}

fn client(config: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match (object::at(config, &["url"]), object::at(config, &["service"])) {
        (Some(_), Some(_)) | (None, None) => {
            errors.push(FieldError::required(path, "exactly one of url or service is required"));
        }
        (Some(url), None) => url_of(url.as_str().unwrap_or_default(), &path.child("url"), errors),
        (None, Some(service)) => {
            let path = path.child("service");
            for field in ["name", "namespace"] {
                if object::text(service, &[field]).is_empty() {
                    errors.push(FieldError::required(&path.child(field), ""));
                }
            }
            let port = object::at(service, &["port"]).and_then(Value::as_i64).unwrap_or(443);
            if !(1..=65535).contains(&port) {
                let why = "port is not valid: must be between 1 and 65535, inclusive";
                errors.push(FieldError::invalid(&path.child("port"), port, why));
            }
            path_of(object::text(service, &["path"]), &path.child("path"), errors);
        }
    }
}

/// Where a service is asked: each step is a name, but for an empty one at the end.
fn path_of(text: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut tell = |why: String| errors.push(FieldError::invalid(path, text, why));
    let mut letters = text.chars();
    match (letters.next(), letters.as_str()) {
        (None, _) | (Some('/'), "") => return,
        (Some('/'), "/") => return tell("segment[0] may not be empty".to_owned()),
        (Some('/'), _) => {}
        // As upstream, whose first letter is passed over even where it is none.
        _ => tell("must start with a '/'".to_owned()),
    }
    let rest = letters.as_str();
    for (at, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            tell(format!("segment[{at}] may not be empty"));
            continue;
        }
        for why in NameRule::Subdomain.problems(step) {
            tell(format!("segment[{at}]: {why}"));
        }
    }
}

fn url_of(url: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let uri: Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => {
            errors.push(FieldError::required(path, format!("url must be a valid URL: {error}{FORM}")));
            return;
        }
    };
    let scheme = uri.scheme_str().unwrap_or_default();
    if scheme != "https" {
        errors.push(FieldError::invalid(
            path,
            scheme,
            format!("'https' is the only allowed URL scheme{FORM}"),
        ));
    }
    if uri.host().unwrap_or_default().is_empty() {
        errors.push(FieldError::invalid(path, "", format!("host must be specified{FORM}")));
    }
    if let Some((user, _)) = uri.authority().and_then(|authority| authority.as_str().split_once('@')) {
        errors.push(FieldError::invalid(path, user, "user information is not permitted in the URL"));
    }
    if let Some((_, fragment)) = url.split_once('#') {
        errors.push(FieldError::invalid(path, fragment, "fragments are not permitted in the URL"));
    }
    if let Some(query) = uri.query() {
        errors.push(FieldError::invalid(path, query, "query parameters are not permitted in the URL"));
    }
}

fn versions(list: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if list.is_empty() {
        errors.push(FieldError::required(path, format!("must specify one of {VERSIONS}")));
        return;
    }
    for (index, version) in list.iter().enumerate() {
        if list[..index].contains(version) {
            errors.push(FieldError::invalid(&path.index(index), version.clone(), "duplicate version"));
            continue;
        }
        let text = version.as_str().unwrap_or_default();
        for why in dns_label_1035(text) {
            errors.push(FieldError::invalid(&path.index(index), text, why));
        }
    }
    if !list.iter().any(|version| version == "v1" || version == "v1beta1") {
        errors.push(FieldError::invalid(
            path,
            list.to_vec(),
            format!("must include at least one of {VERSIONS}"),
        ));
    }
}
