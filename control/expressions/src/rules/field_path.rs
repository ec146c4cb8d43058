//! The `fieldPath` of a rule: where below the value its errors point.

use serde_json::Value as Json;

use crate::literal::plain_escape;

/// The path `.a.b['c']` in the form that errors show, if `schema` names such a field.
pub fn field_path(path: &str, schema: &Json) -> Option<String> {
    let mut shown = String::new();
    let mut schema = schema;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("['") {
            let (name, behind) = quoted(after)?;
            rest = behind.strip_prefix(']')?;
            schema = step(&mut shown, &name, schema)?;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            let name = after.get(..end).filter(|name| !name.is_empty())?;
            rest = after.get(end..)?;
            schema = step(&mut shown, name, schema)?;
        }
    }
    Some(shown)
}

/// Goes on to the field or entry `name`, and shows it.
fn step<'s>(shown: &mut String, name: &str, schema: &'s Json) -> Option<&'s Json> {
    if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
        shown.extend([if shown.is_empty() { "" } else { "." }, name]);
        return properties.get(name);
    }
    shown.extend(["[", name, "]"]);
    schema.get("additionalProperties").filter(|values| values.is_object())
}

/// The text up to the closing quote and what stands behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\'' => return Some((name, &text[at + 1..])),
            '\\' => name.push(plain_escape(characters.next()?.1)?),
            _ => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_one_that_the_schema_names() {
        let schema = json!({"properties": {
            "a": {"properties": {"b.c": {}}},
            "m": {"additionalProperties": {"properties": {"x": {}}}},
        }});
        for (path, shown) in [
            (".a", Some("a")),
            (".a['b.c']", Some("a.b.c")),
            (".m.k.x", Some("m[k].x")),
            (".m['it\\'s'].x", Some("m[it's].x")),
            (".b", None),
            ("a", None),
            (".a.", None),
            (".a['b.c'", None),
            (".a[0]", None),
            (".m['\\q']", None),
        ] {
            assert_eq!(field_path(path, &schema).as_deref(), shown, "{path}");
        }
    }
}
