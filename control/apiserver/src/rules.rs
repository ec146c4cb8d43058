//! What objects of single kinds must keep to.

use std::collections::HashSet;

use serde_json::Value;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::selector::LabelSelector;

use crate::call::Call;
use crate::object::at_path;

/// Everything that is wrong with an object; `old` is what it was, where it was.
pub(crate) fn validate(call: &Call, old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if call.resource.custom {
        return call
            .version()
            .structural
            .as_ref()
            .map_or_else(Vec::new, |structural| structural.validate(new));
    }
    match (&*call.resource.group, &*call.resource.plural) {
        ("", "pods") => {
            let spec = Path::ROOT.child("spec");
            pod_spec(new.get("spec"), &spec, &mut errors);
            if let Some(old) = old {
                unchanged(old, new, ".spec.nodeName", &mut errors);
            }
        }
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            workload(old, new, &mut errors)
        }
        ("", "services") => service(old, new, &mut errors),
        ("", "configmaps") => keys(old, new, &["data", "binaryData"], &mut errors),
        ("", "secrets") => keys(old, new, &["data"], &mut errors),
        _ => {}
    }
    errors
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A field that stays as it is once it is set.
fn unchanged(old: &Value, new: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (before, after) = (at_path(old, path), at_path(new, path));
    if before.is_some_and(|before| !before.is_null() && *before != "") && before != after {
        let mut parts = path.split('.').filter(|part| !part.is_empty());
        let section = Path::ROOT.child(parts.next().unwrap_or_default());
        let place = section.child(parts.next().unwrap_or_default());
        errors.push(FieldError::invalid(&place, after.cloned().unwrap_or_default(), "field is immutable"));
    }
}

fn pod_spec(spec: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let containers = spec.and_then(|spec| spec.get("containers")).and_then(Value::as_array);
    let place = path.child("containers");
    if containers.is_none_or(Vec::is_empty) {
        errors.push(FieldError::required(&place, ""));
    }
    let mut names = HashSet::new();
    let lists = [
        ("containers", containers),
        ("initContainers", spec.and_then(|spec| spec.get("initContainers")).and_then(Value::as_array)),
    ];
    for (list, containers) in lists {
        let place = path.child(list);
        for (at, container) in containers.into_iter().flatten().enumerate() {
            one_container(container, &place.index(at), &mut names, errors);
        }
    }
    let policies = ["Always", "OnFailure", "Never"];
    let policy = spec.map_or("", |spec| text(spec, "restartPolicy"));
    if !policy.is_empty() && !policies.contains(&policy) {
        errors.push(FieldError::not_supported(&path.child("restartPolicy"), policy, &policies));
    }
}

fn one_container<'a>(
    container: &'a Value,
    path: &Path<'_>,
    names: &mut HashSet<&'a str>,
    errors: &mut Vec<FieldError>,
) {
    let name = text(container, "name");
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    } else {
        for problem in xebec_machinery::metadata::NameRule::Label.problems(name) {
            errors.push(FieldError::invalid(&path.child("name"), name, problem));
        }
        if !names.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
    if text(container, "image").is_empty() {
        errors.push(FieldError::required(&path.child("image"), ""));
    }
    let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
    let place = path.child("ports");
    for (at, port) in ports.enumerate() {
        port_number(port.get("containerPort"), &place.index(at).child("containerPort"), errors);
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    let policy = text(container, "imagePullPolicy");
    if !policy.is_empty() && !policies.contains(&policy) {
        errors.push(FieldError::not_supported(&path.child("imagePullPolicy"), policy, &policies));
    }
}

fn port_number(port: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match port.and_then(Value::as_i64) {
        None => errors.push(FieldError::required(path, "")),
        Some(1..=65535) => {}
        Some(other) => {
            errors.push(FieldError::invalid(path, other, "must be between 1 and 65535, inclusive"));
        }
    }
}

fn workload(old: Option<&Value>, new: &Value, errors: &mut Vec<FieldError>) {
    let spec_path = Path::ROOT.child("spec");
    if let Some(replicas) = at_path(new, ".spec.replicas").and_then(Value::as_i64).filter(|own| *own < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&spec_path.child("replicas"), replicas, detail));
    }
    let selector_path = spec_path.child("selector");
    match at_path(new, ".spec.selector") {
        None => errors.push(FieldError::required(&selector_path, "")),
        Some(selector) => match LabelSelector::from_object(selector) {
            Err(error) => {
                errors.push(FieldError::invalid(&selector_path, selector.clone(), error.to_string()));
            }
            Ok(read) if read.is_everything() => {
                let detail = "empty selector is invalid for deployment";
                errors.push(FieldError::invalid(&selector_path, selector.clone(), detail));
            }
            Ok(read) => {
                let labels = at_path(new, ".spec.template.metadata.labels").and_then(Value::as_object);
                if !read.matches(labels.unwrap_or(&serde_json::Map::new())) {
                    let template = spec_path.child("template");
                    let meta = template.child("metadata");
                    let shown = labels.cloned().map_or(Value::Null, Value::Object);
                    let detail = "`selector` does not match template `labels`";
                    errors.push(FieldError::invalid(&meta.child("labels"), shown, detail));
                }
            }
        },
    }
    if let Some(old) = old {
        unchanged(old, new, ".spec.selector", errors);
    }
    let template = spec_path.child("template");
    pod_spec(at_path(new, ".spec.template.spec"), &template.child("spec"), errors);
}

fn service(old: Option<&Value>, new: &Value, errors: &mut Vec<FieldError>) {
    let spec = Path::ROOT.child("spec");
    let kind = at_path(new, ".spec.type").and_then(Value::as_str).unwrap_or("ClusterIP");
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported(&spec.child("type"), kind, &kinds));
    }
    let ports = at_path(new, ".spec.ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let headless = at_path(new, ".spec.clusterIP").is_some_and(|address| address == "None");
    let place = spec.child("ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(&place, ""));
    }
    let mut names = HashSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = place.index(at);
        port_number(port.get("port"), &path.child("port"), errors);
        let name = text(port, "name");
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else if !names.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
    if let Some(old) = old {
        let was = at_path(old, ".spec.type").and_then(Value::as_str).unwrap_or("ClusterIP");
        if was != "ExternalName" && kind != "ExternalName" {
            unchanged(old, new, ".spec.clusterIP", errors);
        }
    }
}

fn keys(old: Option<&Value>, new: &Value, sections: &[&str], errors: &mut Vec<FieldError>) {
    for section in sections {
        let path = Path::ROOT.child(section);
        for key in new.get(section).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key) {
            let known = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            if key.is_empty() || key.len() > 253 || !key.chars().all(known) || key == "." || key == ".." {
                let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
                              'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                errors.push(FieldError::invalid(&path.key(key), key.as_str(), detail));
            }
        }
    }
    let Some(old) = old.filter(|old| old.get("immutable") == Some(&Value::Bool(true))) else { return };
    if new.get("immutable") != Some(&Value::Bool(true)) {
        errors.push(FieldError::forbidden(
            &Path::ROOT.child("immutable"),
            "field is immutable when `immutable` is set",
        ));
    }
    for section in sections.iter().filter(|section| old.get(section) != new.get(section)) {
        errors.push(FieldError::forbidden(
            &Path::ROOT.child(section),
            "field is immutable when `immutable` is set",
        ));
    }
}
