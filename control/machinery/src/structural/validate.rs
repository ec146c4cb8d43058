//! Holding a value against a compiled schema, in the words of Kubernetes.

use serde_json::{Map, Number, Value};

use super::correlation::Pair;
use super::{Additional, Checks, Junct, Schema, Type, formats};
use crate::field::{FieldError, Path};

/// Reporting ends after this many errors.
const MAX_ERRORS: usize = 100;

/// Everything that `schema` finds wrong with `value`; sets, keyed lists and embedded objects are judged elsewhere.
pub(super) fn validate(schema: &Schema, value: &Value) -> Vec<FieldError> {
    validate_change(schema, value, None)
}

/// The same, but for what did not change beside `pair`.
pub(super) fn validate_change(schema: &Schema, value: &Value, pair: Option<Pair<'_>>) -> Vec<FieldError> {
    let mut found = Errors::default();
    walk(schema, value, pair, &Path::ROOT, &mut found);
    found.list
}

#[derive(Default)]
struct Errors {
    list: Vec<FieldError>,
    /// How much of a branch was looked at, as upstream counts it to tell which branch a value comes closest to.
    matched: usize,
}

impl Errors {
    fn push(&mut self, error: FieldError) {
        if !self.full() && !self.list.contains(&error) {
            self.list.push(error);
        }
    }

    fn extend(&mut self, other: Self) {
        self.matched += other.matched;
        other.list.into_iter().for_each(|error| self.push(error));
    }

    fn full(&self) -> bool {
        self.list.len() >= MAX_ERRORS
    }
}

/// What is wrong with a value that is what it was is let pass; what is around it may still be wrong.
fn walk(schema: &Schema, value: &Value, pair: Option<Pair<'_>>, path: &Path<'_>, found: &mut Errors) {
    let before = found.list.len();
    judge(schema, value, pair, path, found);
    if found.list.len() > before && pair.is_some_and(Pair::same) {
        found.list.truncate(before);
    }
}

