//! How the names of properties become names that expressions can write, and back.

/// Words that can not be field names as they are.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name that an expression uses for the property `name`; none where it can not be written.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let (piece, taken) = match c {
            '_' if rest.starts_with("__") => ("__underscores__", 2),
            '.' => ("__dot__", 1),
            '-' => ("__dash__", 1),
            '/' => ("__slash__", 1),
            '_' | 'a'..='z' | 'A'..='Z' | '0'..='9' => (&rest[..1], 1),
            _ => return None,
        };
        escaped.push_str(piece);
        rest = &rest[taken..];
    }
    Some(escaped)
}

/// The property that `escaped` stands for; none if it is no such name.
pub fn unescape(escaped: &str) -> Option<String> {
    if !escaped.contains("__") {
        return Some(escaped.to_owned());
    }
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find("__") {
        let inside = &rest[at + 2..];
        let length = inside.find('_').filter(|length| *length > 0 && inside[*length..].starts_with("__"));
        let Some(length) = length else {
            name.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            continue;
        };
        name.push_str(&rest[..at]);
        match &inside[..length] {
            "underscores" => name.push_str("__"),
            "dot" => name.push('.'),
            "dash" => name.push('-'),
            "slash" => name.push('/'),
            word if RESERVED.contains(&word) && word.len() + 4 == escaped.len() => name.push_str(word),
            _ => return None,
        }
        rest = &inside[length + 2..];
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_collide_or_can_not_be_written_are_escaped_and_come_back() {
        for (name, escaped) in [
            ("plain", "plain"),
            ("namespace", "__namespace__"),
            ("a.b", "a__dot__b"),
            ("x-y/z", "x__dash__y__slash__z"),
            ("a__b", "a__underscores__b"),
            ("_private", "_private"),
        ] {
            assert_eq!(escape(name).as_deref(), Some(escaped));
            assert_eq!(unescape(escaped).as_deref(), Some(name));
        }
    }

    #[test]
    fn names_that_no_expression_can_write_have_no_escape() {
        for name in ["", "1st", "a b", "é", "$ref"] {
            assert_eq!(escape(name), None, "{name}");
        }
    }
}
