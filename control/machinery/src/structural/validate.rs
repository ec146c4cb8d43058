//! Holding a value against a compiled schema, in the words of Kubernetes.

use std::collections::HashSet;

use serde_json::{Map, Number, Value};

use super::{Additional, Checks, Junct, Schema, Type, formats};
use crate::field::{FieldError, Path};
use crate::metadata;
use crate::schema::ListType;

/// Reporting ends after this many errors.
const MAX_ERRORS: usize = 100;

/// Everything that is wrong with `value`; a `whole` object's own metadata is left to [`crate::metadata`].
pub(super) fn validate(schema: &Schema, value: &Value) -> Vec<FieldError> {
    let mut found = Errors::default();
    walk(schema, value, &Path::ROOT, true, &mut found);
    found.list
}

#[derive(Default)]
struct Errors {
    list: Vec<FieldError>,
}

impl Errors {
    fn push(&mut self, error: FieldError) {
        if !self.full() {
            self.list.push(error);
        }
    }

    fn full(&self) -> bool {
        self.list.len() >= MAX_ERRORS
    }
}

fn walk(schema: &Schema, value: &Value, path: &Path<'_>, root: bool, found: &mut Errors) {
    if found.full() {
        return;
    }
    let types: &[Type] = match &schema.schema_type {
        Some(known) => std::slice::from_ref(known),
        None if schema.int_or_string => &[Type::Integer, Type::String],
        None => &[],
    };
    if value.is_null() {
        if !schema.nullable && !types.is_empty() {
            found.push(wrong_type(types, value, path));
        }
        enumeration(&schema.checks, value, path, found);
        return;
    }
    let format_says = value.is_string() && schema.checks.format.is_some() && types == [Type::String];
    if !types.is_empty() && !format_says && !types.iter().any(|known| is(value, *known)) {
        found.push(wrong_type(types, value, path));
    }
    checks(&schema.checks, types, value, path, found);
    match value {
        Value::Object(map) => {
            if schema.embedded && !root {
                found.list.extend(metadata::validate_embedded(value, path));
            }
            for (name, inner) in map {
                let at = path.child(name);
                match (schema.properties.get(name.as_str()), &schema.additional) {
                    (Some(field), _) => walk(field, inner, &at, false, found),
                    (None, Additional::Schema(values)) => walk(values, inner, &at, false, found),
                    (None, _) => {}
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                for (index, inner) in list.iter().enumerate() {
                    walk(items, inner, &path.index(index), false, found);
                }
            }
            match &schema.list_type {
                Some(ListType::Set) => no_duplicates(list, path, found),
                Some(ListType::Map(keys)) => no_duplicate_keys(list, keys, schema, path, found),
                Some(ListType::Atomic) | None => {}
            }
        }
        _ => {}
    }
}

fn is(value: &Value, known: Type) -> bool {
    match known {
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Boolean => value.is_boolean(),
        Type::Number => value.is_number(),
        Type::Integer => value.as_number().is_some_and(|number| whole(number).is_some()),
    }
}

/// The number as a whole one; `3.0` is one too.
fn whole(number: &Number) -> Option<i128> {
    if let Some(signed) = number.as_i64() {
        return Some(signed.into());
    }
    if let Some(unsigned) = number.as_u64() {
        return Some(unsigned.into());
    }
    let float = number.as_f64()?;
    // Beyond 2^53 a float no longer tells whole numbers apart.
    #[allow(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i128)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(types: &[Type], value: &Value, path: &Path<'_>) -> FieldError {
    let names: Vec<&str> = types.iter().map(|known| known.as_str()).collect();
    let actual = type_of(value);
    FieldError::type_invalid(
        path,
        actual,
        format!("{path} in body must be of type {}: \"{actual}\"", names.join(",")),
    )
}

/// What breaks the rules that say nothing about structure; `types` are those that the schema says.
fn checks(checks: &Checks, types: &[Type], value: &Value, path: &Path<'_>, found: &mut Errors) {
    junctors(checks, value, path, found);
    match value {
        Value::String(text) => string(checks, text, path, found),
        Value::Number(bare) => number(checks, types, bare, path, found),
        Value::Array(list) => {
            let count = list.len() as u64;
            if let Some(least) = checks.min_items.filter(|least| count < *least) {
                let detail = format!("{path} in body should have at least {least} items");
                found.push(FieldError::invalid(path, count, detail));
            }
            if let Some(most) = checks.max_items.filter(|most| count > *most) {
                found.push(FieldError::too_many(
                    path,
                    list.len(),
                    usize::try_from(most).unwrap_or(usize::MAX),
                ));
            }
        }
        Value::Object(map) => object(checks, map, path, found),
        Value::Null | Value::Bool(_) => {}
    }
    enumeration(checks, value, path, found);
}

fn string(checks: &Checks, text: &str, path: &Path<'_>, found: &mut Errors) {
    if checks.min_length.is_some() || checks.max_length.is_some() {
        let count = text.chars().count() as u64;
        if let Some(most) = checks.max_length.filter(|most| count > *most) {
            found.push(FieldError::too_long(path, usize::try_from(most).unwrap_or(usize::MAX)));
        }
        if let Some(least) = checks.min_length.filter(|least| count < *least) {
            let detail = format!("{path} in body should be at least {least} chars long");
            found.push(FieldError::invalid(path, text, detail));
        }
    }
    if let Some(pattern) = checks.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        let detail = format!("{path} in body should match '{}'", pattern.source());
        found.push(FieldError::invalid(path, text, detail));
    }
    if let Some(format) =
        checks.format.as_deref().filter(|format| formats::holds(format, text) == Some(false))
    {
        let quoted = Value::from(text);
        let detail = format!("{path} in body must be of type {format}: {quoted}");
        found.push(FieldError::type_invalid(path, quoted, detail));
    }
}

