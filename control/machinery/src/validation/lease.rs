//! Leases, by which one of several leads.

use serde_json::Value;

use super::{not_negative, number};
use crate::field::{FieldError, Path};

/// A Lease.
pub(super) fn lease(lease: &Value, errors: &mut Vec<FieldError>) {
    let spec = lease.get("spec").unwrap_or(&Value::Null);
    let path = Path::ROOT.child("spec");
    let seconds = "leaseDurationSeconds";
    if let Some(duration) = number(spec, seconds).filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(&path.child(seconds), duration, "must be greater than 0"));
    }
    not_negative(spec, &["leaseTransitions"], &path, errors);
}
