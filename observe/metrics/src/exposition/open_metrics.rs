//! OpenMetrics 1.0 as text.

use std::str::from_utf8;

use xebec_promql::number::{quoted, quoted_bytes};

use super::{
    Entry, Kind, LabelPairs, ParseError, ParsedExemplar, Spans,
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
    ExemplarLabels,
    /// A label's value, or behind the labels the exemplar's.
    ExemplarValue,
    ExemplarTimestamp,
}

#[derive(Debug)]
pub(super) struct OpenMetricsParser<'a> {
    scanner: Scanner<'a>,
    state: State,
    /// Where the current line begins.
    line: usize,
    /// Where its series ends.
    series_end: usize,
    spans: Spans,
    kind: Kind,
    exemplar: Option<Exemplar>,
}

#[derive(Debug)]
struct Exemplar {
    spans: Spans,
    value: f64,
    time: Option<i64>,
}

fn unended() -> ParseError {
    ParseError("data does not end with # EOF".to_owned())
}

impl<'a> OpenMetricsParser<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self {
            scanner: Scanner::new(body),
            state: State::Line,
            line: 0,
            series_end: 0,
            spans: Spans::default(),
            kind: Kind::Unknown,
            exemplar: None,
        }
    }

    pub(super) fn key(&self) -> &'a [u8] {
        self.scanner.slice(self.line, self.series_end)
    }

    pub(super) fn labels(&self) -> Result<LabelPairs<'a>, ParseError> {
        self.spans.labels(&self.scanner, self.kind)
    }

    /// The exemplar of the last sample. Upstream leaves escapes in its labels as they are.
    pub(super) fn exemplar(&self) -> Option<ParsedExemplar<'a>> {
        let exemplar = self.exemplar.as_ref()?;
        let text = |from, until| String::from_utf8_lossy(self.scanner.slice(from, until));
        let pairs = exemplar.spans.pairs.iter();
        let labels = pairs.map(|&[name, end, value, until]| (text(name, end), text(value, until))).collect();
        Some(ParsedExemplar { labels, value: exemplar.value, time: exemplar.time })
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        self.line = self.scanner.at;
        self.spans.clear();
        self.exemplar = None;
        match self.token() {
            Token::EndWord => match self.token() {
                Token::End => Ok(None),
                _ => Err(ParseError("unexpected data after # EOF".to_owned())),
            },
            Token::End => Err(unended()),
            about @ (Token::Help | Token::Type | Token::Unit) => self.metadata(about).map(Some),
            Token::Open => {
                let mut spans = std::mem::take(&mut self.spans);
                self.pairs(&mut spans, false)?;
                self.spans = spans;
                self.series_end = self.scanner.at;
                let token = self.token();
                self.sample(token).map(Some)
            }
            Token::Name => {
                let mut spans = std::mem::take(&mut self.spans);
                spans.name = Some((self.line, self.scanner.at));
                self.series_end = self.scanner.at;
                let mut token = self.token();
                if token == Token::Open {
                    self.pairs(&mut spans, false)?;
                    self.series_end = self.scanner.at;
                    token = self.token();
                }
                self.spans = spans;
                self.sample(token).map(Some)
            }
            token => Err(self.unexpected("expected a valid start token", token)),
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
        if self.token() != Token::Text {
            return Err(ParseError(format!("expected text in {}", about.name())));
        }
        let text = self.scanner.token();
        let text = text.get(1..text.len() - 1).unwrap_or_default();
        match about {
            Token::Type => {
                self.kind = Kind::of(text, true)?;
                Ok(Entry::Type { family, kind: self.kind })
            }
            Token::Help => {
                let broken =
                    |_| ParseError(format!("help text {} is not a valid utf8 string", quoted_bytes(text)));
                Ok(Entry::Help { family, text: unescaped(from_utf8(text).map_err(broken)?, true) })
            }
            _ => {
                let unit = String::from_utf8_lossy(text);
                if !unit.is_empty() && !family.strip_suffix(&*unit).is_some_and(|rest| rest.ends_with('_')) {
                    let (unit, family) = (quoted(&unit), quoted(&family));
                    return Err(ParseError(format!("unit {unit} not a suffix of metric {family}")));
                }
                Ok(Entry::Unit { family, unit })
            }
        }
    }

    /// What stands between the braces.
    fn pairs(&mut self, spans: &mut Spans, of_exemplar: bool) -> Result<(), ParseError> {
        let mut token = self.token();
        loop {
            let (mut from, mut until) = (self.scanner.start, self.scanner.at);
            let is_quoted = token == Token::Quoted;
            match token {
                Token::Close => return Ok(()),
                Token::LabelName => {}
                Token::Quoted => (from, until) = (from + 1, until - 1),
                token => return Err(self.unexpected("expected label name", token)),
            }
            token = self.token();
            if is_quoted && matches!(token, Token::Comma | Token::Close) {
                // A string alone is the metric's name.
                if of_exemplar {
                    return Err(self.unexpected("expected label name", token));
                }
                if spans.name.is_some() {
                    return Err(self.scanner.fault("metric name already set", self.line));
                }
                spans.name = Some((from, until));
                if token == Token::Close {
                    return Ok(());
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
            spans.pairs.push([from, until, self.scanner.start + 1, self.scanner.at - 1]);
            token = self.token();
            match token {
                Token::Comma => token = self.token(),
                Token::Close => {}
                token => return Err(self.unexpected("expected comma or brace close", token)),
            }
        }
    }

    /// What stands behind a series.
    fn sample(&mut self, token: Token) -> Result<Entry<'a>, ParseError> {
        if self.spans.name.is_none() {
            return Err(self.scanner.fault("metric name not set", self.line));
        }
        let value = self.value(token, "metric")?;
        let mut time = None;
        match self.token() {
            Token::End => return Err(unended()),
            Token::Comment => self.exemplar_of_line()?,
            Token::Timestamp => {
                time = Some(self.time("timestamp")?);
                match self.token() {
                    Token::Linebreak => {}
                    Token::Comment => self.exemplar_of_line()?,
                    token => return Err(self.unexpected("expected next entry after timestamp", token)),
                }
            }
            // What else there may be is refused as the beginning of the next line.
            _ => {}
        }
        Ok(Entry::Sample { time, value: value.into() })
    }

    fn exemplar_of_line(&mut self) -> Result<(), ParseError> {
        let mut spans = Spans::default();
        self.pairs(&mut spans, true)?;
        let token = self.token();
        let value = self.value(token, "exemplar labels")?;
        let time = match self.token() {
            Token::End => return Err(unended()),
            Token::Linebreak => None,
            Token::Timestamp => {
                let time = self.time("exemplar timestamp")?;
                let token = self.token();
                if token != Token::Linebreak {
                    return Err(self.unexpected("expected next entry after exemplar timestamp", token));
                }
                Some(time)
            }
            token => return Err(self.unexpected("expected timestamp or comment", token)),
        };
        self.exemplar = Some(Exemplar { spans, value, time });
        Ok(())
    }

    fn value(&self, token: Token, after: &str) -> Result<f64, ParseError> {
        if token != Token::Value {
            return Err(self.unexpected(&format!("expected value after {after}"), token));
        }
        number(self.scanner.token().get(1..).unwrap_or_default())
            .map_err(|why| self.scanner.fault(&why, self.line))
    }

    /// Seconds as milliseconds.
    fn time(&self, what: &str) -> Result<i64, ParseError> {
        let seconds = number(self.scanner.token().get(1..).unwrap_or_default())
            .map_err(|why| self.scanner.fault(&why, self.line))?;
        if !seconds.is_finite() {
            let seconds = xebec_promql::number::plain(seconds);
            return Err(ParseError(format!("invalid {what} {seconds}")));
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn unexpected(&self, expected: &str, token: Token) -> ParseError {
        self.scanner.unexpected(expected, token, self.line)
    }

    fn token(&mut self) -> Token {
        let scanner = &mut self.scanner;
        // The end is no token: errors there quote the one before it.
        if scanner.is_at_end() {
            return Token::End;
        }
        scanner.start = scanner.at;
        let (token, state) = match self.state {
            State::Line if scanner.peek() == b'#' => return self.comment(),
            State::Line if scanner.take_name(true) => (Token::Name, State::Value),
            State::Line | State::Value if scanner.take(b'{') => (Token::Open, State::Labels),
            State::Family if scanner.take_name(true) || scanner.take_quoted(true, false) => {
                (Token::Name, State::Text)
            }
            State::Text if scanner.take(b' ') => {
                scanner.take_while(|byte| byte != b'\n');
                if !scanner.take(b'\n') {
                    return Token::Invalid;
                }
                (Token::Text, State::Line)
            }
            State::Labels if scanner.take_quoted(true, false) => (Token::Quoted, State::Labels),
            State::ExemplarLabels if scanner.take_quoted(false, false) => {
                (Token::Quoted, State::ExemplarLabels)
            }
            state @ (State::Labels | State::ExemplarLabels) => {
                let (value, behind) = match state {
                    State::Labels => (State::LabelValue, State::Value),
                    _ => (State::ExemplarValue, State::ExemplarValue),
                };
                // A string that does not end has gone on already.
                if scanner.at > scanner.start {
                    return Token::Invalid;
                }
                if scanner.take_name(false) {
                    (Token::LabelName, state)
                } else if scanner.take(b'}') {
                    (Token::Close, behind)
                } else if scanner.take(b'=') {
                    (Token::Equal, value)
                } else if scanner.take(b',') {
                    (Token::Comma, state)
                } else {
                    return Token::Invalid;
                }
            }
            State::LabelValue if scanner.take_quoted(false, true) => (Token::LabelValue, State::Labels),
            State::ExemplarValue if scanner.peek() == b'"' => {
                if !scanner.take_quoted(false, false) {
                    return Token::Invalid;
                }
                (Token::LabelValue, State::ExemplarLabels)
            }
            state @ (State::Value | State::ExemplarValue) if scanner.take(b' ') => {
                if scanner.take_while(|byte| !matches!(byte, b' ' | b'\n' | 0)) == 0 {
                    return Token::Invalid;
                }
                let next = if state == State::Value { State::Timestamp } else { State::ExemplarTimestamp };
                (Token::Value, next)
            }
            State::Timestamp | State::ExemplarTimestamp if scanner.take(b'\n') => {
                (Token::Linebreak, State::Line)
            }
            state @ (State::Timestamp | State::ExemplarTimestamp) if scanner.take(b' ') => {
                let mut taken = 0;
                if state == State::Timestamp && scanner.take(b'#') {
                    taken = 1;
                    if scanner.take(b' ') {
                        if !scanner.take(b'{') {
                            return Token::Invalid;
                        }
                        self.state = State::ExemplarLabels;
                        return Token::Comment;
                    }
                }
                if taken + scanner.take_while(|byte| !matches!(byte, b' ' | b'\n' | 0)) == 0 {
                    return Token::Invalid;
                }
                (Token::Timestamp, state)
            }
            _ => return Token::Invalid,
        };
        self.state = state;
        token
    }

    /// A line that begins with `#`.
    fn comment(&mut self) -> Token {
        let scanner = &mut self.scanner;
        scanner.at += 1;
        if !scanner.take(b' ') {
            return Token::Invalid;
        }
        let token = match scanner.peek() {
            b'H' => Token::Help,
            b'T' => Token::Type,
            b'U' => Token::Unit,
            b'E' => {
                if !scanner.take_word("EOF") {
                    return Token::Invalid;
                }
                scanner.take(b'\n');
                return Token::EndWord;
            }
            _ => return Token::Invalid,
        };
        if !(scanner.take_word(token.name()) && scanner.take(b' ')) {
            return Token::Invalid;
        }
        self.state = State::Family;
        token
    }
}
