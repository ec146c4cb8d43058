//! Labels and what selects by them.

use serde_json::Value;

use super::{entries, given, invalid, list, names, text};
use crate::field::{FieldError, Path};

/// The keys and values of labels, told of at one path.
pub(super) fn labels<'a>(
    labels: impl Iterator<Item = (&'a String, &'a Value)>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    for (key, value) in labels {
        invalid(path, key, names::qualified(key), errors);
        let value = value.as_str().unwrap_or_default();
        invalid(path, value, names::label_value(value), errors);
    }
}

/// A label selector.
pub(super) fn selector(selector: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    labels(entries(selector, "matchLabels"), &path.child("matchLabels"), errors);
    let path = path.child("matchExpressions");
    for (at, expression) in list(selector, "matchExpressions").iter().enumerate() {
        let path = path.index(at);
        let values = list(expression, "values");
        match text(expression, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(&path.child("values"), why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(&path.child("values"), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            operator => {
                errors.push(FieldError::invalid(
                    &path.child("operator"),
                    operator,
                    "not a valid selector operator",
                ));
            }
        }
        let key = text(expression, "key");
        invalid(&path.child("key"), key, names::qualified(key), errors);
        let path = path.child("values");
        for (at, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            invalid(&path.index(at), value, names::label_value(value), errors);
        }
    }
}

/// Whether a selector has no faults.
pub(super) fn is_sound(of: &Value) -> bool {
    let mut errors = Vec::new();
    selector(of, &Path::ROOT, &mut errors);
    errors.is_empty()
}

/// Whether a selector that has no faults takes these labels.
pub(super) fn matches(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| given(labels, key).and_then(Value::as_str);
    entries(selector, "matchLabels").all(|(key, value)| label(key) == value.as_str())
        && list(selector, "matchExpressions").iter().all(|expression| {
            let found = label(text(expression, "key"));
            let listed = || list(expression, "values").iter().any(|value| value.as_str() == found);
            match text(expression, "operator") {
                "In" => found.is_some() && listed(),
                "NotIn" => found.is_none() || !listed(),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

/// Whether a selector selects everything.
pub(super) fn is_empty(selector: &Value) -> bool {
    entries(selector, "matchLabels").next().is_none() && list(selector, "matchExpressions").is_empty()
}
