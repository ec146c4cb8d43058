//! Templates as items: text outside of actions, words and signs within them.

use xebec_promql::number::{code_point, quoted};

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    End,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    EndWord,
    If,
    Nil,
    Range,
    Template,
    With,
}

const WORDS: [(&str, Kind); 11] = [
    ("block", Kind::Block),
    ("break", Kind::Break),
    ("continue", Kind::Continue),
    ("define", Kind::Define),
    ("else", Kind::Else),
    ("end", Kind::EndWord),
    ("if", Kind::If),
    ("range", Kind::Range),
    ("nil", Kind::Nil),
    ("template", Kind::Template),
    ("with", Kind::With),
];

/// A piece of a template.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) at: usize,
    pub(super) text: String,
    pub(super) line: usize,
}

impl Item {
    /// As errors show it.
    pub(super) fn shown(&self) -> String {
        match self.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Error => self.text.clone(),
            Kind::Dot => format!("<{}>", self.text),
            kind if WORDS.iter().any(|(_, word)| *word == kind) => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                let short: String = self.text.chars().take(10).collect();
                format!("{}...", quoted(&short))
            }
            _ => quoted(&self.text),
        }
    }
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";

pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    start: usize,
    line: usize,
    start_line: usize,
    parens: usize,
    inside: bool,
    failed: bool,
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

fn is_word(letter: char) -> bool {
    // Of the numbers only decimal digits are letters of words.
    letter == '_' || letter.is_alphabetic() || (letter.is_numeric() && letter.is_ascii_digit())
}

/// `- ` behind a left delimiter.
fn trims_left(rest: &str) -> bool {
    rest.starts_with('-') && rest[1..].starts_with(is_space)
}

