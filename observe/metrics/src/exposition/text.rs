//! The text format of Prometheus, version 0.0.4.

use std::str::from_utf8;

use xebec_promql::number::quoted_bytes;

use super::{
    Entry, Kind, LabelPairs, ParseError, Spans,
    scan::{Scanner, Token, number, unescaped},
};

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Line,
    Family,
    Text,
    Labels,
    LabelValue,
    Value,
    Timestamp,
}

#[derive(Debug)]
pub(super) struct TextParser<'a> {
    scanner: Scanner<'a>,
    state: State,
    /// Where the current line begins.
    line: usize,
    /// Where its series ends.
    series_end: usize,
    spans: Spans,
    kind: Kind,
}

impl<'a> TextParser<'a> {
    /// The body must end with a line break.
    pub(super) fn new(body: &'a [u8]) -> Self {
        let scanner = Scanner::new(body);
        Self {
            scanner,
            state: State::Line,
            line: 0,
            series_end: 0,
            spans: Spans::default(),
            kind: Kind::Unknown,
        }
    }

    pub(super) fn key(&self) -> &'a [u8] {
        self.scanner.slice(self.line, self.series_end)
    }

    pub(super) fn labels(&self) -> Result<LabelPairs<'a>, ParseError> {
        self.spans.labels(&self.scanner, self.kind)
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        loop {
            self.line = self.scanner.at;
            self.spans.clear();
            match self.token() {
                Token::End => return Ok(None),
                Token::Linebreak => {}
                Token::Comment => {
                    let after = self.token();
                    return match after {
                        Token::Linebreak => Ok(Some(Entry::Comment)),
                        _ => Err(self.unexpected("linebreak expected after comment", after)),
                    };
                }
                about @ (Token::Help | Token::Type) => return self.metadata(about).map(Some),
                Token::Open => {
                    self.pairs()?;
                    return self.sample().map(Some);
                }
                Token::Name => {
                    self.spans.name = Some((self.line, self.scanner.at));
                    self.series_end = self.scanner.at;
                    let token = self.token();
                    if token != Token::Open {
                        return self.value(token).map(Some);
                    }
                    self.pairs()?;
                    return self.sample().map(Some);
                }
                token => return Err(self.unexpected("expected a valid start token", token)),
            }
        }
    }

    fn metadata(&mut self, about: Token) -> Result<Entry<'a>, ParseError> {
        let token = self.token();
        if token != Token::Name {
            let expected = format!("expected metric name after {}", about.name());
            return Err(self.unexpected(&expected, token));
        }
        let name = self.scanner.token();
        let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
        let family = String::from_utf8_lossy(name);
        let token = self.token();
        if token != Token::Text {
            return Err(ParseError(format!("expected text in {}, got {}", about.name(), token.name())));
        }
        let text = self.scanner.token().get(1..).unwrap_or_default();
        let entry = if about == Token::Type {
            self.kind = Kind::of(text, false)?;
            Entry::Type { family, kind: self.kind }
        } else {
            let broken =
                |_| ParseError(format!("help text {} is not a valid utf8 string", quoted_bytes(text)));
            Entry::Help { family, text: unescaped(from_utf8(text).map_err(broken)?, false) }
        };
        let token = self.token();
        if token != Token::Linebreak {
            return Err(self.unexpected("linebreak expected after metadata", token));
        }
        Ok(entry)
    }

    /// What stands between the braces.
    fn pairs(&mut self) -> Result<(), ParseError> {
        let mut token = self.token();
        loop {
            let (mut from, mut until) = (self.scanner.start, self.scanner.at);
            let is_quoted = token == Token::Quoted;
            match token {
                Token::Close => break,
                Token::LabelName => {}
                Token::Quoted => (from, until) = (from + 1, until - 1),
                token => return Err(self.unexpected("expected label name", token)),
            }
            token = self.token();
            if is_quoted && matches!(token, Token::Comma | Token::Close) {
                // A string alone is the metric's name.
                if self.spans.name.is_some() {
                    return Err(self.scanner.fault("metric name already set", self.line));
                }
                self.spans.name = Some((from, until));
                if token == Token::Close {
                    break;
                }
                token = self.token();
                continue;
            }
            if token != Token::Equal {
                return Err(self.unexpected("expected equal", token));
            }
            token = self.token();
            if token != Token::LabelValue {
                return Err(self.unexpected("expected label value", token));
            }
            let value = self.scanner.token();
            if from_utf8(value).is_err() {
                return Err(ParseError(format!("invalid UTF-8 label value: {}", quoted_bytes(value))));
            }
            self.spans.pairs.push([from, until, self.scanner.start + 1, self.scanner.at - 1]);
            token = self.token();
            if token == Token::Comma {
                token = self.token();
            }
        }
        self.series_end = self.scanner.at;
        Ok(())
    }

    fn sample(&mut self) -> Result<Entry<'a>, ParseError> {
        let token = self.token();
        self.value(token)
    }

    /// What stands behind a series.
    fn value(&mut self, token: Token) -> Result<Entry<'a>, ParseError> {
        if self.spans.name.is_none() {
            return Err(self.scanner.fault("metric name not set", self.line));
        }
        if token != Token::Value {
            return Err(self.unexpected("expected value after metric", token));
        }
        let value = number(self.scanner.token()).map_err(|why| self.scanner.fault(&why, self.line))?;
        let time = match self.token() {
            Token::Linebreak => None,
            Token::Timestamp => {
                let digits = from_utf8(self.scanner.token()).unwrap_or_default();
                let time = digits.parse().map_err(|_| {
                    let why = format!("strconv.ParseInt: parsing {digits:?}: value out of range");
                    self.scanner.fault(&why, self.line)
                })?;
                let token = self.token();
                if token != Token::Linebreak {
                    return Err(self.unexpected("expected next entry after timestamp", token));
                }
                Some(time)
            }
            token => return Err(self.unexpected("expected timestamp or new record", token)),
        };
        Ok(Entry::Sample { time, value: value.into() })
    }

    fn unexpected(&self, expected: &str, token: Token) -> ParseError {
        self.scanner.unexpected(expected, token, self.line)
    }

    /// The next token that is not blank.
    fn token(&mut self) -> Token {
        loop {
            let token = self.lexed();
            if token != Token::Whitespace {
                return token;
            }
        }
    }

    fn lexed(&mut self) -> Token {
        let scanner = &mut self.scanner;
        // The end is no token: errors there quote the one before it.
        if scanner.is_at_end() {
            return Token::End;
        }
        scanner.start = scanner.at;
        let is_blank = |byte| matches!(byte, b' ' | b'\t');
        if self.state == State::Text {
            // The state in which blanks may be part of more.
            let from = scanner.at;
            scanner.take_while(|byte| byte != b'\n');
            let text = scanner.slice(from, scanner.at);
            if !text.is_empty() && text.iter().all(|&byte| is_blank(byte)) {
                return Token::Whitespace;
            }
            self.state = State::Line;
            return Token::Text;
        }
        if scanner.take_while(is_blank) > 0 {
            return Token::Whitespace;
        }
        let (token, state) = match self.state {
            State::Line => match scanner.peek() {
                // Upstream takes a zero byte for the end.
                0 => (Token::End, State::Line),
                b'\n' => {
                    scanner.at += 1;
                    (Token::Linebreak, State::Line)
                }
                b'#' => return self.comment(),
                b'{' => {
                    scanner.at += 1;
                    (Token::Open, State::Labels)
                }
                _ if scanner.take_name(true) => (Token::Name, State::Value),
                _ => return Token::Invalid,
            },
            State::Family if scanner.take_name(true) || scanner.take_quoted(true, false) => {
                (Token::Name, State::Text)
            }
            State::Labels => {
                if scanner.take_name(false) {
                    (Token::LabelName, State::Labels)
                } else if scanner.take(b'}') {
                    (Token::Close, State::Value)
                } else if scanner.take(b'=') {
                    (Token::Equal, State::LabelValue)
                } else if scanner.take(b',') {
                    (Token::Comma, State::Labels)
                } else if scanner.take_quoted(true, false) {
                    (Token::Quoted, State::Labels)
                } else {
                    return Token::Invalid;
                }
            }
            State::LabelValue if scanner.take_quoted(true, true) => (Token::LabelValue, State::Labels),
            State::Value => {
                if scanner.take(b'{') {
                    (Token::Open, State::Labels)
                } else if scanner.take_while(|byte| !matches!(byte, b'{' | b' ' | b'\t' | b'\n' | 0)) > 0 {
                    (Token::Value, State::Timestamp)
                } else {
                    return Token::Invalid;
                }
            }
            State::Timestamp => {
                if scanner.take_while(|byte| byte.is_ascii_digit()) > 0 {
                    (Token::Timestamp, State::Timestamp)
                } else if scanner.take(b'\n') {
                    (Token::Linebreak, State::Line)
                } else {
                    return Token::Invalid;
                }
            }
            _ => return Token::Invalid,
        };
        self.state = state;
        token
    }

    /// A line that begins with `#`: it says something of a metric, or nothing.
    fn comment(&mut self) -> Token {
        let scanner = &mut self.scanner;
        scanner.at += 1;
        let is_blank = |byte| matches!(byte, b' ' | b'\t');
        let mut may_have_zeros = false;
        if scanner.take_while(is_blank) > 0 {
            may_have_zeros = true;
            let token = if scanner.peek() == b'H' { Token::Help } else { Token::Type };
            if scanner.take_word(token.name()) && scanner.take_while(is_blank) > 0 {
                self.state = State::Family;
                return token;
            }
        }
        scanner.take_while(|byte| byte != b'\n' && (byte != 0 || may_have_zeros));
        if scanner.peek() == b'\n' { Token::Comment } else { Token::End }
    }
}
