//! Errors that name a field, and the paths that they name.
//!
//! The wording is that of Kubernetes, because clients and people read it: `spec.replicas: Invalid value: -1: must be …`.

use std::fmt;

use serde_json::Value;

/// A path into an object. It borrows its parent, so that walking down an object allocates nothing until something is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Root,
    Child(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The object itself.
    pub const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    /// The field `name` of the object at this path: `spec.name`.
    #[must_use]
    pub fn child(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Child(name) }
    }

    /// The entry `key` of the map at this path: `labels[key]`.
    #[must_use]
    pub fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    /// The element at `index` of the list at this path: `containers[0]`.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    /// Whether this is the object itself.
    pub fn is_root(&self) -> bool {
        matches!(self.step, Step::Root)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Collected first rather than by recursion: the depth is the sender's choice.
        let mut steps = Vec::new();
        let mut at = Some(self);
        while let Some(path) = at {
            steps.push(path.step);
            at = path.parent;
        }
        let mut empty = true;
        for step in steps.into_iter().rev() {
            match step {
                Step::Root => continue,
                Step::Child(name) if empty => f.write_str(name)?,
                Step::Child(name) => write!(f, ".{name}")?,
                Step::Key(key) => write!(f, "[{key}]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
            empty = false;
        }
        Ok(())
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The value must be there and is not.
    Required,
    /// The value breaks a rule.
    Invalid,
    /// The value is of another type than the schema says.
    TypeInvalid,
    /// The value is none of an enumeration.
    NotSupported,
    /// The value may not be there, or may not change.
    Forbidden,
    /// The value must be unique and is there twice.
    Duplicate,
    /// The value refers to something that is not there.
    NotFound,
    /// The value is too long.
    TooLong,
    /// The list or map has too many entries.
    TooMany,
    /// The check itself failed.
    Internal,
}

impl ErrorType {
    /// The words that open the message.
    pub fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }

    /// The `reason` of a cause in a `Status`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
        }
    }
}

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {}", if field.is_empty() { "<nil>" } else { field }, self.body())]
pub struct FieldError {
    /// What kind of wrong.
    pub error_type: ErrorType,
    /// The path of the field; empty for the object itself.
    pub field: String,
    /// The value that was refused, where saying it helps.
    pub bad_value: Option<Bad>,
    /// What the value should be.
    pub detail: String,
}

/// A refused value.
#[derive(Debug, Clone, PartialEq)]
pub enum Bad {
    /// It is told as JSON.
    Value(Value),
    /// It is told as this text, where Go has an order or names of its own.
    Text(String),
}

impl<V: Into<Value>> From<V> for Bad {
    fn from(value: V) -> Self {
        Self::Value(value.into())
    }
}

/// A refused value is quoted up to this many characters, so that an error is not as large as the object.
const QUOTED_MAX: usize = 8192;

impl FieldError {
    fn new(error_type: ErrorType, path: &Path<'_>, bad: Option<Bad>, detail: impl Into<String>) -> Self {
        Self { error_type, field: path.to_string(), bad_value: bad, detail: detail.into() }
    }

    /// `Required value`, and why.
    pub fn required(path: &Path<'_>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Required, path, None, detail)
    }

    /// `Invalid value: V: detail`.
    pub fn invalid(path: &Path<'_>, value: impl Into<Bad>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Invalid, path, Some(value.into()), detail)
    }

    /// `Invalid value: detail`, where the value itself is not told.
    pub fn invalid_untold(path: &Path<'_>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Invalid, path, None, detail)
    }

    /// The same error, with why.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// `Invalid value: "string": detail`, where the value has the wrong type.
    pub fn type_invalid(path: &Path<'_>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::TypeInvalid, path, Some(Bad::Value(value.into())), detail)
    }

    /// `Unsupported value: V: supported values: "a", "b"`.
    pub fn not_supported<S: fmt::Display>(path: &Path<'_>, value: impl Into<Value>, supported: &[S]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| Value::from(s.to_string()).to_string()).collect();
        let detail =
            if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
        Self::new(ErrorType::NotSupported, path, Some(Bad::Value(value.into())), detail)
    }

