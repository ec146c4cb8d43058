//! Functions of text; places are counted in code points.

use regex::Regex;

use crate::effort;
use crate::value::{Evaluated, EvaluationError, Value, fail};

fn out_of_range(index: i64) -> EvaluationError {
    EvaluationError::new(format!("index out of range: {index}"))
}

/// The byte where code point `index` begins; the end counts.
fn byte_at(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    if text.is_ascii() {
        return (index <= text.len()).then_some(index);
    }
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(index)
}

pub(crate) fn char_at<'a>(text: &str, index: i64) -> Evaluated<Value<'a>> {
    let at = byte_at(text, index).ok_or_else(|| out_of_range(index))?;
    Ok(text[at..].chars().next().map(String::from).unwrap_or_default().into())
}

pub(crate) fn substring<'a>(text: &str, start: i64, end: Option<i64>) -> Evaluated<Value<'a>> {
    if let Some(end) = end.filter(|end| start > *end) {
        fail!("invalid substring range. start: {start}, end: {end}");
    }
    let from = byte_at(text, start).ok_or_else(|| out_of_range(start))?;
    let to = match end {
        Some(end) => byte_at(text, end).ok_or_else(|| out_of_range(end))?,
        None => text.len(),
    };
    Ok(Value::owned_text(&text[from..to]))
}

pub(crate) fn index_of<'a>(text: &str, sought: &str, offset: i64) -> Evaluated<Value<'a>> {
    if sought.is_empty() {
        return Ok(Value::Int(offset));
    }
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    let Some(from) = byte_at(text, offset) else { return Ok(Value::Int(-1)) };
    Ok(Value::Int(text[from..].find(sought).map_or(-1, |at| text[..from + at].chars().count() as i64)))
}

pub(crate) fn last_index_of<'a>(text: &str, sought: &str, offset: Option<i64>) -> Evaluated<Value<'a>> {
    let length = text.chars().count() as i64;
    if sought.is_empty() {
        return Ok(Value::Int(offset.unwrap_or(length)));
    }
    if offset.is_none() && text.len() < sought.len() {
        return Ok(Value::Int(-1));
    }
    let offset = offset.unwrap_or(length - 1);
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    if offset >= length {
        return Ok(Value::Int(-1));
    }
    let Some(from) = byte_at(text, offset) else { return Ok(Value::Int(-1)) };
    let mut end = (from + sought.len()).min(text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    // A match may begin at the offset at the latest.
    let found = text[..end].rmatch_indices(sought).map(|(at, _)| at).find(|at| *at <= from);
    Ok(Value::Int(found.map_or(-1, |at| text[..at].chars().count() as i64)))
}

pub(crate) fn replace<'a>(text: &str, old: &str, new: &str, limit: i64) -> Evaluated<Value<'a>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let count = text.matches(old).take(limit).count();
    effort::make_text(text.len().saturating_add(count.saturating_mul(new.len())))?;
    Ok(text.replacen(old, new, limit).into())
}

/// The pieces between the separators, at most `limit` of them if that is not negative.
pub(crate) fn split<'a>(text: &str, separator: &str, limit: i64) -> Value<'a> {
    if limit == 0 {
        return Value::list(Vec::new());
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let pieces: Vec<Value<'a>> = if separator.is_empty() {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if pieces.len() + 1 >= limit {
                break;
            }
            let (piece, after) = rest.split_at(c.len_utf8());
            pieces.push(Value::owned_text(piece));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Value::owned_text(rest));
        }
        pieces
    } else {
        text.splitn(limit, separator).map(Value::owned_text).collect()
    };
    Value::list(pieces)
}

/// Go's idea of white space.
pub(crate) fn trim<'a>(text: &str) -> Value<'a> {
    Value::owned_text(text.trim())
}

pub(crate) fn quote<'a>(text: &str) -> Value<'a> {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted.into()
}

pub(crate) fn join<'a>(list: &Value<'_>, separator: &str) -> Evaluated<Value<'a>> {
    let list = list.as_list()?;
    let mut joined = String::new();
    for (i, item) in list.iter().enumerate() {
        if i > 0 {
            effort::make_text(separator.len())?;
            joined.push_str(separator);
        }
        let item = item?;
        match item.as_str() {
            Some(text) => {
                effort::make_text(text.len())?;
                joined.push_str(text);
            }
            None => fail!("join: invalid input: {item}"),
        }
    }
    Ok(joined.into())
}

pub(crate) fn find<'a>(text: &str, pattern: &Regex) -> Value<'a> {
    Value::owned_text(pattern.find(text).map_or("", |found| found.as_str()))
}

pub(crate) fn find_all<'a>(text: &str, pattern: &Regex, limit: i64) -> Value<'a> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Value::list(pattern.find_iter(text).take(limit).map(|found| Value::owned_text(found.as_str())).collect())
}

pub(crate) fn escape_key<'a>(key: &str) -> Value<'a> {
    key.replace('~', "~0").replace('/', "~1").into()
}
