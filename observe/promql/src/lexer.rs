//! Cuts a query into tokens. What a character means depends on where it stands: within braces words are names, within
//! brackets a calculation of durations is expected.

use crate::ast::BinaryOp;
use crate::error::ParseError;
use crate::number::{code_point, quoted, quoted_char};
use crate::position::Position;
use crate::token::{Keyword, Kind, Token, duration_word, word};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Expression,
    Duration,
}

/// Cuts a query into tokens.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'q> {
    input: &'q str,
    at: usize,
    start: usize,
    place: Place,
    open_parens: i32,
    in_braces: bool,
    in_brackets: bool,
    colon_seen: bool,
    duration_seen: bool,
}

type Lexed<T> = Result<T, ParseError>;

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r')
}

fn is_word_start(letter: char) -> bool {
    letter == '_' || letter.is_ascii_alphabetic()
}

fn is_word(letter: char) -> bool {
    is_word_start(letter) || letter.is_ascii_digit()
}

impl<'q> Lexer<'q> {
    pub(crate) fn new(input: &'q str) -> Self {
        Self {
            input,
            at: 0,
            start: 0,
            place: Place::Expression,
            open_parens: 0,
            in_braces: false,
            in_brackets: false,
            colon_seen: false,
            duration_seen: false,
        }
    }

    fn peek(&self) -> Option<char> {
        self.input[self.at..].chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn accept(&mut self, valid: &str) -> bool {
        let found = self.peek().is_some_and(|letter| valid.contains(letter));
        if found {
            self.at += 1;
        }
        found
    }

    fn skip_while(&mut self, matches: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&matches) {
            self.advance();
        }
    }