    /// `Forbidden: detail`.
    pub fn forbidden(path: &Path<'_>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Forbidden, path, None, detail)
    }

    /// `Duplicate value: V`.
    pub fn duplicate(path: &Path<'_>, value: impl Into<Value>) -> Self {
        Self::new(ErrorType::Duplicate, path, Some(Bad::Value(value.into())), "")
    }

    /// `Not found: V`.
    pub fn not_found(path: &Path<'_>, value: impl Into<Value>) -> Self {
        Self::new(ErrorType::NotFound, path, Some(Bad::Value(value.into())), "")
    }

    /// `Too long: may not be more than N bytes`.
    pub fn too_long(path: &Path<'_>, max: usize) -> Self {
        Self::new(ErrorType::TooLong, path, None, format!("may not be more than {max} bytes"))
    }

    /// `Too many: N: must have at most MAX items`.
    pub fn too_many(path: &Path<'_>, actual: usize, max: usize) -> Self {
        let items = if max == 1 { "item" } else { "items" };
        Self::new(ErrorType::TooMany, path, Some(actual.into()), format!("must have at most {max} {items}"))
    }

    /// `Internal error: detail`.
    pub fn internal(path: &Path<'_>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Internal, path, None, detail)
    }

    /// The message without the path.
    pub fn body(&self) -> String {
        let mut body = self.error_type.words().to_owned();
        if let Some(bad) = &self.bad_value {
            let mut quoted = match bad {
                Bad::Value(value) => value.to_string(),
                Bad::Text(text) => text.clone(),
            };
            if let Some((end, _)) = quoted.char_indices().nth(QUOTED_MAX) {
                quoted.truncate(end);
                quoted.push('…');
            }
            body.push_str(": ");
            body.push_str(&quoted);
        }
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_kubernetes_writes_them() {
        let root = Path::ROOT;
        let spec = root.child("spec");
        let containers = spec.child("containers");
        let first = containers.index(0);
        let labels = first.child("labels");
        assert_eq!(labels.key("a/b").to_string(), "spec.containers[0].labels[a/b]");
        assert_eq!(root.to_string(), "");
        assert_eq!(root.index(3).to_string(), "[3]");
    }

    #[test]
    fn each_error_has_the_upstream_words() {
        let root = Path::ROOT;
        let x = root.child("x");
        let cases = [
            (FieldError::required(&x, ""), "x: Required value"),
            (FieldError::required(&x, "name it"), "x: Required value: name it"),
            (FieldError::invalid(&x, -1, "must be positive"), "x: Invalid value: -1: must be positive"),
            (FieldError::invalid(&x, "a\"b", ""), r#"x: Invalid value: "a\"b""#),
            (
                FieldError::not_supported(&x, "c", &["a", "b"]),
                r#"x: Unsupported value: "c": supported values: "a", "b""#,
            ),
            (
                FieldError::invalid(&x, Bad::Text("{\"b\":1,\"a\":2}".into()), "no"),
                r#"x: Invalid value: {"b":1,"a":2}: no"#,
            ),
            (FieldError::forbidden(&x, "no"), "x: Forbidden: no"),
            (FieldError::duplicate(&x, "d"), r#"x: Duplicate value: "d""#),
            (FieldError::not_found(&x, "d"), r#"x: Not found: "d""#),
            (FieldError::too_long(&x, 63), "x: Too long: may not be more than 63 bytes"),
            (FieldError::too_many(&x, 4, 3), "x: Too many: 4: must have at most 3 items"),
            (FieldError::invalid(&root, true, "no"), "<nil>: Invalid value: true: no"),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn a_huge_value_is_quoted_in_part() {
        let error = FieldError::invalid(&Path::ROOT, "é".repeat(100_000), "too much");
        assert!(error.to_string().len() < 20_000);
        assert!(error.to_string().ends_with("…: too much"));
    }
}
