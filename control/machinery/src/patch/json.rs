//! JSON patch (RFC 6902), done an operation at a time so that a small patch cannot make a huge or very deep object.

use json_patch::{Patch, PatchOperation};
use serde::Deserialize as _;
use serde_json::Value;

use super::{COPIED_MAX, DEPTH_MAX, Error, OPERATIONS_MAX, is_deeper};
use crate::{decoding, go_text};

/// Applies a JSON patch to a copy of `target`.
///
/// ```
/// use serde_json::json;
/// use xebec_machinery::patch;
///
/// let change = br#"[{"op": "replace", "path": "/spec/replicas", "value": 2}]"#;
/// let patched = patch::json(&json!({"spec": {"replicas": 1}}), change)?;
/// assert_eq!(patched, json!({"spec": {"replicas": 2}}));
/// # Ok::<(), patch::Error>(())
/// ```
pub fn json(target: &Value, patch: &[u8]) -> Result<Value, Error> {
    let Patch(operations) = read(patch).map_err(|error| unreadable(patch, &error))?;
    if operations.len() > OPERATIONS_MAX {
        return Err(Error::TooManyOperations(operations.len()));
    }
    if is_deeper(target, DEPTH_MAX) {
        return Err(Error::TooDeep);
    }
    let mut result = target.clone();
    let mut budget = Budget { copied: 0, visited: 0 };
    for (index, operation) in operations.into_iter().enumerate() {
        budget.admit(&result, &operation).ok_or(Error::TooMuch { index })??;
        json_patch::patch_unsafe(&mut result, std::slice::from_ref(&operation)).map_err(|error| {
            Error::Operation { index, path: operation.path().to_string(), why: error.kind.to_string() }
        })?;
    }
    Ok(result)
}

/// Reads a patch, also one that nests deeper than serde goes.
fn read(patch: &[u8]) -> Result<Patch, serde_json::Error> {
    serde_json::from_slice(patch).or_else(|error| match decoding::own(patch) {
        Ok(list) if error.to_string().contains("recursion limit") => serde_json::from_value(list),
        _ => Err(error),
    })
}

/// Why there is no list of operations: upstream reads any list of objects with texts, and refuses an unknown or incomplete
/// operation only when it comes to it.
fn unreadable(patch: &[u8], error: &serde_json::Error) -> Error {
    let Ok(Value::Array(list)) = decoding::own(patch) else {
        return Error::Malformed(error.to_string());
    };
    let mut first = None;
    for (index, item) in list.iter().enumerate() {
        if !item.is_object() && !item.is_null() {
            let word = go_text::kind(item);
            return Error::Malformed(format!(
                "json: cannot unmarshal {word} into Go value of type handlers.jsonPatchOp"
            ));
        }
        for name in ["op", "path", "from"] {
            if let Some(value) = item.get(name).filter(|value| !value.is_string() && !value.is_null()) {
                let word = go_text::kind(value);
                return Error::Malformed(format!(
                    "json: cannot unmarshal {word} into Go struct field jsonPatchOp.{name} of type string"
                ));
            }
        }
        if first.is_none()
            && let Err(error) = PatchOperation::deserialize(item)
        {
            let path = item.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
            first = Some(Error::Operation { index, path, why: error.to_string() });
        }
    }
    first.unwrap_or_else(|| Error::Malformed(error.to_string()))
}

/// Values that `move` may look through in all. Only their depth is wanted, so this is far above what a real patch does.
const VISITED_MAX: usize = 4 * 1024 * 1024;

/// What the operations so far have cost.
struct Budget {
    copied: usize,
    visited: usize,
}

impl Budget {
    /// Whether the operation may be done: nothing where too much is copied or moved, an error where it nests too deep.
    fn admit(&mut self, document: &Value, operation: &PatchOperation) -> Option<Result<(), Error>> {
        let (value, copied) = match operation {
            PatchOperation::Add(add) => (Some(&add.value), false),
            PatchOperation::Replace(replace) => (Some(&replace.value), false),
            PatchOperation::Move(moved) => (document.pointer(moved.from.as_str()), false),
            PatchOperation::Copy(copy) => (document.pointer(copy.from.as_str()), true),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => (None, false),
        };
        // An absent source is refused by the operation itself.
        let Some(value) = value else { return Some(Ok(())) };
        if copied {
            self.copied = self.copied.saturating_add(written(value, COPIED_MAX));
        }
        if self.copied > COPIED_MAX || self.visited > VISITED_MAX {
            return None;
        }
        // The document is never deeper than the limit, so each of these walks is shallow.
        let above = operation.path().count();
        let fits = above <= DEPTH_MAX && !self.is_deeper(value, DEPTH_MAX - above);
        Some(if fits { Ok(()) } else { Err(Error::TooDeep) })
    }

    fn is_deeper(&mut self, value: &Value, max: usize) -> bool {
        self.visited = self.visited.saturating_add(1);
        match value {
            Value::Array(items) => max == 0 || items.iter().any(|item| self.is_deeper(item, max - 1)),
            Value::Object(fields) => max == 0 || fields.values().any(|item| self.is_deeper(item, max - 1)),
            _ => false,
        }
    }
}

/// How many bytes the value takes as JSON; beyond `max` it counts no further.
fn written(value: &Value, max: usize) -> usize {
    struct Counter {
        count: usize,
        max: usize,
    }
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.count += bytes.len();
            if self.count > self.max { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter { count: 0, max };
    // A refusal only means that the limit was passed, and the count says so.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.count
}
