//! What selects series by their labels.

use std::fmt;

use regex::Regex;

use crate::{
    Error, Labels, Result,
    index::LabelIndex,
    postings::{intersect, subtract},
};

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A condition on one label. A label that is not there has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    pattern: Pattern,
}

/// What a pattern comes to.
#[derive(Clone, Debug)]
enum Pattern {
    /// One of these, ascending: a plain value, or alternatives without anything special.
    Values(Vec<String>),
    /// Begins with the string and, with `true`, is longer than it: `abc.*`, `abc.+`.
    Prefix(String, bool),
    /// Anything else, with what it surely begins with.
    Regex(Box<Regex>, String),
}

/// Alternatives past this number are left to the regular expression.
const MOST_ALTERNATIVES: usize = 10_000;
/// The largest that a compiled expression may become.
const MOST_REGEX_BYTES: usize = 8 << 20;

impl Matcher {
    /// A condition. Regular expressions match the whole value, and `.` any character.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self> {
        let (name, value) = (name.into(), value.into());
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => Pattern::Values(vec![value.clone()]),
            MatchOp::Regex | MatchOp::NotRegex => compile(&name, op, &value)?,
        };
        Ok(Self { name, op, value, pattern })
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What it compares with, as written.
    pub fn value(&self) -> &str {
        &self.value
    }

    fn negated(&self) -> bool {
        matches!(self.op, MatchOp::NotEqual | MatchOp::NotRegex)
    }

    /// Whether a value of the label fulfils it.
    pub fn matches(&self, value: &str) -> bool {
        self.pattern.matches(value) != self.negated()
    }

    /// Whether all matchers are fulfilled.
    pub fn all_match(matchers: &[Self], labels: &Labels) -> bool {
        matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)))
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.text(), self.value)
    }
}

impl Pattern {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Values(values) if values.len() == 1 => values[0] == value,
            Self::Values(values) => values.binary_search_by(|found| found.as_str().cmp(value)).is_ok(),
            Self::Prefix(prefix, longer) => {
                value.starts_with(prefix.as_str()) && (!longer || value.len() > prefix.len())
            }
            Self::Regex(regex, prefix) => value.starts_with(prefix.as_str()) && regex.is_match(value),
        }
    }

    /// Matching values begin with this.
    fn prefix(&self) -> &str {
        match self {
            Self::Values(_) => "",
            Self::Prefix(prefix, _) | Self::Regex(_, prefix) => prefix,
        }
    }
}

fn compile(name: &str, op: MatchOp, value: &str) -> Result<Pattern> {
    let alternatives: Vec<&str> = value.split('|').collect();
    if !value.contains(is_special_but_bar) && alternatives.len() <= MOST_ALTERNATIVES {
        let mut values: Vec<String> = alternatives.into_iter().map(str::to_owned).collect();
        values.sort();
        values.dedup();
        return Ok(Pattern::Values(values));
    }
    let plain = |text: &str| !text.contains(|c| c == '|' || is_special_but_bar(c));
    for (tail, longer) in [(".*", false), (".+", true)] {
        if let Some(prefix) = value.strip_suffix(tail).filter(|prefix| plain(prefix)) {
            return Ok(Pattern::Prefix(prefix.to_owned(), longer));
        }
    }
    let mut builder = regex::RegexBuilder::new(&format!("^(?s:{value})$"));
    let regex = builder.size_limit(MOST_REGEX_BYTES).build().map_err(|error| Error::InvalidMatcher {
        matcher: format!("{name}{}{value:?}", op.text()),
        why: error.to_string(),
    })?;
    Ok(Pattern::Regex(Box::new(regex), literal_prefix(value)))
}

fn is_special_but_bar(c: char) -> bool {
    c != '|' && regex_syntax_special(c)
}

fn regex_syntax_special(c: char) -> bool {
    matches!(c, '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$')
}

/// What a match surely begins with: the characters up to the first special one, less one if that one repeats it.
fn literal_prefix(value: &str) -> String {
    if value.contains('|') {
        // An alternative at the top would make the prefix one of several.
        return String::new();
    }
    let end = value.find(regex_syntax_special).unwrap_or(value.len());
    let mut prefix = value[..end].to_owned();
    if value[end..].starts_with(['*', '?', '+', '{']) {
        prefix.pop();
    }
    prefix
}

