//! The whole verdict on an object, in the order in which Kubernetes comes to it: its schema, what it embeds, its sets and
//! keyed lists, and its rules, which are run only where the object is sound enough for them.

use serde_json::Value;
use xebec_expressions::rules::{Failure, Reason};

use super::correlation::Pair;
use super::{Additional, Schema, Structural, list_type, scale, validate};
use crate::field::{Bad, ErrorType, FieldError, Path};
use crate::metadata;
use crate::resource::Scale;

/// How an object comes to be.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// It is new.
    Create,
    /// It takes the place of this one, and what did not change is not held against it.
    Update(&'a Value),
    /// The same, of which only the status was written.
    Status(&'a Value),
}

/// What is to be said of an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// Everything that is wrong with it.
    pub errors: Vec<FieldError>,
    /// What is wrong with parts that did not change.
    pub warnings: Vec<String>,
}

/// Judges `object`; `errors` are what is wrong with it beside its schema.
pub(super) fn judge(
    structural: &Structural,
    object: &Value,
    change: Change<'_>,
    numbers: Option<&Scale>,
    mut errors: Vec<FieldError>,
) -> Verdict {
    let schema = structural.root();
    let old = match change {
        Change::Create => None,
        Change::Update(old) | Change::Status(old) => Some(old),
    };
    let pair = old.map(|old| Pair::new(schema, object, old));
    match (change, schema.properties.get("status"), object.get("status")) {
        (Change::Status(_), Some(schema), Some(status)) => {
            let pair = pair.and_then(|pair| pair.entry("status"));
            // The words of such errors count from the status.
            for mut error in validate::validate_change(schema, status, pair) {
                let below = if error.field.is_empty() { "" } else { "." };
                error.field = format!("status{below}{}", error.field);
                errors.push(error);
            }
        }
        (Change::Status(_), ..) => {}
        _ => errors.extend(validate::validate_change(schema, object, pair)),
    }
    let status_alone = matches!(change, Change::Status(_));
    if let Some(numbers) = numbers {
        scale::check(numbers, object, status_alone, &mut errors);
    }
    if !status_alone {
        embedded(schema, object, &Path::ROOT, &mut errors);
    }
    let mut twice = Vec::new();
    list_type::check(schema, object, &Path::ROOT, &mut twice);
    if !twice.is_empty() {
        let mut before = Vec::new();
        if let Some(old) = old {
            list_type::check(schema, old, &Path::ROOT, &mut before);
        }
        if before.is_empty() {
            errors.extend(twice);
        }
    }
    let mut verdict = Verdict { errors, warnings: Vec::new() };
    let Some(rules) = structural.rules() else { return verdict };
    if verdict.errors.iter().any(|error| keeps_rules_from_running(error.error_type)) {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                      errors to complete validation";
        verdict.errors.push(FieldError::invalid(&Path::ROOT, Value::Null, detail));
        return verdict;
    }
    let judgement = match pair {
        Some(pair) => rules.validate(object, old, Some(&|steps| pair.unchanged(steps))),
        None => rules.validate(object, None, None),
    };
    verdict.errors.extend(judgement.failures.into_iter().map(error));
    verdict.warnings = judgement.forgiven.into_iter().map(|failure| error(failure).to_string()).collect();
    verdict
}

/// A broken rule as an error.
fn error(failure: Failure) -> FieldError {
    let Failure { path, reason, value, detail } = failure;
    let (error_type, bad_value) = match reason {
        Reason::Invalid => (ErrorType::Invalid, value),
        Reason::Duplicate => (ErrorType::Duplicate, value),
        Reason::Forbidden => (ErrorType::Forbidden, None),
        Reason::Required => (ErrorType::Required, None),
        Reason::Unsupported | Reason::Internal => (ErrorType::Internal, None),
    };
    let bad_value = bad_value.map(Bad::Value);
    FieldError { error_type, field: path.strip_prefix('.').unwrap_or(&path).to_owned(), bad_value, detail }
}

/// Rules may count on types, sizes and what must be there.
fn keeps_rules_from_running(error: ErrorType) -> bool {
    use ErrorType as E;
    matches!(error, E::NotSupported | E::Required | E::TooLong | E::TooMany | E::TypeInvalid)
}

/// Everything that is wrong with the type and metadata of embedded objects.
fn embedded(schema: &Schema, value: &Value, path: &Path<'_>, found: &mut Vec<FieldError>) {
    if !schema.embeds {
        return;
    }
    match value {
        Value::Object(map) => {
            if schema.embedded {
                found.extend(metadata::validate_embedded(value, path));
            }
            for (name, inner) in map {
                match (schema.properties.get(name.as_str()), &schema.additional) {
                    (Some(field), _) => embedded(field, inner, &path.child(name), found),
                    (None, Additional::Schema(values)) => {
                        embedded(values, inner, &path.key(name), found);
                    }
                    (None, Additional::None | Additional::Any) => {}
                }
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                if let Some(items) = &schema.items {
                    embedded(items, inner, &path.index(index), found);
                }
            }
        }
        _ => {}
    }
}
