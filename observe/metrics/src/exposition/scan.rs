//! A cursor over an exposition, with the steps that both text formats are made of.
//!
//! Where a token cannot go on, the cursor stays at the byte that did not fit, and what errors quote ends with that byte.
//! Past its end a text goes on with zero bytes, which no token but comments, help and label values may hold.

use std::borrow::Cow;

use xebec_promql::number::quoted_bytes;

use super::ParseError;

/// What a line is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Invalid,
    End,
    Linebreak,
    Whitespace,
    Help,
    Type,
    Unit,
    EndWord,
    Text,
    Comment,
    Name,
    Quoted,
    Open,
    Close,
    LabelName,
    LabelValue,
    Comma,
    Equal,
    Timestamp,
    Value,
}

impl Token {
    /// The name that errors have it by, which is upstream's.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::End => "EOF",
            Self::Linebreak => "LINEBREAK",
            Self::Whitespace => "WHITESPACE",
            Self::Help => "HELP",
            Self::Type => "TYPE",
            Self::Unit => "UNIT",
            Self::EndWord => "EOFWORD",
            Self::Text => "TEXT",
            Self::Comment => "COMMENT",
            Self::Name => "MNAME",
            Self::Quoted => "QSTRING",
            Self::Open => "BOPEN",
            Self::Close => "BCLOSE",
            Self::LabelName => "LNAME",
            Self::LabelValue => "LVALUE",
            Self::Comma => "COMMA",
            Self::Equal => "EQUAL",
            Self::Timestamp => "TIMESTAMP",
            Self::Value => "VALUE",
        }
    }
}

/// A place in a text.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    /// The next byte.
    pub(super) at: usize,
    /// Where the current token begins.
    pub(super) start: usize,
}

pub(super) fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, start: 0 }
    }

    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The bytes between two places.
    pub(super) fn slice(&self, from: usize, until: usize) -> &'a [u8] {
        let until = until.min(self.bytes.len());
        self.bytes.get(from.min(until)..until).unwrap_or_default()
    }

    /// The current token.
    pub(super) fn token(&self) -> &'a [u8] {
        self.slice(self.start, self.at)
    }

    /// Takes bytes for as long as they fit.
    pub(super) fn take_while(&mut self, mut fits: impl FnMut(u8) -> bool) -> usize {
        let from = self.at;
        while !self.is_at_end() && fits(self.bytes[self.at]) {
            self.at += 1;
        }
        self.at - from
    }

    /// Takes one byte if it is this one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_it = !self.is_at_end() && self.bytes[self.at] == byte;
        self.at += usize::from(is_it);
        is_it
    }

    /// Takes a word as far as it goes, and says whether it was whole.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        word.bytes().all(|byte| self.take(byte))
    }

    /// Takes a name; with colons if it is a metric's.
    pub(super) fn take_name(&mut self, colons: bool) -> bool {
        let first = self.peek();
        if !(begins_name(first) || (colons && first == b':')) {
            return false;
        }
        self.take_while(|byte| begins_name(byte) || byte.is_ascii_digit() || (colons && byte == b':'));
        true
    }

    /// Takes a string in double quotes. Whether line breaks and zero bytes may stand in it, the format says.
    pub(super) fn take_quoted(&mut self, linebreaks: bool, zeros: bool) -> bool {
        if !self.take(b'"') {
            return false;
        }
        loop {
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return true;
                }
                b'\\' => {
                    self.at += 1;
                    self.skip_zeros(zeros);
                    if matches!(self.peek(), b'\n' | 0) {
                        return false;
                    }
                    self.at += 1;
                }
                b'\n' if !linebreaks => return false,
                0 if !zeros || self.is_at_end() => return false,
                _ => self.at += 1,
            }
        }
    }

    pub(super) fn skip_zeros(&mut self, zeros: bool) {
        if zeros {
            self.take_while(|byte| byte == 0);
        }
    }

    /// An error about a token, with what was read of the line that begins at `line`.
    pub(super) fn unexpected(&self, expected: &str, token: Token, line: usize) -> ParseError {
        let end = (self.at + 1).min(self.bytes.len());
        ParseError(format!(
            "{expected}, got {} ({:?}) while parsing: {}",
            quoted_bytes(self.slice(self.start, end)),
            token.name(),
            quoted_bytes(self.slice(line, end))
        ))
    }

    /// An error about what was read of the line that begins at `line`.
    pub(super) fn fault(&self, fault: &str, line: usize) -> ParseError {
        ParseError(format!("{fault} while parsing: {}", quoted_bytes(self.slice(line, self.at))))
    }
}

/// Reads a number as Go does, without hexadecimal ones and underscores.
pub(super) fn number(text: &[u8]) -> Result<f64, String> {
    let is_odd = |byte: &u8| matches!(byte, b'p' | b'P' | b'_');
    if text.iter().any(is_odd) {
        return Err("unsupported character in float".to_owned());
    }
    let failed = |why: &str| format!("strconv.ParseFloat: parsing {}: {why}", quoted_bytes(text));
    let invalid = || failed("invalid syntax");
    let text = std::str::from_utf8(text).map_err(|_| invalid())?;
    let value: f64 = text.parse().map_err(|_| invalid())?;
    let names = text.trim_start_matches(['+', '-']);
    if value.is_nan() && names.len() != text.len() {
        return Err(invalid());
    }
    if value.is_infinite() && names.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Err(failed("value out of range"));
    }
    // One NaN of all: another marks the end of a series.
    Ok(if value.is_nan() { f64::from_bits(NORMAL_NAN) } else { value })
}

/// The NaN that stands for all that are read.
pub(super) const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

/// A text with its escapes replaced: `\\`, `\n` and, where `quotes` says so, `\"`.
pub(super) fn unescaped(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (letter, length) = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => ('\\', 2),
            Some(b'n') => ('\n', 2),
            Some(b'"') if quotes => ('"', 2),
            _ => ('\\', 1),
        };
        out.push(letter);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("-.5e1", -5.0),
            ("1.", 1.0),
            ("+Inf", f64::INFINITY),
            ("-inFinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(number(text.as_bytes()), Ok(value));
        }
        assert_eq!(number(b"nAn").map(f64::to_bits), Ok(NORMAL_NAN));
        for text in ["", "+nan", "0x1", "1_0", "1e", "1e999", "-1e999", " 1", "infin", "1p1"] {
            assert!(number(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn escapes_are_replaced_and_others_stay() {
        assert_eq!(unescaped(r#"a\\n\n\"\t\"#, true), "a\\n\n\"\\t\\");
        assert_eq!(unescaped(r#"\""#, false), r#"\""#);
    }
}
