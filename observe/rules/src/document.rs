//! YAML as a tree whose nodes know where they stand, so that what is wrong can be told with its line.

use std::rc::Rc;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

/// Deeper documents are refused.
const MOST_DEPTH: usize = 64;

/// A value, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// From 1.
    pub(crate) line: usize,
    /// From 1.
    pub(crate) column: usize,
    pub(crate) value: Rc<Value>,
}

/// A value.
#[derive(Debug)]
pub(crate) enum Value {
    Scalar { text: String, tag: &'static str },
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// The tag as errors name it.
    pub(crate) fn tag(&self) -> &'static str {
        match &*self.value {
            Value::Scalar { tag, .. } => tag,
            Value::Sequence(_) => "!!seq",
            Value::Mapping(_) => "!!map",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.tag() == "!!null"
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &*self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What a value is that is of the wrong type, as errors say it.
    pub(crate) fn misfit(&self, wanted: &str) -> String {
        let shown = match self.text() {
            None => String::new(),
            Some(text) if text.len() > 10 => format!(" `{}...`", &text[..text.floor_char_boundary(7)]),
            Some(text) => format!(" `{text}`"),
        };
        format!("line {}: cannot unmarshal {}{shown} into {wanted}", self.line, self.tag())
    }
}

/// The first document of a text; none if it is empty.
pub(crate) fn parse(source: &str) -> Result<Option<Node>, String> {
    let mut open: Vec<(Node, Vec<Node>, usize)> = Vec::new();
    let mut anchors: Vec<(usize, Rc<Value>)> = Vec::new();
    for next in Parser::new_from_str(source) {
        let (event, span) = next.map_err(|error| {
            format!("yaml: line {}: {}", error.marker().line(), one_line(&error.to_string()))
        })?;
        let (mut line, mut column) = (span.start.line(), span.start.col() + 1);
        if let Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) = event
            && let Some((own_line, own_column)) = block_place(source, line, span.start.byte_offset())
        {
            (line, column) = (own_line, own_column);
        }
        let at = |value: Rc<Value>, column: usize| Node { line, column, value };
        let done = match event {
            Event::Scalar(text, style, anchor, tag) => {
                // A name that it is given stands before it.
                let own = source.get(..span.start.byte_offset().unwrap_or(0)).unwrap_or_default();
                let before = own.rsplit('\n').next().unwrap_or_default();
                if anchor > 0
                    && let Some(name) = before.rfind('&')
                {
                    column = before[..name].chars().count() + 1;
                }
                let is_empty = span.start.index() == span.end.index();
                let text = if style == ScalarStyle::Plain && is_empty { "" } else { &*text };
                let tag = match tag.as_ref().and_then(|tag| tag.core_suffix()) {
                    Some("str") => "!!str",
                    _ if style == ScalarStyle::Plain => resolved(text),
                    _ => "!!str",
                };
                let value = Rc::new(Value::Scalar { text: text.to_owned(), tag });
                if anchor > 0 {
                    anchors.push((anchor, Rc::clone(&value)));
                }
                at(value, column)
            }
            Event::Alias(anchor) => {
                let known = anchors.iter().rev().find(|(own, _)| *own == anchor);
                let (_, value) = known
                    .ok_or_else(|| format!("yaml: line {line}: an alias stands within its own anchor"))?;
                at(Rc::clone(value), column)
            }
            Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _) => {
                if open.len() >= MOST_DEPTH {
                    return Err(format!(
                        "yaml: line {line}: nests deeper than {MOST_DEPTH} levels: flatten it"
                    ));
                }
                let empty = match event {
                    Event::SequenceStart(..) => Value::Sequence(Vec::new()),
                    _ => Value::Mapping(Vec::new()),
                };
                open.push((at(Rc::new(empty), column), Vec::new(), anchor));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((mut node, members, anchor)) = open.pop() else { continue };
                node.value = Rc::new(match *node.value {
                    Value::Sequence(_) => Value::Sequence(members),
                    _ => {
                        let mut members = members.into_iter();
                        let mut pairs = Vec::new();
                        while let (Some(key), Some(value)) = (members.next(), members.next()) {
                            pairs.push((key, value));
                        }
                        Value::Mapping(pairs)
                    }
                });
                if anchor > 0 {
                    anchors.push((anchor, Rc::clone(&node.value)));
                }
                node
            }
            Event::DocumentEnd => return Ok(None),
            _ => continue,
        };
        match open.last_mut() {
            Some((_, members, _)) => members.push(done),
            None => return Ok(Some(done)),
        }
    }
    Ok(None)
}

