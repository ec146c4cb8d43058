//! Values as Go prints them, which errors of upstream show.

use serde_json::Value;

/// As `%v` prints it: `map[spec:map[replicas:2]]`.
///
/// ```
/// use serde_json::json;
/// use xebec_machinery::go_text;
///
/// assert_eq!(go_text::plain(&json!({"spec": {"replicas": 2, "paused": null}})), "map[spec:map[paused:<nil> replicas:2]]");
/// ```
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" "))
        }
        Value::Object(fields) => {
            let entries = fields.iter().map(|(key, value)| format!("{key}:{}", plain(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
        scalar => scalar.to_string(),
    }
}

/// As `%#v` prints it: `map[string]interface {}{"replicas":2}`.
pub fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => {
            format!("{}{{{}}}", type_name(value), items.iter().map(syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let entries = fields.iter().map(|(key, value)| format!("{key:?}:{}", syntax(value)));
            format!("{}{{{}}}", type_name(value), entries.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => format!("{text:?}"),
        scalar => scalar.to_string(),
    }
}

/// The type that Go's reader of JSON gives a value.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// What Go's decoder of JSON calls a value that it did not expect.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null | Value::Object(_) => "object",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
    }
}

/// An owner as Go's JSON has it: its fields in the order in which the struct declares them.
pub(crate) fn owners(list: &[Value]) -> String {
    const FIELDS: [&str; 6] = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let owner = |owner: &Value| {
        let field = |name: &&str| owner.get(*name).map(|value| format!("{name:?}:{value}"));
        format!("{{{}}}", FIELDS.iter().filter_map(field).collect::<Vec<_>>().join(","))
    };
    format!("[{}]", list.iter().map(owner).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_read_as_go_writes_them() {
        let value = json!({"b": [1, "x", 1.5, true], "a": {"c": null}});
        assert_eq!(plain(&value), "map[a:map[c:<nil>] b:[1 x 1.5 true]]");
        assert_eq!(
            syntax(&value),
            r#"map[string]interface {}{"a":map[string]interface {}{"c":interface {}(nil)}, "b":[]interface {}{1, "x", 1.5, true}}"#
        );
    }
}
