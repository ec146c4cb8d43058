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
    let mut text = String::new();
    write_plain(value, &mut text);
    text
}

fn write_plain(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { " " } else { "" });
                write_plain(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push_str("map[");
            for (at, (key, value)) in fields.iter().enumerate() {
                out.push_str(if at > 0 { " " } else { "" });
                out.push_str(key);
                out.push(':');
                write_plain(value, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// As `%#v` prints it: `map[string]interface {}{"replicas":2}`.
pub fn syntax(value: &Value) -> String {
    let mut text = String::new();
    write_syntax(value, &mut text);
    text
}

fn write_syntax(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("interface {}(nil)"),
        Value::Array(items) => {
            out.push_str(type_name(value));
            out.push('{');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_syntax(item, out);
            }
            out.push('}');
        }
        Value::Object(fields) => {
            out.push_str(type_name(value));
            out.push('{');
            for (at, (key, value)) in fields.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                out.push_str(&format!("{key:?}:"));
                write_syntax(value, out);
            }
            out.push('}');
        }
        Value::String(text) => out.push_str(&format!("{text:?}")),
        scalar => out.push_str(&scalar.to_string()),
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
