//! Reading YAML, whose reader takes much of the stack for each level that a document nests.

use std::{io, thread};

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options};
use xebec_machinery::decoding;

use super::repetition;

/// The deepest nesting, which is that of JSON too.
const DEPTH_MAX: usize = 128;
/// How much aliases stand for in one document, so that few bytes do not become very much work.
const REPLAYED_MAX: usize = 10_000;
/// How many keys merge maps into others.
const MERGES_MAX: usize = 200;
/// What is known to nest no deeper than this is read on the stack of whoever asks.
const SHALLOW: usize = 24;
/// The stack for what may nest deeper: a level takes up to 40 KiB of it where nothing is optimized.
const STACK: usize = 16 << 20;

pub(super) fn options() -> Options {
    let budget = serde_saphyr::budget! { max_depth: DEPTH_MAX, max_merge_keys: MERGES_MAX };
    let alias_limits = serde_saphyr::alias_limits! { max_total_replayed_events: REPLAYED_MAX };
    let duplicate_keys = DuplicateKeyPolicy::LastWins;
    serde_saphyr::options! { duplicate_keys: duplicate_keys, budget: budget, alias_limits: alias_limits }
}

/// Reads a document, and tells the fields that stand twice in one map, by their lines where those are to be found out.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    // Most of what clients call YAML is JSON, of which the reader is faster and needs little stack.
    if bytes.trim_ascii_start().starts_with(b"{")
        && std::str::from_utf8(bytes).is_ok()
        && let Ok((object, doubled)) = decoding::parse(bytes)
        && doubled.is_empty()
    {
        return Ok((object, doubled));
    }
    if depth_at_most(bytes) <= SHALLOW {
        return read_here(bytes);
    }
    let read = thread::scope(|scope| {
        let reading = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || read_here(bytes))?;
        reading.join().map_err(|_| io::Error::other("its reader broke down"))
    });
    read.unwrap_or_else(|why| Err(format!("the document nests deep and cannot be read now: {why}")))
}

fn read_here(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    let read = serde_saphyr::with_deserializer_from_slice_with_options(bytes, options(), |reader| {
        decoding::value(reader)
    });
    let (object, mut doubled) = read.map_err(|error| error.to_string())?;
    if !doubled.is_empty()
        && let Some(lines) = repetition::lines(bytes)
    {
        doubled = lines;
    }
    Ok((object, doubled))
}

/// A number of levels that a document does not exceed. Each level is begun by a bracket or stands further to the right
/// than the one before, but for a list, which may stand below the key that it belongs to. Of what an alias or a rare end of
/// a line means nothing is said.
fn depth_at_most(bytes: &[u8]) -> usize {
    let (mut brackets, mut furthest, mut column, mut is_indented) = (0_usize, 0_usize, 0, true);
    for byte in bytes {
        match byte {
            b'\n' | b'\r' => (column, is_indented) = (0, true),
            b' ' | b'\t' | b'-' | b'?' | b':' if is_indented => column += 1,
            b'*' | 0xc2 | 0xe2 => return usize::MAX,
            b'[' | b'{' => {
                brackets += 1;
                is_indented = false;
            }
            _ => is_indented = false,
        }
        furthest = furthest.max(column);
    }
    brackets + 2 * furthest + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
            Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    #[test]
    fn a_document_may_nest_as_deep_as_json_may() {
        let nested = |levels: usize| format!("{}1{}", "{a: ".repeat(levels), "}".repeat(levels));
        let lines: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(read(nested(100).as_bytes()).is_ok());
        assert!(read(lines.as_bytes()).is_ok());
        for deep in [nested(200), "- ".repeat(200), "[".repeat(100_000)] {
            let why = read(deep.as_bytes()).unwrap_err();
            assert!(why.contains("depth") || why.contains("recursion"), "{why}");
        }
    }

    #[test]
    fn json_is_read_as_such_and_so_are_its_numbers() {
        let text = r#"{"a": 4.869712524962776e+17, "b": "]]", "c": 18446744073709551615}"#;
        let (object, _) = read(text.as_bytes()).unwrap();
        assert_eq!(object.to_string(), r#"{"a":4.869712524962776e+17,"b":"]]","c":18446744073709551615}"#);
    }

    #[test]
    fn what_is_called_shallow_is() {
        let documents: [(&[u8], Value); 4] = [
            (b"a:\n- b:\n  - c", json!({"a": [{"b": ["c"]}]})),
            (b"- - - a", json!([[["a"]]])),
            (b"{a: [{b: 1}]}", json!({"a": [{"b": 1}]})),
            (b"a:\n-\n b:\n -\n  c:\n  -", json!({"a": [{"b": [{"c": [null]}]}]})),
        ];
        for (document, expected) in documents {
            assert_eq!(read(document).unwrap().0, expected);
            assert!(depth_at_most(document) >= depth(&expected), "{expected}");
        }
        assert!(depth_at_most(b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n") <= SHALLOW);
    }
}
