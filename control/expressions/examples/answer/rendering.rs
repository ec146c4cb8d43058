//! Writes values as `conformance/cel` does, so that their types show and the order of a map does not.

use base64::Engine as _;
use xebec_expressions::{Library, Value};

/// The text of `value`.
pub(crate) fn render(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => format!("{value}u"),
        Value::Double(value) if value.is_nan() => "NaN".to_owned(),
        Value::Double(value) if value.is_infinite() => if *value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        Value::Double(value) => {
            let text = value.to_string();
            if text.contains('.') { text } else { format!("{text}.0") }
        }
        Value::String(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Bytes(bytes) => format!("bytes({})", base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::Timestamp(time) => match jiff::Timestamp::new(time.seconds, time.nanoseconds as i32) {
            Ok(moment) => format!("timestamp({moment})"),
            // The outermost day is beyond what that can hold.
            Err(_) => format!("timestamp({}s)", time.seconds),
        },
        Value::Duration(nanoseconds) => format!("duration({nanoseconds}ns)"),
        Value::List(list) => {
            let items: Vec<String> = list
                .iter()
                .map(|item| item.map_or_else(|err| err.to_string(), |item| render(&item)))
                .collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut entries: Vec<String> = map
                .entries()
                .unwrap_or_default()
                .iter()
                .map(|(k, v)| format!("{}: {}", render(k), render(v)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Type(t) => format!("type({})", t.name()),
        Value::Optional(None) => "optional.none".to_owned(),
        Value::Optional(Some(value)) => format!("optional({})", render(value)),
        Value::Library(library) => match library {
            Library::Url(url) => format!("url({})", serde_json::Value::from(url.to_string())),
            Library::Ip(ip) => format!("ip({ip})"),
            Library::Cidr(cidr) => format!("cidr({cidr})"),
            Library::Quantity(quantity) => format!("quantity({quantity})"),
            Library::Semver(semver) => format!("semver({semver})"),
            Library::Format(format) => format!("format({})", format.name()),
            Library::Authorizing(_) | Library::Decided(_) => value.type_name().to_owned(),
        },
        Value::Fields(fields) => fields.type_name().to_owned(),
    }
}