    fn token(&mut self, kind: Kind) -> Token<'q> {
        let token = Token { kind, text: &self.input[self.start..self.at], start: self.start };
        self.start = self.at;
        token
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::new(Position::new(self.start, self.input.len()), message, self.input)
    }

    fn refuse<T>(&self, message: impl Into<String>) -> Lexed<T> {
        Err(self.error(message))
    }

    /// The next token.
    pub(crate) fn next_token(&mut self) -> Lexed<Token<'q>> {
        loop {
            self.start = self.at;
            let in_duration = self.place == Place::Duration;
            if !in_duration && self.peek() == Some('#') {
                self.skip_while(|letter| letter != '\n' && letter != '\r');
                continue;
            }
            if self.peek().is_some_and(is_space) {
                self.skip_while(is_space);
                continue;
            }
            return match (in_duration, self.in_braces) {
                (true, _) => self.in_duration(),
                (false, true) => self.in_braces(),
                (false, false) => self.in_expression(),
            };
        }
    }

    fn in_expression(&mut self) -> Lexed<Token<'q>> {
        let Some(letter) = self.advance() else {
            return match (self.open_parens != 0, self.in_brackets) {
                (true, _) => self.refuse("unclosed left parenthesis"),
                (_, true) => self.refuse("unclosed left bracket"),
                _ => Ok(self.token(Kind::End)),
            };
        };
        let operator = |lexer: &mut Self, op| Ok(lexer.token(Kind::Operator(op)));
        match letter {
            ',' => Ok(self.token(Kind::Comma)),
            '*' => operator(self, BinaryOp::Mul),
            '/' => operator(self, BinaryOp::Div),
            '%' => operator(self, BinaryOp::Mod),
            '+' => operator(self, BinaryOp::Add),
            '-' => operator(self, BinaryOp::Sub),
            '^' => operator(self, BinaryOp::Pow),
            '@' => Ok(self.token(Kind::At)),
            '=' if self.accept("=") => operator(self, BinaryOp::Equal),
            '=' if self.peek() == Some('~') => self.refuse("unexpected character after '=': '~'"),
            '=' => Ok(self.token(Kind::Equals)),
            '!' => match self.advance() {
                Some('=') => operator(self, BinaryOp::NotEqual),
                other => self.refuse(format!("unexpected character after '!': {}", name_or_end(other))),
            },
            '<' if self.accept("=") => operator(self, BinaryOp::LessOrEqual),
            '<' if self.accept("/") => operator(self, BinaryOp::TrimUpper),
            '<' => operator(self, BinaryOp::Less),
            '>' if self.accept("=") => operator(self, BinaryOp::GreaterOrEqual),
            '>' if self.accept("/") => operator(self, BinaryOp::TrimLower),
            '>' => operator(self, BinaryOp::Greater),
            '"' | '\'' => self.string(letter),
            '`' => self.raw_string(),
            '(' => {
                self.open_parens += 1;
                Ok(self.token(Kind::LeftParen))
            }
            ')' => self.right_paren(),
            '{' => {
                self.in_braces = true;
                Ok(self.token(Kind::LeftBrace))
            }
            '[' if self.in_brackets => self.refuse("unexpected left bracket '['"),
            '[' => {
                self.colon_seen = false;
                self.in_brackets = true;
                self.place = Place::Duration;
                Ok(self.token(Kind::LeftBracket))
            }
            ']' if !self.in_brackets => self.refuse("unexpected right bracket ']'"),
            ']' => {
                self.in_brackets = false;
                Ok(self.token(Kind::RightBracket))
            }
            letter if starts_number(letter, self.peek()) => self.number_or_duration(),
            letter if is_word_start(letter) || letter == ':' => match self.in_brackets {
                false => Ok(self.keyword_or_identifier()),
                true => self.word_in_brackets(letter),
            },
            other => self.refuse(format!("unexpected character: {}", quoted_char(other))),
        }
    }

    /// After a duration within brackets: a colon, or a word of the calculation.
    fn word_in_brackets(&mut self, letter: char) -> Lexed<Token<'q>> {
        if letter == ':' {
            if self.colon_seen {
                return self.refuse("unexpected colon ':'");
            }
            self.colon_seen = true;
            return Ok(self.token(Kind::Colon));
        }
        match self.duration_keyword(letter) {
            Some(token) => Ok(token),
            None => self.refuse(format!("unexpected character: {}, expected ':'", quoted_char(letter))),
        }
    }

    fn duration_keyword(&mut self, first: char) -> Option<Token<'q>> {
        if !matches!(first.to_ascii_lowercase(), 's' | 'r' | 'm') {
            return None;
        }
        self.skip_while(is_word_start);
        let kind = duration_word(&self.input[self.start..self.at].to_ascii_lowercase())?;
        Some(self.token(kind))
    }

    fn in_duration(&mut self) -> Lexed<Token<'q>> {
        let Some(letter) = self.advance() else {
            return self.refuse("unexpected end of input in duration expression");
        };
        let operator = |lexer: &mut Self, op| Ok(lexer.token(Kind::Operator(op)));
        match letter {
            ']' => {
                self.in_brackets = false;
                self.colon_seen = false;
                self.place = Place::Expression;
                Ok(self.token(Kind::RightBracket))
            }
            ':' => {
                let colon = self.token(Kind::Colon);
                if !self.duration_seen {
                    return self.refuse("unexpected colon before duration in duration expression");
                }
                if self.colon_seen {
                    return self.refuse("unexpected repeated colon in duration expression");
                }
                self.colon_seen = true;
                Ok(colon)
            }
            '(' => {
                self.open_parens += 1;
                Ok(self.token(Kind::LeftParen))
            }
            ')' => self.right_paren(),
            '+' => operator(self, BinaryOp::Add),
            '-' => operator(self, BinaryOp::Sub),
            '*' => operator(self, BinaryOp::Mul),
            '/' => operator(self, BinaryOp::Div),
            '%' => operator(self, BinaryOp::Mod),
            '^' => operator(self, BinaryOp::Pow),
            ',' => Ok(self.token(Kind::Comma)),
            letter if starts_number(letter, self.peek()) => {
                self.duration_seen = true;
                // What follows a number is read as after any number; within brackets it means the same.
                self.place = Place::Expression;
                self.number_or_duration()
            }
            letter => match self.duration_keyword(letter) {
                Some(token) => Ok(token),
                None => {
                    let letter = quoted_char(letter);
                    self.refuse(format!("unexpected character in duration expression: {letter}"))
                }
            },
        }
    }

    fn right_paren(&mut self) -> Lexed<Token<'q>> {
        let token = self.token(Kind::RightParen);
        self.open_parens -= 1;
        if self.open_parens < 0 { self.refuse("unexpected right parenthesis ')'") } else { Ok(token) }
    }

    fn in_braces(&mut self) -> Lexed<Token<'q>> {
        let Some(letter) = self.advance() else {
            return self.refuse("unexpected end of input inside braces");
        };
        match letter {
            ',' => Ok(self.token(Kind::Comma)),
            '"' | '\'' => self.string(letter),
            '`' => self.raw_string(),
            '=' if self.accept("~") => Ok(self.token(Kind::MatchesRegex)),
            '=' => Ok(self.token(Kind::Equals)),
            '!' => match self.advance() {
                Some('~') => Ok(self.token(Kind::MatchesNotRegex)),
                Some('=') => Ok(self.token(Kind::Operator(BinaryOp::NotEqual))),
                other => {
                    let other = name_or_end(other);
                    self.refuse(format!("unexpected character after '!' inside braces: {other}"))
                }
            },
            '{' => self.refuse("unexpected left brace '{'"),
            '}' => {
                self.in_braces = false;
                Ok(self.token(Kind::RightBrace))
            }
            letter if is_word_start(letter) => {
                self.skip_while(is_word);
                Ok(self.token(Kind::Identifier))
            }
            other => self.refuse(format!("unexpected character inside braces: {}", quoted_char(other))),
        }
    }

    fn keyword_or_identifier(&mut self) -> Token<'q> {
        self.skip_while(|letter| is_word(letter) || letter == ':');
        let text = &self.input[self.start..self.at];
        let kind = match word(text) {
            // These three are new: metrics of their names keep working unless a parenthesis follows.
            Some(Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.input[self.at..].trim_start_matches(is_space).starts_with('(') =>
            {
                Kind::Identifier
            }
            Some(kind) => kind,
            None if text.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        };
        self.token(kind)
    }

    fn string(&mut self, quote: char) -> Lexed<Token<'q>> {
        loop {
            match self.advance() {
                Some('\\') => self.escape(quote)?,
                Some(char::REPLACEMENT_CHARACTER) => return self.refuse("invalid UTF-8 rune"),
                None | Some('\n') => return self.refuse("unterminated quoted string"),
                Some(letter) if letter == quote => return Ok(self.token(Kind::String)),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Lexed<Token<'q>> {
        loop {
            match self.advance() {
                Some(char::REPLACEMENT_CHARACTER) => return self.refuse("invalid UTF-8 rune"),
                None => return self.refuse("unterminated raw string"),
                Some('`') => return Ok(self.token(Kind::String)),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quote: char) -> Lexed<()> {
        let Some(letter) = self.advance() else { return self.refuse("escape sequence not terminated") };
        let (digits, base, max) = match letter {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            letter if letter == quote => return Ok(()),
            '0'..='7' => {
                self.at -= 1;
                (3, 8, 255)
            }
            'x' => (2, 16, 255),
            'u' => (4, 16, char::MAX as u32),
            'U' => (8, 16, char::MAX as u32),
            other => return self.refuse(format!("unknown escape sequence {}", code_point(other))),
        };
        let mut code: u32 = 0;
        for _ in 0..digits {
            let Some(letter) = self.advance() else { return self.refuse("escape sequence not terminated") };
            let Some(digit) = letter.to_digit(base) else {
                let letter = code_point(letter);
                return self.refuse(format!("illegal character {letter} in escape sequence"));
            };
            code = code.wrapping_mul(base).wrapping_add(digit);
        }
        if code > max || (0xd800..0xe000).contains(&code) {
            return self.refuse("escape sequence is an invalid Unicode code point");
        }
        Ok(())
    }

    fn number_or_duration(&mut self) -> Lexed<Token<'q>> {
        self.at = self.start;
        if self.scan_number() {
            return Ok(self.token(Kind::Number));
        }
        if self.scan_units() {
            return Ok(self.token(Kind::Duration));
        }
        let text = quoted(&self.input[self.start..self.at]);
        self.refuse(format!("bad number or duration syntax: {text}"))
    }

    /// Scans what may be a number; whether it is one is seen when it is read.
    fn scan_number(&mut self) -> bool {
        let mut digits = "0123456789";
        if self.accept("0") && self.accept("xX") {
            self.accept("_");
            digits = "0123456789abcdefABCDEF";
        }
        self.accept(".");
        self.accept(digits);
        let (mut point, mut exponent) = (false, false);
        while let Some(letter) =
            self.peek().filter(|&letter| digits.contains(letter) || "._eE".contains(letter))
        {
            if digits.contains(letter) && !"eE".contains(letter) {
                self.skip_while(|letter| digits.contains(letter));
                continue;
            }
            if letter == '.' && point || "eE".contains(letter) && exponent {
                self.at += 1;
                return false;
            }
            self.at += 1;
            match letter {
                '.' => {
                    point = true;
                    if self.accept("_.") || digits.len() > 10 {
                        return false;
                    }
                }
                '_' => {
                    if self.accept("._eE") || self.peek().is_none() {
                        return false;
                    }
                }
                _ => {
                    exponent = true;
                    self.accept("+-");
                    if self.accept("._eE") || self.peek().is_none() {
                        return false;
                    }
                }
            }
        }
        self.at > self.start && !self.peek().is_some_and(is_word)
    }

    /// Scans the units of a duration, after its first number.
    fn scan_units(&mut self) -> bool {
        if !self.accept("smhdwy") {
            return false;
        }
        self.accept("s");
        while self.accept("0123456789") {
            self.skip_while(|letter| letter.is_ascii_digit());
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        match self.peek() {
            Some(letter) if is_word(letter) => {
                self.advance();
                false
            }
            _ => true,
        }
    }
}

fn starts_number(letter: char, next: Option<char>) -> bool {
    letter.is_ascii_digit() || letter == '.' && next.is_some_and(|next| next.is_ascii_digit())
}

fn name_or_end(letter: Option<char>) -> String {
    letter.map_or_else(|| "'\u{fffd}'".to_owned(), quoted_char)
}