/// Where the sign of a block of text stands, whose content begins at an offset.
fn block_place(text: &str, line: usize, offset: Option<usize>) -> Option<(usize, usize)> {
    let before = text.get(..offset?)?;
    let (before, _) = before.rsplit_once('\n')?;
    let (up, header) = before.rsplit('\n').enumerate().find(|(_, header)| !header.trim().is_empty())?;
    let signs = header.match_indices(['|', '>']).rev();
    let (at, _) = signs.into_iter().find(|(at, _)| {
        let rest = header[at + 1..]
            .trim_start_matches(|letter: char| letter.is_ascii_digit() || "+-".contains(letter));
        let rest = rest.trim_start();
        rest.is_empty() || rest.starts_with('#')
    })?;
    Some((line.checked_sub(up + 1)?, header[..at].chars().count() + 1))
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The tag of a plain scalar, as upstream's reader of YAML resolves it.
fn resolved(text: &str) -> &'static str {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return "!!null",
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return "!!bool",
        "<<" => return "!!merge",
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return "!!float",
        _ => {}
    }
    if integer(text).is_some() {
        return "!!int";
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let begins = unsigned.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.');
    let has_digit = unsigned.bytes().any(|byte| byte.is_ascii_digit());
    if begins && has_digit && text.replace('_', "").parse::<f64>().is_ok() {
        return "!!float";
    }
    if is_date(text) { "!!timestamp" } else { "!!str" }
}

/// A plain scalar as an integer: decimal, `0x`, `0o`, `0b`, and octal as YAML 1.1 has it.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if !digits.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'o' | b'O', ..] => (&digits[2..], 8),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

/// Whether a text begins with a date, `2001-01-02`.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let dashes = bytes.iter().take(10).filter(|byte| **byte == b'-').count();
    let plain = bytes.iter().all(|byte| byte.is_ascii_digit() || b"-:.TtZz+ ".contains(byte));
    dashes == 2
        && plain
        && bytes.len() >= 8
        && bytes.iter().take(4).all(u8::is_ascii_digit)
        && bytes[4] == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_where_they_stand() {
        let root = parse("a: 1\nb:\n  - &x |\n    text\n  - *x\n").unwrap().unwrap();
        let Value::Mapping(pairs) = &*root.value else { panic!() };
        let Value::Sequence(members) = &*pairs[1].1.value else { panic!() };
        assert_eq!((members[1].line, members[1].column, members[1].text()), (5, 5, Some("text\n")));
        assert_eq!(pairs[0].1.tag(), "!!int");
    }

    #[test]
    fn plain_scalars_are_resolved() {
        for (text, tag) in [
            ("5m", "!!str"),
            ("0x1f", "!!int"),
            ("-12", "!!int"),
            ("1.5", "!!float"),
            (".5", "!!float"),
            ("1e3", "!!float"),
            ("2001-01-02", "!!timestamp"),
            ("~", "!!null"),
            ("True", "!!bool"),
            ("up == 0", "!!str"),
        ] {
            assert_eq!(resolved(text), tag, "{text}");
        }
    }

    #[test]
    fn broken_and_deep_documents_are_refused() {
        assert!(parse("a: [").is_err());
        assert!(parse("a: *b").is_err());
        assert!(parse(&"[".repeat(100)).is_err());
        assert!(parse("").unwrap().is_none());
        assert!(parse("# nothing\n").unwrap().is_none());
    }
}
