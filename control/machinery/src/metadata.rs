//! The rules that every object obeys, whatever its kind: names, labels, annotations, owners, finalizers, and what the
//! server alone fills in.
//!
//! A write goes through two steps. [`prepare_create`] and [`prepare_update`] fill in and restore what clients have no say
//! in; they refuse only what can not be understood. [`validate`] and [`validate_update`] change nothing and tell
//! everything that is wrong. Time, uid and chance are the caller's.

mod name;
mod prepare;
mod validate;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use name::{
    NameRule, dns_label, dns_label_1035, generate_name, is_dns_label, is_dns_subdomain, path_segment,
};
pub use prepare::{Context, bump_generation, match_request, prepare_create, prepare_update};
pub use validate::{validate, validate_embedded, validate_update};

/// The finalizer that leaves dependents behind.
pub const ORPHAN: &str = "orphan";
/// The finalizer that waits for dependents to go first.
pub const FOREGROUND: &str = "foregroundDeletion";

/// The object's `metadata`, where it has one.
pub fn of(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata").and_then(Value::as_object)
}

/// A text of the object's `metadata`; empty where there is none.
pub fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get("metadata").and_then(|metadata| metadata.get(name)).and_then(Value::as_str).unwrap_or_default()
}
