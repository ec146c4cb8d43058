//! Probes and lifecycle hooks: one way of asking each.

use serde_json::Value;

use super::{given, invalid, list, names, not_negative, number, one_of, port, text};
use crate::field::{FieldError, Path};

/// What is done as a container starts and stops, and what asks whether it is well.
pub(super) fn probes(container: &Value, pod: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let grace = number(pod, "terminationGracePeriodSeconds");
    if let Some(lifecycle) = given(container, "lifecycle") {
        let path = path.child("lifecycle");
        for name in ["postStart", "preStop"] {
            if let Some(hook) = given(lifecycle, name) {
                handler(hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace, &path.child(name), errors);
            }
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = given(container, name) else { continue };
        let path = path.child(name);
        handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace, &path, errors);
        let numbers = [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ];
        not_negative(probe, &numbers, &path, errors);
        let own = number(probe, "terminationGracePeriodSeconds");
        let place = path.child("terminationGracePeriodSeconds");
        if let Some(own) = own.filter(|own| *own <= 0) {
            errors.push(FieldError::invalid(&place, own, "must be greater than 0"));
        }
        if name == "readinessProbe" {
            let why = "must not be set for readinessProbes";
            errors.extend(own.map(|own| FieldError::invalid(&place, own, why)));
        } else if let Some(successes) = number(probe, "successThreshold").filter(|n| *n != 1) {
            errors.push(FieldError::invalid(&path.child("successThreshold"), successes, "must be 1"));
        }
    }
}

fn handler(of: &Value, kinds: &[&str], grace: Option<i64>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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
                port(action.get("port").unwrap_or(&Value::Null), &path.child("port"), errors);
            }
            "sleep" => {
                let seconds = number(action, "seconds").unwrap_or_default();
                if let Some(grace) = grace.filter(|grace| !(0..=*grace).contains(&seconds)) {
                    let why =
                        format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                    errors.push(FieldError::invalid(&path, seconds, why));
                }
            }
            _ => {}
        }
    }
    if found == 0 {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}