fn number(checks: &Checks, types: &[Type], number: &Number, path: &Path<'_>, found: &mut Errors) {
    let value = || Value::Number(number.clone());
    let bounds = match checks.format.as_deref() {
        Some("int32") => Some((i128::from(i32::MIN), i128::from(i32::MAX))),
        Some("int64") => Some((i128::from(i64::MIN), i128::from(i64::MAX))),
        _ => None,
    };
    if let (Some((least, most)), Some(format), true) =
        (bounds, &checks.format, types.contains(&Type::Integer))
        && !whole(number).is_some_and(|number| (least..=most).contains(&number))
    {
        let detail = format!("Checked value must be of type integer with format {format} in {path}");
        found.push(FieldError::invalid(&Path::ROOT, "", detail));
    }
    if let Some(factor) = &checks.multiple_of
        && !is_multiple(number, factor)
    {
        let detail = format!("{path} in body should be a multiple of {}", written(factor, number));
        found.push(FieldError::invalid(path, value(), detail));
    }
    if let Some((most, excluded)) = &checks.maximum {
        let (breaks, words) = match excluded {
            true => (!less(number, most), "less than"),
            false => (less(most, number), "less than or equal to"),
        };
        if breaks {
            let detail = format!("{path} in body should be {words} {}", written(most, number));
            found.push(FieldError::invalid(path, value(), detail));
        }
    }
    if let Some((least, excluded)) = &checks.minimum {
        let (breaks, words) = match excluded {
            true => (!less(least, number), "greater than"),
            false => (less(number, least), "greater than or equal to"),
        };
        if breaks {
            let detail = format!("{path} in body should be {words} {}", written(least, number));
            found.push(FieldError::invalid(path, value(), detail));
        }
    }
}

fn less(one: &Number, other: &Number) -> bool {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one < other,
        _ => one.as_f64() < other.as_f64(),
    }
}

fn is_multiple(number: &Number, factor: &Number) -> bool {
    match (whole(number), whole(factor)) {
        (Some(number), Some(factor)) if factor != 0 => number % factor == 0,
        _ => {
            let quotient = number.as_f64().unwrap_or_default() / factor.as_f64().unwrap_or(1.0);
            quotient.fract() == 0.0
        }
    }
}

/// A bound as Go prints it beside a value: whole beside a whole number, and `%v` of a float beside a float.
fn written(bound: &Number, value: &Number) -> String {
    let float = bound.as_f64().unwrap_or_default();
    if let (false, Some(bound)) = (value.is_f64(), whole(bound)) {
        return bound.to_string();
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => float.to_string(),
    }
}

fn object(checks: &Checks, map: &Map<String, Value>, path: &Path<'_>, found: &mut Errors) {
    let count = map.len() as u64;
    if let Some(least) = checks.min_properties.filter(|least| count < *least) {
        let detail = format!("{path} in body should have at least {least} properties");
        found.push(FieldError::invalid(path, count, detail));
    }
    if let Some(most) = checks.max_properties.filter(|most| count > *most) {
        found.push(FieldError::too_many(path, map.len(), usize::try_from(most).unwrap_or(usize::MAX)));
    }
    for name in checks.required.iter().filter(|name| !map.contains_key(&***name)) {
        found.push(FieldError::required(&path.child(name), ""));
    }
}