/// The series of an index that fulfil all matchers, ascending.
pub(crate) fn select(index: &dyn LabelIndex, matchers: &[Matcher]) -> Result<Vec<u32>> {
    let mut keep: Vec<Vec<u32>> = Vec::new();
    let mut drop: Vec<Vec<u32>> = Vec::new();
    for matcher in matchers {
        if matcher.name.is_empty() {
            // No series has it, so that its value is empty.
            if matcher.matches("") { continue } else { return Ok(Vec::new()) }
        }
        if !matcher.matches("") {
            // Only series that have the label can fulfil it.
            let list = with_values(index, matcher, &|value| matcher.matches(value))?;
            if list.is_empty() {
                return Ok(Vec::new());
            }
            keep.push(list);
        } else {
            // All but the series that have the label at a wrong value.
            drop.push(with_values(index, matcher, &|value| !matcher.matches(value))?);
        }
    }
    let kept = if keep.is_empty() { index.all()? } else { intersect(keep) };
    Ok(drop.into_iter().fold(kept, |kept, list| subtract(kept, &list)))
}

/// The series that have the matcher's label at a value that is wanted.
fn with_values(index: &dyn LabelIndex, matcher: &Matcher, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<u32>> {
    // What is wanted is what the pattern says, or just what it does not say.
    let by_pattern = matcher.negated() != matcher_wants_matches(matcher);
    if by_pattern && let Pattern::Values(values) = &matcher.pattern {
        let values: Vec<&str> = values.iter().map(String::as_str).filter(|value| !value.is_empty()).collect();
        return index.series_with(&matcher.name, &values);
    }
    let prefix = if by_pattern { matcher.pattern.prefix() } else { "" };
    let mut values = Vec::new();
    index.each_value(&matcher.name, prefix, &mut |value| {
        if wanted(value) {
            values.push(value.to_owned());
        }
        value < prefix || value.starts_with(prefix)
    })?;
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    index.series_with(&matcher.name, &values)
}

/// Whether [`select`] asks for the values that fulfil the matcher, rather than for those that do not.
fn matcher_wants_matches(matcher: &Matcher) -> bool {
    !matcher.matches("")
}

/// The values that a label has among series, ascending.
pub(crate) fn all_values(index: &dyn LabelIndex, name: &str) -> Result<Vec<String>> {
    let mut values = Vec::new();
    index.each_value(name, "", &mut |value| {
        values.push(value.to_owned());
        true
    })?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(value: &str) -> Matcher {
        Matcher::new(MatchOp::Regex, "l", value).unwrap()
    }

    #[test]
    fn simple_patterns_need_no_regex() {
        assert!(matches!(&regex("b|a|b").pattern, Pattern::Values(values) if values == &["a", "b"]));
        assert!(matches!(&regex("ab.*").pattern, Pattern::Prefix(prefix, false) if prefix == "ab"));
        assert!(matches!(&regex(".+").pattern, Pattern::Prefix(prefix, true) if prefix.is_empty()));
        assert!(matches!(&regex("node_.*_total").pattern, Pattern::Regex(_, prefix) if prefix == "node_"));
        assert!(matches!(&regex("ab?c").pattern, Pattern::Regex(_, prefix) if prefix == "a"));
        assert!(matches!(&regex("ab|cd.*").pattern, Pattern::Regex(_, prefix) if prefix.is_empty()));
    }

    #[test]
    fn a_regex_matches_the_whole_value_over_lines() {
        assert!(regex("a.c").matches("a\nc") && !regex("a.c").matches("xa.c"));
        assert!(regex("a|bc").matches("bc") && !regex("a|bc").matches("abc"));
        assert!(regex("(?i)ABC").matches("abc"));
        assert!(Matcher::new(MatchOp::NotRegex, "l", "a.*").unwrap().matches("b"));
        assert!(Matcher::new(MatchOp::Regex, "l", "a(").is_err());
        assert!(Matcher::new(MatchOp::Regex, "l", "((a{1000}){1000}){1000}").is_err());
    }
}
