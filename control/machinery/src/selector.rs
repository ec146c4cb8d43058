//! Label and field selectors: read from a query string or an object, and matched against objects.
//!
//! The grammar and the words of the errors are those of Kubernetes; whoever asks for `labelSelector=…` reads them.

mod fields;
mod labels;
mod parser;

pub use fields::{FieldRequirement, FieldSelector};
pub use labels::{LabelSelector, Labels, Operator, Requirement};

use crate::field::FieldError;

/// A selector has at most this many bytes.
pub const LENGTH_MAX: usize = 64 * 1024;

/// Why a selector was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The text of a label selector breaks the grammar.
    #[error("found '{found}', expected: {expected}")]
    Unexpected {
        /// What stands there.
        found: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// One requirement of a label selector breaks the grammar or a rule.
    #[error("unable to parse requirement: {0}")]
    Requirement(#[source] Box<Error>),
    /// A key, a value or the number of values is not allowed.
    #[error("{}", list(.0))]
    Invalid(Vec<FieldError>),
    /// The operator of an expression is none that there is.
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
    /// The object is not a label selector.
    #[error("{0} of a label selector has the wrong type; see LabelSelector in meta/v1")]
    Shape(&'static str),
    /// A term of a field selector has no operator.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term {
        /// All of the selector.
        selector: String,
        /// The part that has no operator.
        term: String,
    },
    /// A backslash before something that needs none.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A `,` or `=` within a value that has no backslash before it.
    #[error("invalid field selector: unescaped character in value: {}", u32::from(*.0))]
    Unescaped(char),
    /// The selector is too long.
    #[error("the selector has {0} bytes; at most {LENGTH_MAX} are allowed")]
    TooLong(usize),
}

fn list(errors: &[FieldError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests;
