//! The text of an expression and the errors that point into it.

use std::fmt;

/// A place in an expression: line from one, column from zero, both counted in code points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The line, from one; -1 where the whole expression is meant.
    pub line: i64,
    /// The column, from zero; -1 where the whole expression is meant.
    pub column: i64,
}

impl Location {
    /// The whole expression, not a place in it.
    pub(crate) const WHOLE: Self = Self { line: -1, column: -1 };
}

/// One thing that is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Where.
    pub location: Location,
    /// What, as clients of Kubernetes read it.
    pub message: String,
}

/// Everything that is wrong with an expression. Its text is what Kubernetes shows: each issue with its source line and a
/// caret below the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issues {
    source: String,
    issues: Vec<Issue>,
    truncated: usize,
}

/// At most so many issues are kept; the rest is counted.
const MOST_ISSUES: usize = 100;
/// A longer source line is not shown.
const LONGEST_SNIPPET: usize = 16_384;

impl Issues {
    pub(crate) fn new(source: &str) -> Self {
        Self { source: source.to_owned(), issues: Vec::new(), truncated: 0 }
    }

    pub(crate) fn report(&mut self, location: Location, message: impl Into<String>) {
        if self.issues.len() < MOST_ISSUES {
            self.issues.push(Issue { location, message: message.into() });
        } else {
            self.truncated += 1;
        }
    }

    /// Reports at a byte offset of the source.
    pub(crate) fn report_at(&mut self, offset: u32, message: impl Into<String>) {
        let location = locate(&self.source, offset as usize);
        self.report(location, message);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.issues.is_empty()
    }

    /// The issues in the order of their places.
    pub fn sorted(&self) -> Vec<Issue> {
        let mut issues = self.issues.clone();
        issues.sort_by_key(|issue| issue.location);
        issues
    }
}

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, issue) in self.sorted().iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            let Location { line, column } = issue.location;
            write!(f, "ERROR: <input>:{line}:{}: {}", column + 1, issue.message)?;
            write_snippet(f, &self.source, issue.location)?;
        }
        if self.truncated > 0 {
            write!(f, "\n{} more errors were truncated", self.truncated)?;
        }
        Ok(())
    }
}

impl std::error::Error for Issues {}

fn write_snippet(f: &mut fmt::Formatter<'_>, source: &str, at: Location) -> fmt::Result {
    let Some(line) =
        usize::try_from(at.line).ok().and_then(|line| source.split('\n').nth(line.checked_sub(1)?))
    else {
        return Ok(());
    };
    if source.is_empty() || line.len() > LONGEST_SNIPPET {
        return Ok(());
    }
    let snippet = line.replace('\t', " ");
    write!(f, "\n | {snippet}\n | ")?;
    let column = usize::try_from(at.column).unwrap_or(0);
    let mut characters = snippet.chars();
    for character in characters.by_ref().take(column) {
        f.write_str(if character.is_ascii() { "." } else { "\u{ff0e}" })?;
    }
    f.write_str(if characters.next().is_none_or(|c| c.is_ascii()) { "^" } else { "\u{ff3e}" })
}

/// The line and column of a byte offset.
pub(crate) fn locate(source: &str, offset: usize) -> Location {
    let before = source.get(..offset.min(source.len())).unwrap_or(source);
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).map_or(0, |text| text.chars().count());
    Location { line: line as i64 + 1, column: column as i64 }
}
