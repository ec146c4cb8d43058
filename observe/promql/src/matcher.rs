//! Matchers: which series a selector selects.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

use crate::dialect;
use crate::labels::{Labels, is_plain_name};
use crate::number::quoted;

/// How a label's value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on a label. A label that is not there has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: Arc<str>,
    /// How its value is compared.
    pub op: MatchOp,
    /// What with.
    pub value: Arc<str>,
    pattern: Option<Arc<Regex>>,
}

impl Matcher {
    /// A matcher, or why the regular expression is none.
    pub fn new(op: MatchOp, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Result<Self, String> {
        let (name, value) = (name.into(), value.into());
        let pattern = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(dialect::anchored(&value)?)),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Self { name, op, value, pattern })
    }

    /// A matcher for one value.
    pub fn equal(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), pattern: None }
    }

    /// Whether a value is matched.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.pattern) {
            (MatchOp::NotEqual, _) => *self.value != *value,
            (MatchOp::Regex, Some(pattern)) => pattern.is_match(value),
            (MatchOp::NotRegex, Some(pattern)) => !pattern.is_match(value),
            _ => *self.value == *value,
        }
    }

    /// Whether a series is matched.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match is_plain_name(&self.name) {
            true => out.write_str(&self.name)?,
            false => out.write_str(&quoted(&self.name))?,
        }
        write!(out, "{}{}", self.op.symbol(), quoted(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_the_whole_value() {
        let matcher = Matcher::new(MatchOp::Regex, "a", "b.*|c").unwrap();
        assert!(matcher.matches("bar") && matcher.matches("c") && matcher.matches("b\nx"));
        assert!(!matcher.matches("abar") && !matcher.matches("cc"));
        assert!(Matcher::new(MatchOp::NotRegex, "a", ".+").unwrap().selects(&Labels::default()));
    }

    #[test]
    fn refuses_a_broken_expression() {
        assert!(Matcher::new(MatchOp::Regex, "a", "(").is_err());
    }
}
