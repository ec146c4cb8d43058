//! What the parser says of, and does about, a token that does not fit: drop it, imagine a missing one, or stop.

use super::{Parsed, Parser, Stopped, infix};
use crate::lexer::{Lexeme, Token};

/// The tokens that an operand can begin with, as errors list them, in the order of the grammar.
const OPERAND: [(Token, &str); 15] = [
    (Token::OpenBracket, "'['"),
    (Token::OpenBrace, "'{'"),
    (Token::OpenParen, "'('"),
    (Token::Dot, "'.'"),
    (Token::Minus, "'-'"),
    (Token::Not, "'!'"),
    (Token::True, "'true'"),
    (Token::False, "'false'"),
    (Token::Null, "'null'"),
    (Token::Float, "NUM_FLOAT"),
    (Token::Int, "NUM_INT"),
    (Token::Uint, "NUM_UINT"),
    (Token::String, "STRING"),
    (Token::Bytes, "BYTES"),
    (Token::Identifier, "IDENTIFIER"),
];

/// Where a further token stands in such a list.
const ORDER: [&str; 20] = [
    "'['",
    "']'",
    "'{'",
    "'}'",
    "'('",
    "')'",
    "'.'",
    "','",
    "'-'",
    "'!'",
    "'?'",
    "'true'",
    "'false'",
    "'null'",
    "NUM_FLOAT",
    "NUM_INT",
    "NUM_UINT",
    "STRING",
    "BYTES",
    "IDENTIFIER",
];

fn begins_operand(token: Token) -> bool {
    OPERAND.iter().any(|(operand, _)| *operand == token)
}

fn listed(further: &[&str]) -> String {
    let names: Vec<&str> = ORDER
        .iter()
        .filter(|name| further.contains(*name) || OPERAND.iter().any(|(_, operand)| operand == *name))
        .copied()
        .collect();
    format!("{{{}}}", names.join(", "))
}

fn name(token: Token) -> &'static str {
    match token {
        Token::CloseBracket => "']'",
        Token::CloseBrace => "'}'",
        Token::CloseParen => "')'",
        Token::Colon => "':'",
        Token::Comma => "','",
        Token::Question => "'?'",
        _ => "",
    }
}

