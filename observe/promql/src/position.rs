//! Where in a query something stands.

/// A range of bytes in a query, from `start` up to but not including `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

impl Position {
    /// The range between two offsets.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From where `self` begins to where `last` ends.
    pub fn to(self, last: Position) -> Self {
        Self { start: self.start, end: last.end }
    }

    /// Where the range begins in `query`, as `line:column`, both counted from one.
    pub fn line_and_column(self, query: &str) -> String {
        if query.is_empty() {
            return "unknown position".to_owned();
        }
        let Some(before) = query.as_bytes().get(..self.start) else {
            return "invalid position".to_owned();
        };
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let column = match before.iter().rposition(|&byte| byte == b'\n') {
            Some(line_break) => self.start - line_break,
            None => self.start + 1,
        };
        format!("{line}:{column}")
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn counts_lines_and_columns_from_one() {
        assert_eq!(Position::new(0, 1).line_and_column("foo"), "1:1");
        assert_eq!(Position::new(5, 6).line_and_column("foo\nbar"), "2:2");
        assert_eq!(Position::new(9, 9).line_and_column("foo"), "invalid position");
        assert_eq!(Position::default().line_and_column(""), "unknown position");
    }
}
