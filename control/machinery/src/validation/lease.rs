//! Leases, by which one of several leads.

use serde_json::Value;

use super::{invalid, names, not_negative, number, text};
use crate::field::{FieldError, Path};

const STRATEGY: &str = "OldestEmulationVersion";

/// A Lease.
pub(super) fn lease(lease: &Value, errors: &mut Vec<FieldError>) {
    let spec = lease.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let seconds = "leaseDurationSeconds";
    if let Some(duration) = number(spec, seconds).filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(&path.child(seconds), duration, "must be greater than 0"));
    }
    not_negative(spec, &["leaseTransitions"], &path, errors);
    let strategy = spec.get("strategy").and_then(Value::as_str);
    if let Some(strategy) = strategy {
        let path = path.child("strategy");
        let path = path.child("strategy");
        if strategy.contains('/') {
            invalid(&path, strategy, names::qualified(strategy), errors);
        } else if strategy != STRATEGY {
            errors.push(FieldError::not_supported(&path, strategy, &[STRATEGY]));
        }
    }
    if !text(spec, "preferredHolder").is_empty() && strategy.unwrap_or_default().is_empty() {
        let why = "may only be specified if `strategy` is defined";
        errors.push(FieldError::forbidden(&path.child("preferredHolder"), why));
    }
}
