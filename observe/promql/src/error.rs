//! What can be wrong with a query.

use crate::position::Position;

/// A query that does not parse, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: parse error: {message}", position.line_and_column(query))]
pub struct ParseError {
    /// Where it is wrong.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// The query, to count its lines.
    pub query: String,
}

impl ParseError {
    pub(crate) fn new(position: Position, message: impl Into<String>, query: &str) -> Self {
        Self { position, message: message.into(), query: query.to_owned() }
    }
}
