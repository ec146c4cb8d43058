//! What a request must look like to take a route.

use http::{HeaderName, Method};
use regex::Regex;
use thiserror::Error;

/// A host pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// This host only, whatever its case.
    Exact(String),
    /// Any host with one or more labels before this suffix: `example.com` stands for `*.example.com`.
    Suffix(String),
    /// Every host.
    Any,
}

impl HostMatch {
    /// Whether the pattern is one of this host, which has no port.
    pub(crate) fn matches(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match self {
            Self::Exact(name) => *name == host,
            Self::Suffix(name) => host
                .strip_suffix(name.as_str())
                .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.')),
            Self::Any => true,
        }
    }
}

/// The conditions of a route; all must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteMatch {
    /// The path condition.
    pub path: PathMatch,
    /// The method, if only one is served.
    pub method: Option<Method>,
    /// Header conditions.
    pub headers: Vec<(HeaderName, ValueMatch)>,
    /// Query parameter conditions; the first parameter of a name counts.
    pub query: Vec<(String, ValueMatch)>,
}

impl Default for RouteMatch {
    fn default() -> Self {
        Self { path: PathMatch::Prefix("/".into()), method: None, headers: Vec::new(), query: Vec::new() }
    }
}

/// A path condition.
#[derive(Clone, Debug, PartialEq)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole leading segments: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// An expression that matches the path.
    Regex(Pattern),
}

impl PathMatch {
    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == path,
            Self::Prefix(wanted) => path
                .strip_prefix(wanted.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Regex(pattern) => pattern.matches(path),
        }
    }
}

/// A condition on a header's or parameter's value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueMatch {
    /// Exactly this value.
    Exact(String),
    /// An expression that matches the value.
    Regex(Pattern),
}

impl ValueMatch {
    pub(crate) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == value,
            Self::Regex(pattern) => pattern.matches(value),
        }
    }
}

/// A regular expression that must match a whole value. Matching takes time linear in the value's length.
#[derive(Clone, Debug)]
pub struct Pattern {
    expression: String,
    compiled: Regex,
}

/// Why an expression is not taken.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{expression:?} is not a regular expression: {reason}; correct it, or match exactly")]
pub struct PatternError {
    expression: String,
    reason: String,
}

impl Pattern {
    /// Compiles an expression.
    pub fn new(expression: &str) -> Result<Self, PatternError> {
        let refused = |reason: String| PatternError { expression: expression.to_owned(), reason };
        // An expression must stand by itself: `a)(b` would otherwise be completed by the group around it.
        Regex::new(expression).map_err(|error| refused(error.to_string()))?;
        let compiled =
            Regex::new(&format!("^(?:{expression})$")).map_err(|error| refused(error.to_string()))?;
        Ok(Self { expression: expression.to_owned(), compiled })
    }

    /// The expression, as it was given.
    pub fn as_str(&self) -> &str {
        &self.expression
    }

    /// Whether the whole value matches.
    pub fn matches(&self, value: &str) -> bool {
        self.compiled.is_match(value)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression
    }
}

#[cfg(test)]
mod tests;
