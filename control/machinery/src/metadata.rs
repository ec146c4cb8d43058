//! The rules that every object obeys, whatever its kind: names, labels, annotations, owners, finalizers, and what the
//! server alone fills in.

mod name;

use serde_json::Value;

use crate::field::{FieldError, Path};

pub use name::{
    NameRule, dns_label, dns_label_1035, dns_subdomain, generated, is_dns_label, is_dns_subdomain,
    label_value, path_segment, qualified_name,
};

/// What is wrong with an object within another (`x-kubernetes-embedded-resource`) as an object.
pub fn validate_embedded(object: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    for name in ["apiVersion", "kind"] {
        if object.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
            wrong.push(FieldError::required(&path.child(name), "must not be empty"));
        }
    }
    wrong
}
