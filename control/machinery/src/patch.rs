//! The three ways in which a client changes an object by telling the difference only: JSON merge patch (RFC 7386), JSON
//! patch (RFC 6902) and Kubernetes' strategic merge patch, which knows the schema.
//!
//! Server-side apply is the fourth and has its own module, [`crate::apply`].

mod json;
mod strategic;

pub use json::json;
pub use strategic::{rest as strategic_rest, strategic};

use serde_json::Value;

use crate::decoding;
use crate::status::{Details, Reason, Status};

/// A JSON patch has at most this many operations, as in Kubernetes.
pub const OPERATIONS_MAX: usize = 10_000;
/// The `copy` operations of a JSON patch make at most this many bytes, as in Kubernetes.
pub const COPIED_MAX: usize = 3 * 1024 * 1024;
/// Objects and patches are nested at most this deep, which is as deep as they are read again.
pub const DEPTH_MAX: usize = decoding::DEPTH_MAX;

/// Why a patch was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch is not JSON, or not of the form that its media type asks for.
    #[error("error decoding patch: {0}")]
    Malformed(String),
    /// A merge patch of an object must be an object.
    #[error("invalid patch: expected an object, but received {0}")]
    NotAnObject(&'static str),
    /// The JSON patch has too many operations.
    #[error("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {0}")]
    TooManyOperations(usize),
    /// An operation of a JSON patch cannot be done, or its test failed.
    #[error("operation {index} of the JSON patch failed at path {path:?}: {why}")]
    Operation {
        /// Which operation, counted from 0.
        index: usize,
        /// Its path.
        path: String,
        /// What failed.
        why: String,
    },
    /// The JSON patch copies or moves too much.
    #[error(
        "operation {index} of the JSON patch copies or moves too much: at most {COPIED_MAX} bytes may be copied"
    )]
    TooMuch {
        /// Which operation, counted from 0.
        index: usize,
    },
    /// The result would be nested too deep.
    #[error("the patch or its result is nested too deep; nest it less deep")]
    TooDeep,
    /// A directive of a strategic merge patch has the wrong form.
    #[error("invalid patch format of {0}")]
    Directive(&'static str),
    /// `$patch` has a value that means nothing here.
    #[error("unknown patch type: {0}; use replace or delete")]
    PatchType(String),
    /// An element of a merged list does not say which element it is.
    #[error("an element of {list} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The field that holds the list.
        list: String,
        /// The field that is missing in the element.
        key: String,
    },
    /// A value has another type than its place asks for.
    #[error("expected {expected} in {field}, but received {received}")]
    Type {
        /// Where.
        field: String,
        /// What the place asks for.
        expected: &'static str,
        /// What stands there.
        received: &'static str,
    },
    /// The elements of a list differ in type, or are lists themselves.
    #[error("the elements of {0} must all be objects or all be scalars of one type")]
    Elements(String),
    /// The order that a patch gives contradicts its own list.
    #[error("the order of the elements of {0} does not match its $setElementOrder list")]
    Order(String),
    /// The schema does not know the field.
    #[error("unable to find api field {0:?}")]
    UnknownField(String),
}

impl Error {
    /// What the API answers: 400 for a patch that means nothing, 413 for too large a one, 422 for one that cannot be done,
    /// of which upstream says no more.
    pub fn status(&self) -> Status {
        match self {
            Self::TooManyOperations(_) => Status::new(Reason::RequestEntityTooLarge, self.to_string()),
            Self::Operation { .. } | Self::TooMuch { .. } | Self::TooDeep | Self::Elements(_) => {
                let message = "the server rejected our request due to an error in our request";
                Status::new(Reason::Invalid, message).about(Details::default())
            }
            _ => Status::bad_request(self.to_string()),
        }
    }
}

/// Applies a JSON merge patch (RFC 7386). Both are objects, since Kubernetes patches objects only.
///
/// ```
/// use serde_json::json;
/// use xebec_machinery::patch;
///
/// let mut object = json!({"spec": {"replicas": 1, "paused": true}});
/// patch::merge(&mut object, json!({"spec": {"replicas": 2, "paused": null}}))?;
/// assert_eq!(object, json!({"spec": {"replicas": 2}}));
/// # Ok::<(), patch::Error>(())
/// ```
pub fn merge(target: &mut Value, patch: Value) -> Result<(), Error> {
    if !patch.is_object() {
        return Err(Error::NotAnObject(kind(&patch)));
    }
    if is_deeper(&patch, DEPTH_MAX) {
        return Err(Error::TooDeep);
    }
    merge_value(target, patch);
    Ok(())
}

fn merge_value(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(&key);
        } else {
            merge_value(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// What a value is, in words for an error.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether objects and lists are nested more than `max` deep. It looks no deeper than that.
pub fn is_deeper(value: &Value, max: usize) -> bool {
    match value {
        Value::Array(items) => max == 0 || items.iter().any(|item| is_deeper(item, max - 1)),
        Value::Object(fields) => max == 0 || fields.values().any(|item| is_deeper(item, max - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