fn judge(schema: &Schema, value: &Value, pair: Option<Pair<'_>>, path: &Path<'_>, found: &mut Errors) {
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
            for (name, inner) in map {
                let at = path.child(name);
                // Both versions of an object were given the same type, so it tells nothing.
                let own_type = path.is_root() && matches!(name.as_str(), "apiVersion" | "kind");
                let below = pair.filter(|_| !own_type).and_then(|pair| pair.entry(name));
                match (schema.properties.get(name.as_str()), &schema.additional) {
                    (Some(field), _) => walk(field, inner, below, &at, found),
                    (None, Additional::Schema(values)) => walk(values, inner, below, &at, found),
                    (None, _) => {}
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                let pairs = pair.map(Pair::elements);
                for (index, inner) in list.iter().enumerate() {
                    let below = pairs.as_ref().and_then(|pairs| pairs.get(index));
                    walk(items, inner, below, &path.index(index), found);
                }
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
    found.matched += 4 + usize::from(!types.is_empty());
    junctors(checks, value, path, found);
    match value {
        Value::String(text) => string(checks, text, path, found),
        Value::Number(bare) => number(checks, types, bare, path, found),
        Value::Array(list) => {
            let count = list.len() as u64;
            found.matched += 2;
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
    found.matched += 1;
    if let Some(error) = unfit(checks, text, path) {
        found.push(error);
    }
    if let Some(format) =
        checks.format.as_deref().filter(|format| formats::holds(format, text) == Some(false))
    {
        let quoted = Value::from(text);
        let detail = format!("{path} in body must be of type {format}: {quoted}");
        found.push(FieldError::type_invalid(path, quoted, detail));
    }
}

/// The first thing that is wrong with a text besides its format.
fn unfit(checks: &Checks, text: &str, path: &Path<'_>) -> Option<FieldError> {
    let count =
        if checks.min_length.or(checks.max_length).is_some() { text.chars().count() as u64 } else { 0 };
    if let Some(most) = checks.max_length.filter(|most| count > *most) {
        return Some(FieldError::too_long(path, usize::try_from(most).unwrap_or(usize::MAX)));
    }
    if let Some(least) = checks.min_length.filter(|least| count < *least) {
        let detail = format!("{path} in body should be at least {least} chars long");
        return Some(FieldError::invalid(path, text, detail));
    }
    let pattern = checks.pattern.as_ref().filter(|pattern| !pattern.is_match(text))?;
    let detail = format!("{path} in body should match '{}'", pattern.source());
    Some(FieldError::invalid(path, text, detail))
}

fn number(checks: &Checks, types: &[Type], number: &Number, path: &Path<'_>, found: &mut Errors) {
    let value = || Value::Number(number.clone());
    found.matched += 2;
    let format = checks.format.as_deref();
    let range = match format {
        Some("int32") => i128::from(i32::MIN)..=i128::from(i32::MAX),
        _ => i128::from(i64::MIN)..=i128::from(i64::MAX),
    };
    if types.first() == Some(&Type::Integer) && !whole(number).is_some_and(|number| range.contains(&number)) {
        let which = format.map_or("(default format)".to_owned(), |format| format!("with format {format}"));
        let detail = format!("Checked value must be of type integer {which} in {path}");
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
    found.matched += 1;
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
    let branches = |juncts: &[Junct]| -> (Vec<Errors>, Vec<Errors>) {
        juncts.iter().map(|junct| errors_of(junct, value, path)).partition(|errors| errors.list.is_empty())
    };
    if !checks.any_of.is_empty() {
        let (fitting, failures) = branches(&checks.any_of);
        match fitting.into_iter().next() {
            Some(first) => found.matched += first.matched,
            None => {
                found.push(composite(path, "must validate at least one schema (anyOf)"));
                closest(failures, found);
            }
        }
    }
    if !checks.one_of.is_empty() {
        let (fitting, failures) = branches(&checks.one_of);
        match fitting.as_slice() {
            [only] => found.matched += only.matched,
            [] => {
                found
                    .push(composite(path, "must validate one and only one schema (oneOf). Found none valid"));
                closest(failures, found);
            }
            many => {
                let what = format!(
                    "must validate one and only one schema (oneOf). Found {} valid alternatives",
                    many.len()
                );
                found.push(composite(path, &what));
            }
        }
    }
    let mut broken = 0;
    for junct in &checks.all_of {
        let errors = errors_of(junct, value, path);
        broken += usize::from(!errors.list.is_empty());
        found.extend(errors);
    }
    if broken > 0 {
        let none = if broken == checks.all_of.len() { ". None validated" } else { "" };
        found.push(composite(path, &format!("must validate all the schemas (allOf){none}")));
    }
    if checks.not.as_ref().is_some_and(|junct| errors_of(junct, value, path).list.is_empty()) {
        found.push(composite(path, "must not validate the schema (not)"));
    }
}

/// Upstream names the field of a junctor's error in its text, and none beside it.
fn composite(path: &Path<'_>, what: &str) -> FieldError {
    FieldError::invalid(&Path::ROOT, "", format!("\"{path}\" {what}"))
}

/// Tells the errors of the branch that the value comes closest to.
fn closest(failures: Vec<Errors>, found: &mut Errors) {
    let best =
        failures.into_iter().reduce(|best, next| if next.matched > best.matched { next } else { best });
    if let Some(best) = best {
        found.extend(best);
    }
}

fn errors_of(junct: &Junct, value: &Value, path: &Path<'_>) -> Errors {
    let mut found = Errors::default();
    walk_junct(junct, value, path, &mut found);
    found
}

fn walk_junct(junct: &Junct, value: &Value, path: &Path<'_>, found: &mut Errors) {
    if found.full() {
        return;
    }
    let types = junct.schema_type.as_slice();
    if !types.iter().all(|known| is(value, *known)) {
        found.push(wrong_type(types, value, path));
    } else if !types.is_empty() {
        found.matched += 1;
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
