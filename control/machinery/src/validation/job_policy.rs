//! When a Job has failed, when it has succeeded, and when pods that are gone get others in their place.

use serde_json::Value;

use super::{given, invalid, list, names, not_negative, number, text};
use crate::field::{FieldError, Path};

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;
const PATTERNS_MAX: usize = 20;
const INDEXES_MAX: usize = 64 * 1024;

/// One of these must be told.
fn choice(of: &Value, key: &str, choices: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (value, path) = (text(of, key), path.child(key));
    if value.is_empty() {
        let quoted: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
        errors.push(FieldError::required(&path, format!("valid values: [{}]", quoted.join(" "))));
    } else if !choices.contains(&value) {
        errors.push(FieldError::not_supported(&path, value, choices));
    }
}

/// `podFailurePolicy`
pub(super) fn failure(spec: &Value, policy: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let rules = list(policy, "rules");
    let path = path.child("rules");
    if rules.len() > RULES_MAX {
        errors.push(FieldError::too_many(&path, rules.len(), RULES_MAX));
    }
    let pod = spec.get("template").and_then(|template| template.get("spec")).unwrap_or(&Value::Null);
    let containers = || list(pod, "containers").iter().chain(list(pod, "initContainers"));
    for (at, rule) in rules.iter().enumerate() {
        let path = path.index(at);
        if text(rule, "action") == "FailIndex" {
            if number(spec, "backoffLimitPerIndex").is_none() {
                let why = "requires the backoffLimitPerIndex to be set";
                errors.push(FieldError::invalid(&path.child("action"), "FailIndex", why));
            }
        } else {
            choice(rule, "action", &ACTIONS, &path, errors);
        }
        let codes = given(rule, "onExitCodes");
        if let Some(codes) = codes {
            let is_known = |name: &str| containers().any(|container| text(container, "name") == name);
            exit_codes(codes, is_known, &path.child("onExitCodes"), errors);
        }
        let conditions = list(rule, "onPodConditions");
        let inner = path.child("onPodConditions");
        if conditions.len() > PATTERNS_MAX {
            errors.push(FieldError::too_many(&inner, conditions.len(), PATTERNS_MAX));
        }
        for (at, pattern) in conditions.iter().enumerate() {
            let path = inner.index(at);
            let kind = text(pattern, "type");
            invalid(&path.child("type"), kind, names::qualified(kind), errors);
            choice(pattern, "status", &STATUSES, &path, errors);
        }
        let why = match (codes.is_some(), conditions.is_empty()) {
            (true, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (false, true) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        errors.push(FieldError::invalid_untold(&path, why));
    }
}

fn exit_codes(of: &Value, is_known: impl Fn(&str) -> bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    choice(of, "operator", &OPERATORS, path, errors);
    if let Some(name) = of.get("containerName").and_then(Value::as_str).filter(|name| !is_known(name)) {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(&path.child("containerName"), name, why));
    }
    let values = list(of, "values");
    let path = path.child("values");
    if values.is_empty() {
        let told = of.get("values").cloned().unwrap_or_default();
        errors.push(FieldError::invalid(&path, told, "at least one value is required"));
    } else if values.len() > CODES_MAX {
        errors.push(FieldError::too_many(&path, values.len(), CODES_MAX));
    }
    let codes: Vec<i64> = values.iter().filter_map(Value::as_i64).collect();
    for (at, code) in codes.iter().enumerate() {
        let path = path.index(at);
        if *code == 0 && text(of, "operator") == "In" {
            errors.push(FieldError::invalid(&path, 0, "must not be 0 for the In operator"));
        }
        if codes[..at].contains(code) {
            errors.push(FieldError::duplicate(&path, *code));
        }
    }
    if !codes.is_sorted() {
        errors.push(FieldError::invalid(&path, values.to_vec(), "must be ordered"));
    }
}

/// `podReplacementPolicy`
pub(super) fn replacement(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let key = "podReplacementPolicy";
    let Some(policy) = spec.get(key).and_then(Value::as_str) else { return };
    let all = ["Failed", "TerminatingOrFailed"];
    let choices = if given(spec, "podFailurePolicy").is_some() { &all[..1] } else { &all };
    if !choices.contains(&policy) {
        errors.push(FieldError::not_supported(&path.child(key), policy, choices));
    }
}

/// `successPolicy`
pub(super) fn success(spec: &Value, policy: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let rules = list(policy, "rules");
    let path = path.child("rules");
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(&path, why));
    }
    if rules.len() > RULES_MAX {
        errors.push(FieldError::too_many(&path, rules.len(), RULES_MAX));
    }
    let completions = number(spec, "completions").unwrap_or_default();
    for (at, rule) in rules.iter().enumerate() {
        let path = path.index(at);
        let (count, indexes) = (number(rule, "succeededCount"), rule.get("succeededIndexes"));
        let indexes = indexes.and_then(Value::as_str);
        if count.is_none() && indexes.is_none() {
            let why = "at least one of succeededCount or succeededIndexes must be specified";
            errors.push(FieldError::required(&path, why));
        }
        let mut total = 0;
        if let Some(indexes) = indexes {
            let path = path.child("succeededIndexes");
            if indexes.len() > INDEXES_MAX {
                errors.push(FieldError::too_long(&path, INDEXES_MAX));
            }
            match count_indexes(indexes, completions) {
                Ok(count) => total = count,
                Err(why) => {
                    let why = format!("error parsing succeededIndexes: {why}");
                    errors.push(FieldError::invalid(&path, indexes, why));
                }
            }
        }
        let Some(count) = count else { continue };
        not_negative(rule, &["succeededCount"], &path, errors);
        let path = path.child("succeededCount");
        if count > completions {
            let why =
                format!("must be less than or equal to {completions} (the number of specified completions)");
            errors.push(FieldError::invalid(&path, count, why));
        }
        if indexes.is_some() && count > total {
            let why = format!(
                "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            );
            errors.push(FieldError::invalid(&path, count, why));
        }
    }
}

/// How many there are in a list such as `0,2-4`.
fn count_indexes(indexes: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    if indexes.is_empty() {
        return Ok(total);
    }
    let index = |text: &str| {
        let number: i64 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if number >= completions { Err(format!("too large index: {text:?}")) } else { Ok(number) }
    };
    let order = |before: i64, now: i64| format!("non-increasing order, previous: {before}, current: {now}");
    for interval in indexes.split(',') {
        let (first, rest) = match interval.split('-').collect::<Vec<_>>().as_slice() {
            [first] => (index(first)?, None),
            [first, rest] => (index(first)?, Some(index(rest)?)),
            _ => {
                return Err(format!(
                    "the fragment {interval:?} violates the requirement that an index interval can have at most two \
                     parts separated by '-'"
                ));
            }
        };
        if let Some(rest) = rest.filter(|rest| first >= *rest) {
            return Err(order(first, rest));
        }
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(order(last, first));
        }
        let end = rest.unwrap_or(first);
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::count_indexes;

    #[test]
    fn indexes_rise_and_are_counted() {
        assert_eq!(count_indexes("", 5), Ok(0));
        assert_eq!(count_indexes("0,2-4", 5), Ok(4));
        for (wrong, why) in [
            ("x", "cannot convert string to integer for index: \"x\""),
            ("5", "too large index: \"5\""),
            ("1,1", "non-increasing order, previous: 1, current: 1"),
            ("3-2", "non-increasing order, previous: 3, current: 2"),
        ] {
            assert_eq!(count_indexes(wrong, 5), Err(why.to_owned()));
        }
        assert!(count_indexes("1-2-3", 5).is_err());
    }
}
