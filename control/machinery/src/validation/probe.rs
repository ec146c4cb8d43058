//! Probes and lifecycle hooks: one way of asking each.

use serde_json::Value;

use super::{given, invalid, list, names, not_negative, one_of, port, text};
use crate::field::{FieldError, Path};

/// What asks whether a container is well, and what is done as it starts and stops.
pub(super) fn probes(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = given(container, name) else { continue };
        let path = path.child(name);
        handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], &path, errors);
        let numbers = [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ];
        not_negative(probe, &numbers, &path, errors);
        let grace = probe.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
        let grace_path = path.child("terminationGracePeriodSeconds");
        if name == "readinessProbe" {
            if let Some(grace) = grace {
                let why = "must not be set for readinessProbes";
                errors.push(FieldError::invalid(&grace_path, grace, why));
            }
            continue;
        }
        if let Some(grace) = grace.filter(|grace| *grace <= 0) {
            errors.push(FieldError::invalid(&grace_path, grace, "must be greater than 0"));
        }
        if let Some(successes) = probe.get("successThreshold").and_then(Value::as_i64).filter(|n| *n != 1) {
            errors.push(FieldError::invalid(&path.child("successThreshold"), successes, "must be 1"));
        }
    }
    if let Some(lifecycle) = given(container, "lifecycle") {
        let path = path.child("lifecycle");
        for name in ["postStart", "preStop"] {
            if let Some(hook) = given(lifecycle, name) {
                handler(hook, &["exec", "httpGet", "tcpSocket", "sleep"], &path.child(name), errors);
            }
        }
    }
}

fn handler(of: &Value, kinds: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut found = 0;
    for kind in kinds {
        let Some(action) = given(of, kind) else { continue };
        let path = path.child(kind);
        found += 1;
        if found > 1 {
            errors.push(FieldError::forbidden(&path, "may not specify more than 1 handler type"));
            continue;
        }
        match *kind {
            "exec" if list(action, "command").is_empty() => {
                errors.push(FieldError::required(&path.child("command"), ""));
            }
            "httpGet" => {
                if text(action, "path").is_empty() {
                    errors.push(FieldError::required(&path.child("path"), ""));
                }
                port(action.get("port").unwrap_or(&Value::Null), &path.child("port"), errors);
                one_of(action, "scheme", &["HTTP", "HTTPS"], &path, errors);
                for header in list(action, "httpHeaders") {
                    let name = text(header, "name");
                    invalid(&path.child("httpHeaders"), name, names::header(name), errors);
                }
            }
            "tcpSocket" | "grpc" => {
                port(action.get("port").unwrap_or(&Value::Null), &path.child("port"), errors)
            }
            _ => {}
        }
    }
    if found == 0 {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}
