//! The `fieldPath` of a rule: where below the value its errors point.

use crate::schema::{Schema, Shape};

/// The path `.a.b['c']` in the form that errors show, if `schema` has such a field.
pub fn field_path(path: &str, schema: &Schema) -> Option<String> {
    let mut shown = String::new();
    let mut schema = schema;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("['") {
            let (name, behind) = quoted(after)?;
            rest = behind.strip_prefix(']')?;
            push(&mut shown, &name, schema)?;
            schema = schema.property(&name)?;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let name = &after[..end];
            push(&mut shown, name, schema)?;
            schema = schema.property(name)?;
            rest = &after[end..];
        }
    }
    Some(shown)
}

fn push(shown: &mut String, name: &str, schema: &Schema) -> Option<()> {
    match &schema.shape {
        _ if name.is_empty() => return None,
        Shape::Map(_) => shown.extend(["[", name, "]"]),
        Shape::Object(_) if shown.is_empty() => shown.push_str(name),
        Shape::Object(_) => shown.extend([".", name]),
        _ => return None,
    }
    Some(())
}

/// The text up to the closing quote and what stands behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\'' => return Some((name, &text[at + 1..])),
            '\\' => name.push(match characters.next()?.1 {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                plain @ ('\'' | '\\') => plain,
                _ => return None,
            }),
            _ => name.push(c),
        }
    }
    None
}