impl Parser<'_> {
    /// The current token as errors show it.
    fn shown(&self) -> String {
        let lexeme = self.lexemes[self.at];
        if lexeme.token == Token::End { "<EOF>".to_owned() } else { self.escaped(lexeme.start, lexeme.end) }
    }

    fn escaped(&self, start: u32, end: u32) -> String {
        self.source[start as usize..end as usize]
            .replace('\n', "\\n")
            .replace('\r', "\\r")
            .replace('\t', "\\t")
    }

    fn syntax_error(&mut self, message: &str) {
        if std::mem::replace(&mut self.recovering, true) {
            return;
        }
        // The reference implementation puts the end of an empty source before its first column.
        if self.source.is_empty() {
            let location = crate::source::Location { line: 1, column: -1 };
            self.issues.report(location, format!("Syntax error: {message}"));
            return;
        }
        let at = self.lexemes[self.at].start;
        self.issues.report_at(at, format!("Syntax error: {message}"));
    }

    /// The current token fits nowhere: reading stops.
    pub(super) fn mismatched(&mut self, expecting: &str) -> Stopped {
        self.syntax_error(&format!("mismatched input '{}' expecting {expecting}", self.shown()));
        Stopped
    }

    /// What begins at `start` is nothing that the grammar knows.
    pub(super) fn no_viable(&mut self, start: u32) {
        let offending = self.lexemes[self.at];
        if matches!(offending.token, Token::True | Token::False | Token::Null) && offending.start == start + 1
        {
            self.syntax_error(&format!("mismatched input '{}' expecting IDENTIFIER", self.shown()));
            return;
        }
        let input: String = self.escaped(start, offending.end).split_whitespace().collect();
        self.syntax_error(&format!("no viable alternative at input '{input}'"));
    }

    pub(super) fn starts_member(&self) -> bool {
        let token = self.peek();
        begins_operand(token) && token != Token::Not && token != Token::Minus
            || token == Token::Minus && matches!(self.peek_second(), Token::Int | Token::Float)
    }

    /// Whether an operand begins here, perhaps after one token in front of it was dropped.
    pub(super) fn start_operand(&mut self) -> bool {
        self.start_with(&[])
    }

    /// Like [`Self::start_operand`] where `also` may stand as well.
    pub(super) fn start(&mut self, also: &[Token]) -> bool {
        let names: Vec<&str> = also.iter().map(|token| name(*token)).collect();
        also.contains(&self.peek()) || self.start_with(&names)
    }

    fn start_with(&mut self, further: &[&str]) -> bool {
        if begins_operand(self.peek()) {
            return true;
        }
        let expecting = listed(further);
        if begins_operand(self.peek_second()) && self.peek() != Token::End {
            self.syntax_error(&format!("extraneous input '{}' expecting {expecting}", self.shown()));
            self.advance();
            return true;
        }
        self.syntax_error(&format!("mismatched input '{}' expecting {expecting}", self.shown()));
        false
    }

    /// Like [`Self::start_operand`] behind signs, where the reference implementation has its own words.
    pub(super) fn start_after_sign(&mut self, sign: Lexeme) -> bool {
        if sign.token == Token::Minus {
            self.no_viable(sign.start);
            self.recovering = false;
        } else if self.peek() == Token::End {
            self.syntax_error(&format!("extraneous input '<EOF>' expecting {}", listed(&[])));
        }
        self.start_operand() && self.starts_member()
    }

    /// Skips to a token that can follow an operand here.
    pub(super) fn skip(&mut self) {
        loop {
            let token = self.peek();
            let follows = infix(token).is_some()
                || matches!(token, Token::And | Token::Or | Token::Question | Token::End)
                || token == Token::Comma && !self.closers.is_empty()
                || self.closers.contains(&token);
            if follows {
                return;
            }
            self.at += 1;
        }
    }

    /// Takes `token` and tells where it stood (or was imagined).
    pub(super) fn close(&mut self, token: Token, expecting: &str) -> Parsed<u32> {
        if let Some(lexeme) = self.take(token) {
            return Ok(lexeme.start);
        }
        if self.peek_second() == token {
            self.syntax_error(&format!("extraneous input '{}' expecting {expecting}", self.shown()));
            self.advance();
            return Ok(self.advance().start);
        }
        if self.may_follow(token) {
            self.syntax_error(&format!("missing {expecting} at '{}'", self.shown()));
            return Ok(self.lexemes[self.at].start);
        }
        Err(self.mismatched(expecting))
    }

    fn may_follow(&self, token: Token) -> bool {
        let next = self.peek();
        if token == Token::Colon {
            return begins_operand(next);
        }
        if infix(next).is_some()
            || matches!(next, Token::And | Token::Or | Token::Question | Token::Dot | Token::OpenBracket)
        {
            return true;
        }
        match self.closers.last() {
            Some(closer) => next == *closer,
            None => next == Token::End,
        }
    }

    /// Between the elements of what `closer` closes: a comma or the closer must stand here.
    pub(super) fn between(&mut self, closer: Token) -> Parsed<()> {
        if self.peek() == Token::Comma || self.peek() == closer {
            return Ok(());
        }
        if closer == Token::CloseParen {
            return Ok(());
        }
        let expecting = format!("{{{}, ','}}", name(closer));
        if self.peek_second() == closer || self.peek_second() == Token::Comma {
            self.syntax_error(&format!("extraneous input '{}' expecting {expecting}", self.shown()));
            self.advance();
            return Ok(());
        }
        Err(self.mismatched(&expecting))
    }

    /// Nothing may follow the whole expression.
    pub(super) fn finish(&mut self) -> Parsed<()> {
        if self.peek() == Token::End {
            return Ok(());
        }
        if self.peek_second() == Token::End {
            self.syntax_error(&format!("extraneous input '{}' expecting <EOF>", self.shown()));
            return Ok(());
        }
        Err(self.mismatched("<EOF>"))
    }
}
