//! Pieces of cells that several kinds share.

use serde_json::Value;

/// What stands where there is nothing.
pub(super) const NONE: &str = "<none>";
/// What stands where nothing was set.
pub(super) const UNSET: &str = "<unset>";

/// The elements of a list; none where it is no list.
pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// The text, or nothing.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The text, or `otherwise` where there is none.
pub(super) fn text_or<'a>(value: &'a Value, otherwise: &'a str) -> &'a str {
    match text(value) {
        "" => otherwise,
        text => text,
    }
}

/// The whole number, or 0.
pub(super) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// How many entries a list or map has.
pub(super) fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    }
}

/// A quantity or an int-or-string, which may be written as a number; `otherwise` where there is none.
pub(super) fn quantity(value: &Value, otherwise: &str) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => otherwise.to_owned(),
    }
}

/// The element whose `type` is this.
pub(super) fn condition<'a>(conditions: &'a Value, kind: &str) -> Option<&'a Value> {
    items(conditions).iter().find(|condition| condition["type"] == kind)
}

/// Whether the condition of this type is true.
pub(super) fn holds(conditions: &Value, kind: &str) -> bool {
    condition(conditions, kind).is_some_and(|condition| condition["status"] == "True")
}

/// `a,b,c + 2 more...` where there are more than `most`.
pub(super) fn shortened<S: AsRef<str>>(all: &[S], most: usize, separator: &str) -> String {
    let shown: Vec<&str> = all.iter().take(most).map(AsRef::as_ref).collect();
    let shown = shown.join(separator);
    if all.len() > most { format!("{shown} + {} more...", all.len() - most) } else { shown }
}

/// The texts of a list, joined by commas.
pub(super) fn joined(list: &Value) -> String {
    let texts: Vec<&str> = items(list).iter().map(text).collect();
    texts.join(",")
}

/// `a=b,c=d`, or `<none>`.
pub(super) fn labels(labels: &Value) -> String {
    let mut pairs: Vec<String> = match labels.as_object() {
        Some(labels) => labels.iter().map(|(key, value)| format!("{key}={}", text(value))).collect(),
        None => Vec::new(),
    };
    pairs.sort_unstable();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

/// A label selector as one line, or `<none>` for one that is empty or not there.
pub(super) fn selector(selector: &Value) -> String {
    let mut parts: Vec<(&str, String)> = Vec::new();
    if let Some(labels) = selector["matchLabels"].as_object() {
        parts.extend(labels.iter().map(|(key, value)| (key.as_str(), format!("{key}={}", text(value)))));
    }
    for requirement in items(&selector["matchExpressions"]) {
        let key = text(&requirement["key"]);
        let mut values: Vec<&str> = items(&requirement["values"]).iter().map(text).collect();
        values.sort_unstable();
        let values = values.join(",");
        let part = match text(&requirement["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".to_owned(),
        };
        parts.push((key, part));
    }
    parts.sort_by_key(|(key, _)| *key);
    let parts: Vec<String> = parts.into_iter().map(|(_, part)| part).collect();
    if parts.is_empty() { NONE.to_owned() } else { parts.join(",") }
}

/// The names and the images of containers.
pub(super) fn containers(containers: &Value) -> (String, String) {
    let joined = |field: &str| {
        let texts: Vec<&str> = items(containers).iter().map(|container| text(&container[field])).collect();
        texts.join(",")
    };
    (joined("name"), joined("image"))
}