fn enumeration(checks: &Checks, value: &Value, path: &Path<'_>, found: &mut Errors) {
    if !checks.allowed.is_empty() && !checks.allowed.iter().any(|allowed| same(allowed, value)) {
        let bare = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let supported: Vec<String> = checks.allowed.iter().map(bare).collect();
        found.push(FieldError::not_supported(path, value.clone(), &supported));
    }
}

/// Equality of JSON values, where `1` is `1.0`.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => !less(one, other) && !less(other, one),
        _ => one == other,
    }
}

fn junctors(checks: &Checks, value: &Value, path: &Path<'_>, found: &mut Errors) {
    if !checks.any_of.is_empty() {
        let failures: Vec<Vec<FieldError>> =
            checks.any_of.iter().map(|junct| errors_of(junct, value, path)).collect();
        if failures.iter().all(|errors| !errors.is_empty()) {
            found.push(composite(path, "must validate at least one schema (anyOf)"));
            closest(failures, found);
        }
    }
    if !checks.one_of.is_empty() {
        let failures: Vec<Vec<FieldError>> =
            checks.one_of.iter().map(|junct| errors_of(junct, value, path)).collect();
        match failures.iter().filter(|errors| errors.is_empty()).count() {
            1 => {}
            0 => {
                found
                    .push(composite(path, "must validate one and only one schema (oneOf). Found none valid"));
                closest(failures, found);
            }
            many => {
                let what =
                    format!("must validate one and only one schema (oneOf). Found {many} valid alternatives");
                found.push(composite(path, &what));
            }
        }
    }
    let mut broken = 0;
    for junct in &checks.all_of {
        let errors = errors_of(junct, value, path);
        broken += usize::from(!errors.is_empty());
        errors.into_iter().for_each(|error| found.push(error));
    }
    if broken > 0 {
        let none = if broken == checks.all_of.len() { ". None validated" } else { "" };
        found.push(composite(path, &format!("must validate all the schemas (allOf){none}")));
    }
    if checks.not.as_ref().is_some_and(|junct| errors_of(junct, value, path).is_empty()) {
        found.push(composite(path, "must not validate the schema (not)"));
    }
}

/// Upstream names the field of a junctor's error in its text, and none beside it.
fn composite(path: &Path<'_>, what: &str) -> FieldError {
    FieldError::invalid(&Path::ROOT, "", format!("\"{path}\" {what}"))
}

/// Tells the errors of the branch that the value comes closest to.
fn closest(failures: Vec<Vec<FieldError>>, found: &mut Errors) {
    if let Some(best) = failures.into_iter().min_by_key(Vec::len) {
        best.into_iter().for_each(|error| found.push(error));
    }
}

fn errors_of(junct: &Junct, value: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut found = Errors::default();
    walk_junct(junct, value, path, &mut found);
    found.list
}

fn walk_junct(junct: &Junct, value: &Value, path: &Path<'_>, found: &mut Errors) {
    if found.full() {
        return;
    }
    let types = junct.schema_type.as_slice();
    if !types.iter().all(|known| is(value, *known)) {
        found.push(wrong_type(types, value, path));
    }
    if value.is_null() {
        enumeration(&junct.checks, value, path, found);
        return;
    }
    checks(&junct.checks, types, value, path, found);
    match value {
        Value::Object(map) => {
            for (name, field) in &junct.properties {
                if let Some(inner) = map.get(&**name) {
                    walk_junct(field, inner, &path.child(name), found);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &junct.items {
                for (index, inner) in list.iter().enumerate() {
                    walk_junct(items, inner, &path.index(index), found);
                }
            }
        }
        _ => {}
    }
}

fn no_duplicates(list: &[Value], path: &Path<'_>, found: &mut Errors) {
    let mut seen = HashSet::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        // Objects are ordered maps, so that equal values read equal.
        if !seen.insert(value.to_string()) {
            found.push(FieldError::duplicate(&path.index(index), value.clone()));
        }
    }
}

fn no_duplicate_keys(
    list: &[Value],
    keys: &[Box<str>],
    schema: &Schema,
    path: &Path<'_>,
    found: &mut Errors,
) {
    let default = |key: &str| {
        let items = schema.items.as_ref()?;
        items.properties.get(key)?.default.clone()
    };
    let mut seen = HashSet::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let Some(map) = value.as_object() else { continue };
        let mut own = Map::new();
        for key in keys {
            if let Some(part) = map.get(&**key).cloned().or_else(|| default(key)) {
                own.insert(key.to_string(), part);
            }
        }
        let own = Value::Object(own);
        if !seen.insert(own.to_string()) {
            found.push(FieldError::duplicate(&path.index(index), own));
        }
    }
}