/// ` -` before a right delimiter.
fn trims_right(rest: &str) -> bool {
    rest.starts_with(is_space) && rest[1..].starts_with('-')
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, start: 0, line: 1, start_line: 1, parens: 0, inside: false, failed: false }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        self.line += usize::from(letter == '\n');
        Some(letter)
    }

    fn item(&mut self, kind: Kind) -> Item {
        let item = Item {
            kind,
            at: self.start,
            text: self.text[self.start..self.at].to_owned(),
            line: self.start_line,
        };
        self.start = self.at;
        self.start_line = self.line;
        item
    }

    /// Goes on so many bytes that are no item.
    fn skip(&mut self, bytes: usize) {
        self.at += bytes;
        self.line += self.text[self.start..self.at].matches('\n').count();
        self.start = self.at;
        self.start_line = self.line;
    }

    fn error(&mut self, why: String) -> Item {
        self.failed = true;
        Item { kind: Kind::Error, at: self.start, text: why, line: self.start_line }
    }

    pub(super) fn next_item(&mut self) -> Item {
        if self.failed {
            return Item { kind: Kind::End, at: self.at, text: "EOF".to_owned(), line: self.start_line };
        }
        if self.inside { self.inside_action() } else { self.outside() }
    }

    fn outside(&mut self) -> Item {
        loop {
            let Some(found) = self.rest().find(LEFT) else {
                if self.rest().is_empty() {
                    return Item {
                        kind: Kind::End,
                        at: self.at,
                        text: "EOF".to_owned(),
                        line: self.start_line,
                    };
                }
                self.line += self.rest().matches('\n').count();
                self.at = self.text.len();
                return self.item(Kind::Text);
            };
            if found > 0 {
                let text = &self.rest()[..found];
                let kept = match trims_left(&self.rest()[found + LEFT.len()..]) {
                    true => text.trim_end_matches(is_space).len(),
                    false => found,
                };
                self.line += text[..kept].matches('\n').count();
                self.at += kept;
                let item = self.item(Kind::Text);
                self.skip(found - kept);
                if !item.text.is_empty() {
                    return item;
                }
            }
            let marker = if trims_left(&self.rest()[LEFT.len()..]) { 2 } else { 0 };
            if !self.rest()[LEFT.len() + marker..].starts_with("/*") {
                self.at += LEFT.len();
                let item = self.item(Kind::LeftDelim);
                self.inside = true;
                self.parens = 0;
                self.skip(marker);
                return item;
            }
            self.skip(LEFT.len() + marker);
            let Some(end) = self.rest()[2..].find("*/") else {
                return self.error("unclosed comment".to_owned());
            };
            self.skip(end + 4);
            match self.at_right() {
                None => return self.error("comment ends before closing delimiter".to_owned()),
                Some(trims) => self.pass_right(trims),
            }
        }
    }

    /// Whether a right delimiter comes next, and whether it trims what follows.
    fn at_right(&self) -> Option<bool> {
        let rest = self.rest();
        if trims_right(rest) && rest[2..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    fn pass_right(&mut self, trims: bool) {
        self.skip(RIGHT.len() + if trims { 2 } else { 0 });
        if trims {
            self.skip(self.rest().len() - self.rest().trim_start_matches(is_space).len());
        }
    }

    fn right(&mut self, trims: bool) -> Item {
        if trims {
            self.skip(2);
        }
        self.at += RIGHT.len();
        let item = self.item(Kind::RightDelim);
        if trims {
            self.skip(self.rest().len() - self.rest().trim_start_matches(is_space).len());
        }
        self.inside = false;
        item
    }

    fn inside_action(&mut self) -> Item {
        if let Some(trims) = self.at_right() {
            return match self.parens {
                0 => self.right(trims),
                _ => self.error("unclosed left paren".to_owned()),
            };
        }
        let Some(letter) = self.next() else { return self.error("unclosed action".to_owned()) };
        match letter {
            _ if is_space(letter) => self.space(),
            '=' => self.item(Kind::Assign),
            ':' => match self.next() {
                Some('=') => self.item(Kind::Declare),
                _ => self.error("expected :=".to_owned()),
            },
            '|' => self.item(Kind::Pipe),
            '"' => self.quote('"', Kind::String, "unterminated quoted string"),
            '\'' => self.quote('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => match self.rest().find('`') {
                None => {
                    self.line += self.rest().matches('\n').count();
                    self.error("unterminated raw quoted string".to_owned())
                }
                Some(end) => {
                    self.line += self.rest()[..end].matches('\n').count();
                    self.at += end + 1;
                    self.item(Kind::RawString)
                }
            },
            '$' => self.field(Kind::Variable),
            '.' if !self.rest().starts_with(|next: char| next.is_ascii_digit())
                && !self.rest().is_empty() =>
            {
                self.field(Kind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.at -= 1;
                self.number()
            }
            _ if is_word(letter) => self.identifier(),
            '(' => {
                self.parens += 1;
                self.item(Kind::LeftParen)
            }
            ')' if self.parens == 0 => self.error("unexpected right paren".to_owned()),
            ')' => {
                self.parens -= 1;
                self.item(Kind::RightParen)
            }
            '!'..='~' => self.item(Kind::Char),
            _ => self.error(format!("unrecognized character in action: {}", code_point(letter))),
        }
    }

    fn space(&mut self) -> Item {
        while self.peek().is_some_and(is_space) {
            self.next();
        }
        // The last space may belong to a delimiter that trims.
        let last = self.at - 1;
        if trims_right(&self.text[last..]) && self.text[last + 2..].starts_with(RIGHT) {
            if self.text.as_bytes()[last] == b'\n' {
                self.line -= 1;
            }
            self.at = last;
            if self.at == self.start {
                return self.right(true);
            }
        }
        self.item(Kind::Space)
    }

    fn quote(&mut self, quote: char, kind: Kind, unterminated: &str) -> Item {
        loop {
            match self.next() {
                Some('\\') if !matches!(self.next(), None | Some('\n')) => {}
                Some('\\' | '\n') | None => return self.error(unterminated.to_owned()),
                Some(letter) if letter == quote => return self.item(kind),
                Some(_) => {}
            }
        }
    }

    /// Whether a word may end here.
    fn at_end(&self) -> bool {
        let ends = |letter| is_space(letter) || matches!(letter, '.' | ',' | '|' | ':' | ')' | '(');
        self.peek().is_none_or(ends) || self.rest().starts_with(RIGHT)
    }

    fn bad_character(&mut self) -> Item {
        // At the end of the text a word may end, so there is one.
        let letter = self.peek().unwrap_or(char::REPLACEMENT_CHARACTER);
        self.error(format!("bad character {}", code_point(letter)))
    }

    fn field(&mut self, kind: Kind) -> Item {
        if self.at_end() {
            return self.item(if kind == Kind::Variable { kind } else { Kind::Dot });
        }
        while self.peek().is_some_and(is_word) {
            self.next();
        }
        if self.at_end() { self.item(kind) } else { self.bad_character() }
    }

    fn identifier(&mut self) -> Item {
        while self.peek().is_some_and(is_word) {
            self.next();
        }
        if !self.at_end() {
            return self.bad_character();
        }
        let word = &self.text[self.start..self.at];
        let kind = WORDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind);
        let usual = if matches!(word, "true" | "false") { Kind::Bool } else { Kind::Identifier };
        self.item(kind.unwrap_or(usual))
    }

    fn accept(&mut self, set: &str) -> bool {
        let accepted = self.peek().is_some_and(|letter| set.contains(letter));
        self.at += usize::from(accepted);
        accepted
    }

    fn accept_all(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_all(digits);
        if self.accept(".") {
            self.accept_all(digits);
        }
        let exponent = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_all("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_word) {
            self.next();
            return false;
        }
        true
    }

    fn number(&mut self) -> Item {
        let mut good = self.scan_number();
        let mut kind = Kind::Number;
        if good && self.rest().starts_with(['+', '-']) {
            good = self.scan_number() && self.text[..self.at].ends_with('i');
            kind = Kind::Complex;
        }
        if good {
            return self.item(kind);
        }
        self.error(format!("bad number syntax: {}", quoted(&self.text[self.start..self.at])))
    }
}
