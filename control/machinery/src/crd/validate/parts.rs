//! The smaller parts of a definition: subresources, columns, selectable fields, deprecation, conversion.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::read::{flag, list, present, text};
use super::one_of;
use crate::field::{FieldError, Path};
use crate::metadata::dns_label_1035;
use crate::structural::{Schema, Structural, Type};

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
/// How many fields may be selectable.
const SELECTABLE_MAX: usize = 8;
/// How many bytes the warning of a deprecated version may have.
const WARNING_MAX: usize = 256;

/// What a schema may say at its root where `status` is a subresource, by upstream's names and by the names of the keywords.
const AT_ROOT: [(&str, &str); 22] = [
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Maximum", "maximum"),
    ("ExclusiveMaximum", "exclusiveMaximum"),
    ("Minimum", "minimum"),
    ("ExclusiveMinimum", "exclusiveMinimum"),
    ("MaxLength", "maxLength"),
    ("MinLength", "minLength"),
    ("Pattern", "pattern"),
    ("MaxItems", "maxItems"),
    ("MinItems", "minItems"),
    ("UniqueItems", "uniqueItems"),
    ("MultipleOf", "multipleOf"),
    ("Required", "required"),
    ("Items", "items"),
    ("Properties", "properties"),
    ("ExternalDocs", "externalDocs"),
    ("Example", "example"),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields"),
    ("XValidations", "x-kubernetes-validations"),
];

pub(super) fn root_with_status(schema: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let allowed = |keyword: &str| AT_ROOT.iter().any(|(_, known)| *known == keyword);
    let nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    let mut keywords = schema.as_object().into_iter().flatten();
    if let Some((keyword, _)) = keywords.find(|(keyword, value)| !allowed(keyword) && !nothing(value)) {
        let names: Vec<&str> = AT_ROOT.iter().map(|(name, _)| *name).collect();
        let detail = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            names.join(" ")
        );
        errors.push(FieldError::invalid(path, keyword.as_str(), detail));
    }
}

pub(super) fn subresources(subresources: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(scale) = present(subresources, "scale") else { return };
    for (name, below, required) in [
        ("specReplicasPath", "spec", true),
        ("statusReplicasPath", "status", true),
        ("labelSelectorPath", "", false),
    ] {
        let value = text(scale, name);
        let at = path.child("scale");
        let at = at.child(name);
        if value.is_empty() {
            if required {
                errors.push(FieldError::required(&at, ""));
            }
        } else if let Some(detail) = simple_path(value) {
            errors.push(FieldError::invalid(&at, value, detail));
        } else if !below.is_empty() && !value.starts_with(&format!(".{below}.")) {
            errors.push(FieldError::invalid(&at, value, format!("should be a json path under .{below}")));
        } else if below.is_empty() && !value.starts_with(".spec.") && !value.starts_with(".status.") {
            let detail = "should be a json path under either .spec or .status";
            errors.push(FieldError::invalid(&at, value, detail));
        }
    }
}

/// What keeps a text from being a path such as `.spec.replicas`.
fn simple_path(path: &str) -> Option<&'static str> {
    let Some(rest) = path.strip_prefix('.') else {
        return Some("must be a simple json path starting with .");
    };
    let bad = !rest.is_empty() && rest.split('.').any(str::is_empty);
    bad.then_some("must be a json path in the dot notation")
}

pub(super) fn columns(columns: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, column) in columns.iter().enumerate() {
        let at = path.index(index);
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(&at.child("name"), ""));
        }
        let kind = text(column, "type");
        let detail = format!("must be one of {}", COLUMN_TYPES.join(","));
        if kind.is_empty() {
            errors.push(FieldError::required(&at.child("type"), detail));
        } else if !COLUMN_TYPES.contains(&kind) {
            errors.push(FieldError::invalid(&at.child("type"), kind, detail));
        }
        let format = text(column, "format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let detail = format!("must be one of {}", COLUMN_FORMATS.join(","));
            errors.push(FieldError::invalid(&at.child("format"), format, detail));
        }
        // The spelling of the field is upstream's here.
        match text(column, "jsonPath") {
            "" => errors.push(FieldError::required(&at.child("JSONPath"), "")),
            path if !path.starts_with('.') => {
                let detail = "must be a simple json path starting with .";
                errors.push(FieldError::invalid(&at.child("JSONPath"), path, detail));
            }
            _ => {}
        }
    }
}

pub(super) fn selectable(
    fields: &[Value],
    schema: &Structural,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let mut known = BTreeSet::new();
    for (index, field) in fields.iter().enumerate() {
        let at = path.index(index);
        let at = at.child("jsonPath");
        let told = text(field, "jsonPath");
        if told.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        let found = match field_at(schema.root(), told) {
            Ok(found) => found,
            Err(why) => {
                errors.push(FieldError::invalid(&at, told, format!("is an invalid path: {why}")));
                continue;
            }
        };
        if told == ".metadata" || told.starts_with(".metadata.") {
            errors.push(FieldError::invalid(&at, told, "must not point to fields in metadata"));
        }
        if !matches!(found.schema_type, Some(Type::String | Type::Boolean | Type::Integer)) {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                          formats are allowed.";
            errors.push(FieldError::invalid(&at, told, detail));
        }
        if !known.insert(told) {
            errors.push(FieldError::duplicate(&at, told));
        }
    }
    if known.len() > SELECTABLE_MAX {
        errors.push(FieldError::too_many(path, known.len(), SELECTABLE_MAX));
    }
}

