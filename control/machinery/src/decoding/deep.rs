//! JSON that nests deeper than serde's reader goes, read with its levels on the heap.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

use super::{FINDINGS_MAX, syntax};
use crate::findings::Findings;

/// Reads one JSON value of so many levels, and tells the fields that stand twice, as [`super::parse`] does.
///
/// # Errors
///
/// What Go's reader says of bytes that are no JSON, or nested too deep.
pub(super) fn read(text: &str, depth: usize) -> Result<(Value, Vec<String>), String> {
    if let Some(fault) = syntax::fault(text.as_bytes(), depth) {
        return Err(fault);
    }
    let mut reader = Reader { text, at: 0, open: Vec::new(), doubled: Findings::new(FINDINGS_MAX) };
    let value = reader.document()?;
    Ok((value, reader.doubled.into_vec()))
}

/// What a value stands in, as far as it was read.
enum Open {
    List(Vec<Value>),
    /// With the name of the field that is read.
    Object(Map<String, Value>, String),
}

/// A walk through a text that is known to be JSON.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open>,
    doubled: Findings,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Value, String> {
        loop {
            let mut value = match self.next() {
                Some(b'{') => match self.object()? {
                    Some(empty) => empty,
                    None => continue,
                },
                Some(b'[') => match self.list() {
                    Some(empty) => empty,
                    None => continue,
                },
                _ => self.scalar()?,
            };
            // Up through all that ends with it.
            loop {
                match (self.open.pop(), self.next()) {
                    (None, _) => return Ok(value),
                    (Some(Open::List(mut list)), more) => {
                        self.at += 1;
                        list.push(value);
                        if more == Some(b',') {
                            self.open.push(Open::List(list));
                            break;
                        }
                        value = Value::Array(list);
                    }
                    (Some(Open::Object(mut map, name)), more) => {
                        self.at += 1;
                        map.insert(name, value);
                        if more == Some(b',') {
                            self.field(map)?;
                            break;
                        }
                        value = Value::Object(map);
                    }
                }
            }
        }
    }

    /// Goes into an object, or past one that is empty.
    fn object(&mut self) -> Result<Option<Value>, String> {
        self.at += 1;
        if self.next() == Some(b'}') {
            self.at += 1;
            return Ok(Some(Value::Object(Map::new())));
        }
        self.field(Map::new()).map(|()| None)
    }

    /// Goes into a list, or past one that is empty.
    fn list(&mut self) -> Option<Value> {
        self.at += 1;
        if self.next() == Some(b']') {
            self.at += 1;
            return Some(Value::Array(Vec::new()));
        }
        self.open.push(Open::List(Vec::new()));
        None
    }

    /// Reads the name of a field and its colon.
    fn field(&mut self, map: Map<String, Value>) -> Result<(), String> {
        let Value::String(name) = self.scalar()? else { return Err(broken()) };
        self.next();
        self.at += 1;
        let is_doubled = map.contains_key(&name);
        self.open.push(Open::Object(map, name));
        if is_doubled {
            self.doubled.tell(format_args!("duplicate field \"{}\"", Path(&self.open)));
        }
        Ok(())
    }

    /// A value that holds no other, which serde reads.
    fn scalar(&mut self) -> Result<Value, String> {
        let first = self.next().ok_or_else(broken)?;
        let rest = &self.text.as_bytes()[self.at..];
        let length = if first == b'"' {
            let mut escaped = false;
            let end = rest.iter().skip(1).position(|byte| {
                let ends = !escaped && *byte == b'"';
                escaped = !escaped && *byte == b'\\';
                ends
            });
            end.ok_or_else(broken)? + 2
        } else {
            let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
            rest.iter().position(ends).unwrap_or(rest.len())
        };
        let read = serde_json::from_str(&self.text[self.at..self.at + length]);
        self.at += length;
        read.map_err(|error| error.to_string())
    }

    /// The next byte that is no space, which is not passed.
    fn next(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))?;
        self.text.as_bytes().get(self.at).copied()
    }
}

fn broken() -> String {
    "unexpected end of JSON input".to_owned()
}

/// The path of the field that is read, as Go's decoder writes it.
struct Path<'a>(&'a [Open]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, open) in self.0.iter().enumerate() {
            match open {
                Open::List(list) => write!(f, "[{}]", list.len())?,
                Open::Object(_, name) => {
                    if at > 0 {
                        f.write_char('.')?;
                    }
                    f.write_str(name)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::{self as decoding, DEPTH_MAX};
    use super::syntax;
    use crate::sample::any_value;

    fn read(text: &str) -> Result<(Value, Vec<String>), String> {
        super::read(text, DEPTH_MAX)
    }

    #[test]
    fn what_serde_reads_is_read_the_same_here() {
        for text in [
            "null",
            " [ ] ",
            "{ }",
            "\"a\\\"]\\\\\"",
            r#"{"a": [1, -0.5e-3, {"b": [], "c": {}}, "x\\", true], "é": null, "": 18446744073709551615}"#,
            "[[[ 1 ] , 2 ],\n{\"a\":{\"b\":[false]}}]",
            r#"{"a": {"b": [{"c": 1, "c": 2}], "b": 3}, "a": 4}"#,
        ] {
            assert_eq!(read(text), decoding::read(text).map_err(|error| error.to_string()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_the_same_here(value in any_value()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                assert_eq!(read(&text).unwrap(), (value.clone(), Vec::new()));
            }
        }
    }

    #[test]
    fn what_is_no_json_has_go_s_words() {
        for text in ["", "{", "[1", "{\"a\" 1}", "[1,]", "{} {}", "tru", "\"a"] {
            assert_eq!(read(text).unwrap_err(), syntax::fault(text.as_bytes(), DEPTH_MAX).unwrap(), "{text}");
        }
    }
}