fn field_at<'a>(schema: &'a Schema, path: &str) -> Result<&'a Schema, &'static str> {
    let Some(rest) = path.strip_prefix('.') else { return Err("must start with a dot") };
    rest.split('.')
        .try_fold(schema, |at, name| at.properties.get(name).ok_or("does not refer to a valid field"))
}

pub(super) fn deprecation(version: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(warning) = present(version, "deprecationWarning").and_then(Value::as_str) else { return };
    let at = path.child("deprecationWarning");
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(&at, warning, detail));
    if !flag(version, "deprecated") {
        refuse("can only be set for deprecated versions");
        return;
    }
    if warning.len() > WARNING_MAX {
        refuse("must be <= 256 characters long");
    }
    if warning.is_empty() {
        refuse("must not be an empty string");
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, letter)| letter.is_control()) {
        refuse(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {index}"
        ));
    }
}

pub(super) fn conversion(conversion: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let strategy = text(conversion, "strategy");
    one_of(strategy, &["None", "Webhook"], &path.child("strategy"), errors);
    let webhook = present(conversion, "webhook");
    let config = webhook.and_then(|webhook| present(webhook, "clientConfig"));
    let reviews = webhook.map_or(&[][..], |webhook| list(webhook, "conversionReviewVersions"));
    let (at_config, at_reviews) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if config.is_some() {
            errors.push(FieldError::forbidden(&at_config, detail));
        }
        if !reviews.is_empty() {
            errors.push(FieldError::forbidden(&at_reviews, detail));
        }
        return;
    }
    match config {
        None => errors.push(FieldError::required(&at_config, "required when strategy is set to Webhook")),
        Some(config) => client(config, &at_config, errors),
    }
    if reviews.is_empty() {
        errors.push(FieldError::required(&at_reviews, ""));
        return;
    }
    for (index, review) in reviews.iter().enumerate() {
        let (at, name) = (at_reviews.index(index), review.as_str().unwrap_or_default());
        if reviews.iter().take(index).any(|before| before == review) {
            errors.push(FieldError::invalid(&at, name, "duplicate version"));
            continue;
        }
        errors.extend(dns_label_1035(name).into_iter().map(|what| FieldError::invalid(&at, name, what)));
    }
    if !reviews.iter().any(|review| matches!(review.as_str(), Some("v1" | "v1beta1"))) {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(&at_reviews, Value::Array(reviews.to_vec()), detail));
    }
}

fn client(config: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match (present(config, "url"), present(config, "service")) {
        (Some(url), None) => {
            let (at, url) = (path.child("url"), url.as_str().unwrap_or_default());
            let host = url
                .strip_prefix("https://")
                .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
            match host {
                None => errors.push(FieldError::invalid(
                    &at,
                    url,
                    "'https' is the only allowed URL scheme; desired format: https://host[/path]",
                )),
                Some("") => errors.push(FieldError::invalid(
                    &at,
                    url,
                    "host must be specified; desired format: https://host[/path]",
                )),
                Some(host) if host.contains('@') => {
                    errors.push(FieldError::invalid(
                        &at,
                        url,
                        "user information is not permitted in the URL",
                    ));
                }
                Some(_) if url.contains(['?', '#']) => {
                    errors.push(FieldError::invalid(
                        &at,
                        url,
                        "fragments and query parameters are not permitted in the URL",
                    ));
                }
                Some(_) => {}
            }
        }
        (None, Some(service)) => {
            let at = path.child("service");
            for (name, detail) in
                [("name", "service name is required"), ("namespace", "service namespace is required")]
            {
                if text(service, name).is_empty() {
                    errors.push(FieldError::required(&at.child(name), detail));
                }
            }
            let port = present(service, "port").map_or(Some(443), Value::as_i64).unwrap_or_default();
            if !(1..=65_535).contains(&port) {
                let detail = "port is not valid: must be between 1 and 65535, inclusive";
                errors.push(FieldError::invalid(&at.child("port"), port, detail));
            }
            let place = text(service, "path");
            if !place.is_empty() && !place.starts_with('/') {
                errors.push(FieldError::invalid(&at.child("path"), place, "must start with a '/'"));
            } else if place.len() > 1 {
                for (index, step) in
                    place.trim_start_matches('/').trim_end_matches('/').split('/').enumerate()
                {
                    if step.is_empty() {
                        let detail = format!("segment[{index}] may not be empty");
                        errors.push(FieldError::invalid(&at.child("path"), place, detail));
                    }
                }
            }
        }
        _ => errors.push(FieldError::required(path, "exactly one of url or service is required")),
    }
}
